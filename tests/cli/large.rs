//! Rows that are large: calls are cut by bytes, not only by rows.

use serde_json::{Value as Json, json};
use wasmill_tests::root;

use crate::program::{Ran, run};

/// Bytes of a row: a batch of them takes more than the instance has memory.
const ROW_BYTES: usize = 20_000;
const ROWS: u64 = 8_192;

#[test]
fn large_rows_come_in_smaller_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = json!({
        "name": "large",
        "sources": { "messages": {
            "generator": { "records": ROWS, "columns": {
                "id": { "text": "k{sequence}" },
                "body": { "constant": "b".repeat(ROW_BYTES) },
                "at": { "time": { "step": "1s" } },
            } },
            "event-time": { "column": "at" },
        } },
        "operators": { "dedup": {
            "input": "messages", "key-by": ["id"],
            "plugin": root().join("target/plugins/dedup.wasm"),
            "limits": { "memory": "64MiB" },
        } },
        "sinks": {
            "first": { "input": "dedup", "discard": {} },
            "again": { "input": "dedup.duplicates", "discard": {} },
        },
    });
    std::fs::write(folder.path().join("p.json"), pipeline.to_string()).expect("writable");
    let ran = run(folder.path(), &["run", "p.json", "--summary", "json"]).ended(0);
    let summary = Ran::summary_of(&ran.out);
    let operator: &Json = &summary["operators"][0];
    assert_eq!(operator["records_out"], ROWS, "{operator}");
    assert_eq!(
        operator["faults"], 0,
        "a call must not be too large: {operator}"
    );
}
