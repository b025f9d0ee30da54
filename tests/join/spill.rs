//! Joins that keep more than fits into their memory: keys leave it, and come back with their rows
//! and with their times. What comes out is what loops over all rows find.

use crate::kill::survives_with;
use crate::oracle::Kind;
use crate::rows::{SECOND, rows};
use crate::{Job, check, command, keeps, run};
use wasmill_tests::kill::reaches;

/// So little memory that most keys are on disk.
const SPILLING: &str = "state: { backend: rocksdb, cache: 64KiB, directory: spill }\n";

/// Runs a join that spills, at several parallelisms.
fn agrees(seed: u64, (join, kind): (&str, Kind), types: &[&str]) {
    println!("{join}, seed {seed}");
    let left = rows(seed, 0, (20_000, 3_000, 2));
    let right = rows(seed + 1_000, 1_000_000, (16_000, 3_000, 2));
    let sides = [&left[..], &right[..]];
    for join_type in types {
        for (parallelism, rows_max) in [(1, 64), (2, 4_096), (4, 7)] {
            let folder = tempfile::tempdir().expect("a folder for the test's files");
            let job = Job {
                join: &format!("{{ {join}, type: {join_type} }}"),
                kind,
                top: &format!("checkpoint: off\n{SPILLING}"),
                rows_max,
            };
            job.write(folder.path(), sides);
            let points = points(kind, join_type).iter();
            for point in points.filter(|_| parallelism == 1) {
                let mut command = command(folder.path(), parallelism);
                assert!(reaches(&mut command, point, 2), "{join}: {point}");
            }
            run(folder.path(), parallelism);
            let name = format!("{join} {join_type} x{parallelism}, {rows_max} rows");
            check(folder.path(), (kind, keeps(join_type)), sides, &name);
        }
    }
}

/// What has to happen to keys: they come back for a time only where something is due then.
fn points(kind: Kind, join_type: &str) -> &'static [&'static str] {
    let is_due = match kind {
        Kind::Interval(..) => join_type != "inner",
        Kind::Window(..) => true,
        Kind::AsOf(_) | Kind::Lookup => false,
    };
    match is_due {
        true => &["keys-left", "keys-fetched", "keys-woken"],
        false => &["keys-left", "keys-fetched"],
    }
}

const INTERVAL: (&str, Kind) = (
    "interval: { lower: -300s, upper: 900s }",
    Kind::Interval(-300 * SECOND, 900 * SECOND),
);
const SLIDING: (&str, Kind) = (
    "window: { sliding: { size: 600s, every: 200s } }",
    Kind::Window(600 * SECOND, 200 * SECOND),
);

#[test]
fn intervals_leave_memory() {
    agrees(31, INTERVAL, &["inner", "full"]);
}

#[test]
fn windows_leave_memory() {
    agrees(32, SLIDING, &["inner", "full"]);
    let tumbling = Kind::Window(900 * SECOND, 900 * SECOND);
    agrees(33, ("window: { tumbling: 900s }", tumbling), &["full"]);
}

#[test]
fn versions_and_tables_leave_memory() {
    agrees(34, ("as-of: {}", Kind::AsOf(None)), &["left"]);
    let aged = Kind::AsOf(Some(600 * SECOND));
    agrees(35, ("as-of: { max-age: 600s }", aged), &["left"]);
    agrees(36, ("lookup: {}", Kind::Lookup), &["left"]);
}

/// With one backend and then the other, at one parallelism and then another.
const STATES: [&str; 3] = [SPILLING, "", SPILLING];

#[test]
fn intervals_on_disk_survive_kills() {
    let (join, kind) = INTERVAL;
    survives_with(&STATES, 41, (join, kind, "full"));
}

#[test]
fn windows_on_disk_survive_kills() {
    let (join, kind) = SLIDING;
    survives_with(&STATES, 42, (join, kind, "full"));
}

#[test]
fn versions_on_disk_survive_kills() {
    survives_with(&STATES, 43, ("as-of: {}", Kind::AsOf(None), "left"));
}

#[test]
fn tables_on_disk_survive_kills() {
    survives_with(&STATES, 44, ("lookup: {}", Kind::Lookup, "left"));
}
