//! Guests of single records that misbehave: a record costs itself, whatever the batch was that it
//! came in.

use std::path::Path;

use super::job::{
    CPU_US_MAX, IDS, IsLost, check_letters, check_spins, component, folder, read, run_well,
};

/// A way to misbehave, the ids of the rows that it costs, and what their letters say.
type Case = (&'static str, IsLost, &'static str);

const AT_13: IsLost = |id| id == 13;
const NONE: IsLost = |_| false;

const CASES: &[Case] = &[
    ("trap", AT_13, "unreachable"),
    ("panic", AT_13, "unreachable"),
    ("fault", AT_13, "the plugin failed: about to fault"),
    ("report", AT_13, "about to fail"),
    ("memory-bomb", AT_13, "`memory`"),
    ("log-flood", AT_13, "`log-lines`"),
    ("exit", AT_13, "wasi:cli/exit#exit"),
    ("huge-output", AT_13, "`output-bytes`"),
    (
        "many-rows",
        AT_13,
        "more than 1000 rows emitted (limit `output-rows`)",
    ),
    ("undeclared-output", AT_13, "there is no output 7"),
    (
        "few-cells",
        AT_13,
        "output 0 has 2 columns, 1 cells were emitted",
    ),
    ("wrong-cell", AT_13, "output 0, column `id`"),
    ("null-cell", AT_13, "null where the column is not nullable"),
    ("undeclared-state", AT_13, "there is no state 7"),
    ("short-state", AT_13, "is 3 bytes, its type takes 8"),
    // A batch is too much where none of its records is: each goes through by itself.
    ("all-log", NONE, ""),
    ("all-rows", NONE, ""),
    ("all-bytes", NONE, ""),
];

const SPIN: Case = ("spin", AT_13, "`cpu-per-batch`");

fn pipeline(misbehave: &str) -> String {
    let guest = component("guest-hostile-record");
    let guest = guest.display();
    format!(
        "name: records
sources:
  rows:
    file: {{ path: rows.csv }}
    format: {{ csv: {{ id: u64 }} }}
operators:
  hostile:
    input: rows
    key-by: [id]
    plugin: {guest}
    config: {{ misbehave: {misbehave} }}
    on-error: {{ dead-letter: letters }}
    limits:
      memory: 24MiB
      cpu-per-batch: {CPU_US_MAX}us
      output-bytes: 4MiB
      output-rows: 1000
      log-lines: 100
  neighbour:
    input: rows
    key-by: [id]
    plugin: {guest}
    config: {{ misbehave: not }}
sinks:
  survived: {{ input: hostile, file: {{ path: survived.csv }}, format: csv }}
  exact: {{ input: neighbour, file: {{ path: exact.csv }}, format: csv }}
  letters: {{ file: {{ path: letters.jsonl }} }}
"
    )
}

/// The ids that came out, each once, and how many rows that were.
fn ids(folder: &Path, file: &str) -> (Vec<u64>, usize) {
    let text = read(folder, file);
    let ids = text.lines().skip(1).filter_map(|line| {
        let (id, _) = line.split_once(',')?;
        id.parse().ok()
    });
    let mut ids: Vec<u64> = ids.collect();
    let rows = ids.len();
    ids.sort_unstable();
    ids.dedup();
    (ids, rows)
}

/// Gives the CPU times that the letters tell.
fn check(&(misbehave, is_lost, part): &Case) -> Vec<u64> {
    let rows: String = IDS.map(|id| format!("{id}\n")).collect();
    let folder = folder(&pipeline(misbehave), ("rows.csv", &format!("id\n{rows}")));
    run_well(folder.path(), misbehave);
    let (lost, kept): (Vec<u64>, Vec<u64>) = IDS.partition(|id| is_lost(*id));
    let exact = (IDS.collect::<Vec<_>>(), IDS.count());
    assert_eq!(ids(folder.path(), "exact.csv"), exact, "{misbehave}");
    let each = if misbehave == "all-rows" { 600 } else { 1 };
    let rows = kept.len() * each;
    let survived = ids(folder.path(), "survived.csv");
    assert_eq!(survived, (kept, rows), "{misbehave}");
    let originals: Vec<String> = lost.iter().map(u64::to_string).collect();
    let plugin = ("guest-hostile-record", part);
    check_letters(folder.path(), plugin, &originals, misbehave)
}

#[test]
fn records_that_misbehave_cost_themselves_only() {
    for case in CASES {
        check(case);
    }
}

#[test]
fn a_record_that_always_spins_is_stopped_within_two_ticks_of_its_budget() {
    check_spins(|| check(&SPIN));
}
