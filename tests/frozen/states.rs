//! A job of every kind of state, and how it was frozen: all its keys are written down, then the few
//! that change, and then it is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use wasmill_tests::{Signal, programs, root, signal};

use crate::{STATES, copy, run, sorted};

/// The subtasks of the run that was frozen.
const SUBTASKS: &str = "1";
/// What stands in the document where its plugins lie.
const PLUGINS: &str = "PLUGINS";
const SECOND: i64 = 1_000_000;
const HALF: i64 = SECOND / 2;
/// Keys before the run is frozen, of which each part but the first changes a few.
const KEYS: i64 = 8;
/// The output whose rows have numbers of their subtask.
pub(crate) const NUMBERED: &str = "folded.jsonl";
/// The part of the input that has come since.
const SINCE: usize = 2;

/// All but the table's file may grow, so that the job has no end.
const DOCUMENT: &str = "\
name: frozen
checkpoint: { interval: 300ms, storage: checkpoints }
sources:
  sales:
    file: { path: sales.csv, follow: true }
    format:
      csv: { key: u64, shop: string, amount: i64, at: timestamp }
      timestamp: microseconds
    event-time: { column: at, out-of-orderness: 2s }
  rates:
    file: { path: rates.csv, follow: true }
    format: { csv: { key: u64, rate: f64, at: timestamp }, timestamp: microseconds }
    event-time: { column: at, out-of-orderness: 2s }
  names:
    file: { path: names.csv }
    format: { csv: { key: u64, name: string } }
  messages:
    file: { path: messages.csv, follow: true }
    format: { csv: { id: string, body: string, at: timestamp }, timestamp: microseconds }
    event-time: { column: at, out-of-orderness: 2s }
  payments:
    file: { path: payments.csv, follow: true }
    format:
      csv: { account: u64, country: string, amount: f64, at: timestamp }
      timestamp: microseconds
    event-time: { column: at, out-of-orderness: 2s }
  rules:
    file: { path: rules.csv, follow: true }
    format:
      csv: { rule: string, country: string?, above: f64?, at: timestamp }
      timestamp: microseconds
    event-time: { column: at, out-of-orderness: 2s }
operators:
  memory:
    input: sales
    key-by: [key]
    order: event-time
    plugin: PLUGINS/guest-every-state.wasm
  sums:
    input: sales
    key-by: [key]
    order: event-time
    window: { sliding: { size: 10m, every: 1m, offset: 50s } }
    aggregates: { n: { count: rows }, amount: { sum: amount }, shops: { distinct: shop } }
  folded:
    input: sales
    key-by: [key]
    plugin: PLUGINS/guest-folded-state.wasm
  near:
    input: { left: sales, right: rates }
    key-by: [key]
    join: { interval: { lower: -10m, upper: 10m }, type: full }
  named:
    input: { left: sales, right: names }
    key-by: [key]
    join: { lookup: {}, type: left }
  once:
    input: messages
    key-by: [id]
    plugin: PLUGINS/dedup.wasm
    batch: { rows-max: 1 }
  alerts:
    input: { payments: payments, rules: rules }
    key-by: [account]
    plugin: PLUGINS/rules-as-data.wasm
    unstable: true
sinks:
  memory-rows: { input: memory, file: { path: memory.jsonl } }
  sums-rows: { input: sums, file: { path: sums.jsonl } }
  folded-rows: { input: folded, file: { path: folded.jsonl } }
  near-rows: { input: near, file: { path: near.jsonl } }
  named-rows: { input: named, file: { path: named.jsonl } }
  once-rows: { input: once, file: { path: once.jsonl } }
  again-rows: { input: once.duplicates, file: { path: again.jsonl } }
  alerts-rows: { input: alerts, file: { path: alerts.jsonl } }
";

/// The rows of a part.
type Rows = fn(usize) -> Vec<String>;

/// Files that grow, with their headers.
const GROWING: [(&str, &str, Rows); 5] = [
    ("sales", "key,shop,amount,at", sales),
    ("rates", "key,rate,at", rates),
    ("messages", "id,body,at", messages),
    ("payments", "account,country,amount,at", payments),
    ("rules", "rule,country,above,at", rules),
];

