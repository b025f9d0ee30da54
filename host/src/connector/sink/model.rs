//! A job as its sink sees it, held against a plain list: the rows are 0, 1, 2, ... in order, so
//! what stands in an output must be the first so many numbers.

use std::path::Path;

use proptest::prelude::*;
use wasmill_core::{
    batch::Batch,
    checkpoint::{AttemptId, CheckpointId},
    lineage::{Ancestor, Lineage},
};

use super::{
    ConnectorError, Fence, Follower, Opening,
    share::{Share, Spooled},
};
use crate::format::testing;

/// An output with ways to break it.
pub(in crate::connector) trait Output {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Box<dyn Follower>, ConnectorError>;

    /// What a reader sees at this moment.
    fn rows(&self) -> Vec<u64>;

    /// Has the sink fail after so many steps.
    fn arm(&mut self, steps: u64);

    /// The process is gone, and with `power` the machine's memory too.
    fn crash(&mut self, power: Power);
}

/// What becomes of bytes that have not been synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connector) enum Power {
    /// The system has them still.
    On,
    /// They are gone.
    Lost,
    /// Their place is there, with zeros in it.
    Zeros,
}

/// What happens next.
#[derive(Debug, Clone)]
pub(in crate::connector) enum Step {
    Write(u64),
    Checkpoint(Outcome),
    Apply,
    /// What has been applied is applied again.
    ApplyAgain,
    /// Apply fails after so many steps, and is tried again by the same process.
    ApplyTwice(u64),
    /// Apply fails after so many steps, and with it the process.
    ApplyAndCrash(u64, Power),
    Crash(Power),
}

#[derive(Debug, Clone, Copy)]
pub(in crate::connector) enum Outcome {
    Decided,
    Aborted,
    /// It is decided, and the process ends before the sink hears of it.
    DecidedAndCrash(Power),
}

fn power() -> impl Strategy<Value = Power> {
    prop_oneof![Just(Power::On), Just(Power::Lost), Just(Power::Zeros)]
}

pub(in crate::connector) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Decided),
        2 => Just(Outcome::Aborted),
        1 => power().prop_map(Outcome::DecidedAndCrash),
    ];
    let step = prop_oneof![
        4 => (0_u64..5).prop_map(Step::Write),
        4 => outcome.prop_map(Step::Checkpoint),
        3 => Just(Step::Apply),
        1 => Just(Step::ApplyAgain),
        1 => (0_u64..8).prop_map(Step::ApplyTwice),
        2 => (0_u64..8, power()).prop_map(|(steps, power)| Step::ApplyAndCrash(steps, power)),
        1 => power().prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 0..40)
}

/// Rows from `first` on.
pub(in crate::connector) fn batch(first: u64, len: u64) -> Batch {
    let lines: Vec<String> = (first..first + len)
        .map(|n| format!("{{\"n\":{n}}}"))
        .collect();
    let rows = testing::json_rows(&[("n", "u64")], &lines.join("\n"));
    let len = rows.num_rows();
    Batch::new(
        rows,
        Lineage::whole(Ancestor::Chunk(Default::default()), len),
    )
}

/// A share as a store gives it back.
pub(in crate::connector) fn stored(share: &Share) -> Share {
    let bytes = |object: &Spooled| {
        let mut bytes = Vec::new();
        std::io::copy(&mut object.reader(), &mut bytes).expect("objects can be read");
        assert_eq!(bytes.len() as u64, object.bytes_len());
        Spooled::Memory(bytes.into())
    };
    let state = serde_json::from_str(&share.state.to_string());
    Share {
        state: state.expect("a state is JSON"),
        objects: share.objects.iter().map(bytes).collect(),
    }
}

/// A decided checkpoint.
struct Manifest {
    checkpoint: CheckpointId,
    share: Share,
    /// How many rows the job had written as of its barrier.
    rows: u64,
}

struct Model<'a, O> {
    output: &'a mut O,
    follower: Option<Box<dyn Follower>>,
    spool: &'a Path,
    manifests: Vec<Manifest>,
    checkpoint_last: CheckpointId,
    /// How many rows the job has written.
    rows: u64,
    /// The highest marker that was told: what it covers may be forgotten.
    told: Option<CheckpointId>,
    /// How often the output was opened.
    attempts: u64,
}

/// Takes the steps, checks the output behind each, and brings the job to its end.
pub(in crate::connector) fn run(output: &mut impl Output, steps: &[Step]) {
    let spool = tempfile::tempdir().expect("a temporary folder");
    let mut model = Model {
        output,
        follower: None,
        spool: spool.path(),
        manifests: Vec::new(),
        checkpoint_last: CheckpointId(0),
        rows: 0,
        told: None,
        attempts: 0,
    };
    model.open(true);
    for step in steps {
        model.step(step);
        model.check();
    }
    model.step(&Step::Checkpoint(Outcome::Decided));
    while model.is_behind() {
        model.step(&Step::Apply);
        model.check();
    }
    let all: Vec<u64> = (0..model.rows).collect();
    assert_eq!(model.output.rows(), all);
    model.step(&Step::Crash(Power::Lost));
    assert_eq!(
        model.output.rows(),
        all,
        "what was told to be applied is durable"
    );
}

