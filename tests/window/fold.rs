//! Aggregates of plugins in windows that the other tests do not have: alone in windows of few
//! panes, in windows without bounds, before their time, and in answers that lie.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::guest::{LETTERS, edit, letters, punctual, tell_of, write};
use super::{CUMULATIVE, CUTS, Job, LATENESS, SESSION, SLIDING, TUMBLING, check, found, late, run};
use crate::oracle::{AGGREGATES, Expected, Windows, folded};
use crate::rows::{Row, rows};

/// A job whose windows have a plugin's aggregate and the number of rows, and no others.
fn write_alone(folder: &Path, rows: &[Row], job: &Job<'_>) {
    job.write(folder, rows);
    edit(folder, |text| {
        assert!(text.contains(AGGREGATES), "{text}");
        text.replace(AGGREGATES, "\n      n: { count: rows }\n")
    });
}

/// The same of what is expected.
fn alone(mut expected: Expected) -> Expected {
    let kept = ["op", "key", "window-start", "window-end", "n", "folded"];
    for row in expected.results.values_mut().flatten() {
        let columns = row.as_object_mut().expect("an object");
        columns.retain(|name, _| kept.contains(&name.as_str()));
    }
    expected
}

/// Aggregates of few words are merged in another way than others: beside them a plugin's is merged
/// all the same.
#[test]
fn a_plugin_is_merged_beside_counts_alone() {
    for (window, windows) in [TUMBLING, SLIDING, CUMULATIVE, SESSION] {
        for (lateness, more) in [(0, ""), LATENESS] {
            let rows = rows(51, 2_000, 1);
            let expected = alone(windows.expected(&rows, lateness));
            for (parallelism, rows_max) in [(1, 4_096), (4, 11)] {
                let folder = tempfile::tempdir().expect("a folder for the test's files");
                let job = Job {
                    window,
                    more,
                    top: "checkpoint: off\n",
                    sources: 1,
                    rows_max,
                    is_piped: false,
                    fold: "",
                };
                write_alone(folder.path(), &rows, &job);
                run(folder.path(), parallelism);
                let name = format!("{window} {more}, parallelism {parallelism}");
                check(folder.path(), &expected, &name);
            }
        }
    }
}

/// A job with a window of all rows of a key.
fn write_global(folder: &Path, rows: &[Row], more: &str, (sources, rows_max): (usize, usize)) {
    let job = Job {
        window: "{ global: {} }",
        more,
        top: "checkpoint: off\n",
        sources,
        rows_max,
        is_piped: false,
        fold: "",
    };
    write_alone(folder, rows, &job);
    edit(folder, |text| {
        let late = "  late: { input: windows.late, file: { path: late.jsonl } }\n";
        assert!(text.contains(late), "{text}");
        text.replace(late, "")
    });
}

/// The rows of each key, in their order.
fn by_key(rows: &[Row]) -> BTreeMap<u64, Vec<&Row>> {
    let mut keys: BTreeMap<u64, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        keys.entry(row.key).or_default().push(row);
    }
    keys
}

/// What global windows give of each key, without the fields that say how.
fn given(folder: &Path) -> BTreeMap<u64, Vec<Value>> {
    let mut found = found(folder);
    for row in found.values_mut().flatten() {
        *row = json!([row["op"], row["n"], row["folded"]]);
    }
    found
}

#[test]
fn windows_of_a_count_hold_what_plain_rust_folds() {
    let rows = rows(52, 2_000, 1);
    let of = |rows: &Vec<&Row>| -> Vec<Value> {
        let windows = rows.chunks_exact(7);
        windows
            .map(|rows| json!(["insert", 7, folded(rows)]))
            .collect()
    };
    let expected: BTreeMap<u64, Vec<Value>> = by_key(&rows)
        .iter()
        .map(|(key, rows)| (*key, of(rows)))
        .collect();
    for (parallelism, rows_max) in CUTS.into_iter().chain([(4, 3)]) {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        write_global(folder.path(), &rows, "trigger: { count: 7 }", (1, rows_max));
        run(folder.path(), parallelism);
        let name = format!("parallelism {parallelism}, batches of {rows_max}");
        assert_eq!(given(folder.path()), expected, "{name}");
    }
}

#[test]
fn windows_of_all_rows_hold_what_plain_rust_folds() {
    for sources in [1, 2] {
        let rows = rows(53, 2_000, sources);
        let of = |rows: &Vec<&Row>| vec![json!(["insert", rows.len(), folded(rows)])];
        let expected: BTreeMap<u64, Vec<Value>> = by_key(&rows)
            .iter()
            .map(|(key, rows)| (*key, of(rows)))
            .collect();
        for (parallelism, rows_max) in CUTS {
            let folder = tempfile::tempdir().expect("a folder for the test's files");
            write_global(folder.path(), &rows, "", (sources, rows_max));
            run(folder.path(), parallelism);
            let name = format!("parallelism {parallelism}, batches of {rows_max}");
            assert_eq!(given(folder.path()), expected, "{name}");
        }
    }
}

