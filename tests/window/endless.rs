//! Windows without bounds, rows without a key, and results that come before their time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::run;

/// Numbers of three accounts, a second apart.
const SOURCE: &str = "\
name: numbers
checkpoint: off
sources:
  n:
    generator:
      RATErecords: 4000
      columns:
        account: { mod: 3 }
        amount: { mod: 10, type: \"decimal(10,2)\" }
        at: { time: { step: 1s } }
    event-time: { column: at }
";

/// The same of so many accounts that most of them are on disk.
fn many(rate: &str) -> String {
    let state = "state: { backend: rocksdb, cache: 64KiB, directory: spill }";
    SOURCE
        .replace("sources:", &format!("{state}\nsources:"))
        .replace("RATErecords: 4000", &format!("{rate}records: 20000"))
        .replace("{ mod: 3 }", "{ hash-mod: 3000 }")
}

fn found(document: &str, parallelism: u64) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("pipeline.yaml"), document).expect("the folder is writable");
    run(folder.path(), parallelism);
    lines(&path("out.jsonl"))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the job wrote its file");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_window_of_a_count_ends_with_its_last_row() {
    let document = SOURCE.replace("RATE", "")
        + "operators:
  w:
    input: n
    key-by: [account]
    window: { global: {} }
    trigger: { count: 100 }
    aggregates: { n: { count: rows }, total: { sum: amount }, first: { first: at } }
sinks:
  out: { input: w, file: { path: out.jsonl }, format: { json: { timestamps: seconds } } }
";
    for parallelism in [1, 2, 4] {
        let mut firsts: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for row in found(&document, parallelism) {
            assert_eq!(
                (row["n"].as_u64(), row["total"].as_f64()),
                (Some(100), Some(4.5))
            );
            let account = row["account"].as_u64().expect("a number");
            let first = row["first"].as_f64().expect("a number");
            firsts.entry(account).or_default().push(first as u64);
        }
        for (account, firsts) in firsts {
            let wanted: Vec<u64> = (0..13).map(|number| account + number * 300).collect();
            assert_eq!(firsts, wanted, "parallelism {parallelism}");
        }
    }
}

/// Keys that leave memory between their rows: each window is full, and each row in it once.
#[test]
fn a_window_of_a_count_waits_for_its_rows_on_disk() {
    let document = many("")
        + "operators:
  w:
    input: n
    key-by: [account]
    window: { global: {} }
    trigger: { count: 3 }
    aggregates: { n: { count: rows }, first: { first: at }, last: { last: at } }
sinks:
  out: { input: w, file: { path: out.jsonl }, format: { json: { timestamps: seconds } } }
";
    let undisturbed = document.replace("backend: rocksdb, cache: 64KiB, directory: spill", "");
    let sorted = |document: &str, parallelism| {
        let rows = found(document, parallelism);
        let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        rows.sort();
        rows
    };
    let expected = sorted(&undisturbed, 1);
    assert!(expected.len() > 5_000, "most rows are in full windows");
    for parallelism in [1, 2, 4] {
        assert_eq!(sorted(&document, parallelism), expected, "x{parallelism}");
    }
}

#[test]
fn without_a_key_all_rows_meet() {
    let document = SOURCE.replace("RATE", "")
        + "operators:
  w: { input: n, window: { global: {} }, aggregates: { n: { count: rows } } }
sinks:
  out: { input: w, file: { path: out.jsonl } }
";
    for parallelism in [1, 4] {
        let rows = found(&document, parallelism);
        assert_eq!(rows, [serde_json::json!({ "n": 4000 })]);
    }
}

/// However often results come before their time: what is left of the changes in the end is each
/// row once.
#[test]
fn early_results_are_corrected_until_they_are_complete() {
    corrects_early_results(&SOURCE.replace("RATE", "rate: 4000\n      "), 4_000);
}

/// The same where what was given out early is on disk most of the time.
#[test]
fn early_results_on_disk_are_corrected_until_they_are_complete() {
    corrects_early_results(&many("rate: 20000\n      "), 20_000);
}

/// Runs such jobs of so many records.
fn corrects_early_results(source: &str, records: u64) {
    for window in [
        "{ tumbling: 1h }",
        "{ sliding: { size: 20m, every: 20m } }",
        "{ session: { gap: 10s, max: 1h } }",
        "{ global: {} }",
    ] {
        let late = match window.contains("global") {
            true => "",
            false => "  late: { input: w.late, discard: {} }\n",
        };
        let document = source.to_owned()
            + &format!(
                "operators:
  w:
    input: n
    key-by: [account]
    window: {window}
    trigger: {{ early: {{ every: 100ms }} }}
    aggregates: {{ n: {{ count: rows }} }}
sinks:
  out: {{ input: w, file: {{ path: out.jsonl }}, include: {{ op: op }} }}
{late}"
            );
        let mut now: BTreeMap<String, u64> = BTreeMap::new();
        let mut corrected = 0;
        for row in found(&document, 2) {
            let bounds = (&row["window-start"], &row["window-end"]);
            let window = format!("{} {bounds:?}", row["account"]);
            let n = row["n"].as_u64().expect("a number");
            match row["op"].as_str().expect("a text") {
                "insert" | "update-after" => {
                    assert_eq!(now.insert(window, n), None, "it was not there");
                }
                _ => {
                    assert_eq!(now.remove(&window), Some(n), "what was there");
                    corrected += 1;
                }
            }
        }
        println!("{window}: {corrected} results were corrected");
        assert_eq!(now.values().sum::<u64>(), records, "{window}");
    }
}
