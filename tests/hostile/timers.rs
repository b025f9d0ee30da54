//! Timers that make a guest spin: each costs itself, however many there are.

use std::process::Output;

use super::job::{component, folder, read, run};

/// The ids of the rows, a key each.
const IDS: std::ops::Range<u64> = 0..40;

fn pipeline(spins_below: u64, policy: &str) -> String {
    let guest = component("guest-late-spin");
    let guest = guest.display();
    format!(
        "name: timers
sources:
  rows:
    file: {{ path: rows.csv }}
    format: {{ csv: {{ id: u64, at: timestamp }} }}
    event-time: {{ column: at }}
operators:
  late:
    input: rows
    key-by: [id]
    plugin: {guest}
    config: {{ spins-below: {spins_below} }}
    on-error: {policy}
    limits: {{ cpu-per-batch: 20ms }}
sinks:
  done: {{ input: late, file: {{ path: done.csv }}, format: csv }}
"
    )
}

/// Runs the job; gives what it said, and the ids that came out.
fn outcome(spins_below: u64, policy: &str) -> (Output, Vec<u64>) {
    let row = |id: u64| format!("{id},2026-03-01T00:00:00Z\n");
    let rows: String = IDS.map(row).collect();
    let rows = format!("id,at\n{rows}");
    let folder = folder(&pipeline(spins_below, policy), ("rows.csv", &rows));
    let output = run(folder.path());
    let mut ids = Vec::new();
    if output.status.success() {
        let text = read(folder.path(), "done.csv");
        let lines = text.lines().skip(1);
        ids.extend(lines.map(|line| line.parse::<u64>().expect("an id")));
        ids.sort_unstable();
    }
    (output, ids)
}

#[test]
fn timers_that_spin_are_lost_and_no_others() {
    const SPINS_BELOW: u64 = 30;
    let (output, ids) = outcome(SPINS_BELOW, "skip");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(ids, (SPINS_BELOW..IDS.end).collect::<Vec<_>>());
    let told = said
        .lines()
        .filter(|line| line.contains("a timer was lost") && line.contains("`cpu-per-batch`"));
    assert_eq!(told.count() as u64, SPINS_BELOW, "{said}");
}

#[test]
fn a_timer_that_spins_ends_a_job_that_loses_nothing() {
    let (output, _) = outcome(1, "fail");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("while the timers of a key fired"), "{said}");
    assert!(
        said.contains("say `on-error: skip` to lose the timers"),
        "{said}"
    );
}
