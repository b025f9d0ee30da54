//! Guests that misbehave, from outside: each is stopped for its own reason, its rows become dead
//! letters, and the rows of its neighbour are exact.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use wasmill_tests::{programs, root};

/// The rows' ids.
const IDS: std::ops::Range<u64> = 10..22;

/// A way to misbehave, the ids of the rows that it costs, and what their letters say.
type Case = (&'static str, fn(u64) -> bool, &'static str);

const ALL: fn(u64) -> bool = |_| true;

const CASES: &[Case] = &[
    ("trap", ALL, "unreachable"),
    ("panic", ALL, "unreachable"),
    ("trap-at-13", |id| id == 13, "unreachable"),
    ("report", ALL, "about to fail"),
    ("fault-every-7th", |id| id % 7 == 3, "every seventh"),
    ("spin", ALL, "`cpu-per-batch`"),
    ("spin-at-13", |id| id == 13, "`cpu-per-batch`"),
    ("recursion", ALL, "out of bounds"),
    ("deep-calls", ALL, "`stack`"),
    ("null-pointer", ALL, "out of bounds"),
    ("memory-bomb", ALL, "`memory`"),
    ("huge-output", ALL, "`output-bytes`"),
    ("log-flood", ALL, "`log-"),
    ("log-lines", ALL, "`log-lines`"),
    ("stderr-flood", ALL, "`log-"),
    ("sleep", ALL, "set a timer instead"),
    ("poll", ALL, "set a timer instead"),
    ("exit", ALL, "wasi:cli/exit#exit"),
    ("many-rows", ALL, "at most 1000 are allowed"),
    ("lying-length", ALL, "outside the arena"),
    ("lying-offset", ALL, "outside the arena"),
    ("odd-offset", ALL, "no multiple of 8"),
    ("lying-count", ALL, "the values are 8 bytes, not 16"),
    ("lying-cause", ALL, "neither a row nor a firing"),
    ("bad-utf8", ALL, "the reason is not UTF-8"),
    ("key-out-of-range", ALL, "declares no such section"),
    ("undeclared-output", ALL, "section output 7"),
    ("long-directory", ALL, "70000 entries"),
];

fn pipeline(plugin: &Path, misbehave: &str) -> String {
    let guest = root().join("target/plugins/guest-hostile.wasm");
    let (plugin, guest) = (plugin.display(), guest.display());
    format!(
        "name: hostile
sources:
  rows:
    file: {{ path: rows.csv }}
    format: {{ csv: {{ id: u64 }} }}
operators:
  hostile:
    input: rows
    plugin: {plugin}
    config: {{ misbehave: {misbehave} }}
    on-error: {{ dead-letter: letters }}
    limits: {{ memory: 24MiB, cpu-per-batch: 200ms, output-bytes: 4MiB, output-rows: 1000 }}
  neighbour:
    input: rows
    plugin: {guest}
    config: {{ misbehave: not }}
sinks:
  survived: {{ input: hostile, file: {{ path: survived.csv }}, format: csv }}
  exact: {{ input: neighbour, file: {{ path: exact.csv }}, format: csv }}
  letters: {{ file: {{ path: letters.jsonl }} }}
"
    )
}

fn run(folder: &Path, plugin: &Path, misbehave: &str) -> Output {
    let rows: String = IDS.map(|id| format!("{id}\n")).collect();
    fs::write(folder.join("rows.csv"), format!("id\n{rows}")).expect("writable");
    fs::write(folder.join("pipeline.yaml"), pipeline(plugin, misbehave)).expect("writable");
    Command::new(programs().join("wasmill"))
        .args([
            "run",
            "pipeline.yaml",
            "--fresh",
            "--storage",
            "checkpoints",
        ])
        .current_dir(folder)
        .output()
        .expect("wasmill starts")
}

fn ids(file: &Path) -> Vec<u64> {
    let text = fs::read_to_string(file).expect("the job wrote its file");
    let ids = text
        .lines()
        .skip(1)
        .map(|line| line.parse().expect("an id"));
    ids.collect()
}

fn check(&(misbehave, is_lost, part): &Case) {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let plugin = root().join("target/plugins/guest-hostile.wasm");
    let output = run(folder.path(), &plugin, misbehave);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{misbehave}: {said}");
    let (lost, kept): (Vec<u64>, Vec<u64>) = IDS.partition(|id| is_lost(*id));
    assert_eq!(
        ids(&folder.path().join("exact.csv")),
        IDS.collect::<Vec<_>>(),
        "{misbehave}"
    );
    assert_eq!(
        ids(&folder.path().join("survived.csv")),
        kept,
        "{misbehave}"
    );
    let letters = fs::read_to_string(folder.path().join("letters.jsonl")).expect("letters");
    let letters: Vec<Value> = letters
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let text = |letter: &Value, field: &str| letter[field].as_str().unwrap_or_default().to_owned();
    let mut originals: Vec<String> = letters
        .iter()
        .map(|letter| text(letter, "original"))
        .collect();
    // A guest that blames a row is believed before the rows in front of it have run again.
    originals.sort();
    assert_eq!(
        originals,
        lost.iter().map(u64::to_string).collect::<Vec<_>>(),
        "{misbehave}"
    );
    for letter in &letters {
        let reason = text(letter, "reason");
        assert!(reason.contains(part), "{misbehave}: {reason}");
        assert_eq!(letter["kind"], "fault", "{misbehave}");
        assert_eq!(text(letter, "plugin").len(), 64, "{misbehave}");
    }
}

#[test]
fn guests_that_misbehave_cost_their_own_rows_only() {
    CASES.iter().for_each(check);
}

#[test]
fn more_failures_than_the_budget_end_the_job() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let plugin = root().join("target/plugins/guest-hostile.wasm");
    let outcome = |budget: u64| {
        let with_budget = format!("fault-every-7th }}\n    error-budget: {{ rows: {budget}");
        let output = run(folder.path(), &plugin, &with_budget);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    // Two of the rows fail.
    assert_eq!(outcome(2).0, Some(0));
    let (code, said) = outcome(1);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("`error-budget` allows 1"), "{said}");
    assert!(said.contains("at row 8 of `rows.csv`"), "{said}");
}

#[test]
fn a_guest_that_spins_from_the_start_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let plugin = root().join("target/plugins/guest-hostile.wasm");
    let output = run(folder.path(), &plugin, "spin-in-open");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("operators.hostile.limits: the plugin does not start"),
        "{said}"
    );
    assert!(said.contains("`cpu-per-batch`"), "{said}");
}

#[test]
fn what_is_no_plugin_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let cases: [(&str, &[u8], &str); 3] = [
        ("text.wasm", b"not WebAssembly", "text.wasm"),
        ("core.wasm", b"\0asm\x01\0\0\0", "component"),
        ("empty.wasm", b"\0asm\x0d\0\x01\0", "world"),
    ];
    for (file, bytes, part) in cases {
        let plugin = folder.path().join(file);
        fs::write(&plugin, bytes).expect("writable");
        let output = run(folder.path(), &plugin, "not");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{file}: {said}");
        assert!(said.contains(part), "{file}: {said}");
        assert!(!folder.path().join("exact.csv").exists(), "{file}: {said}");
    }
}
