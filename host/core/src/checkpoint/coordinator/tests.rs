use std::collections::BTreeMap;

use super::*;
use crate::checkpoint::{
    Base, Damage, Decided, Digest, Identity, KeyHash, ObjectRef, Part, Position, Recovered,
    Recovery, RestoreFrom, Scope, SinkState,
};
use crate::key::KeyGroupRange;

const INTERVAL: i64 = 1_000;
const TIMEOUT: i64 = 5_000;

fn settings() -> Settings {
    Settings {
        interval_us: Some(INTERVAL),
        timeout_us: TIMEOUT,
        pause_us: 100,
        retry_us: 50,
        failures_max: 1,
        retained: 2,
        unapplied_max: 2,
    }
}

/// A coordinator of two subtasks and one sink, its clock, and a store that works.
struct Bench {
    coordinator: Coordinator,
    now: i64,
    store: BTreeMap<Position, Vec<u8>>,
    deleted: Vec<String>,
    /// Everything that was asked of others, in order.
    asked: Vec<Action>,
}

fn scope() -> Scope {
    Scope::new("default", "j", KeyGroupRange::all(8)).expect("good names")
}

fn nothing() -> Recovered {
    let recovery = Recovery::new(scope(), &[]).expect("a listing");
    recovery.finish(&RestoreFrom::Newest).expect("a new job")
}

fn n(number: u64) -> CheckpointId {
    CheckpointId(number)
}

impl Bench {
    /// An attempt that has begun, and whose sink has told its marker.
    fn begun(recovered: Recovered, marker: Option<u64>) -> Self {
        let start = Start {
            scope: scope(),
            settings: settings(),
            program: "test".into(),
            nonce: 1,
            key_hash: KeyHash { seed: 0, groups: 8 },
            operators: [("op".to_owned(), Identity::default())].into(),
            subtasks: vec!["a[0]".into(), "a[1]".into()],
            followers: vec!["out".into()],
            decider: None,
            recovered,
        };
        let mut out = Vec::new();
        let now = Now {
            monotonic_us: 0,
            wall_us: 0,
        };
        let mut bench = Self {
            coordinator: Coordinator::new(start, now, &mut out),
            now: 0,
            store: BTreeMap::new(),
            deleted: Vec::new(),
            asked: Vec::new(),
        };
        bench.serve(out);
        bench.tell(Fact::Applied {
            sink: "out".into(),
            marker: marker.map(CheckpointId),
        });
        bench
    }

    /// Tells a fact; what the store is asked for it does at once.
    fn tell(&mut self, fact: Fact) {
        let mut out = Vec::new();
        let now = Now {
            monotonic_us: self.now,
            wall_us: 7,
        };
        self.coordinator.step(now, fact, &mut out);
        self.serve(out);
    }