impl<O: Output> Model<'_, O> {
    fn open(&mut self, is_fresh: bool) {
        self.attempts += 1;
        let opening = Opening {
            job: "job",
            fence: Fence {
                attempt: AttemptId(self.attempts),
                begun_us: 1,
            },
            is_fresh,
            since: self.manifests.last().map(|manifest| manifest.checkpoint),
            is_detour: false,
            spool: self.spool,
        };
        let follower = self
            .output
            .open(&opening)
            .unwrap_or_else(|error| panic!("{error}"));
        self.follower = Some(follower);
        self.rows = self.manifests.last().map_or(0, |manifest| manifest.rows);
    }

    fn follower(&mut self) -> &mut dyn Follower {
        self.follower.as_deref_mut().expect("it is open")
    }

    fn marker(&mut self) -> Option<CheckpointId> {
        let marker = self.follower().marker().expect("it has been read");
        assert!(
            marker >= self.told,
            "{:?} was told, and now {marker:?}",
            self.told
        );
        self.told = marker;
        marker
    }

    fn is_behind(&mut self) -> bool {
        let marker = self.marker();
        self.manifests.last().map(|manifest| manifest.checkpoint) > marker
    }

    fn crash(&mut self, power: Power) {
        self.follower = None;
        for manifest in &mut self.manifests {
            manifest.share = stored(&manifest.share);
        }
        self.output.crash(power);
        self.open(false);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(len) => {
                let batch = batch(self.rows, *len);
                self.follower().write(&batch).expect("there is room");
                self.rows += len;
            }
            Step::Checkpoint(outcome) => self.checkpoint(*outcome),
            Step::Apply => self.apply().expect("nothing is in its way"),
            Step::ApplyAgain => {
                let marker = self.marker();
                let mut manifests = self.manifests.iter();
                let Some(at) = manifests.position(|it| Some(it.checkpoint) == marker) else {
                    return;
                };
                let (checkpoint, share) = (marker.expect("some"), self.manifests[at].share.clone());
                self.follower()
                    .apply(checkpoint, &share)
                    .expect("it is done");
            }
            Step::ApplyTwice(steps) => {
                self.output.arm(*steps);
                let first = self.apply();
                self.check();
                self.output.arm(u64::MAX);
                if first.is_err() {
                    self.apply().expect("nothing is in its way any more");
                }
            }
            Step::ApplyAndCrash(steps, power) => {
                self.output.arm(*steps);
                // It may come to its end.
                let _ = self.apply();
                self.check();
                self.output.arm(u64::MAX);
                self.crash(*power);
            }
            Step::Crash(power) => self.crash(*power),
        }
    }

    fn checkpoint(&mut self, outcome: Outcome) {
        self.checkpoint_last = self.checkpoint_last.next();
        let checkpoint = self.checkpoint_last;
        let share = self.follower().share(checkpoint).expect("there is room");
        if matches!(outcome, Outcome::Aborted) {
            return;
        }
        let rows = self.rows;
        self.manifests.push(Manifest {
            checkpoint,
            share,
            rows,
        });
        match outcome {
            Outcome::DecidedAndCrash(power) => self.crash(power),
            _ => self.follower().decided(checkpoint),
        }
    }

    /// Applies the oldest that is not.
    fn apply(&mut self) -> Result<(), ConnectorError> {
        let marker = self.marker();
        let mut manifests = self.manifests.iter();
        let Some(oldest) = manifests.find(|manifest| Some(manifest.checkpoint) > marker) else {
            return Ok(());
        };
        let (checkpoint, share) = (oldest.checkpoint, oldest.share.clone());
        self.follower().apply(checkpoint, &share)?;
        assert_eq!(self.marker(), Some(checkpoint));
        Ok(())
    }

    /// A reader sees the first so many rows: all that are applied, and none that is not decided.
    fn check(&mut self) {
        let seen = self.output.rows();
        let len = seen.len() as u64;
        assert_eq!(
            seen,
            (0..len).collect::<Vec<_>>(),
            "lost, doubled or misplaced"
        );
        let decided = self.manifests.last().map_or(0, |manifest| manifest.rows);
        assert!(len <= decided, "{len} rows are seen, {decided} are decided");
        let marker = self.marker();
        let mut applied = self.manifests.iter().rev();
        let applied = applied.find(|manifest| Some(manifest.checkpoint) <= marker);
        let applied = applied.map_or(0, |manifest| manifest.rows);
        assert!(len >= applied, "{len} rows are seen, {applied} are applied");
    }
}
