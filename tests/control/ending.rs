//! Stop and drain.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value as Json;
use wasmill_tests::root;

use crate::bench::{Bench, place, totals};

const RECORDS: u64 = 12_000;

#[test]
fn a_job_that_stopped_with_a_savepoint_goes_on_and_nothing_is_lost_or_doubled() {
    let bench = Bench::new();
    bench.totals("job", RECORDS, 6_000);
    let args = [
        "job.yaml",
        "--parallelism",
        "3",
        "--summary-file",
        "summary.json",
    ];
    let job = bench.start(&args);
    bench.until_read("job", RECORDS / 4);
    let said = bench.ask(&["stop", "job", "--savepoint"]);
    assert!(said.contains("`job` is stopped; savepoint"), "{said}");
    let status = job.wait();
    assert_eq!(status.code(), Some(0), "it was asked to: {}", bench.said());
    let summary: Json =
        serde_json::from_slice(&fs::read(bench.file("summary.json")).expect("a summary"))
            .expect("JSON");
    assert_eq!(summary["outcome"], "stopped");
    let rows = bench.rows_at(&place(&said));
    assert!(
        (1..RECORDS).contains(&rows),
        "it was stopped on its way: {rows}"
    );
    // All that it stands for is out, and nothing else.
    let before: usize = bench.lines("job.jsonl").values().sum();
    assert_eq!(before as u64, rows);
    bench.ask(&["run", "job.yaml", "--parallelism", "2"]);
    assert_eq!(bench.lines("job.jsonl"), totals(0, RECORDS));
}

#[test]
fn a_sink_that_comes_later_gets_what_comes_from_then_on() {
    let bench = Bench::new();
    bench.totals("job", RECORDS, 6_000);
    let job = bench.start(&["job.yaml", "--parallelism", "2"]);
    bench.until_read("job", RECORDS / 4);
    let rows = bench.rows_at(&place(&bench.ask(&["stop", "job", "--savepoint"])));
    job.wait();
    let document = fs::read_to_string(bench.file("job.yaml")).expect("it is there");
    let later = document
        + "  later: { input: totals, file: { path: later.jsonl } }\n"
        + "  table: { input: totals, sqlite: { path: later.db, table: totals } }\n";
    bench.write("job.yaml", &later);
    let job = bench.start(&["job.yaml", "--parallelism", "3"]);
    bench.until_read("job", RECORDS / 8);
    job.kill();
    bench.ask(&["run", "job.yaml"]);
    assert_eq!(bench.lines("job.jsonl"), totals(0, RECORDS));
    assert_eq!(bench.lines("later.jsonl"), totals(rows, RECORDS));
    // A job that is done has nothing for who comes still later.
    let last = later + "  last: { input: totals, file: { path: last.jsonl } }\n";
    bench.write("job.yaml", &last);
    bench.ask(&["run", "job.yaml"]);
    assert_eq!(bench.lines("later.jsonl"), totals(rows, RECORDS));
}

/// Clicks of an endless generator, counted by page in windows of a second of event time.
fn clicks(bench: &Bench, checkpoint: &str) {
    let plugin = root().join("target/plugins/tumbling-count.wasm");
    let document = format!(
        "name: clicks\n{checkpoint}\
         sources:\n  clicks:\n    generator:\n      rate: 20000\n      splits: 2\n\
         \x20     columns:\n        page: {{ text: \"p{{mod 7}}\" }}\n\
         \x20       at: {{ time: {{ step: 1ms }} }}\n\
         \x20   event-time: {{ column: at, out-of-orderness: 5s }}\n\
         operators:\n  counts:\n    input: clicks\n    key-by: [page]\n\
         \x20   plugin: {}\n    order: event-time\n    config: {{ size: 1s }}\n\
         sinks:\n  out: {{ input: counts, file: {{ path: out.jsonl }} }}\n",
        plugin.display()
    );
    bench.write("clicks.yaml", &document);
}

fn drained(bench: &Bench) -> u64 {
    let args = [
        "clicks.yaml",
        "--parallelism",
        "2",
        "--summary-file",
        "summary.json",
    ];
    let job = bench.start(&args);
    bench.until_read("clicks", 5_000);
    let said = bench.ask(&["drain", "clicks"]);
    assert!(said.contains("is drained and finished"), "{said}");
    assert!(job.wait().success(), "{}", bench.said());
    let summary = fs::read(bench.file("summary.json")).expect("a summary");
    let summary: Json = serde_json::from_slice(&summary).expect("JSON");
    assert_eq!(summary["outcome"], "drained");
    assert_eq!(summary["late_rows"], 0);
    summary["records_in"].as_u64().expect("a number")
}

/// Every row that was read is in a window that came out: also in the last ones, which only the end
/// of event time closes.
fn check_windows(bench: &Bench, rows: u64) {
    let text = fs::read_to_string(bench.file("out.jsonl")).expect("the output");
    let mut windows = BTreeMap::new();
    for line in text.lines() {
        let window: Json = serde_json::from_str(line).expect("JSON");
        let key = (window["page"].to_string(), window["start"].to_string());
        let count = window["count"].as_u64().expect("a number");
        assert_eq!(
            windows.insert(key, count),
            None,
            "a window comes out once: {line}"
        );
    }
    assert_eq!(windows.values().sum::<u64>(), rows);
}

#[test]
fn a_drained_job_has_brought_everything_out_and_is_finished() {
    let bench = Bench::new();
    clicks(
        &bench,
        "checkpoint: { interval: 50ms, storage: checkpoints }\n",
    );
    let rows = drained(&bench);
    check_windows(&bench, rows);
    let output = bench.output(&["run", "clicks.yaml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("nothing left to do"),
        "{said}"
    );
    check_windows(&bench, rows);
}

#[test]
fn a_job_without_checkpoints_is_drained_and_stopped_too() {
    let bench = Bench::new();
    clicks(&bench, "");
    let document = fs::read_to_string(bench.file("clicks.yaml")).expect("it is there");
    // Rows that are only shown need no checkpoints.
    let document = document.replace("file: { path: out.jsonl }", "stdout: {}");
    bench.write(
        "shown.yaml",
        &document.replace("name: clicks", "name: shown"),
    );
    let job = bench.start(&["shown.yaml", "--parallelism", "2"]);
    bench.until_read("shown", 5_000);
    let error = bench.refused(&["savepoint", "shown"]);
    assert!(error.contains("takes no checkpoints"), "{error}");
    let said = bench.ask(&["drain", "shown"]);
    assert_eq!(said, "`shown` is drained and finished\n");
    assert!(job.wait().success());
    let job = bench.start(&["shown.yaml", "--parallelism", "2"]);
    bench.until_read("shown", 5_000);
    assert_eq!(bench.ask(&["stop", "shown.yaml"]), "`shown` is stopped\n");
    assert!(job.wait().success());
}
