//! The crash points of a commit, and how a job gets to each of them.

use std::process::Command;

use wasmill_tests::programs;

use crate::document::Form;

/// What has to happen for a point to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The job runs for a while.
    Run,
    /// The job starts, and is to go on from a checkpoint.
    Start,
    /// The job is asked to end.
    Drain,
    /// The job starts, and Kafka has committed what the log of checkpoints does not know.
    Behind,
}

/// Points of both forms.
const OF_BOTH: &[(&str, Way)] = &[
    ("before-barrier", Way::Run),
    ("sink-share", Way::Run),
    ("mid-snapshot", Way::Run),
    ("uploaded", Way::Run),
    ("decided", Way::Run),
    ("decided-told", Way::Run),
    ("before-apply", Way::Run),
    ("applied", Way::Run),
    ("garbage-listed", Way::Start),
    ("manifest-deleted", Way::Run),
    ("object-deleted", Way::Run),
    ("restore-listed", Way::Start),
    ("mid-restore", Way::Start),
    ("before-attempt", Way::Start),
    ("after-attempt", Way::Start),
    ("sink-opened", Way::Start),
    ("restored", Way::Start),
    ("final-barrier", Way::Drain),
    ("final-decided", Way::Drain),
    ("final-applied", Way::Drain),
];
/// Points where the log of checkpoints decides.
const OF_FOLLOWER: &[(&str, Way)] = &[
    ("before-manifest", Way::Run),
    ("after-manifest", Way::Run),
    ("final-manifest", Way::Drain),
    ("sqlite-written", Way::Run),
    ("sqlite-committed", Way::Run),
];
/// Points where Kafka does.
const OF_DECIDER: &[(&str, Way)] = &[
    // Rows stand in an open transaction meanwhile.
    ("after-barrier", Way::Run),
    ("state-encoded", Way::Run),
    ("mid-upload", Way::Run),
    ("postgres-written", Way::Run),
    ("postgres-committed", Way::Run),
];
/// How the names of points begin that only a job with Kafka has, and which form has them, if it is
/// not both. All such points that the program knows are reached.
const OF_KAFKA: &[(&str, Option<Form>)] = &[
    ("kafka-", None),
    ("manifest-prepared", Some(Form::Decides)),
    ("verdict-", Some(Form::Decides)),
];
/// Such points that a start leads to, and that one process reaches once.
const STARTS: &[&str] = &["kafka-initialized", "kafka-taken-over", "verdict-read"];
/// Points for which other sinks wait: the second time is not asked for.
const ONCE: &[&str] = &["sqlite-committed", "postgres-committed", "kafka-committed"];
/// A point is asked for the first or a later time, up to this one.
const TIMES_MAX: u64 = 3;

/// A crash point.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) way: Way,
    /// It is asked for the first or a later time, up to this one.
    pub(crate) times_max: u64,
}

/// All points of a commit in a form.
///
/// # Panics
///
/// If the program does not know one.
pub(crate) fn of(form: Form) -> Vec<Point> {
    let list = Command::new(programs().join("wasmill"))
        .env("WASMILL_CRASH_AT", "list")
        .output();
    let list = String::from_utf8(list.expect("wasmill starts").stdout).expect("names are text");
    let own = match form {
        Form::Follower => OF_FOLLOWER,
        Form::Decides => OF_DECIDER,
    };
    let mut ways: Vec<(&str, Way)> = OF_BOTH.iter().chain(own).copied().collect();
    for (begin, of) in OF_KAFKA {
        let names = list.lines().filter(|name| name.starts_with(begin));
        let names: Vec<&str> = names.collect();
        assert!(!names.is_empty(), "there is no crash point `{begin}...`");
        if of.is_none_or(|of| of == form) {
            let way = |name| match name {
                "verdict-entered" => Way::Behind,
                _ if STARTS.contains(&name) => Way::Start,
                _ => Way::Run,
            };
            ways.extend(names.into_iter().map(|name| (name, way(name))));
        }
    }
    let point = |(name, way): (&str, Way)| {
        let is_known = list.lines().any(|known| known == name);
        assert!(is_known, "there is no crash point `{name}` any more");
        let again = way == Way::Run && !ONCE.contains(&name);
        Point {
            name: name.into(),
            way,
            times_max: if again { TIMES_MAX } else { 1 },
        }
    };
    ways.into_iter().map(point).collect()
}