/// All keys, twice; then two of them, while the timer of a third fires; and since then all keys and
/// new ones, until all windows are over.
fn sales(part: usize) -> Vec<String> {
    let row = |key: i64, number: i64, at: i64| {
        let (shop, amount) = (number % 3, number * 7 % 25 - 5);
        format!("{key},s{shop},{amount},{at}")
    };
    let times = [20 * SECOND, 50 * SECOND + HALF];
    match part {
        0 => (0..2 * KEYS)
            .map(|i| (i % KEYS, times[(i / KEYS) as usize] + i % KEYS * HALF, i))
            .map(|(key, at, number)| row(key, number, at))
            .collect(),
        1 => few().map(|(key, at)| row(key, key, at)).collect(),
        _ => (0..30)
            .map(|i| row(i * 5 % (KEYS + 2), i, (70 + i * 50) * SECOND))
            .collect(),
    }
}

/// The keys and times of rows that change little.
fn few() -> impl Iterator<Item = (i64, i64)> {
    (0..4).map(|i| (KEYS - 1 - i % 2, (123 + i) * HALF))
}

fn rates(part: usize) -> Vec<String> {
    let row = |(key, at): (i64, i64)| format!("{key},{}.5,{at}", at / SECOND % 9);
    match part {
        0 => (0..20).map(|i| row((i % KEYS, i * 3 * SECOND))).collect(),
        1 => few().step_by(3).map(row).collect(),
        _ => (0..20)
            .map(|i| row((i * 5 % (KEYS + 2), (70 + i * 75) * SECOND)))
            .collect(),
    }
}

/// Each repeats once: a few before the run is frozen, some since then, and some a day later, when
/// they are forgotten.
fn messages(part: usize) -> Vec<String> {
    let row = |id: i64, at: i64| format!("m{id},part {part},{}", at * SECOND);
    let day = 24 * 60 * 60;
    match part {
        0 => (0..KEYS).map(|id| row(id, id)).collect(),
        1 => vec![row(1, 60), row(KEYS, 61)],
        _ => {
            let soon = (3..6).map(|id| row(id, 600 + id));
            let later = (6..KEYS).map(|id| row(id, day + 700 + id));
            let between = [row(20, day + 600)];
            soon.chain(between).chain(later).collect()
        }
    }
}

fn payments(part: usize) -> Vec<String> {
    let row = |(key, at): (i64, i64)| {
        let country = ["DE", "FR"][(key % 2) as usize];
        format!("{key},{country},{},{at}", key * 61 + at / SECOND * 7 % 500)
    };
    match part {
        0 => (0..20).map(|i| row((i % KEYS, i * 3 * SECOND))).collect(),
        1 => few().map(row).collect(),
        _ => (0..20)
            .map(|i| row((i * 3 % KEYS, (70 + i) * SECOND)))
            .collect(),
    }
}

/// A rule without a limit is withdrawn.
fn rules(part: usize) -> Vec<String> {
    let rows: &[(&str, &str, &str, i64)] = match part {
        0 => &[
            ("high", "", "500", 1),
            ("german", "DE", "400", 5),
            ("none", "FR", "0", 55),
        ],
        1 => &[("none", "FR", "", 58), ("french", "FR", "300", 61)],
        _ => &[("high", "", "", 80), ("german", "DE", "700", 90)],
    };
    let row = |(rule, country, above, at): &(&str, &str, &str, i64)| {
        format!("{rule},{country},{above},{}", at * SECOND)
    };
    rows.iter().map(row).collect()
}

/// Adds a part to all files of the folder.
fn grow(folder: &Path, part: usize) {
    for (name, header, rows) in GROWING {
        let mut text = String::new();
        if part == 0 {
            writeln!(text, "{header}").expect("memory");
        }
        for row in rows(part) {
            writeln!(text, "{row}").expect("memory");
        }
        let path = folder.join(name).with_extension("csv");
        let file = OpenOptions::new().append(true).create(true).open(path);
        let added = file.and_then(|mut file| file.write_all(text.as_bytes()));
        added.expect("the folder is writable");
    }
}

