//! Windows of the real binary give what plain Rust counts, at any parallelism and batch size, from
//! rows out of order and late, and after kills.
#![allow(
    clippy::print_stdout,
    reason = "which seed it was, for whoever repeats a failure"
)]

mod endless;
mod fold;
mod guest;
mod kill;
mod oracle;
mod plain;
mod rows;
mod spill;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use wasmill_tests::{programs, root};

use oracle::{AGGREGATES, Expected, SECOND, Windows};
use rows::{OUT_OF_ORDERNESS, Random, Row, csv, rows};

/// A job with one operator that aggregates over windows.
struct Job<'a> {
    window: &'a str,
    /// Further fields of the operator.
    more: &'a str,
    /// Further fields of the document.
    top: &'a str,
    sources: usize,
    rows_max: usize,
    /// Reads standard input instead of the one source's file.
    is_piped: bool,
    /// Further fields of the aggregate that a plugin computes.
    fold: &'a str,
}

impl Job<'_> {
    fn document(&self) -> String {
        let mut text = format!("name: windows\n{}sources:\n", self.top);
        let lag = OUT_OF_ORDERNESS / SECOND;
        for number in 0..self.sources {
            let from = match self.is_piped {
                true => "stdin: {}".into(),
                false => format!("file: {{ path: sales-{number}.csv }}"),
            };
            write!(
                text,
                "  sales-{number}:
    {from}
    format:
      csv:
        key: u64
        shop: string
        amount: i64?
        price: decimal(12,2)
        level: f64
        at: timestamp
      timestamp: microseconds
    event-time: {{ column: at, out-of-orderness: {lag}s }}
"
            )
            .expect("memory");
        }
        let names: Vec<String> = (0..self.sources).map(|n| format!("sales-{n}")).collect();
        let (names, window, more, rows_max) =
            (names.join(", "), self.window, self.more, self.rows_max);
        let plugin = root().join("target/plugins/guest-fold.wasm");
        let (plugin, fold) = (plugin.display(), self.fold);
        text + &format!(
            "operators:
  windows:
    input: [{names}]
    key-by: [key]
    window: {window}
    batch: {{ rows-max: {rows_max} }}
    {more}
    aggregates: {AGGREGATES}      folded: {{ plugin: {plugin}, of: [amount, shop]{fold} }}
sinks:
  out:
    input: windows
    file: {{ path: out.jsonl }}
    format: {{ json: {{ timestamps: microseconds }} }}
    include: {{ op: op, id: row-id }}
  late: {{ input: windows.late, file: {{ path: late.jsonl }} }}
"
        )
    }

    fn write(&self, folder: &Path, rows: &[Row]) {
        for source in 0..self.sources {
            let path = folder.join(format!("sales-{source}.csv"));
            fs::write(path, csv(rows, source)).expect("the folder is writable");
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

fn run(folder: &Path, parallelism: u64) {
    let output = command(folder, parallelism)
        .output()
        .expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// The rows that a job has brought out, by key, in their order, without their ids, which are each
/// another one.
fn found(folder: &Path) -> BTreeMap<u64, Vec<Value>> {
    let text = fs::read_to_string(folder.join("out.jsonl")).expect("the job wrote its file");
    let mut keys: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    let mut ids = std::collections::BTreeSet::new();
    for line in text.lines() {
        let mut row: Value = serde_json::from_str(line).expect("JSON");
        let columns = row.as_object_mut().expect("an object");
        let id = columns.remove("id").expect("an id").to_string();
        assert!(ids.insert(id.clone()), "{id} stands twice");
        let key = row["key"].as_u64().expect("a number");
        keys.entry(key).or_default().push(row);
    }
    keys
}

fn late(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("late.jsonl")).expect("the job wrote its file");
    text.lines().count()
}

/// Compares value by value, so that a difference tells its place.
fn check(folder: &Path, expected: &Expected, name: &str) {
    let found = found(folder);
    for (key, wanted) in &expected.results {
        let got = found.get(key).map_or(&[][..], Vec::as_slice);
        let mut pairs = got.iter().zip(wanted);
        let differs = pairs.find(|(got, wanted)| normal(got) != normal(wanted));
        assert_eq!(differs, None, "{name}, key {key}");
        assert_eq!(got.len(), wanted.len(), "{name}, key {key}");
    }
    assert_eq!(late(folder), expected.late, "{name}: late rows");
}

/// Numbers that are equal compare equal, however they were written.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, of)| (name.clone(), normal(of)))
                .collect()
        }
        other => other.clone(),
    }
}

