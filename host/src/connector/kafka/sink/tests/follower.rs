use proptest::prelude::*;
use wasmill_core::checkpoint::{AttemptId, CheckpointId};

use super::*;
use crate::{
    connector::{
        ConnectorError, Follower, Share,
        kafka::KafkaFollower,
        sink::{
            Fence, Opening,
            model::{self, Output, Power},
        },
    },
    format::encode::Metadata,
};

impl Outside {
    fn opening(&self, attempt: u64, is_fresh: bool, since: Option<u64>) -> Opening<'_> {
        Opening {
            job: "job",
            fence: Fence {
                attempt: AttemptId(attempt),
                begun_us: attempt as i64,
            },
            is_fresh,
            since: since.map(CheckpointId),
            is_detour: false,
            spool: self.spool.path(),
        }
    }

    fn try_follower(&self, opening: &Opening<'_>) -> Result<KafkaFollower, ConnectorError> {
        let schema = model::batch(0, 0).rows.schema();
        let metadata = Metadata::new(&schema, &[], "job");
        let sink = self.sink(Delivery::ExactlyOnce);
        let mut follower =
            KafkaFollower::open(&sink, (&self.target, &self.format), metadata, opening)?;
        follower.set_fuse(&self.fuse);
        Ok(follower)
    }

    fn follower(&self, attempt: u64, is_fresh: bool) -> KafkaFollower {
        let opened = self.try_follower(&self.opening(attempt, is_fresh, None));
        opened.unwrap_or_else(|error| panic!("{error}"))
    }

    fn refused(&self, opening: &Opening<'_>) -> String {
        let refused = self.try_follower(opening).err();
        refused.expect("it is refused").to_string()
    }

    fn numbers(&self) -> Vec<u64> {
        let values = self.values().into_iter();
        let number = |value: String| {
            let number = value.strip_prefix("{\"n\":")?.strip_suffix('}')?;
            number.parse().ok()
        };
        values
            .map(|value| number(value).expect("a number"))
            .collect()
    }
}

impl Output for Outside {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Box<dyn Follower>, ConnectorError> {
        Ok(Box::new(self.try_follower(opening)?))
    }

    fn rows(&self) -> Vec<u64> {
        self.numbers()
    }

    fn arm(&mut self, steps: u64) {
        self.fuse.arm(steps);
    }

