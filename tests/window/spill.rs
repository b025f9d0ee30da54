//! Windows that are larger than their memory: keys leave it, and come back with their rows, with
//! the ends of their windows, and with late rows. What comes out is what plain Rust counts.

use super::kill::survives_with;
use super::{CUMULATIVE, Job, LATENESS, SESSION, SLIDING, TUMBLING, check, command, run};
use crate::oracle::Windows;
use crate::rows::rows_of;
use wasmill_tests::kill::reaches;

/// So little memory that most keys are on disk.
const SPILLING: &str = "state: { backend: rocksdb, cache: 64KiB, directory: spill }\n";

/// Runs a job that spills, at several parallelisms.
fn agrees(keys: u64, seed: u64, (window, windows): (&str, Windows), (lateness, more): (i64, &str)) {
    println!("{window} {more}, {keys} keys, seed {seed}");
    for sources in [1, 2] {
        let rows = rows_of(keys, seed, 12_000, sources);
        let expected = windows.expected(&rows, lateness);
        for (parallelism, rows_max) in [(1, 64), (2, 4_096), (4, 7)] {
            let folder = tempfile::tempdir().expect("a folder for the test's files");
            let job = Job {
                window,
                more,
                top: &format!("checkpoint: off\n{SPILLING}"),
                sources,
                rows_max,
                is_piped: false,
                fold: "",
            };
            job.write(folder.path(), &rows);
            let points = ["keys-left", "keys-fetched", "keys-woken"];
            let is_first = sources == 1 && parallelism == 1;
            for point in points.into_iter().filter(|_| is_first) {
                let mut command = command(folder.path(), parallelism);
                assert!(reaches(&mut command, point, 2), "{window}: {point}");
            }
            run(folder.path(), parallelism);
            let name = format!("{window} {more}, {sources} sources, parallelism {parallelism}");
            check(folder.path(), &expected, &name);
        }
    }
}

#[test]
fn windows_that_lie_in_time_leave_memory() {
    agrees(300, 31, TUMBLING, (0, ""));
    agrees(100, 32, TUMBLING, LATENESS);
    agrees(100, 33, SLIDING, (0, ""));
    agrees(60, 34, SLIDING, LATENESS);
    agrees(60, 35, CUMULATIVE, (0, ""));
    agrees(60, 36, CUMULATIVE, LATENESS);
}

#[test]
fn sessions_leave_memory() {
    agrees(40, 37, SESSION, (0, ""));
    agrees(40, 38, SESSION, LATENESS);
}

/// With one backend and then the other, at one parallelism and then another.
fn survives(keys: u64, seed: u64, windows: (&str, Windows), lateness: (i64, &str)) {
    let rows = rows_of(keys, seed, 20_000, 2);
    survives_with(&[SPILLING, "", SPILLING], &rows, seed, windows, lateness);
}

#[test]
fn tumbling_windows_on_disk_survive_kills() {
    survives(300, 41, TUMBLING, (0, ""));
}

#[test]
fn sliding_windows_on_disk_survive_kills() {
    survives(60, 42, SLIDING, LATENESS);
}

#[test]
fn sessions_on_disk_survive_kills() {
    survives(40, 43, SESSION, LATENESS);
}
