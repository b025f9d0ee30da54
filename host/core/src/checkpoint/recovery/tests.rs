use super::*;
use crate::checkpoint::{AttemptStart, KeyHash, Place};
use crate::key::KeyGroupRange;

pub(crate) fn scope() -> Scope {
    Scope::new("default", "j", KeyGroupRange::all(8)).expect("good names")
}

/// A log that is written by hand.
#[derive(Default)]
pub(crate) struct Log {
    entries: Vec<Vec<u8>>,
    decided: Vec<Decided>,
    attempt: u64,
    decider: Option<String>,
}

impl Log {
    /// Its checkpoints are decided by a sink's transactions.
    pub(crate) fn of_decider(sink: &str) -> Self {
        Self {
            decider: Some(sink.into()),
            ..Self::default()
        }
    }

    fn place(&self) -> Place {
        Place {
            tenant: "default".into(),
            job: "j".into(),
            range: KeyGroupRange::all(8),
            position: Position(self.entries.len() as u64 + 1),
            previous: self.entries.last().map(|bytes| Digest::of(bytes)),
            attempt: AttemptId(self.attempt),
            checkpoint_last: self
                .decided
                .last()
                .map_or(CheckpointId(0), |it| it.checkpoint),
            written_us: 0,
            decided: self.decided.clone(),
        }
    }

    pub(crate) fn attempt(&mut self, base: Option<Decided>) {
        self.attempt += 1;
        let base = base.map(|decided| Base {
            decided,
            origin: None,
        });
        let place = self.place();
        let start = AttemptStart {
            place,
            base,
            program: "test".into(),
            nonce: None,
        };
        self.entries.push(Entry::Attempt(Box::new(start)).encode());
    }

    pub(crate) fn checkpoint(&mut self, checkpoint: u64) -> Decided {
        self.decide(checkpoint, Reason::Periodic)
    }

    /// The job's last one.
    pub(crate) fn finish(&mut self, checkpoint: u64) -> Decided {
        self.decide(checkpoint, Reason::Final)
    }

    fn decide(&mut self, checkpoint: u64, reason: Reason) -> Decided {
        let checkpoint = CheckpointId(checkpoint);
        let mut place = self.place();
        place.checkpoint_last = checkpoint;
        let manifest = Manifest {
            place,
            checkpoint,
            since: self.decided.last().map(|it| it.checkpoint),
            reason,
            is_finished: false,
            triggered_us: 0,
            key_hash: KeyHash { seed: 0, groups: 8 },
            watermark: 0,
            sources: BTreeMap::new(),
            operators: BTreeMap::new(),
            sinks: BTreeMap::new(),
            decider: self.decider.clone(),
        };
        self.enter(manifest)
    }

    /// Puts a manifest at the end.
    pub(crate) fn enter(&mut self, manifest: Manifest) -> Decided {
        let (checkpoint, position) = (manifest.checkpoint, manifest.place.position);
        let bytes = Entry::Checkpoint(Box::new(manifest)).encode();
        let decided = Decided {
            checkpoint,
            position,
            digest: Digest::of(&bytes),
        };
        self.entries.push(bytes);
        self.decided.push(decided);
        decided
    }

    /// Recovers, without the entries at the positions in `gone`.
    pub(crate) fn recover(
        &self,
        gone: &[u64],
        from: &RestoreFrom,
    ) -> Result<Recovered, RecoveryError> {
        let all = 1..=self.entries.len() as u64;
        let there = all.filter(|position| !gone.contains(position));
        let names: Vec<String> = there
            .map(|position| scope().entry(Position(position)))
            .collect();
        let mut recovery = Recovery::new(scope(), &names)?;
        while let Some(position) = recovery.wants() {
            recovery.read(
                position,
                Ok(Some(self.entries[position.0 as usize - 1].clone())),
            )?;
        }
        recovery.finish(from)
    }
}

fn base(recovered: &Recovered) -> Option<u64> {
    let base = recovered.base.as_ref();
    base.map(|base| base.decided.checkpoint.0)
}