    fn crash(&mut self, _power: Power) {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    #[test]
    fn nothing_is_lost_or_doubled_wherever_it_stops(steps in model::steps()) {
        model::run(&mut Outside::new(1), &steps);
    }
}

/// Writes a row; gives the share of this checkpoint, which is decided.
fn handed_in(follower: &mut KafkaFollower, checkpoint: u64) -> Share {
    let rows = model::batch(checkpoint, 1);
    follower.write(&rows).expect("there is room");
    let share = follower.share(CheckpointId(checkpoint));
    follower.decided(CheckpointId(checkpoint));
    model::stored(&share.expect("there is room"))
}

/// Writes a row, and applies it as this checkpoint.
fn try_applied(follower: &mut KafkaFollower, checkpoint: u64) -> Result<Share, ConnectorError> {
    let share = handed_in(follower, checkpoint);
    follower.apply(CheckpointId(checkpoint), &share)?;
    Ok(share)
}

fn applied(follower: &mut KafkaFollower, checkpoint: u64) -> Share {
    try_applied(follower, checkpoint).unwrap_or_else(|error| panic!("{error}"))
}

/// Tries again what is away, as the sink's thread does.
fn patiently(mut work: impl FnMut() -> Result<(), ConnectorError>) -> Result<(), String> {
    loop {
        match work() {
            Err(ConnectorError::Away { .. }) => {}
            other => return other.map_err(|error| error.to_string()),
        }
    }
}

#[test]
fn rows_and_marker_stand_together() {
    let outside = Outside::new(1);
    let mut follower = outside.follower(1, true);
    assert_eq!(follower.marker().expect("it is read"), None);
    applied(&mut follower, 1);
    let empty = follower.share(CheckpointId(2)).expect("there is room");
    follower.decided(CheckpointId(2));
    follower.apply(CheckpointId(2), &empty).expect("no rows");
    let three = applied(&mut follower, 3);
    follower.apply(CheckpointId(3), &three).expect("it is done");
    assert_eq!(
        follower.marker().expect("it is read"),
        Some(CheckpointId(3))
    );
    assert_eq!(outside.numbers(), [1, 3]);
    let seen = outside.seen();
    assert!(seen.iter().all(|seen| seen.headers.is_empty()), "{seen:?}");
    let markers = outside.seen_in(&outside.markers());
    let keys: Vec<_> = markers.iter().map(|it| it.key.as_deref()).collect();
    let marker = Some("job/sink/marker");
    assert_eq!(keys, [Some("job/sink/attempt"), marker, marker, marker]);
    let last = markers.last().and_then(|it| it.value.as_deref());
    let last: serde_json::Value = serde_json::from_str(last.expect("a value")).expect("JSON");
    let wanted = serde_json::json!({
        "markers": 1, "job": "job", "sink": "sink", "attempt": 1, "begun": 1,
        "checkpoint": 3, "since": 2, "digest": last["digest"],
    });
    assert_eq!(last, wanted);
    assert_eq!(last["digest"].as_str().map(str::len), Some(64));
}

#[test]
fn what_fails_in_the_middle_is_not_seen_and_a_lost_answer_doubles_nothing() {
    let outside = Outside::new(1);
    let mut follower = outside.follower(1, true);
    // Begin, row, end, answer.
    for (checkpoint, steps) in (1..).zip(0..4) {
        let before = outside.numbers();
        let share = handed_in(&mut follower, checkpoint);
        outside.fuse.arm(steps);
        let error = follower.apply(CheckpointId(checkpoint), &share);
        assert!(
            matches!(error, Err(ConnectorError::Away { .. })),
            "{error:?}"
        );
        if steps < 3 {
            assert_eq!(outside.numbers(), before, "step {steps}");
        }
        outside.fuse.arm(u64::MAX);
        let again = patiently(|| follower.apply(CheckpointId(checkpoint), &share));
        again.expect("nothing is in its way any more");
        let mut after = before;
        after.push(checkpoint);
        assert_eq!(outside.numbers(), after, "step {steps}");
    }
}

#[test]
fn an_attempt_that_was_taken_over_writes_nothing() {
    let outside = Outside::new(1);
    let mut old = outside.follower(1, true);
    applied(&mut old, 1);
    let goes_on = outside.opening(2, false, Some(1));
    let mut new = outside.try_follower(&goes_on).expect("it takes over");
    assert_eq!(new.marker().expect("it is read"), Some(CheckpointId(1)));
    let two = handed_in(&mut old, 2);
    let error = patiently(|| old.apply(CheckpointId(2), &two)).expect_err("it is too late");
    assert!(
        error.contains("attempt 2 of this job has taken over"),
        "{error}"
    );
    assert_eq!(outside.numbers(), [1]);
    // It has used the transactional id, and the new one does not mind.
    patiently(|| new.apply(CheckpointId(2), &two)).expect("it is its turn");
    assert_eq!(outside.numbers(), [1, 2]);
    let error = outside.refused(&outside.opening(1, false, Some(1)));
    assert!(error.contains("this is attempt 1"), "{error}");
}

#[test]
fn a_job_whose_checkpoints_were_deleted_begins_anew_when_it_is_told_to() {
    let outside = Outside::new(1);
    applied(&mut outside.follower(7, true), 1);
    let mut opening = outside.opening(1, false, None);
    opening.fence.begun_us = 8;
    let error = outside.refused(&opening);
    assert!(error.contains("begin anew with --fresh"), "{error}");
    opening.is_fresh = true;
    let mut fresh = outside.try_follower(&opening).expect("it is told to");
    assert_eq!(fresh.marker().expect("it is read"), None);
    applied(&mut fresh, 1);
    assert_eq!(
        outside.numbers(),
        [1, 1],
        "what is in the topic may be others'"
    );
    let mut again = outside.try_follower(&opening).expect("the same attempt");
    let marker = again.marker().expect("it is read");
    assert_eq!(marker, Some(CheckpointId(1)), "it begins anew once");
}

#[test]
fn markers_that_are_gone_are_noticed() {
    let outside = Outside::new(1);
    let mut follower = outside.follower(1, true);
    let one = applied(&mut follower, 1);
    let two = applied(&mut follower, 2);
    outside.delete(&outside.markers());
    // The running job notices with its next checkpoint.
    let three = handed_in(&mut follower, 3);
    let error = patiently(|| follower.apply(CheckpointId(3), &three)).expect_err("gone");
    assert!(error.contains("nobody knows which rows"), "{error}");
    drop(follower);
    // A later attempt that finds all checkpoints would write their rows again.
    let mut next = outside.follower(2, false);
    for _ in 0..2 {
        for (checkpoint, share) in [(1, &one), (2, &two)] {
            let error = next.apply(CheckpointId(checkpoint), share);
            let error = error.expect_err("it may be out").to_string();
            assert!(error.contains("are gone") || checkpoint > 1, "{error}");
        }
        next = outside.follower(3, false);
    }
    assert_eq!(outside.numbers(), [1, 2]);
    applied(&mut outside.follower(4, true), 1);
    assert_eq!(outside.numbers(), [1, 2, 1]);
}

#[test]
fn a_topic_that_could_lose_markers_is_refused() {
    let mut outside = Outside::new(1);
    let opening = |outside: &Outside| outside.refused(&outside.opening(1, true, None));
    let topic = |outside: &mut Outside, name: &str, partitions, settings: &[(&str, &str)]| {
        let topic = format!("{}-{name}", outside.topic);
        outside.make(&topic, partitions, settings);
        outside.target.markers = Some(topic);
    };
    topic(&mut outside, "two", 2, &[("cleanup.policy", "compact")]);
    let error = opening(&outside);
    assert!(
        error.contains("has 2 partitions; it must have one"),
        "{error}"
    );
    topic(&mut outside, "deletes", 1, &[]);
    let error = opening(&outside);
    assert!(error.contains("cleanup policy `delete`"), "{error}");
    topic(
        &mut outside,
        "both",
        1,
        &[("cleanup.policy", "compact,delete")],
    );
    let error = opening(&outside);
    assert!(error.contains("cleanup policy `compact,delete`"), "{error}");
    let rows = outside.topic.clone();
    let strict = format!("{rows}-strict");
    outside.make(&strict, 1, &[("min.insync.replicas", "2")]);
    outside.target.topic = TopicOfRow::Topic(strict);
    topic(&mut outside, "lax", 1, &[("cleanup.policy", "compact")]);
    let error = opening(&outside);
    assert!(error.contains("`min.insync.replicas` 1"), "{error}");
    outside.target.topic = TopicOfRow::Topic(format!("{rows}-missing"));
    let error = opening(&outside);
    assert!(error.contains("there is no topic"), "{error}");
}

#[test]
fn a_topic_of_markers_is_one_sinks() {
    let outside = Outside::new(1);
    applied(&mut outside.follower(1, true), 1);
    let mut opening = outside.opening(1, true, None);
    opening.job = "another";
    let error = outside.refused(&opening);
    assert!(
        error.contains("give each sink a topic of its own"),
        "{error}"
    );
}

#[test]
fn bytes_that_are_no_share_are_refused_and_leave_nothing() {
    let outside = Outside::new(1);
    let mut follower = outside.follower(1, true);
    follower.write(&model::batch(0, 3)).expect("there is room");
    let mut share = follower.share(CheckpointId(1)).expect("there is room");
    share
        .objects
        .push(bytes::Bytes::from_static(b"nonsense").into());
    let error = follower.apply(CheckpointId(1), &share);
    let error = error.expect_err("nonsense").to_string();
    assert!(error.contains("the share of sink `sink`"), "{error}");
    share.objects.pop();
    follower
        .apply(CheckpointId(1), &share)
        .expect("nothing is in its way");
    assert_eq!(outside.numbers(), [0, 1, 2]);
}

#[test]
fn a_time_that_the_broker_does_not_allow_is_said() {
    let mut outside = Outside::new(1);
    let timeout = ("transaction.timeout.ms", "900001");
    outside.target.options = [(
        timeout.0.to_owned(),
        serde_json::from_str("\"900001\"").unwrap(),
    )]
    .into_iter()
    .collect();
    let error = outside.refused(&outside.opening(1, true, None));
    assert!(
        error.contains("`transaction.max.timeout.ms` of the broker"),
        "{error}"
    );
}

#[test]
fn a_large_share_is_one_transaction() {
    let outside = Outside::new(1);
    let mut follower = outside.follower(1, true);
    for part in 0..100 {
        let rows = model::batch(part * 1_000, 1_000);
        follower.write(&rows).expect("there is room");
    }
    let share = follower.share(CheckpointId(1)).expect("there is room");
    outside.fuse.arm(100_000);
    let error = follower.apply(CheckpointId(1), &model::stored(&share));
    assert!(error.is_err(), "it fails with the last row");
    assert_eq!(outside.numbers(), [0; 0]);
    outside.fuse.arm(u64::MAX);
    patiently(|| follower.apply(CheckpointId(1), &share)).expect("nothing is in its way");
    assert_eq!(outside.numbers(), (0..100_000).collect::<Vec<_>>());
}
