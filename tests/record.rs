//! An operator on single records, from outside: a cell of each type goes in and comes out as it
//! was.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use wasmill_tests::{programs, root, run_guarded};

/// The columns with their types, in the guest's order.
const COLUMNS: &[(&str, &str)] = &[
    ("flag", "bool?"),
    ("byte", "i8?"),
    ("whole", "i64?"),
    ("short", "u16?"),
    ("large", "u64?"),
    ("single", "f32?"),
    ("double", "f64?"),
    ("price", "decimal(12,2)?"),
    ("at", "timestamp?"),
    ("day", "date?"),
    ("word", "string?"),
    ("octets", "bytes?"),
    ("four", "bytes(4)?"),
    ("list", "list<i32>?"),
    ("pair", "struct<a: u8, b: string>?"),
];

/// What the guest calls cells of these columns that are there.
const CASES: &str = "bool signed signed unsigned unsigned float float decimal timestamp octets \
                     text octets octets octets octets";

/// Rows of which no two have an equal cell, unless it is null.
fn rows() -> [Value; 3] {
    let row = json!({
        "flag": true, "byte": -128, "whole": i64::MIN, "short": 65_535, "large": u64::MAX,
        "single": -1.5, "double": 0.1, "price": -12.34, "at": "1969-12-31T23:59:59.999999Z",
        "day": "1969-12-31", "word": "Ärger\n", "octets": "AP+A", "four": "AQIDBA==",
        "list": [-1, 0, i32::MAX], "pair": { "a": 255, "b": "日本" },
    });
    let other = json!({
        "flag": false, "byte": 127, "whole": i64::MAX, "short": 0, "large": 0,
        "single": 2.5, "double": -1e300, "price": 9_999_999_999.99,
        "at": "2026-01-01T00:00:00.000000Z", "day": "2026-01-01", "word": "", "octets": "",
        "four": "AAAAAA==", "list": [], "pair": { "a": 0, "b": "" },
    });
    let nulls: serde_json::Map<String, Value> = COLUMNS
        .iter()
        .map(|(name, _)| ((*name).to_owned(), Value::Null))
        .collect();
    [row, other, Value::Object(nulls)]
}

fn pipeline() -> String {
    let columns = COLUMNS
        .iter()
        .map(|(name, of)| format!("        {name}: \"{of}\"\n"));
    let columns: String = columns.collect();
    let guest = root().join("target/plugins/guest-record-cells.wasm");
    format!(
        "name: cells
sources:
  rows:
    file: {{ path: rows.jsonl }}
    format:
      json:
        row-time: timestamp
{columns}    event-time: {{ column: row-time }}
operators:
  same:
    input: rows
    plugin: {}
sinks:
  out: {{ input: same, file: {{ path: out.jsonl }}, format: json }}
",
        guest.display()
    )
}

#[test]
fn cells_of_each_type_come_back_as_they_went_in() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let file = |name: &str| folder.path().join(name);
    let time = |at: usize| format!("2026-02-0{}T00:00:00.000001Z", at + 1);
    let timed = rows().into_iter().enumerate().map(|(at, mut row)| {
        row["row-time"] = time(at).into();
        format!("{row}\n")
    });
    fs::write(file("rows.jsonl"), timed.collect::<String>()).expect("writable");
    fs::write(file("pipeline.yaml"), pipeline()).expect("writable");
    let mut command = Command::new(programs().join("wasmill"));
    command.args([
        "run",
        "pipeline.yaml",
        "--fresh",
        "--storage",
        "checkpoints",
    ]);
    let output = run_guarded(command.current_dir(folder.path()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let out = fs::read_to_string(file("out.jsonl")).expect("the job wrote its file");
    let json = |line: &str| serde_json::from_str(line).expect("JSON");
    let found: Vec<Value> = out.lines().map(json).collect();
    let nulls = vec!["null"; COLUMNS.len()].join(" ");
    let expected = rows().into_iter().enumerate().map(|(at, mut row)| {
        let cases = if at == 2 { &nulls } else { CASES };
        row["cases"] = format!("0 {cases}").into();
        // Each record has its own time, though they come in one batch.
        for clock in ["time", "now", "system"] {
            row[clock] = time(at).into();
        }
        row
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
}