    fn serve(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Create { position, bytes } => {
                    self.store.insert(position, bytes);
                    let created = Created::Done;
                    self.tell(Fact::Created { position, created });
                }
                Action::LookUp { position } => {
                    let digest = Digest::of(&self.store[&position]);
                    let is_last = true;
                    let looked_up = LookedUp::Found { digest, is_last };
                    self.tell(Fact::LookedUp {
                        position,
                        looked_up,
                    });
                }
                Action::Delete { name } => {
                    self.deleted.push(name.clone());
                    self.tell(Fact::Deleted(name));
                }
                other => self.asked.push(other),
            }
        }
    }

    fn wait(&mut self, us: i64) {
        self.now += us;
        self.tell(Fact::Tick);
    }

    /// A subtask acknowledges with an object for the sink that it wrote for `written`.
    fn acknowledge(&mut self, checkpoint: u64, subtask: u32, written: u64) {
        let attempt = self.coordinator.attempt();
        let object = ObjectRef {
            name: Scope::object_name(attempt, n(written), &format!("rows-{subtask}")),
            bytes: 1,
            digest: Digest::of(b"r"),
        };
        let part = Part {
            subtask: subtask as u16,
            state: serde_json::Value::Null,
            objects: vec![object],
        };
        let mut snapshot = Snapshot::default();
        snapshot
            .sinks
            .insert("out".into(), SinkState { parts: vec![part] });
        self.tell(Fact::Acknowledged {
            checkpoint: n(checkpoint),
            subtask: SubtaskIndex(subtask),
            snapshot: Box::new(snapshot),
        });
    }

    /// Both subtasks acknowledge.
    fn complete(&mut self, checkpoint: u64) {
        self.acknowledge(checkpoint, 0, checkpoint);
        self.acknowledge(checkpoint, 1, checkpoint);
    }

    fn apply(&mut self, checkpoint: u64) {
        self.tell(Fact::Applied {
            sink: "out".into(),
            marker: Some(n(checkpoint)),
        });
    }

    /// What was asked since the last look, in short.
    fn asked(&mut self) -> Vec<String> {
        let asked = std::mem::take(&mut self.asked);
        let short = asked.into_iter().map(|action| match action {
            Action::Begin { attempt } => format!("begin {attempt}"),
            Action::Inject {
                checkpoint,
                reason,
                is_last,
                base,
                ..
            } => {
                let base = base.map_or(String::new(), |base| format!(" on {base}"));
                let last = if is_last { " last" } else { "" };
                format!("inject {checkpoint} {reason:?}{base}{last}")
            }
            Action::Abort { checkpoint, .. } => format!("abort {checkpoint}"),
            Action::Decided { manifest } => format!("decided {}", manifest.checkpoint),
            Action::Apply { manifest, .. } => format!("apply {}", manifest.checkpoint),
            Action::List => "list".into(),
            Action::End(End::Done { checkpoint, .. }) => format!("done {checkpoint}"),
            Action::End(End::Broken(error)) => format!("broken: {error}"),
            other => format!("{other:?}"),
        });
        short.collect()
    }

    /// Takes a checkpoint from trigger to applied.
    fn pass(&mut self, checkpoint: u64) {
        self.wait(INTERVAL);
        self.complete(checkpoint);
        self.apply(checkpoint);
    }

    /// What a later attempt finds.
    fn recovered(&self) -> Recovered {
        let names = self.store.keys().map(|position| scope().entry(*position));
        let names: Vec<String> = names.filter(|name| !self.deleted.contains(name)).collect();
        let mut recovery = Recovery::new(scope(), &names).expect("a listing");
        while let Some(position) = recovery.wants() {
            let bytes = self.store[&position].clone();
            recovery
                .read(position, Ok(Some(bytes)))
                .expect("a sound entry");
        }
        recovery.finish(&RestoreFrom::Newest).expect("a sound log")
    }
}

#[test]
fn a_checkpoint_is_decided_when_all_have_acknowledged() {
    let mut bench = Bench::begun(nothing(), None);
    assert_eq!(bench.asked(), ["begin 1", "list"]);
    assert_eq!(bench.coordinator.wake_at_us(), Some(INTERVAL));
    bench.wait(INTERVAL - 1);
    assert_eq!(bench.asked(), [""; 0]);
    bench.wait(1);
    assert_eq!(bench.asked(), ["inject 1 Periodic"]);
    bench.acknowledge(1, 0, 1);
    bench.acknowledge(1, 0, 1);
    assert_eq!(
        bench.asked(),
        [""; 0],
        "one subtask has told twice, the other not at all"
    );
    bench.acknowledge(1, 1, 1);
    assert_eq!(bench.asked(), ["decided 1", "apply 1"]);
    bench.apply(1);
    bench.wait(INTERVAL);
    assert_eq!(bench.asked(), ["inject 2 Periodic on 1"]);
}

#[test]
fn what_is_declined_or_late_never_was() {
    let mut bench = Bench::begun(nothing(), None);
    bench.wait(INTERVAL);
    bench.asked();
    bench.acknowledge(1, 0, 1);
    bench.tell(Fact::Declined {
        checkpoint: n(1),
        subtask: SubtaskIndex(1),
        reason: "the disk is full".into(),
    });
    assert_eq!(bench.asked(), ["abort 1"]);
    bench.acknowledge(1, 1, 1);
    assert_eq!(bench.asked(), [""; 0], "too late");
    bench.wait(INTERVAL);
    assert_eq!(bench.asked(), ["inject 2 Periodic"]);
    bench.acknowledge(2, 0, 2);
    bench.wait(TIMEOUT);
    let asked = bench.asked();
    assert_eq!(asked[0], "abort 2");
    assert!(
        asked[1].starts_with("broken: 2 checkpoints failed in a row"),
        "{asked:?}"
    );
    assert!(
        asked[1].contains("a[1] did not acknowledge within 5 ms"),
        "{asked:?}"
    );
    bench.wait(INTERVAL);
    assert_eq!(bench.asked(), [""; 0], "it is over");
}

