//! Aggregates of plugins that misbehave: rows that cannot be added go to dead letters and the rest
//! is exact; results that cannot be computed are lost, and said to be.
//!
//! That such aggregates hold what plain Rust counts, also after kills, the other tests of this
//! folder show: each of their jobs has one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use wasmill_tests::{Signal, root, signal};

use super::{Job, SESSION, SLIDING, TUMBLING, check, command, found, run};
use crate::oracle::{Expected, Windows};
use crate::rows::{Row, csv, rows};

/// Rows in the order of their times, of which none is late.
pub(crate) fn punctual(seed: u64) -> Vec<Row> {
    let mut rows = rows(seed, 1_500, 1);
    rows.sort_by_key(|row| row.at);
    for (offset, row) in rows.iter_mut().enumerate() {
        row.offset = offset;
        row.clock = row.at - crate::rows::OUT_OF_ORDERNESS;
    }
    rows
}

pub(crate) fn write(folder: &Path, rows: &[Row], (window, fold): (&str, &str), more: &str) {
    let job = Job {
        window,
        more,
        top: "checkpoint: off\n",
        sources: 1,
        rows_max: 500,
        is_piped: false,
        fold,
    };
    job.write(folder, rows);
    if more.contains("letters") {
        edit(folder, |text| {
            text + "  letters: { file: { path: letters.jsonl } }\n"
        });
    }
}

/// Changes a job's document.
pub(crate) fn edit(folder: &Path, change: impl FnOnce(String) -> String) {
    let document = folder.join("pipeline.yaml");
    let text = fs::read_to_string(&document).expect("it was written");
    fs::write(document, change(text)).expect("the folder is writable");
}

pub(crate) fn letters(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("letters.jsonl")).expect("the job wrote its file");
    let letter = |line: &str| serde_json::from_str(line).expect("JSON");
    text.lines().map(letter).collect()
}

pub(crate) const LETTERS: &str = "on-error: { dead-letter: letters }";

/// The rows with that amount cost themselves and nothing else.
fn costs_rows(deed: &str, words: &str, (window, windows): (&str, Windows)) {
    let rows = punctual(31);
    let at = rows[700].amount.filter(|at| *at != 0).unwrap_or(7);
    let (bad, good): (Vec<Row>, Vec<Row>) =
        rows.iter().cloned().partition(|row| row.amount == Some(at));
    let expected = windows.expected(&good, 0);
    let limits = match deed {
        "spin" => ", limits: { cpu-per-batch: 200ms }",
        _ => "",
    };
    let fold = format!(", config: {{ add: {deed}, at: {at} }}{limits}");
    for parallelism in [1, 2] {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        write(folder.path(), &rows, (window, &fold), LETTERS);
        run(folder.path(), parallelism);
        let name = format!("{deed} in {window}, parallelism {parallelism}");
        check(folder.path(), &expected, &name);
        let letters = letters(folder.path());
        tell_of(&letters, &bad, "guest-fold", &name);
        for letter in &letters {
            let reason = letter["reason"].as_str().expect("a reason");
            assert!(reason.contains(words), "{name}: {reason}");
        }
    }
}

/// Letters are of these rows, say where each stood, and which plugin it was.
pub(crate) fn tell_of(letters: &[Value], bad: &[Row], plugin: &str, name: &str) {
    let digest = digest(plugin);
    let mut wanted: Vec<String> = csv(bad, 0).lines().skip(1).map(str::to_owned).collect();
    let mut found = Vec::new();
    for letter in letters {
        assert_eq!(letter["at"], "windows", "{name}");
        assert_eq!(letter["plugin"], digest, "{name}");
        assert!(letter["split"].is_string(), "{name}: {letter}");
        assert!(letter["offset"].is_u64(), "{name}: {letter}");
        // A call that failed has taken time; a row that a good call refused tells none.
        let has_failed = letter["kind"] == "fault";
        assert_eq!(letter["cpu-us"].is_u64(), has_failed, "{name}: {letter}");
        let original = letter["original"].as_str().expect("the row's own text");
        found.push(original.trim_end().to_owned());
    }
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted, "{name}");
}

/// SHA-256 of a component, as coreutils compute it.
fn digest(plugin: &str) -> String {
    let file = root().join(format!("target/plugins/{plugin}.wasm"));
    let summed = Command::new("sha256sum").arg(file).output();
    let text = String::from_utf8(summed.expect("sha256sum starts").stdout).expect("text");
    text.split(' ').next().expect("a sum").to_owned()
}

