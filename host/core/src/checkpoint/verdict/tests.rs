use super::*;
use crate::checkpoint::recovery::tests::{Log, scope};
use crate::checkpoint::{Decided, RestoreFrom};

const SINK: (&str, &str) = ("alerts", "the topic `markers`");

/// What the sink noted when it committed a checkpoint that the log has.
fn noted(decided: Decided) -> Verdict {
    Verdict {
        attempt: AttemptId(1),
        checkpoint: decided.checkpoint,
        position: decided.position,
        digest: decided.digest,
    }
}

fn settled(log: &Log, verdict: Option<Verdict>) -> Result<Settled, VerdictError> {
    let recovered = log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    settle(&scope(), &recovered, SINK, verdict)
}

#[test]
fn a_verdict_ahead_of_the_log_is_to_be_entered() {
    let mut log = Log::of_decider(SINK.0);
    assert_eq!(settled(&log, None), Ok(Settled::Entered));
    log.attempt(None);
    assert_eq!(settled(&log, None), Ok(Settled::Entered));
    let before = log.checkpoint(1);
    assert_eq!(settled(&log, Some(noted(before))), Ok(Settled::Entered));
    let mut ahead = noted(before);
    ahead.checkpoint = CheckpointId(2);
    ahead.position = ahead.position.next();
    assert_eq!(settled(&log, Some(ahead)), Ok(Settled::Prepared(ahead)));
    assert_eq!(ahead.name(), "objects/0000000001/0000000002/manifest");
}

#[test]
fn notes_that_are_gone_or_old_stop_the_job() {
    let mut log = Log::of_decider(SINK.0);
    log.attempt(None);
    let first = log.checkpoint(1);
    log.checkpoint(2);
    let gone = settled(&log, None).expect_err("the notes are gone");
    assert!(matches!(gone, VerdictError::Gone { checkpoint: CheckpointId(2), .. }), "{gone}");
    let older = settled(&log, Some(noted(first))).expect_err("the notes are old");
    let found = matches!(older, VerdictError::Older { noted, .. } if noted == first.checkpoint);
    assert!(found, "{older}");
}

#[test]
fn a_verdict_about_something_else_stops_the_job() {
    let mut log = Log::of_decider(SINK.0);
    log.attempt(None);
    let decided = log.checkpoint(1);
    let mut other = noted(decided);
    other.digest = Digest::of(b"other");
    let error = settled(&log, Some(other)).expect_err("another manifest");
    assert!(error.to_string().contains("is another than was committed"), "{error}");
    let mut beyond = noted(decided);
    beyond.position = Position(9);
    let error = settled(&log, Some(beyond)).expect_err("the log is older");
    assert!(error.to_string().contains("lies beyond the end of the log"), "{error}");
}

#[test]
fn whoever_goes_back_has_nothing_to_enter() {
    let mut log = Log::of_decider(SINK.0);
    log.attempt(None);
    let first = log.checkpoint(1);
    let second = log.checkpoint(2);
    log.attempt(Some(first));
    assert_eq!(settled(&log, Some(noted(second))), Ok(Settled::Entered));
}

#[test]
fn a_job_does_not_lose_its_decider_unseen() {
    let mut log = Log::of_decider(SINK.0);
    log.attempt(None);
    let decided = log.checkpoint(1);
    let recover = |log: &Log| log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    assert_eq!(undecided(&recover(&log), Some(SINK.0)), Ok(()));
    for other in [None, Some("other")] {
        let error = undecided(&recover(&log), other).expect_err("nobody could tell");
        assert!(error.to_string().contains("`decides: true`"), "{error}");
    }
    log.finish(2);
    assert_eq!(undecided(&recover(&log), None), Ok(()), "nothing was committed behind it");
    log.attempt(Some(decided));
    assert!(undecided(&recover(&log), None).is_err(), "somebody has begun since");
}
