//! Windows under `kill -9`: at whatever parallelism the job goes on, it has brought out in the end
//! what plain Rust counts, each result once.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use wasmill_tests::{Signal, kill::Kills, signal};

use super::{CUMULATIVE, Job, LATENESS, SESSION, SLIDING, TUMBLING, check, command, run};
use crate::oracle::Windows;
use crate::rows::{Random, Row, rows};

/// Enough to outlast some of the kills on a fast machine.
const RECORDS: usize = 60_000;
/// Starts that are ended by force: at least so many, and more until some rows have come out.
pub(crate) const KILLS: usize = 6;
pub(crate) const KILLS_MAX: usize = 24;

/// Lets the job run for a while, however far that takes it.
#[expect(
    clippy::disallowed_methods,
    reason = "a kill comes at any time; nothing is expected to have happened"
)]
fn some_time(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// Kills the job after random times, each attempt at another parallelism and with the next of some
/// kinds of state; gives how many were still running.
fn kill(folder: &Path, job: &Job<'_>, states: &[&str], random: &mut Random) -> usize {
    let mut kills = Kills::default();
    let mut has_decided = false;
    for number in 0..KILLS_MAX {
        if number >= KILLS && has_decided {
            break;
        }
        let top = format!("{CHECKPOINTS}{}", states[number % states.len()]);
        Job { top: &top, ..*job }.write_document(folder);
        let mut command = command(folder, random.below(4) + 1);
        kills.kill(&mut command, random.below(1_000));
        let out = fs::read_to_string(folder.join("out.jsonl")).unwrap_or_default();
        has_decided = kills.number() > 0 && out.contains('\n');
        if kills.number() > 0 && !has_decided {
            kills.take_longer();
        }
    }
    assert!(has_decided, "no checkpoint was gone on from");
    kills.number()
}

pub(crate) const CHECKPOINTS: &str = "checkpoint: { interval: 20ms, storage: checkpoints }\n";

fn survives((seed, records): (u64, usize), windows: (&str, Windows), lateness: (i64, &str)) {
    survives_with(&[""], &rows(seed, records, 2), seed, windows, lateness);
}

/// The same with each of some kinds of state in turn.
pub(crate) fn survives_with(
    states: &[&str],
    rows: &[Row],
    seed: u64,
    (window, windows): (&str, Windows),
    (lateness, more): (i64, &str),
) {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let job = Job {
        window,
        more,
        top: CHECKPOINTS,
        sources: 2,
        rows_max: 64,
        is_piped: false,
        fold: "",
    };
    job.write(folder.path(), rows);
    let killed = kill(folder.path(), &job, states, &mut Random(seed));
    println!("{window} {more}, seed {seed}: {killed} kills");
    assert!(killed > 0, "the job is slower than the first kill");
    run(folder.path(), 2);
    let expected = windows.expected(rows, lateness);
    check(folder.path(), &expected, window);
}

#[test]
fn tumbling_windows_survive_kills() {
    survives((11, RECORDS), TUMBLING, (0, ""));
}

#[test]
fn sliding_windows_with_corrections_survive_kills() {
    survives((12, RECORDS), SLIDING, LATENESS);
}

#[test]
fn cumulative_windows_survive_kills() {
    survives((13, RECORDS), CUMULATIVE, LATENESS);
}

#[test]
fn sessions_with_corrections_survive_kills() {
    survives((14, RECORDS / 3), SESSION, LATENESS);
}

/// A job with a generator that a signal stops.
const NUMBERS: &str = "\
name: numbers
checkpoint: { interval: 1h, storage: checkpoints }
sources:
  n:
    generator:
      rate: 20000
      columns: { n: { mod: 7 }, at: { time: { step: 1ms } } }
    event-time: { column: at }
operators:
  windows:
    input: n
    key-by: [n]
    window: { tumbling: 1h }
    aggregates: { total: { sum: n } }
sinks:
  out: { input: windows, file: { path: out.jsonl } }
  late: { input: windows.late, discard: {} }
";

#[test]
fn windows_of_another_definition_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let document = folder.path().join("pipeline.yaml");
    fs::write(&document, NUMBERS).expect("the folder is writable");
    let mut first = command(folder.path(), 2);
    let mut running = first.stderr(Stdio::null()).spawn().expect("wasmill starts");
    let log = folder.path().join("checkpoints/default/numbers");
    while !fs::exists(&log).expect("a look") {
        thread::yield_now();
    }
    some_time(300);
    signal(&running, Signal::TERM);
    running.wait().expect("it ends");
    let changed = NUMBERS.replace("{ sum: n }", "{ max: n }");
    fs::write(&document, changed).expect("the folder is writable");
    let refused = command(folder.path(), 1).output().expect("wasmill starts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    let was = "state `windows.window` was `window tumbling 1h lateness 0us; total: sum n u64`";
    assert!(said.contains(was), "{said}");
}
