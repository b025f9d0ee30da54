//! Checkpoints behind the newest one, savepoints and their copies show what was remembered then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value as Json;

use crate::bench::{Bench, Entry, entries, remembered};
use crate::state::{Look, counted, exported, shown};

/// Rows of the input at each stop of the job; in between it has another parallelism. The checkpoint
/// of the second one is a savepoint; the first one's is not kept.
const STOPS: [(usize, &str); 5] = [
    (500, "2"),
    (1_100, "3"),
    (1_800, "1"),
    (2_300, "4"),
    (3_000, "2"),
];
const SAVEPOINT: usize = 1;

/// A job that has been stopped several times.
fn stopped_often(entries: &[Entry]) -> Bench {
    let bench = Bench::told();
    bench.pipeline(1, true);
    for (stop, (rows, parallelism)) in STOPS.into_iter().enumerate() {
        bench.write(&entries[..rows]);
        let end: &[&str] = match stop {
            SAVEPOINT => &["stop", "pipeline.yaml", "--savepoint"],
            _ => &["stop", "pipeline.yaml"],
        };
        bench.run_and(parallelism, end);
    }
    bench
}

/// The rows of the input that a checkpoint has seen.
fn rows_seen(bench: &Bench, job: &[&str]) -> usize {
    let manifest = bench.json(&[&["checkpoint", "show"], job, &["--json"]].concat());
    let splits = &manifest["sources"]["entries"]["splits"];
    let splits = splits.as_object().expect("splits by name").values();
    let rows = splits.map(|split| split["position"]["rows"].as_u64());
    rows.sum::<Option<u64>>().expect("rows are numbers") as usize
}

/// Holds all that is told of a checkpoint against what plain Rust remembered then; gives how much
/// an account had in total.
fn as_of_then(bench: &Bench, look: Look<'_>, entries: &[Entry], account: u64) -> i64 {
    let (job, key) = look;
    let seen = &entries[..rows_seen(bench, job)];
    let accounts = remembered(seen);
    counted(bench, look, &accounts);
    exported(bench, look, &accounts);
    let number = account.to_string();
    let told = bench.json(&[&["state", "get"], job, &["ledger", &number]].concat());
    shown(&told, (account, key), &accounts[&account], seen);
    let listed = bench.json(&[&["state", "ls"], job, &["--json"]].concat());
    if let [_, "--checkpoint", wanted] = job {
        for told in [told, listed] {
            assert_eq!(told["checkpoint"].to_string(), **wanted);
        }
    }
    accounts[&account].total
}

#[test]
fn an_older_checkpoint_shows_what_was_remembered_then() {
    println!("seed 8");
    let entries = entries(8, 3_000);
    let bench = stopped_often(&entries);
    let account = entries[0].account;
    let before = bench.stored();

    let listed = bench.json(&["checkpoint", "ls", "pipeline.yaml", "--json"]);
    let listed = listed.as_array().expect("a list");
    let mut savepoint = String::new();
    let mut totals = BTreeMap::new();
    for checkpoint in listed {
        let number = checkpoint["checkpoint"].to_string();
        let job = ["pipeline.yaml", "--checkpoint", &number];
        let rows = rows_seen(&bench, &job);
        let total = as_of_then(&bench, (&job, "account"), &entries, account);
        totals.insert(rows, total);
        if checkpoint["reason"] == "savepoint" {
            assert_eq!(rows, STOPS[SAVEPOINT].0);
            savepoint = number;
        }
    }
    // Each moment is another one, and no two of them show the same.
    let kept = STOPS[SAVEPOINT..].iter().map(|(rows, _)| *rows);
    assert!(totals.keys().copied().eq(kept), "{totals:?}");
    let distinct: BTreeSet<&i64> = totals.values().collect();
    assert_eq!(distinct.len(), totals.len(), "{totals:?}");
    // Without a number it is the newest one.
    let newest = as_of_then(&bench, (&["pipeline.yaml"], "account"), &entries, account);
    assert_eq!(Some(&newest), totals.values().next_back());
    assert_eq!(before, bench.stored(), "nothing has changed");

    copied(
        &bench,
        &savepoint,
        &entries,
        (account, totals[&STOPS[SAVEPOINT].0]),
    );
}

/// A copy shows the same, when nothing is left of where it was taken.
fn copied(bench: &Bench, savepoint: &str, entries: &[Entry], (account, total): (u64, i64)) {
    let copy = ["savepoint", "copy", "pipeline.yaml", savepoint, "--to"];
    bench.ask(&[&copy[..], &["copied"]].concat());
    fs::remove_dir_all(bench.path("checkpoints")).expect("it can be removed");
    let listed = bench.json(&["checkpoint", "ls", "copied", "--json"]);
    let numbers = listed.as_array().expect("a list").iter();
    let numbers: Vec<String> = numbers
        .map(|it: &Json| it["checkpoint"].to_string())
        .collect();
    assert_eq!(numbers, [savepoint]);
    for job in [&["copied"][..], &["copied", "--checkpoint", savepoint]] {
        let found = as_of_then(bench, (job, "key"), entries, account);
        assert_eq!(found, total, "{job:?}");
    }
}