#[test]
fn the_last_decision_is_restored() {
    let mut log = Log::default();
    log.attempt(None);
    log.checkpoint(1);
    log.checkpoint(3);
    let recovered = log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    assert_eq!(base(&recovered), Some(3));
    assert_eq!(
        (recovered.position, recovered.attempt),
        (Position(4), AttemptId(2))
    );
    assert_eq!(recovered.checkpoint_last, CheckpointId(3));
    assert_eq!(recovered.previous, Some(Digest::of(&log.entries[2])));
    assert_eq!(recovered.kept.len(), 2);
    // A retired one is no matter.
    let recovered = log
        .recover(&[2], &RestoreFrom::Newest)
        .expect("a sound log");
    assert_eq!((recovered.kept.len(), recovered.damaged.len()), (1, 0));
    let older = log
        .recover(&[], &RestoreFrom::Checkpoint(CheckpointId(1)))
        .expect("it is kept");
    assert_eq!(base(&older), Some(1));
}

#[test]
fn an_attempt_that_decided_nothing_hands_its_base_on() {
    let mut log = Log::default();
    log.attempt(None);
    let first = log.checkpoint(1);
    log.checkpoint(2);
    log.attempt(Some(first));
    let recovered = log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    assert_eq!(base(&recovered), Some(1), "someone went back to 1");
    assert!(!recovered.is_base_shared());
    log.attempt(None);
    let recovered = log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    assert_eq!(base(&recovered), None, "someone began anew");
    assert_eq!(recovered.kept.len(), 2, "which deletes nothing");
}

#[test]
fn damage_is_told_by_name() {
    let mut log = Log::default();
    log.attempt(None);
    (1..=3).for_each(|checkpoint| _ = log.checkpoint(checkpoint));
    // Of one that is not needed: noted, for then nothing may be deleted.
    log.entries[1][40] ^= 1;
    let recovered = log
        .recover(&[], &RestoreFrom::Newest)
        .expect("the last one is whole");
    assert_eq!(base(&recovered), Some(3));
    assert_eq!(recovered.damaged[0].decided.checkpoint, CheckpointId(1));
    assert!(
        recovered.damaged[0].reason.contains("checksum"),
        "{:?}",
        recovered.damaged
    );
    // Of one that is.
    let wanted = RestoreFrom::Checkpoint(CheckpointId(1));
    let told = log
        .recover(&[], &wanted)
        .expect_err("it is damaged")
        .to_string();
    assert!(
        told.contains("checkpoint 1 cannot be restored") && told.contains("2, 3"),
        "{told}"
    );
    let wanted = RestoreFrom::Checkpoint(CheckpointId(7));
    let told = log
        .recover(&[], &wanted)
        .expect_err("there is none")
        .to_string();
    assert!(told.contains("it is not kept"), "{told}");
    log.entries[3].truncate(100);
    let error = log
        .recover(&[], &RestoreFrom::Newest)
        .expect_err("the last one is cut off");
    let told = error.to_string();
    assert!(told.contains("default/j/0-7/log/0000000004"), "{told}");
    let source = std::error::Error::source(&error).expect("why").to_string();
    assert!(source.contains("cut off"), "{source}");
}

#[test]
fn another_entry_in_the_place_of_one_that_was_retired_is_not_believed() {
    let mut log = Log::default();
    log.attempt(None);
    (1..=2).for_each(|checkpoint| _ = log.checkpoint(checkpoint));
    // Whole, in its place, and not the one that was decided.
    let Ok(Entry::Checkpoint(mut manifest)) = Entry::decode(&log.entries[1]) else {
        panic!("a manifest");
    };
    manifest.watermark = 9;
    log.entries[1] = Entry::Checkpoint(manifest).encode();
    let recovered = log
        .recover(&[], &RestoreFrom::Newest)
        .expect("the last one is whole");
    assert_eq!(
        (recovered.kept.len(), recovered.damaged.len()),
        (1, 0),
        "only 2 is kept"
    );
    let wanted = RestoreFrom::Checkpoint(CheckpointId(1));
    let told = log
        .recover(&[], &wanted)
        .expect_err("it is another")
        .to_string();
    assert!(told.contains("it is not kept"), "{told}");
}

