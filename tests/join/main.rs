//! Joins of the real binary give what loops over all rows find, at any parallelism and batch size,
//! from rows out of order and late, and after kills.
#![allow(
    clippy::print_stdout,
    reason = "which seed it was, for whoever repeats a failure"
)]

mod kill;
mod oracle;
mod rows;
mod spill;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wasmill_tests::programs;

use oracle::{Kind, Outcome, expected};
use rows::{OUT_OF_ORDERNESS, Row, SECOND, csv, rows};

/// A job with one join.
struct Job<'a> {
    join: &'a str,
    kind: Kind,
    /// Further fields of the document.
    top: &'a str,
    rows_max: usize,
}

impl Job<'_> {
    fn document(&self) -> String {
        let is_lookup = matches!(self.kind, Kind::Lookup);
        let mut text = format!("name: joined\n{}sources:\n", self.top);
        let lag = OUT_OF_ORDERNESS / SECOND;
        for side in ["left", "right"] {
            write!(
                text,
                "  {side}-rows:
    file: {{ path: \"{side}-*.csv\" }}
    format: {{ csv: {{ id: u64, key: u64, at: timestamp }}, timestamp: microseconds }}
"
            )
            .expect("memory");
            if !(is_lookup && side == "right") {
                let time = format!("event-time: {{ column: at, out-of-orderness: {lag}s }}");
                writeln!(text, "    {time}").expect("memory");
            }
        }
        let (join, rows_max) = (self.join, self.rows_max);
        write!(
            text,
            "operators:
  joined:
    input: {{ left: left-rows, right: right-rows }}
    key-by: [key]
    join: {join}
    batch: {{ rows-max: {rows_max} }}
    select: {{ left: left.id, right: right.id, key: key.key }}
sinks:
  out:
    input: joined
    file: {{ path: out.jsonl }}
    format: {{ json: {{ timestamps: microseconds }} }}
    include: {{ at: event-time, id: row-id }}
"
        )
        .expect("memory");
        if !is_lookup {
            text += "  late-left: { input: joined.late-left, file: { path: late-left.jsonl } }\n";
            text +=
                "  late-right: { input: joined.late-right, file: { path: late-right.jsonl } }\n";
        }
        text
    }

    fn write(&self, folder: &Path, sides: [&[Row]; 2]) {
        for (side, rows) in ["left", "right"].into_iter().zip(sides) {
            let files = rows.iter().map(|row| row.file).max().unwrap_or(0);
            for file in 0..=files {
                let path = folder.join(format!("{side}-{file}.csv"));
                fs::write(path, csv(rows, file)).expect("the folder is writable");
            }
        }
        self.write_document(folder);
    }

    fn write_document(&self, folder: &Path) {
        fs::write(folder.join("pipeline.yaml"), self.document()).expect("the folder is writable");
    }
}

/// A command that runs the job of a folder.
fn command(folder: &Path, parallelism: u64) -> Command {
    let mut command = Command::new(programs().join("wasmill"));
    command.args(["run", "pipeline.yaml", "--parallelism"]);
    command.arg(parallelism.to_string()).current_dir(folder);
    command
}

/// Runs a job to its end, and gives what it said.
fn run(folder: &Path, parallelism: u64) -> String {
    let output = command(folder, parallelism)
        .output()
        .expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// What a job has brought out, by key and in its order; each row has an id of its own.
fn found(folder: &Path) -> BTreeMap<u64, Vec<Outcome>> {
    let text = fs::read_to_string(folder.join("out.jsonl")).expect("the job wrote its file");
    let mut keys: BTreeMap<u64, Vec<Outcome>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let id = row["id"].as_str().expect("an id").to_owned();
        assert!(!ids.contains(&id), "{id} stands twice");
        ids.insert(id);
        let outcome = (
            row["left"].as_u64(),
            row["right"].as_u64(),
            row["at"].as_i64().expect("a time"),
        );
        let key = row["key"].as_u64().expect("a key");
        keys.entry(key).or_default().push(outcome);
    }
    keys
}

/// Late rows of a side that a job has brought out.
fn late(folder: &Path, side: &str) -> usize {
    let text = fs::read_to_string(folder.join(format!("late-{side}.jsonl")));
    text.expect("the job wrote its file").lines().count()
}

fn check(folder: &Path, (kind, keeps): (Kind, [bool; 2]), sides: [&[Row]; 2], name: &str) {
    let found = found(folder);
    let mut all: Vec<Outcome> = found.into_values().flatten().collect();
    all.sort_unstable();
    let wanted = expected(kind, keeps, sides);
    let differs = all.iter().zip(&wanted).find(|(got, wanted)| got != wanted);
    assert_eq!(differs, None, "{name}: the first row that differs");
    assert_eq!(all.len(), wanted.len(), "{name}: how many rows there are");
    if !matches!(kind, Kind::Lookup) {
        for (side, rows) in ["left", "right"].into_iter().zip(sides) {
            let wanted = rows.iter().filter(|row| row.is_late).count();
            assert_eq!(late(folder, side), wanted, "{name}: late rows, {side}");
        }
    }
}

/// Each (parallelism, most rows of a batch).
const CUTS: [(u64, usize); 4] = [(1, 4096), (2, 7), (4, 4096), (4, 1)];

/// Which sides' rows come out alone.
fn keeps(join_type: &str) -> [bool; 2] {
    [
        matches!(join_type, "left" | "full"),
        matches!(join_type, "right" | "full"),
    ]
}

/// Runs a join of every type in every way.
fn agrees(seed: u64, (join, kind): (&str, Kind), types: &[&str]) {
    println!("{join}, seed {seed}");
    let left = rows(seed, 0, (900, 25, 2));
    let right = rows(seed + 1_000, 1_000_000, (700, 25, 2));
    let sides = [&left[..], &right[..]];
    assert!(left.iter().any(|row| row.is_late), "some rows are late");
    for join_type in types {
        let mut first: Option<BTreeMap<u64, Vec<Outcome>>> = None;
        for (parallelism, rows_max) in CUTS {
            let folder = tempfile::tempdir().expect("a folder for the test's files");
            let job = Job {
                join: &format!("{{ {join}, type: {join_type} }}"),
                kind,
                top: "checkpoint: off\n",
                rows_max,
            };
            job.write(folder.path(), sides);
            run(folder.path(), parallelism);
            let name = format!("{join} {join_type} x{parallelism}, {rows_max} rows");
            check(folder.path(), (kind, keeps(join_type)), sides, &name);
            if !matches!(kind, Kind::Lookup) {
                let found = found(folder.path());
                let first = first.get_or_insert_with(|| found.clone());
                assert_eq!(*first, found, "{name}: the order of each key");
            }
        }
    }
}

const ALL: [&str; 4] = ["inner", "left", "right", "full"];
const ONE_SIDED: [&str; 2] = ["inner", "left"];

#[test]
fn rows_meet_that_lie_within_an_interval() {
    let kind = Kind::Interval(-5 * SECOND, 20 * SECOND);
    agrees(1, ("interval: { lower: -5s, upper: 20s }", kind), &ALL);
}

#[test]
fn an_interval_may_lie_before_or_behind() {
    let before = Kind::Interval(-20 * SECOND, -3 * SECOND);
    agrees(
        2,
        ("interval: { lower: -20s, upper: -3s }", before),
        &["full"],
    );
    let behind = Kind::Interval(3 * SECOND, 20 * SECOND);
    agrees(
        3,
        ("interval: { lower: 3s, upper: 20s }", behind),
        &["full"],
    );
}

#[test]
fn rows_meet_that_lie_in_one_window() {
    let tumbling = Kind::Window(15 * SECOND, 15 * SECOND);
    agrees(4, ("window: { tumbling: 15s }", tumbling), &ALL);
    let sliding = Kind::Window(20 * SECOND, 8 * SECOND);
    let join = "window: { sliding: { size: 20s, every: 8s } }";
    agrees(5, (join, sliding), &["inner", "full"]);
}

#[test]
fn a_row_meets_the_version_of_its_time() {
    agrees(6, ("as-of: {}", Kind::AsOf(None)), &ONE_SIDED);
    let aged = Kind::AsOf(Some(6 * SECOND));
    agrees(7, ("as-of: { max-age: 6s }", aged), &ONE_SIDED);
}

#[test]
fn rows_meet_those_of_a_table() {
    agrees(8, ("lookup: {}", Kind::Lookup), &ONE_SIDED);
}