/// The table of the lookup: it ends.
fn write_names(folder: &Path) {
    let rows = (0..KEYS + 2)
        .step_by(2)
        .map(|key| format!("{key},name {key}\n"));
    let text = "key,name\n".to_owned() + &rows.collect::<String>();
    fs::write(folder.join("names.csv"), text).expect("writable");
}

/// What a command of wasmill prints in a folder; none if it fails.
pub(crate) fn says(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(programs().join("wasmill"));
    let output = command.args(arguments).current_dir(folder).output();
    let output = output.expect("wasmill starts");
    let is_done = output.status.success();
    is_done.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The newest manifest, if there is one.
pub(crate) fn manifest(folder: &Path) -> Option<Value> {
    let text = says(folder, &["checkpoint", "show", "pipeline.yaml", "--json"])?;
    Some(serde_json::from_str(&text).expect("a manifest"))
}

/// How many segments of a kind a manifest names.
pub(crate) fn segments(manifest: &Value, kind: &str) -> usize {
    let operators = manifest["operators"].as_object().expect("operators");
    let segments = operators.values().flat_map(|operator| {
        let segments = operator["segments"].as_array().expect("segments");
        segments.iter()
    });
    segments.filter(|segment| segment["kind"] == kind).count()
}

/// Whether a manifest has the rows of all files so far.
fn has_all(folder: &Path, manifest: &Value) -> bool {
    GROWING.iter().all(|(name, ..)| {
        let path = folder.join(name).with_extension("csv");
        let length = fs::metadata(path).expect("the input").len();
        let splits = manifest["sources"][name]["splits"].as_object();
        let splits = splits.expect("splits");
        splits.len() == 1
            && splits
                .values()
                .all(|split| split["position"]["bytes"] == length)
    })
}

/// A job that runs, and is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes the document of the job that is frozen, with plugins where they lie today.
fn write_document(folder: &Path) -> String {
    let plugins = root().join("target/plugins").display().to_string();
    let document = DOCUMENT.replace(PLUGINS, &plugins);
    fs::write(folder.join("pipeline.yaml"), &document).expect("writable");
    document
}

/// Runs the job part by part, until each is in a checkpoint, and stops it.
fn run_in_parts(folder: &Path) {
    write_document(folder);
    write_names(folder);
    grow(folder, 0);
    let mut command = Command::new(programs().join("wasmill"));
    command.args(["run", "pipeline.yaml", "--parallelism", SUBTASKS]);
    let child = command.current_dir(folder).stderr(Stdio::null()).spawn();
    let mut running = Running(child.expect("wasmill starts"));
    for part in 0..SINCE {
        if part > 0 {
            grow(folder, part);
        }
        while !manifest(folder).is_some_and(|manifest| has_all(folder, &manifest)) {
            let ended = running.0.try_wait().expect("a child can be asked");
            assert_eq!(ended, None, "a job that follows its files has no end");
        }
    }
    signal(&running.0, Signal::TERM);
    let ended = running.0.wait().expect("it ends");
    assert_eq!(ended.code(), Some(143), "as one that was stopped");
}

/// Writes what comes out when nothing stops the job.
fn write_expected(folder: &Path, to: &Path) {
    let document = write_document(folder).replace("follow: true", "follow: false");
    write_names(folder);
    (0..=SINCE).for_each(|part| grow(folder, part));
    run(folder, &document, SUBTASKS);
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|suffix| suffix != "jsonl") {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("names are text").to_owned() + ".gz";
        let file = fs::File::create(to.join(name)).expect("writable");
        let mut packer = GzEncoder::new(file, Compression::best());
        let text = fs::read(&path).expect("what came out");
        packer.write_all(&text).expect("writable");
        packer.finish().expect("writable");
    }
}

