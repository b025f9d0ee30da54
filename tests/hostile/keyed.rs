//! Keyed guests that misbehave: what they say of keys, of state and of text is checked, and a call
//! that lies leaves no trace in the state of its keys.

use std::collections::BTreeMap;
use std::path::Path;

use super::job::{IDS, check_letters, component, folder, read, run_well};

/// A way to misbehave that costs the row with the id 13, and what its letter says.
const CASES: &[(&str, &str)] = &[
    ("bad-utf8", "section output 0, column 0, row 0"),
    ("cut-character", "UTF-8"),
    ("falling-offsets", "section output 0"),
    (
        "key-out-of-range",
        "key index 1 is out of range: there are 1",
    ),
    (
        "key-far-out-of-range",
        "key index 4294967295 is out of range: there are 1",
    ),
    ("key-twice", "key index 0 stands twice"),
    (
        "undeclared-state",
        "the descriptor declares no such section",
    ),
    ("short-state", "the values are 7 bytes, not 8"),
    (
        "ask-of-key-out-of-range",
        "key index 1 is out of range: there are 1",
    ),
    (
        "ask-all-of-key-out-of-range",
        "key index 1 is out of range: there are 1",
    ),
    ("ask-of-a-value", "the question is not about a map state"),
    (
        "ask-of-another-state",
        "the question is not about a map state",
    ),
];

/// Names that are longer than their number of characters.
fn name(id: u64) -> &'static str {
    ["Ägypten", "日本", "ny", ""][id as usize % 4]
}

fn pipeline(misbehave: &str) -> String {
    let guest = component("guest-hostile-keyed");
    let guest = guest.display();
    let operator = |name: &str, word: &str, more: &str| {
        format!(
            "  {name}:
    input: rows
    key-by: [key]
    plugin: {guest}
    config: {{ misbehave: {word} }}
{more}"
        )
    };
    let letters = "    on-error: { dead-letter: letters }\n";
    format!(
        "name: keyed
sources:
  rows:
    file: {{ path: rows.csv }}
    format: {{ csv: {{ id: u64, key: u64, name: string }} }}
operators:
{}{}sinks:
  survived: {{ input: hostile, file: {{ path: survived.csv }}, format: csv }}
  exact: {{ input: neighbour, file: {{ path: exact.csv }}, format: csv }}
  letters: {{ file: {{ path: letters.jsonl }} }}
",
        operator("hostile", misbehave, letters),
        operator("neighbour", "not", "")
    )
}

/// The rows that come of these ids, each numbered among those of its key.
fn numbered(ids: impl Iterator<Item = u64>) -> Vec<String> {
    let mut counts = BTreeMap::new();
    let row = |id: u64| {
        let count = counts.entry(id % 3).or_insert(0);
        *count += 1;
        // A text that is empty is quoted: it is not null.
        match name(id) {
            "" => format!("\"\",{count}"),
            name => format!("{name},{count}"),
        }
    };
    let mut rows: Vec<String> = ids.map(row).collect();
    rows.sort();
    rows
}

fn found(folder: &Path, file: &str) -> Vec<String> {
    let text = read(folder, file);
    let mut rows: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    rows.sort();
    rows
}

#[test]
fn lies_about_keys_state_and_text_cost_one_row_and_leave_no_trace() {
    let line = |id: u64| format!("{id},{},{}", id % 3, name(id));
    let rows: String = IDS.map(|id| line(id) + "\n").collect();
    for (misbehave, part) in CASES {
        let rows = format!("id,key,name\n{rows}");
        let folder = folder(&pipeline(misbehave), ("rows.csv", &rows));
        run_well(folder.path(), misbehave);
        let kept = numbered(IDS.filter(|id| *id != 13));
        let exact = found(folder.path(), "exact.csv");
        assert_eq!(exact, numbered(IDS), "{misbehave}");
        assert_eq!(found(folder.path(), "survived.csv"), kept, "{misbehave}");
        let plugin = ("guest-hostile-keyed", *part);
        check_letters(folder.path(), plugin, &[line(13)], misbehave);
    }
}
