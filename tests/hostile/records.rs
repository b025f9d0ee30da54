//! Guests of single records that misbehave: a record costs itself, whatever the batch was that it
//! came in.

use super::job::{Case, Guest, check, check_spins};

/// Keyed, so that it has states.
const GUEST: Guest = Guest {
    name: "guest-hostile-record",
    fields: "    key-by: [id]\n",
    log_lines: 100,
};

const AT_13: fn(u64) -> bool = |id| id == 13;
const NONE: fn(u64) -> bool = |_| false;

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
    ("state-twice", AT_13, "state 0 stands twice"),
    ("short-state", AT_13, "is 3 bytes, its type takes 8"),
    // A batch is too much where none of its records is: each goes through by itself.
    ("all-log", NONE, ""),
    ("all-rows", NONE, ""),
    ("all-bytes", NONE, ""),
];

const SPIN: Case = ("spin", AT_13, "`cpu-per-batch`");

fn check_case(case: &Case) -> Vec<u64> {
    let each = if case.0 == "all-rows" { 600 } else { 1 };
    check(&GUEST, case, each)
}

#[test]
fn records_that_misbehave_cost_themselves_only() {
    for case in CASES {
        check_case(case);
    }
}

#[test]
fn a_record_that_always_spins_is_stopped_within_two_ticks_of_its_budget() {
    check_spins(|| check_case(&SPIN));
}