/// Makes the folder with today's wasmill. It is for once: what is there is never written anew.
#[test]
#[ignore = "writes a folder of tests/fixtures that is not there (its README says when)"]
fn freeze_the_job_of_every_kind_of_state() {
    let place = root().join("tests/fixtures").join(STATES);
    assert!(!place.exists(), "{} is frozen", place.display());
    let folder = tempfile::tempdir().expect("a folder for the job's files");
    run_in_parts(folder.path());
    let frozen = manifest(folder.path()).expect("a checkpoint");
    assert!(segments(&frozen, "delta") > 0, "nothing is a delta");
    grow(folder.path(), SINCE);
    fs::write(folder.path().join("pipeline.yaml"), DOCUMENT).expect("writable");
    let whole = tempfile::tempdir().expect("a folder for the whole job's files");
    write_expected(whole.path(), &folder.path().join("expected"));
    copy(folder.path(), &place);
}

/// Rows without the subtask that emitted them and its number of them, which depend on how many
/// subtasks there are. Each subtask's numbers count from 1 without a gap, so what a subtask keeps
/// for itself went on from where it stood.
pub(crate) fn without_numbers(text: &str) -> Vec<String> {
    let mut numbers: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut count = 0;
    let rows = text.lines().map(|line| {
        let mut row: Value = serde_json::from_str(line).expect("a row");
        let row = row.as_object_mut().expect("an object");
        let subtask = row.remove("subtask").and_then(|number| number.as_u64());
        let number = row.remove("number").and_then(|number| number.as_u64());
        let of_subtask = numbers.entry(subtask.expect("a subtask")).or_default();
        of_subtask.insert(number.expect("a number"));
        count += 1;
        serde_json::to_string(row).expect("a row")
    });
    let rows: Vec<String> = rows.collect();
    let last = numbers.values().map(|of| of.last().copied().unwrap_or(0));
    assert_eq!(
        last.sum::<u64>(),
        count,
        "numbers have a gap or stand twice"
    );
    sorted(&rows.join("\n"))
}

/// Operators and what they keep, one of every kind.
const KINDS: [(&str, &str); 15] = [
    ("memory", "sum"),
    ("memory", "amounts"),
    ("memory", "shops"),
    ("memory", "digits"),
    ("memory", "timers"),
    ("folded", "greatest"),
    ("folded", "tally"),
    ("folded", "emitted"),
    ("folded", "timers"),
    ("sums", "window"),
    ("near", "left"),
    ("near", "right"),
    ("named", "right"),
    ("once", "seen"),
    ("alerts", "alerts"),
];

/// The rules in force when the job was stopped, in the order of their keys' bytes.
const RULES: &str = "\
{\"subtask\":0,\"entry\":\"high\",\"country\":null,\"above\":500.0}
{\"subtask\":0,\"entry\":\"german\",\"country\":\"DE\",\"above\":400.0}
";

/// The newest checkpoint of a folder has bases and deltas, a state of every kind with something in
/// it, timers, windows, rows that wait for others, and rows that wait for the watermark.
pub(crate) fn holds_every_kind(folder: &Path) {
    let verify = ["checkpoint", "verify", "pipeline.yaml", "--all"];
    assert!(says(folder, &verify).is_some(), "it is damaged");
    let manifest = manifest(folder).expect("a checkpoint");
    for kind in ["base", "delta"] {
        assert!(segments(&manifest, kind) > 0, "{kind}");
    }
    for (operator, state) in KINDS {
        let export = [
            "state",
            "export",
            "pipeline.yaml",
            operator,
            "--state",
            state,
        ];
        let rows = says(folder, &export).expect("a table");
        assert!(rows.lines().count() > 0, "{operator}.{state} is empty");
    }
    let rules = [
        "state",
        "export",
        "pipeline.yaml",
        "alerts",
        "--state",
        "rules",
    ];
    assert_eq!(says(folder, &rules).as_deref(), Some(RULES));
    let has_held = |(_, operator): (&String, &Value)| {
        let parts = operator["parts"].as_array().expect("parts");
        parts
            .iter()
            .any(|part| part["state"]["held-rows"]["rows"].as_u64() > Some(0))
    };
    let operators = manifest["operators"].as_object().expect("operators");
    assert!(
        operators.iter().any(has_held),
        "no row waits for the watermark"
    );
}
