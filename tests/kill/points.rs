//! How a job gets to each crash point.

use std::process::Command;

use wasmill_tests::programs;

use crate::job::Backend;

/// What has to happen for a point to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The job runs for a while.
    Run,
    /// The job starts, and is to go on from a checkpoint.
    Start,
    /// The job is asked to end.
    Drain,
    /// The job is asked for a savepoint.
    Savepoint,
    /// A plugin's next version brings the state of the version before to its own types.
    Migrate,
    /// The job has come to its end, and its sinks have not brought everything out.
    CatchUp,
}

/// Points that are not reached by running for a while.
const WAYS: &[(&str, Way)] = &[
    ("restore-listed", Way::Start),
    ("log-read", Way::Start),
    ("mid-restore", Way::Start),
    ("before-attempt", Way::Start),
    ("after-attempt", Way::Start),
    ("sink-opened", Way::Start),
    ("state-restored", Way::Start),
    ("restored", Way::Start),
    ("kafka-initialized", Way::Start),
    ("kafka-taken-over", Way::Start),
    ("windows-restored", Way::Start),
    ("disk-cleared", Way::Start),
    ("savepoint-begun", Way::Savepoint),
    ("savepoint-decided", Way::Savepoint),
    ("mid-migration", Way::Migrate),
    ("migrated", Way::Migrate),
    ("final-barrier", Way::Drain),
    ("final-manifest", Way::Drain),
    ("final-decided", Way::Drain),
    ("final-applied", Way::Drain),
    ("caught-up", Way::CatchUp),
];

/// Points that one process can reach once only, or that must come before anything else: the second
/// time is not asked for.
const ONCE: &[&str] = &[
    "restore-listed",
    "log-read",
    "before-attempt",
    "after-attempt",
    "restored",
    "garbage-listed",
    // Other sinks wait for these.
    "file-committed",
    "sqlite-committed",
    "postgres-committed",
    "kafka-committed",
    "kafka-initialized",
    "kafka-taken-over",
];

/// Points that only state on disk has, and how often one process is to reach them at most: that
/// keys leave memory and come back is not to be an exception.
const ON_DISK: &[(&str, u64)] = &[
    ("keys-left", 20),
    ("keys-fetched", 100),
    ("keys-woken", 10),
    ("disk-taken", 5),
    ("disk-cleared", 1),
];
/// The same of other points.
const TIMES_MAX: u64 = 3;

/// A crash point.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) way: Way,
    /// It is asked for the first or a later time, up to this one.
    pub(crate) times_max: u64,
}

/// What the place of checkpoints has to do with.
const OF_THE_STORE: &[&str] = &[
    "mid-upload",
    "uploaded",
    "before-manifest",
    "after-manifest",
    "decided",
    "file-committed",
    "before-delete",
    "manifest-deleted",
    "object-deleted",
    "final-manifest",
    "caught-up",
    "restore-listed",
    "mid-restore",
    "after-attempt",
];

/// Points that only a job with a Kafka sink reaches begin with one of these.
const OF_KAFKA: &[&str] = &["kafka-", "manifest-prepared", "verdict-"];

impl Point {
    /// Whether a job without Kafka never reaches it.
    fn is_of_kafka(&self) -> bool {
        let mut starts = OF_KAFKA.iter();
        starts.any(|start| self.name.starts_with(start))
    }

    /// Whether it lies where something is stored, read or deleted.
    pub(crate) fn is_of_the_store(&self) -> bool {
        OF_THE_STORE.contains(&self.name.as_str())
    }
}

/// All points that a job with this backend can reach.
pub(crate) fn all_of(backend: Backend) -> Vec<Point> {
    let mut points = all();
    // Those of a Kafka sink, which this job has not.
    points.retain(|point| !point.name.starts_with("kafka-"));
    let is_on_disk = |point: &Point| ON_DISK.iter().any(|(name, _)| *name == point.name);
    points.retain(|point| backend.0 != "memory" || !is_on_disk(point));
    points.retain(|point| !point.is_of_kafka());
    points
}

/// All of the binary's points.
pub(crate) fn all() -> Vec<Point> {
    let list = Command::new(programs().join("wasmill"))
        .env("WASMILL_CRASH_AT", "list")
        .output();
    let list = String::from_utf8(list.expect("wasmill starts").stdout).expect("names are text");
    let known: Vec<&str> = list.lines().collect();
    let named = WAYS
        .iter()
        .map(|(name, _)| name)
        .chain(ONCE)
        .chain(ON_DISK.iter().map(|(name, _)| name))
        .chain(OF_THE_STORE);
    for name in named {
        assert!(
            known.contains(name),
            "there is no crash point `{name}` any more"
        );
    }
    assert!(known.len() >= 14, "{known:?}");
    let point = |name: &&str| {
        let way = WAYS.iter().find(|(point, _)| point == name);
        let way = way.map_or(Way::Run, |(_, way)| *way);
        Point {
            name: (*name).to_owned(),
            way,
            times_max: match ON_DISK.iter().find(|(point, _)| point == name) {
                Some((_, times)) => *times,
                None if way == Way::Run && !ONCE.contains(name) => TIMES_MAX,
                None => 1,
            },
        }
    };
    known.iter().map(point).collect()
}