#[test]
fn a_snapshot_names_what_it_wrote_or_what_came_with_the_barrier() {
    let mut bench = Bench::begun(nothing(), None);
    bench.pass(1);
    bench.wait(INTERVAL);
    bench.asked();
    bench.acknowledge(2, 0, 1);
    assert_eq!(bench.asked(), [""; 0], "checkpoint 1 named it");
    bench.tell(Fact::Declined {
        checkpoint: n(2),
        subtask: SubtaskIndex(1),
        reason: "it may".into(),
    });
    bench.wait(INTERVAL);
    assert_eq!(bench.asked(), ["abort 2", "inject 3 Periodic on 1"]);
    bench.acknowledge(3, 0, 2);
    let asked = bench.asked();
    assert_eq!(asked[0], "abort 3", "what was written for 2 is gone");
}

#[test]
fn a_manifest_on_its_way_is_never_aborted() {
    let mut bench = Bench::begun(nothing(), None);
    bench.wait(INTERVAL);
    bench.acknowledge(1, 0, 1);
    bench.asked();
    // The answer to the create does not come.
    let mut out = Vec::new();
    let snapshot = Box::new(Snapshot::default());
    let fact = Fact::Acknowledged {
        checkpoint: n(1),
        subtask: SubtaskIndex(1),
        snapshot,
    };
    let at = |monotonic_us| Now {
        monotonic_us,
        wall_us: 0,
    };
    bench.coordinator.step(at(INTERVAL), fact, &mut out);
    let [Action::Create { position, bytes }] = &out[..] else {
        panic!("{out:?}");
    };
    let (position, bytes) = (*position, bytes.clone());
    let created = Created::Unknown;
    out.clear();
    bench
        .coordinator
        .step(at(INTERVAL), Fact::Created { position, created }, &mut out);
    bench
        .coordinator
        .step(at(INTERVAL + TIMEOUT), Fact::Tick, &mut out);
    assert_eq!(
        out,
        [Action::LookUp { position }],
        "it is asked for, not aborted"
    );
    out.clear();
    let looked_up = LookedUp::Absent { is_last: true };
    let fact = Fact::LookedUp {
        position,
        looked_up,
    };
    bench
        .coordinator
        .step(at(INTERVAL + TIMEOUT), fact, &mut out);
    assert_eq!(
        out,
        [Action::Create { position, bytes }],
        "the very same bytes"
    );
    out.clear();
    bench
        .coordinator
        .step(at(INTERVAL + 2 * TIMEOUT), Fact::Tick, &mut out);
    let is_broken = |action: &Action| matches!(action, Action::End(End::Broken(_)));
    assert!(out.iter().any(is_broken), "nobody waits forever: {out:?}");
}

#[test]
fn whoever_loses_a_create_is_fenced() {
    for looked_up in [
        LookedUp::Found {
            digest: Digest::of(b"another"),
            is_last: true,
        },
        LookedUp::Absent { is_last: false },
    ] {
        let mut bench = Bench::begun(nothing(), None);
        bench.wait(INTERVAL);
        bench.acknowledge(1, 0, 1);
        bench.asked();
        let mut out = Vec::new();
        let now = Now {
            monotonic_us: INTERVAL,
            wall_us: 0,
        };
        let position = Position(2);
        let facts = [
            Fact::Acknowledged {
                checkpoint: n(1),
                subtask: SubtaskIndex(1),
                snapshot: Box::new(Snapshot::default()),
            },
            Fact::Created {
                position,
                created: Created::Exists,
            },
            Fact::LookedUp {
                position,
                looked_up,
            },
        ];
        for fact in facts {
            out.clear();
            bench.coordinator.step(now, fact, &mut out);
        }
        let [Action::End(End::Broken(AttemptError::Fenced { entry }))] = &out[..] else {
            panic!("{out:?}");
        };
        assert_eq!(entry, "default/j/0-7/log/0000000002");
    }
}