/// Runs a job over rows that come a few at a time, so that the watermark moves that often.
fn trickle(folder: &Path, rows: &[Row], random: &mut Random) {
    let mut command = command(folder, 2);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("wasmill starts");
    let mut input = running.stdin.take().expect("a pipe");
    let text = csv(rows, 0);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.len().min(1 + random.below(300) as usize));
        input.write_all(piece).expect("wasmill reads");
        rest = more;
    }
    drop(input);
    let output = running.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Each (parallelism, most rows of a batch).
const CUTS: [(u64, usize); 5] = [(1, 4096), (2, 7), (4, 4096), (2, 4096), (1, 1)];

/// Runs a job in every way, over one source and over two.
fn agrees(seed: u64, (window, windows): (&str, Windows), (lateness, more): (i64, &str)) {
    println!("{window} {more}, seed {seed}");
    for sources in [1, 2] {
        let rows = rows(seed, 3_000, sources);
        let expected = windows.expected(&rows, lateness);
        assert!(expected.late > 0, "some rows are too late");
        for (parallelism, rows_max) in CUTS {
            let folder = tempfile::tempdir().expect("a folder for the test's files");
            let job = Job {
                window,
                more,
                top: "checkpoint: off\n",
                sources,
                rows_max,
                is_piped: false,
                fold: "",
            };
            job.write(folder.path(), &rows);
            run(folder.path(), parallelism);
            let name = format!(
                "{window} {more}, {sources} sources, parallelism {parallelism}, batches of \
                 {rows_max}"
            );
            check(folder.path(), &expected, &name);
        }
        if sources == 1 {
            let folder = tempfile::tempdir().expect("a folder for the test's files");
            let job = Job {
                window,
                more,
                top: "checkpoint: off\n",
                sources,
                rows_max: 7,
                is_piped: true,
                fold: "",
            };
            job.write(folder.path(), &rows);
            trickle(folder.path(), &rows, &mut Random(seed));
            let name = format!("{window} {more}, a few rows at a time");
            check(folder.path(), &expected, &name);
        }
    }
}

const TUMBLING: (&str, Windows) = (
    "{ tumbling: 10s }",
    Windows::Sliding(10 * SECOND, 10 * SECOND),
);
const SLIDING: (&str, Windows) = (
    "{ sliding: { size: 12s, every: 3s } }",
    Windows::Sliding(12 * SECOND, 3 * SECOND),
);
const CUMULATIVE: (&str, Windows) = (
    "{ cumulative: { size: 20s, every: 5s } }",
    Windows::Cumulative(20 * SECOND, 5 * SECOND),
);
const SESSION: (&str, Windows) = (
    "{ session: { gap: 500ms, max: 1m } }",
    Windows::Session(SECOND / 2, 60 * SECOND),
);
const LATENESS: (i64, &str) = (5 * SECOND, "allowed-lateness: 5s");

#[test]
fn tumbling_windows_hold_what_plain_rust_counts() {
    agrees(1, TUMBLING, (0, ""));
    agrees(2, TUMBLING, LATENESS);
}

#[test]
fn sliding_windows_hold_what_plain_rust_counts() {
    agrees(3, SLIDING, (0, ""));
    agrees(4, SLIDING, LATENESS);
}

#[test]
fn cumulative_windows_hold_what_plain_rust_counts() {
    agrees(5, CUMULATIVE, (0, ""));
    agrees(6, CUMULATIVE, LATENESS);
}

#[test]
fn sessions_hold_what_plain_rust_counts() {
    agrees(7, SESSION, (0, ""));
    agrees(8, SESSION, LATENESS);
}
