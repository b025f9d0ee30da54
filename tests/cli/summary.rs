//! The summary: where it stands, and what its fields count.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use wasmill_tests::root;

use crate::document;
use crate::program::{Ran, run, run_fed};

/// The fields that a table of docs/summary.md names.
fn documented(heading: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("docs/summary.md")).expect("docs/summary.md");
    let (_, table) = page.split_once(heading).expect("the page has the table");
    let table = table.split("\n\n").next().unwrap_or_default();
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let names = rows.flat_map(|cell| cell.split(", "));
    names
        .map(|name| name.trim_matches('`').to_owned())
        .collect()
}

fn fields(object: &Json) -> BTreeSet<String> {
    let object = object.as_object().expect("an object");
    object.keys().cloned().collect()
}

fn counts(node: &Json) -> (u64, u64) {
    let count = |name: &str| node[name].as_u64().expect("a count");
    (count("records_in"), count("records_out"))
}

#[test]
fn rows_stand_on_standard_output_and_the_summary_beside_them() {
    let folder = tempfile::tempdir().expect("a folder");
    document::write(folder.path(), &document::finite(50));
    let arguments = [
        "run",
        "pipeline.yaml",
        "--summary",
        "json",
        "--summary-file",
        "s.json",
    ];
    let ran = run(folder.path(), &arguments).ended(0);
    assert_eq!(ran.out.lines().count(), 40, "{}", ran.out);
    for line in ran.out.lines() {
        let row: Json = serde_json::from_str(line).expect("a row is JSON");
        assert!(row["amount"].as_f64() >= Some(10.0), "{row}");
    }
    let file = fs::read_to_string(folder.path().join("s.json")).expect("the file was asked for");
    assert_eq!(Ran::summary_of(&ran.err), Ran::summary_of(&file));
}

#[test]
fn the_summary_has_the_documented_fields() {
    let folder = tempfile::tempdir().expect("a folder");
    document::write(folder.path(), &document::finite(50));
    let arguments = [
        "run",
        "pipeline.yaml",
        "--summary",
        "json",
        "--parallelism",
        "3",
    ];
    let summary = Ran::summary_of(&run(folder.path(), &arguments).ended(0).err);
    assert_eq!(
        fields(&summary),
        documented("| field | meaning |\n|---|---|\n")
    );
    let operator = &summary["operators"][0];
    let all = documented("| meaning | of |\n|---|---|---|\n");
    assert_eq!(fields(operator), all);
    let of_sources = [
        "name",
        "records_in",
        "records_out",
        "rejected",
        "dead_letters",
        "late_rows",
    ];
    assert_eq!(
        fields(&summary["sources"][0]),
        of_sources.map(str::to_owned).into()
    );
    let of_sinks = ["name", "records_in", "records_out"];
    assert_eq!(
        fields(&summary["sinks"][0]),
        of_sinks.map(str::to_owned).into()
    );
    for (field, value) in [
        ("summary", json!(1)),
        ("pipeline", json!("large")),
        ("outcome", json!("done")),
        ("error", Json::Null),
        ("parallelism", json!(3)),
        ("records_in", json!(50)),
        ("records_out", json!(40)),
    ] {
        assert_eq!(summary[field], value, "{field}");
    }
    assert_eq!(counts(operator), (50, 40));
    assert_eq!(operator["plugin"].as_str().map(str::len), Some(64));
    for field in [
        "wall_seconds",
        "cpu_seconds",
        "records_per_second",
        "peak_memory_bytes",
    ] {
        assert!(summary[field].as_f64() > Some(0.0), "{field}: {summary}");
    }
}

#[test]
fn rows_that_fail_are_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let sinks = "out: { input: large, file: { path: out.jsonl } }\n  \
                 letters: { file: { path: letters.jsonl } }";
    let source = "stdin: {}\n    format: { json: { account: u64, amount: f64 } }\n    \
                  on-error: { dead-letter: letters }";
    document::write(folder.path(), &document::large(source, sinks));
    let input =
        "{\"account\":1,\"amount\":5}\n{\"account\":2,\"amount\":50}\n{\"account\":\"x\"}\n";
    let ran = run_fed(
        folder.path(),
        &["run", "pipeline.yaml", "--summary", "json"],
        input,
    );
    // No sink prints rows, so the summary is the output.
    let ran = ran.ended(0);
    assert_eq!(ran.err, "");
    let summary = Ran::summary_of(&ran.out);
    assert_eq!(counts(&summary), (3, 1));
    assert_eq!(
        (&summary["rejected"], &summary["dead_letters"]),
        (&json!(1), &json!(1))
    );
    let source = &summary["sources"][0];
    assert_eq!((counts(source), &source["rejected"]), ((3, 2), &json!(1)));
    assert_eq!(counts(&summary["operators"][0]), (2, 1));
    assert_eq!(lines(folder.path(), "out.jsonl"), 1);
    let letters = fs::read_to_string(folder.path().join("letters.jsonl")).expect("letters");
    let letter: Json = serde_json::from_str(letters.trim()).expect("one letter");
    assert_eq!(letter["original"], "{\"account\":\"x\"}", "{letter}");
    assert_eq!(letter["split"], "stdin", "{letter}");
    assert_eq!(letter["offset"], 2, "{letter}");
}

#[test]
fn people_read_a_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = "generator: { records: 30, columns: { account: sequence, amount: { mod: 20, type: f64 } } }";
    document::write(
        folder.path(),
        &document::large(source, "out: { input: large, discard: {} }"),
    );
    let ran = run(folder.path(), &["run", "pipeline.yaml"]).ended(0);
    assert!(ran.out.starts_with("large: 30 records in "), "{}", ran.out);
    assert_eq!(ran.out.lines().count(), 4, "{}", ran.out);
}

fn lines(folder: &Path, file: &str) -> usize {
    let text = fs::read_to_string(folder.join(file)).expect("the sink wrote it");
    text.lines().count()
}

#[test]
fn a_source_of_which_nothing_fits_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    document::write(folder.path(), &document::fed("skip"));
    let warning =
        "wasmill: warning: all of `payments` was rejected, 2 rows: does its `format` fit?";
    let ran = run_fed(folder.path(), &["run", "pipeline.yaml"], "{}\n{}\n").ended(0);
    assert!(ran.err.starts_with(warning), "{}", ran.err);
    let rows = "{}\n{\"account\":1,\"amount\":50}\n";
    let ran = run_fed(folder.path(), &["run", "pipeline.yaml"], rows).ended(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
}