#[test]
fn the_newest_are_kept_and_what_they_do_not_name_goes() {
    let mut bench = Bench::begun(nothing(), None);
    (1..=2).for_each(|checkpoint| bench.pass(checkpoint));
    assert_eq!(bench.deleted, [""; 0]);
    bench.pass(3);
    let gone = [
        "default/j/0-7/log/0000000002",
        "default/j/0-7/objects/0000000001/0000000001/rows-0",
        "default/j/0-7/objects/0000000001/0000000001/rows-1",
    ];
    assert_eq!(bench.deleted, gone, "the manifest first");
    bench.wait(INTERVAL);
    bench.complete(4);
    assert_eq!(bench.deleted.len(), 6, "checkpoint 2");
    // The sink has not applied 4, so 5 may not retire anything above 3.
    bench.wait(INTERVAL);
    bench.complete(5);
    assert_eq!(bench.deleted.len(), 9, "checkpoint 3");
    assert_eq!(
        bench.coordinator.wake_at_us(),
        None,
        "the sink has two to apply"
    );
    bench.apply(4);
    assert!(bench.coordinator.wake_at_us().is_some());
}

#[test]
fn a_savepoint_stands_alone_until_it_is_disposed_of() {
    let mut bench = Bench::begun(nothing(), None);
    bench.pass(1);
    bench.asked();
    bench.tell(Fact::Requested(Request::Savepoint));
    bench.tell(Fact::Requested(Request::Savepoint));
    bench.wait(100);
    assert_eq!(
        bench.asked(),
        ["inject 2 Savepoint"],
        "no base, and only one"
    );
    bench.complete(2);
    bench.apply(2);
    bench.asked();
    bench.wait(INTERVAL);
    assert_eq!(bench.asked(), ["inject 3 Periodic on 1"]);
    bench.complete(3);
    bench.apply(3);
    (4..=5).for_each(|checkpoint| bench.pass(checkpoint));
    let entry = "default/j/0-7/log/0000000003".to_owned();
    assert!(!bench.deleted.contains(&entry), "{:?}", bench.deleted);
    bench.tell(Fact::Disposed(n(2)));
    assert!(bench.deleted.contains(&entry));
}

#[test]
fn the_last_checkpoint_ends_the_job_once_it_is_applied() {
    let mut bench = Bench::begun(nothing(), None);
    bench.tell(Fact::Requested(Request::Finish));
    assert_eq!(bench.asked(), ["begin 1", "list", "inject 1 Final last"]);
    bench.tell(Fact::Declined {
        checkpoint: n(1),
        subtask: SubtaskIndex(0),
        reason: "not now".into(),
    });
    bench.wait(100);
    assert_eq!(
        bench.asked(),
        ["abort 1", "inject 2 Final last"],
        "it is still wanted"
    );
    bench.complete(2);
    assert_eq!(bench.asked(), ["decided 2", "list", "apply 2"]);
    // The process dies here; the next one has nothing to run, but something to apply.
    let recovered = bench.recovered();
    assert!(recovered.is_finished());
    bench.apply(2);
    assert_eq!(bench.asked(), ["done 2"]);
    let mut next = Bench::begun(recovered, None);
    assert_eq!(next.asked(), ["begin 2", "list", "apply 2"]);
    next.apply(2);
    assert_eq!(next.asked(), ["done 2"]);
}

#[test]
fn behind_the_cut_of_a_drain_only_the_last_checkpoint_is_taken() {
    let mut bench = Bench::begun(nothing(), None);
    bench.tell(Fact::Requested(Request::Savepoint));
    assert_eq!(bench.asked(), ["begin 1", "list", "inject 1 Savepoint"]);
    bench.acknowledge(1, 0, 1);
    bench.tell(Fact::Draining);
    assert_eq!(bench.asked(), ["abort 1", "Cut"]);
    bench.acknowledge(1, 1, 1);
    bench.tell(Fact::Requested(Request::Stop));
    bench.wait(3 * INTERVAL);
    assert_eq!(bench.asked(), Vec::<String>::new());
    assert_eq!(bench.coordinator.wake_at_us(), None);
    bench.tell(Fact::Requested(Request::Finish));
    assert_eq!(bench.asked(), ["inject 2 Final last"]);
    bench.complete(2);
    bench.apply(2);
    assert!(bench.asked().contains(&"done 2".to_owned()));
    // One whose last barrier is out already stops as it was asked to.
    let mut bench = Bench::begun(nothing(), None);
    bench.tell(Fact::Requested(Request::Stop));
    bench.tell(Fact::Draining);
    bench.complete(1);
    bench.apply(1);
    let asked = bench.asked();
    assert!(asked.contains(&"done 1".to_owned()) && !asked.contains(&"Cut".to_owned()));
}

