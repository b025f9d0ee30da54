//! Guests of batches that misbehave, built without an SDK.

use std::path::Path;

use super::job::{
    CPU_US_MAX, IDS, IsLost, check_letters, check_spins, component, folder, read, run, run_well,
};

/// A way to misbehave, the ids of the rows that it costs, and what their letters say.
type Case = (&'static str, IsLost, &'static str);

const ALL: IsLost = |_| true;

const CASES: &[Case] = &[
    ("trap", ALL, "unreachable"),
    ("panic", ALL, "unreachable"),
    ("trap-at-13", |id| id == 13, "unreachable"),
    ("report", ALL, "about to fail"),
    ("fault-every-7th", |id| id % 7 == 3, "every seventh"),
    ("recursion", ALL, "out of bounds"),
    ("deep-calls", ALL, "`stack`"),
    ("null-pointer", ALL, "out of bounds"),
    ("memory-bomb", ALL, "`memory`"),
    ("huge-output", ALL, "`output-bytes`"),
    ("log-flood", ALL, "`log-bytes`"),
    ("log-lines", ALL, "`log-lines`"),
    ("stderr-flood", ALL, "`log-bytes`"),
    ("sleep", ALL, "set a timer instead"),
    ("poll", ALL, "set a timer instead"),
    ("exit", ALL, "wasi:cli/exit#exit"),
    (
        "many-rows",
        ALL,
        "at most 1000 are allowed (limit `output-rows`)",
    ),
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

const SPINS: &[Case] = &[
    ("spin", ALL, "`cpu-per-batch`"),
    ("spin-at-13", |id| id == 13, "`cpu-per-batch`"),
];

pub(crate) fn pipeline(plugin: &Path, misbehave: &str) -> String {
    let guest = component("guest-hostile");
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
    limits:
      memory: 24MiB
      cpu-per-batch: {CPU_US_MAX}us
      output-bytes: 4MiB
      output-rows: 1000
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

pub(crate) fn rows() -> String {
    let rows: String = IDS.map(|id| format!("{id}\n")).collect();
    format!("id\n{rows}")
}

fn ids(folder: &Path, file: &str) -> Vec<u64> {
    let text = read(folder, file);
    let ids = text.lines().skip(1);
    ids.map(|line| line.parse().expect("an id")).collect()
}

/// Gives the CPU times that the letters tell.
fn check(&(misbehave, is_lost, part): &Case) -> Vec<u64> {
    let pipeline = pipeline(&component("guest-hostile"), misbehave);
    let folder = folder(&pipeline, ("rows.csv", &rows()));
    run_well(folder.path(), misbehave);
    let (lost, kept): (Vec<u64>, Vec<u64>) = IDS.partition(|id| is_lost(*id));
    let exact = ids(folder.path(), "exact.csv");
    assert_eq!(exact, IDS.collect::<Vec<_>>(), "{misbehave}");
    assert_eq!(ids(folder.path(), "survived.csv"), kept, "{misbehave}");
    let originals: Vec<String> = lost.iter().map(u64::to_string).collect();
    check_letters(
        folder.path(),
        ("guest-hostile", part),
        &originals,
        misbehave,
    )
}

#[test]
fn guests_that_misbehave_cost_their_own_rows_only() {
    for case in CASES {
        check(case);
    }
}

#[test]
fn guests_that_spin_are_stopped_within_two_ticks_of_their_budget() {
    for case in SPINS {
        check_spins(|| check(case));
    }
}

#[test]
fn more_failures_than_the_budget_end_the_job() {
    let outcome = |budget: u64| {
        let with_budget = format!("fault-every-7th }}\n    error-budget: {{ rows: {budget}");
        let pipeline = pipeline(&component("guest-hostile"), &with_budget);
        let folder = folder(&pipeline, ("rows.csv", &rows()));
        let output = run(folder.path());
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
    let pipeline = pipeline(&component("guest-hostile"), "spin-in-open");
    let folder = folder(&pipeline, ("rows.csv", &rows()));
    let output = run(folder.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("operators.hostile.limits: the plugin does not start"),
        "{said}"
    );
    assert!(said.contains("`cpu-per-batch`"), "{said}");
}