#[test]
fn rows_that_a_plugin_refuses_are_in_no_window() {
    for windows in [TUMBLING, SLIDING, SESSION] {
        costs_rows("refuse", "nobody pays", windows);
    }
}

#[test]
fn rows_on_which_a_plugin_fails_are_in_no_window() {
    costs_rows("trap", "a bad number", TUMBLING);
    costs_rows("trap", "a bad number", SESSION);
    costs_rows("spin", "`cpu-per-batch`", SLIDING);
    costs_rows("huge", "`memory`", TUMBLING);
}

/// How many results there are, and those that came, each of which is one of them.
fn some_of(folder: &Path, expected: &Expected) -> (usize, usize) {
    let all: usize = expected.results.values().map(Vec::len).sum();
    let mut came = 0;
    let found: BTreeMap<u64, Vec<Value>> = found(folder);
    for (key, rows) in &found {
        for row in rows {
            let known = expected.results[key].iter();
            let mut known = known.filter(|known| known["window-end"] == row["window-end"]);
            let wanted = known.next().expect("a window that there is");
            assert_eq!(wanted["folded"], row["folded"]);
            assert_eq!(wanted["total"], row["total"]);
        }
        came += rows.len();
    }
    (all, came)
}

#[test]
fn results_that_cannot_be_computed_are_lost_alone() {
    // Out of order, so that sessions meet.
    let rows = rows(32, 1_500, 1);
    for (phase, window, words) in [
        ("result", TUMBLING, "a result was computed"),
        ("result", SLIDING, "a result was computed"),
        ("merge", SLIDING, "accumulators were merged"),
        ("merge", SESSION, "accumulators were merged"),
    ] {
        let expected = window.1.expected(&rows, 0);
        let fold = format!(", config: {{ {phase}: trap, at: 7 }}");
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        write(folder.path(), &rows, (window.0, &fold), LETTERS);
        run(folder.path(), 2);
        let (all, came) = some_of(folder.path(), &expected);
        let letters = letters(folder.path());
        let name = format!("{phase} in {}", window.0);
        assert!(!letters.is_empty(), "{name} costs something");
        assert_eq!(came + letters.len(), all, "{name}");
        for letter in &letters {
            let reason = letter["reason"].as_str().expect("a reason");
            assert!(reason.contains(words), "{name}: {reason}");
            let row = letter["row"].as_str().expect("the window");
            assert!(row.contains("window-end"), "{name}: {row}");
        }
        if phase == "result" {
            let is_bad = |row: &&Value| {
                let folded = row["folded"].as_str().expect("text");
                let sum: i64 = folded
                    .split(' ')
                    .nth(1)
                    .expect("a sum")
                    .parse()
                    .expect("one");
                sum % 7 == 0
            };
            let lost = expected.results.values().flatten().filter(is_bad).count();
            assert_eq!(letters.len(), lost, "{name}");
        }
    }
}

#[test]
fn what_no_letter_tells_of_is_counted() {
    let rows = punctual(34);
    let at = rows[700].amount.filter(|at| *at != 0).unwrap_or(7);
    let bad = rows.iter().filter(|row| row.amount == Some(at)).count();
    let counted = |phase: &str, deed: &str, at: i64| {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        let fold = format!(", config: {{ {phase}: {deed}, at: {at} }}");
        write(folder.path(), &rows, (TUMBLING.0, &fold), "on-error: skip");
        let mut job = command(folder.path(), 2);
        let output = job.args(["--summary-file", "summary.json"]).output();
        let output = output.expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let summary = fs::read_to_string(folder.path().join("summary.json"));
        let summary: Value = serde_json::from_str(&summary.expect("a summary")).expect("JSON");
        let count = |field: &str| summary[field].as_u64().expect("a count") as usize;
        (folder, count("rejected"), count("lost_rows"))
    };
    let (_, rejected, lost) = counted("add", "refuse", at);
    assert_eq!((rejected, lost), (bad, 0), "rows that it refuses");
    let (_, rejected, lost) = counted("add", "trap", at);
    assert_eq!((rejected, lost), (0, bad), "rows on which it fails");
    let (folder, rejected, lost) = counted("result", "trap", 7);
    let (all, came) = some_of(folder.path(), &TUMBLING.1.expected(&rows, 0));
    assert_eq!((rejected, lost), (0, all - came), "results");
    assert!(lost > 0, "some sum is a multiple of seven");
}