#[test]
fn sinks_follow_from_where_their_marker_stands() {
    let mut bench = Bench::begun(nothing(), None);
    bench.pass(1);
    (2..=3).for_each(|checkpoint| {
        bench.wait(INTERVAL);
        bench.complete(checkpoint);
    });
    let recovered = bench.recovered();
    let mut next = Bench::begun(recovered.clone(), Some(1));
    assert_eq!(next.asked(), ["begin 2", "list", "apply 2"]);
    next.apply(2);
    assert_eq!(next.asked(), ["apply 3"]);
    next.apply(3);
    assert_eq!(next.asked(), [""; 0]);
    let ahead = Bench::begun(recovered.clone(), Some(9)).asked();
    assert!(
        ahead[2].contains("sink `out` has applied checkpoint 9"),
        "{ahead:?}"
    );
    let mut gap = recovered;
    gap.kept.remove(0);
    let behind = Bench::begun(gap, None).asked();
    assert!(behind[2].contains("rows would be missing"), "{behind:?}");
}

#[test]
fn where_something_cannot_be_read_nothing_is_deleted() {
    let mut bench = Bench::begun(nothing(), None);
    bench.pass(1);
    let mut recovered = bench.recovered();
    recovered.damaged.push(Damage {
        decided: Decided {
            checkpoint: n(0),
            position: Position(1),
            digest: Digest::of(b""),
        },
        reason: "a bit has flipped".into(),
    });
    let mut next = Bench::begun(recovered, Some(1));
    assert_eq!(next.asked(), ["begin 2"], "it does not even look");
    (2..=6).for_each(|checkpoint| next.pass(checkpoint));
    next.tell(Fact::Listed(vec![
        "default/j/0-7/objects/0000000001/0000000009/x".into(),
    ]));
    assert_eq!(next.deleted, [""; 0]);
}

#[test]
fn a_listing_shows_what_nobody_will_name() {
    let mut bench = Bench::begun(nothing(), None);
    bench.pass(1);
    let mut next = Bench::begun(bench.recovered(), Some(1));
    next.wait(INTERVAL);
    let object = |rest: &str| format!("default/j/0-7/objects/{rest}");
    let kept = [
        object("0000000001/0000000001/rows-0"), // the base names it
        object("0000000002/0000000002/rows-0"), // of the pending checkpoint
        object("0000000003/0000000001/rows-0"), // of a later attempt
        object("0000000001/odd"),
        "default/j/0-7/log/0000000001".to_owned(),
        "default/j/0-7/notes.txt".to_owned(),
        "default/k/0-7/objects/0000000001/0000000001/x".to_owned(),
    ];
    let orphans = [
        object("0000000001/0000000001/torn"),
        object("0000000001/0000000002/rows-0"),
        object("0000000002/0000000001/rows-0"),
    ];
    let listing: Vec<String> = kept.iter().chain(&orphans).cloned().collect();
    next.tell(Fact::Listed(listing));
    assert_eq!(next.deleted, orphans);
}

#[test]
fn only_the_newest_checkpoint_is_shared_with_what_follows() {
    let mut bench = Bench::begun(nothing(), None);
    (1..=2).for_each(|checkpoint| bench.pass(checkpoint));
    let newest = bench.recovered();
    assert!(newest.is_base_shared());
    let mut older = newest;
    older.base = Some(Base {
        decided: older.kept[0].decided,
        origin: None,
    });
    older.manifest = Some(Arc::clone(&older.kept[0].manifest));
    assert!(!older.is_base_shared());
    let mut next = Bench::begun(older, Some(1));
    next.wait(INTERVAL);
    assert_eq!(
        next.asked(),
        ["begin 2", "list", "inject 3 Periodic"],
        "whole, on nothing"
    );
    next.complete(3);
    assert_eq!(next.asked(), ["decided 3", "apply 3"], "2 was given up");
}