#[test]
fn a_listing_without_its_log_is_refused() {
    let object = "default/j/0-7/objects/0000000001/0000000001/x".to_owned();
    let error = Recovery::new(scope(), &[object]).expect_err("there is no log");
    assert!(matches!(error, RecoveryError::LogMissing { .. }), "{error}");
    let other = "default/j/0-3/log/0000000001".to_owned();
    let error = Recovery::new(scope(), &[other]).expect_err("other key groups");
    assert!(error.to_string().contains("key groups is fixed"), "{error}");
    let stray = "default/j/0-7/notes.txt".to_owned();
    let recovery = Recovery::new(scope(), &[stray]).expect("it is left alone");
    assert_eq!(recovery.wants(), None);
}

#[test]
fn what_goes_between_listing_and_reading_was_retired() {
    let mut log = Log::default();
    log.attempt(None);
    (1..=2).for_each(|checkpoint| _ = log.checkpoint(checkpoint));
    let names: Vec<String> = (1..=3).map(|at| scope().entry(Position(at))).collect();
    let mut recovery = Recovery::new(scope(), &names).expect("a listing");
    let last = log.entries[2].clone();
    recovery
        .read(Position(3), Ok(Some(last)))
        .expect("a sound entry");
    assert_eq!(recovery.wants(), Some(Position(2)));
    recovery
        .read(Position(2), Ok(None))
        .expect("it is no matter");
    let recovered = recovery.finish(&RestoreFrom::Newest).expect("a sound log");
    assert_eq!((recovered.kept.len(), recovered.damaged.len()), (1, 0));
    // The last entry itself never goes, unless others have written behind it.
    let mut recovery = Recovery::new(scope(), &names).expect("a listing");
    let error = recovery
        .read(Position(3), Ok(None))
        .expect_err("list again");
    assert!(
        error.to_string().contains("another run is at work"),
        "{error}"
    );
}

#[test]
fn whoever_comes_from_elsewhere_or_goes_back_is_known_by_it() {
    let mut log = Log::default();
    log.attempt(None);
    let (first, last) = (log.checkpoint(1), log.checkpoint(3));
    let newest = log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    assert!(!newest.goes_back());
    let older = RestoreFrom::Checkpoint(first.checkpoint);
    assert!(log.recover(&[], &older).expect("it is kept").goes_back());
    // And so is an attempt after it that was ended before it decided anything.
    log.attempt(Some(first));
    let again = log.recover(&[], &RestoreFrom::Newest).expect("a sound log");
    assert!(again.goes_back());

    let manifest = newest.kept.iter().find(|kept| kept.decided == last);
    let from = RestoreFrom::Elsewhere {
        origin: "/elsewhere/log/0000000003".into(),
        decided: last,
        manifest: Arc::clone(&manifest.expect("it is kept").manifest),
    };
    let recovered = Log::default().recover(&[], &from).expect("an empty log");
    assert!(recovered.goes_back() && recovered.manifest.is_some());
    assert_eq!(recovered.position, Position::FIRST);
    let next = recovered.checkpoint_last.next();
    assert_eq!(next, CheckpointId(4), "sinks may have applied 3");

    let meets = |recovered: &Recovered, job: &str, marker: u64| {
        let scope = Scope::new("default", job, KeyGroupRange::all(8)).expect("good names");
        let marker = Some(CheckpointId(marker)).filter(|marker| marker.0 > 0);
        let met = recovered.meets(&scope, &[("out".to_owned(), marker)].into());
        met.map_err(|error| error.to_string())
    };
    assert_eq!(meets(&recovered, "j", 3), Ok(()));
    assert_eq!(meets(&recovered, "other", 0), Ok(()));
    for (job, marker, words) in [
        ("j", 4, "again"),
        ("j", 2, "missing"),
        ("other", 1, "again"),
    ] {
        let error = meets(&recovered, job, marker).expect_err(words);
        assert!(error.contains(words), "{error}");
    }
    let older = log.recover(&[], &older).expect("it is kept");
    // What it lacks, this log has.
    assert_eq!(meets(&older, "j", 0), Ok(()));
    assert!(meets(&older, "j", 3).is_err());
}