/// However often results come before their time: each that is taken back was given, and what is
/// left is what plain Rust folds.
#[test]
fn early_results_of_a_plugin_are_corrected_until_they_are_complete() {
    let rows = rows(54, 3_000, 1);
    for (parallelism, rows_max) in [(1, 5), (4, 64)] {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        let early = "trigger: { early: { every: 1ms } }";
        write_global(folder.path(), &rows, early, (1, rows_max));
        run(folder.path(), parallelism);
        let mut left: BTreeMap<u64, Value> = BTreeMap::new();
        for (key, lines) in given(folder.path()) {
            for line in lines {
                let rest = json!([line[1], line[2]]);
                match line[0].as_str().expect("a text") {
                    "insert" | "update-after" => {
                        assert_eq!(left.insert(key, rest), None, "it was not there");
                    }
                    _ => assert_eq!(left.remove(&key), Some(rest), "what was there"),
                }
            }
        }
        let of = |rows: &Vec<&Row>| json!([rows.len(), folded(rows)]);
        let expected: BTreeMap<u64, Value> = by_key(&rows)
            .iter()
            .map(|(key, rows)| (*key, of(rows)))
            .collect();
        assert_eq!(left, expected, "parallelism {parallelism}");
    }
}

/// Ways to lie about values in any answer.
const LIES: [&str; 15] = [
    "lying-text",
    "endless-text",
    "bad-utf8",
    "long-value",
    "far-number",
    "twice",
    "left-out",
    "wrong-state",
    "no-state",
    "lying-length",
    "lying-offset",
    "odd-offset",
    "lying-count",
    "falling-offsets",
    "cleared",
];

/// Runs a job whose plugin lies in one of its calls.
fn lie(folder: &Path, rows: &[Row], window: &str, (call, word, at): (&str, &str, i64)) {
    let config = format!(", config: {{ call: {call}, misbehave: {word}, at: {at} }}");
    write(folder, rows, (window, &config), LETTERS);
    edit(folder, |text| {
        let text = text.replace("guest-fold.wasm", "guest-hostile-fold.wasm");
        text.replace("of: [amount, shop]", "of: [amount]")
    });
    run(folder, 2);
}

/// What is expected of a plugin that keeps to number and sum of the rows.
fn sums(mut expected: Expected) -> Expected {
    for row in expected.results.values_mut().flatten() {
        let folded = row["folded"].as_str().expect("a text");
        let words: Vec<&str> = folded.split(' ').take(2).collect();
        row["folded"] = words.join(" ").into();
    }
    expected
}

#[test]
fn a_plugin_that_lies_about_rows_costs_these_rows() {
    let rows = punctual(55);
    let at = rows[600].amount.filter(|at| *at != 0).unwrap_or(7);
    let is_bad = |row: &Row| row.amount == Some(at);
    let (bad, good): (Vec<Row>, Vec<Row>) = rows.iter().cloned().partition(is_bad);
    // Nobody can tell an accumulator that is left out from one that has not changed.
    let lies = LIES.into_iter().filter(|word| *word != "left-out");
    for (number, word) in lies.chain(["far-row", "huge-arena"]).enumerate() {
        let (window, windows) = [TUMBLING, SESSION, SLIDING][number % 3];
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        lie(folder.path(), &rows, window, ("add", word, at));
        check(folder.path(), &sums(windows.expected(&good, 0)), word);
        let letters = letters(folder.path());
        tell_of(&letters, &bad, "guest-hostile-fold", word);
        for letter in &letters {
            assert_eq!(letter["kind"], "fault", "{word}");
            println!("{word}: {}", letter["reason"]);
        }
    }
}

/// Results that came are those that are wanted, and the others lie in the dead letters.
fn loses_some(rows: &[Row], (window, windows): (&str, Windows), (call, word): (&str, &str)) {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    lie(folder.path(), rows, window, (call, word, 7));
    let expected = sums(windows.expected(rows, 0));
    let mut all = 0;
    for (key, wanted) in &expected.results {
        let mut left = wanted.iter();
        for row in found(folder.path()).remove(key).unwrap_or_default() {
            let wanted = left.find(|wanted| wanted["window-end"] == row["window-end"]);
            let wanted = wanted.expect("a window that there is");
            assert_eq!(
                (&row["folded"], &row["total"], &row["n"]),
                (&wanted["folded"], &wanted["total"], &wanted["n"]),
                "{call} {word}"
            );
            all += 1;
        }
    }
    assert_eq!(late(folder.path()), expected.late);
    let letters = letters(folder.path());
    assert!(!letters.is_empty(), "{call} {word} costs something");
    let wanted: usize = expected.results.values().map(Vec::len).sum();
    assert_eq!(all + letters.len(), wanted, "{call} {word}");
    println!("{call} {word}: {}", letters[0]["reason"]);
}

#[test]
fn a_plugin_that_lies_about_merges_or_results_costs_these_windows() {
    // Out of order, so that sessions meet.
    let rows = rows(56, 1_500, 1);
    for (number, word) in LIES.into_iter().chain(["wrong-number"]).enumerate() {
        loses_some(&rows, [SLIDING, SESSION][number % 2], ("merge", word));
        if word != "wrong-number" {
            loses_some(&rows, [TUMBLING, SLIDING][number % 2], ("results", word));
        }
    }
}
