use super::*;
use crate::checkpoint::recovery::tests::{Log, scope};
use crate::checkpoint::{Decided, RestoreFrom};

const SINK: (&str, &str) = ("alerts", "the topic `markers`");

/// What the sink noted when attempt 1 committed a checkpoint that the log has.
fn noted(decided: Decided) -> Verdict {
    Verdict {
        attempt: AttemptId(1),
        checkpoint: decided.checkpoint,
        digest: decided.digest,
    }
}

fn settled(
    log: &Log,
    verdict: Option<Verdict>,
    taken: Option<u64>,
) -> Result<Settled, VerdictError> {
    let recovered = log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    let taken = taken.map(AttemptId);
    settle(&scope(), &recovered, SINK, &Notes { verdict, taken })
}

#[test]
fn a_verdict_ahead_of_the_log_is_to_be_entered() {
    let mut log = Log::of_decider(SINK.0);
    assert_eq!(settled(&log, None, None), Ok(Settled::Entered));
    log.attempt(None);
    assert_eq!(settled(&log, None, Some(1)), Ok(Settled::Entered));
    let before = log.checkpoint(1);
    let entered = settled(&log, Some(noted(before)), Some(1));
    assert_eq!(entered, Ok(Settled::Entered));
    let mut ahead = noted(before);
    ahead.checkpoint = CheckpointId(2);
    assert_eq!(
        settled(&log, Some(ahead), Some(1)),
        Ok(Settled::Ahead(ahead))
    );
    assert_eq!(ahead.name(), "objects/0000000001/0000000002/manifest");
    // An attempt that began meanwhile, and never got to the sink, has taken its number.
    log.attempt(Some(before));
    assert_eq!(
        settled(&log, Some(ahead), Some(1)),
        Ok(Settled::Ahead(ahead))
    );
}

#[test]
fn a_manifest_that_lost_its_number_gets_the_next() {
    let mut log = Log::of_decider(SINK.0);
    log.attempt(None);
    let first = log.checkpoint(1);
    let recovered = log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    let mut prepared = (*recovered.kept[0].manifest).clone();
    prepared.checkpoint = CheckpointId(2);
    log.attempt(Some(first));
    let recovered = log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    let replaced = prepared.replaced(&recovered);
    log.enter(replaced);
    let recovered = log
        .recover(&[], &RestoreFrom::Newest)
        .expect("it is sound with it");
    let base = recovered.base.map(|base| base.decided.checkpoint);
    assert_eq!(base, Some(CheckpointId(2)));
    let checkpoints = recovered.kept.iter().map(|kept| kept.decided.checkpoint.0);
    assert_eq!(checkpoints.collect::<Vec<_>>(), [1, 2]);
    let mut verdict = noted(first);
    verdict.checkpoint = CheckpointId(2);
    assert_eq!(settled(&log, Some(verdict), Some(1)), Ok(Settled::Entered));
}

#[test]
fn notes_that_are_gone_or_old_stop_the_job() {
    let mut log = Log::of_decider(SINK.0);
    log.attempt(None);
    let first = log.checkpoint(1);
    log.checkpoint(2);
    let gone = settled(&log, None, None).expect_err("the notes are gone");
    let found = matches!(gone, VerdictError::Gone { checkpoint, .. } if checkpoint.0 == 2);
    assert!(found, "{gone}");
    let older = settled(&log, Some(noted(first)), Some(1)).expect_err("the notes are old");
    let found = matches!(older, VerdictError::Older { noted, .. } if noted == first.checkpoint);
    assert!(found, "{older}");
}

#[test]
fn a_verdict_about_another_jobs_checkpoint_stops_the_job() {
    let mut log = Log::default();
    log.attempt(None);
    let mut other = noted(log.checkpoint(1));
    other.digest = Digest::of(b"other");
    let error = settled(&log, Some(other), Some(1)).expect_err("another manifest");
    assert!(
        error.to_string().contains("is another than was committed"),
        "{error}"
    );
}

#[test]
fn whoever_goes_back_has_nothing_to_enter() {
    let mut log = Log::of_decider(SINK.0);
    log.attempt(None);
    let first = log.checkpoint(1);
    let second = log.checkpoint(2);
    let mut ahead = noted(second);
    ahead.checkpoint = CheckpointId(3);
    log.attempt(Some(first));
    // Before the sink has opened, and after.
    let entered = settled(&log, Some(noted(second)), Some(1));
    assert_eq!(entered, Ok(Settled::Entered));
    assert_eq!(settled(&log, Some(ahead), Some(2)), Ok(Settled::Entered));
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
    assert_eq!(
        undecided(&recover(&log), None),
        Ok(()),
        "nothing was committed behind it"
    );
    log.attempt(Some(decided));
    assert!(
        undecided(&recover(&log), None).is_err(),
        "somebody has begun since"
    );
}
