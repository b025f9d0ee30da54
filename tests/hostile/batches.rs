//! Guests of batches that misbehave, built without an SDK.

use serde_json::Value;
use wasmill_tests::run_guarded;

use super::job::{
    CPU_US_MAX, Case, Guest, check, check_spins, component, folder, ids, letters, pipeline, read,
    rows, run, run_well, text, wasmill,
};

pub(crate) const GUEST: Guest = Guest {
    name: "guest-hostile",
    fields: "",
    log_lines: 10_000,
};

const ALL: fn(u64) -> bool = |_| true;

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
    ("poll-stdout", ALL, "`cpu-per-batch`"),
];

#[test]
fn guests_that_misbehave_cost_their_own_rows_only() {
    for case in CASES {
        check(&GUEST, case, 1);
    }
}

#[test]
fn guests_that_spin_are_stopped_within_two_ticks_of_their_budget() {
    for case in SPINS {
        check_spins(|| check(&GUEST, case, 1));
    }
}

#[test]
fn however_many_rows_spin_each_costs_itself_at_any_batch_size() {
    let all: Vec<u64> = (0..280).collect();
    let rows: String = all.iter().map(|id| format!("{id}\n")).collect();
    let (bad, good): (Vec<u64>, Vec<u64>) = all.iter().partition(|id| **id % 7 == 3);
    for rows_max in [64, 4_096] {
        let pipeline = pipeline(&component(GUEST.name), &GUEST, "spin-every-7th");
        let budget = format!("cpu-per-batch: {CPU_US_MAX}us");
        let pipeline = pipeline.replace(&budget, "cpu-per-batch: 30ms");
        let batch = format!("    batch: {{ rows-max: {rows_max} }}\n    limits:\n");
        let pipeline = pipeline.replace("    limits:\n", &batch);
        let folder = folder(&pipeline, ("rows.csv", &format!("id\n{rows}")));
        run_well(folder.path(), "spins");
        assert_eq!(ids(folder.path(), "exact.csv"), all, "{rows_max}");
        assert_eq!(ids(folder.path(), "survived.csv"), good, "{rows_max}");
        let letters = letters(folder.path());
        let mut found: Vec<u64> = letters
            .iter()
            .map(|letter| text(letter, "original").parse().expect("an id"))
            .collect();
        found.sort_unstable();
        assert_eq!(found, bad, "{rows_max}: each has its letter");
        let reason = "the plugin exceeded its limit `cpu-per-batch`: 30000 µs";
        let is_told = |letter: &Value| text(letter, "reason") == reason;
        assert!(letters.iter().all(is_told), "{letters:?}");
    }
}

#[test]
fn rows_that_are_too_much_together_are_none_of_them_lost() {
    // What a call of a tenth of these rows answers is too long, and no row is to blame.
    let all: Vec<u64> = (0..2_000).collect();
    let rows: String = all.iter().map(|id| format!("{id}\n")).collect();
    let pipeline = without_letters("not");
    let pipeline = pipeline.replace("output-bytes: 4MiB", "output-bytes: 1KiB");
    let folder = folder(&pipeline, ("rows.csv", &format!("id\n{rows}")));
    run_well(folder.path(), "too many rows");
    assert_eq!(ids(folder.path(), "survived.csv"), all);
}

/// The pipeline that loses rows and does not say which.
fn without_letters(misbehave: &str) -> String {
    let pipeline = pipeline(&component(GUEST.name), &GUEST, misbehave);
    let pipeline = pipeline.replace("on-error: { dead-letter: letters }", "on-error: skip");
    pipeline.replace("  letters: { file: { path: letters.jsonl } }\n", "")
}

#[test]
fn lost_rows_are_counted_where_no_letter_tells_of_them() {
    let folder = folder(&without_letters("fault-every-7th"), ("rows.csv", &rows()));
    let mut job = wasmill(folder.path());
    let output = run_guarded(job.args(["--summary-file", "summary.json"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("2 lost"), "{told}");
    let summary = read(folder.path(), "summary.json");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    let lost = |of: &Value| of["lost_rows"].as_u64();
    assert_eq!(lost(&summary), Some(2), "{summary}");
    let operators = summary["operators"].as_array().expect("operators");
    let lost: Vec<_> = operators.iter().map(lost).collect();
    assert_eq!(lost, [Some(2), Some(0)], "{summary}");
}

#[test]
fn more_failures_than_the_budget_end_the_job() {
    let outcome = |budget: u64| {
        let with_budget = format!("fault-every-7th }}\n    error-budget: {{ rows: {budget}");
        let pipeline = pipeline(&component(GUEST.name), &GUEST, &with_budget);
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
    let pipeline = pipeline(&component(GUEST.name), &GUEST, "spin-in-open");
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