#[test]
fn a_plugin_that_fails_ends_the_job_unless_that_is_allowed() {
    let rows = punctual(33);
    let at = rows[3].amount.filter(|at| *at != 0).unwrap_or(7);
    for (phase, words) in [("add", "at row "), ("result", "a result was computed")] {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        let at = if phase == "add" { at } else { 1 };
        let fold = format!(", config: {{ {phase}: trap, at: {at} }}");
        write(folder.path(), &rows, (TUMBLING.0, &fold), "");
        let output = command(folder.path(), 1).output().expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        for part in [
            "aggregate `folded`",
            "a bad number",
            words,
            "on-error: skip",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

#[test]
fn mistakes_about_plugins_have_one_clear_error() {
    let rows = punctual(34);
    let fold = root().join("target/plugins/guest-fold.wasm");
    let operator = root().join("target/plugins/guest-hostile.wasm");
    let (fold, operator) = (fold.display().to_string(), operator.display().to_string());
    let own = ", of: [amount, shop] }";
    for (from, to, words) in [
        (
            own,
            ", of: [amount] }".into(),
            "reads 2 columns, and `of` has 1",
        ),
        (
            own,
            ", of: [amuont, shop] }".into(),
            "did you mean `amount`",
        ),
        (own, ", of: [shop, shop] }".into(), "reads `shop` as i64?"),
        (
            own,
            ", of: [amount, shop], config: { add: sing } }".into(),
            "folded.config.add",
        ),
        (
            own,
            ", of: [amount, shop], sum: amount }".into(),
            "`plugin` and `sum`",
        ),
        (fold.as_str(), operator, "is an operator, no aggregate"),
        (
            "    window: { tumbling: 10s }\n",
            format!("    plugin: {fold}\n"),
            "is an aggregate, which is part of a window",
        ),
        ("plugin: ", "plugin: no-".into(), "cannot be read"),
    ] {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        write(folder.path(), &rows, (TUMBLING.0, ""), "");
        let document = folder.path().join("pipeline.yaml");
        let text = fs::read_to_string(&document).expect("it was written");
        assert!(text.contains(from), "{from}: {text}");
        fs::write(&document, text.replacen(from, &to, 1)).expect("the folder is writable");
        let output = command(folder.path(), 1).output().expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// A job with a generator that a signal stops.
const NUMBERS: &str = "\
name: numbers
checkpoint: { interval: 20ms, storage: checkpoints }
sources:
  n:
    generator:
      rate: 20000
      columns:
        n: { mod: 7, type: i64 }
        shop: { constant: kiosk }
        x: { constant: 1.5 }
        at: { time: { step: 1ms } }
    event-time: { column: at }
operators:
  windows:
    input: n
    key-by: [n]
    window: { tumbling: 1h }
    aggregates: { folded: { plugin: PLUGIN, of: [COLUMNS] } }
sinks:
  out: { input: windows, file: { path: out.jsonl } }
  late: { input: windows.late, discard: {} }
";

/// Whether a log has more than the entry with which an attempt begins.
fn has_checkpoint(log: &Path) -> bool {
    let entries = fs::read_dir(log).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.any(|name| *name >= *"0000000003")
}

#[test]
fn accumulators_of_another_type_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let document = folder.path().join("pipeline.yaml");
    let text = |plugin: &str, columns: &str| {
        let plugin = root().join("target/plugins").join(plugin);
        let text = NUMBERS.replace("PLUGIN", &plugin.display().to_string());
        text.replace("COLUMNS", columns)
    };
    fs::write(&document, text("guest-fold.wasm", "n, shop")).expect("the folder is writable");
    let mut first = command(folder.path(), 2);
    let mut running = first.stderr(Stdio::null()).spawn().expect("wasmill starts");
    let log = folder.path().join("checkpoints/default/numbers/0-127/log");
    while !has_checkpoint(&log) {
        assert_eq!(running.try_wait().expect("a look"), None, "it runs on");
        std::thread::yield_now();
    }
    signal(&running, Signal::TERM);
    running.wait().expect("it ends");
    fs::write(&document, text("median-gap.wasm", "x, at")).expect("the folder is writable");
    let refused = command(folder.path(), 1).output().expect("wasmill starts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    let was = "folded: plugin fold of n i64, shop string keeping struct<rows: u64, sum: i64, \
               mix: u64, longest: string>";
    for part in ["state `windows.window` was", was, "keeping list<timestamp>"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
