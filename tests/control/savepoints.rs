//! Savepoints: taken while a job runs, restored here and elsewhere, disposed of.

use std::fs;

use crate::bench::{Bench, number, place, totals};

const RECORDS: u64 = 12_000;
const RATE: u64 = 6_000;

/// The same pipeline under another name, with another output and its own checkpoints.
fn renamed(bench: &Bench, name: &str) -> String {
    bench.totals(name, RECORDS, 1_000_000);
    format!("{name}.yaml")
}

#[test]
fn a_savepoint_is_restored_at_another_parallelism_and_under_another_name() {
    let bench = Bench::new();
    bench.totals("job", RECORDS, RATE);
    let job = bench.start(&["job.yaml", "--parallelism", "2"]);
    bench.until_read("job", RECORDS / 4);
    let said = bench.ask(&["savepoint", "job"]);
    let (savepoint, place) = (number(&said), place(&said));
    let rows = bench.rows_at(&place);
    assert!(
        (1..RECORDS).contains(&rows),
        "it was taken on the way: {rows}"
    );
    let listed = bench.json(&["savepoint", "ls", "job", "--json"]);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["place"].as_str(), Some(&*place));
    assert!(job.wait().success(), "{}", bench.said());
    assert_eq!(
        bench.lines("job.jsonl"),
        totals(0, RECORDS),
        "the job went on"
    );
    // Periodic checkpoints have come and gone since.
    let stored = bench.ask(&["savepoint", "ls", "job.yaml"]);
    assert!(stored.contains(&place), "{stored}");

    for parallelism in ["1", "3"] {
        let name = format!("again{parallelism}");
        let document = renamed(&bench, &name);
        let args = [
            "run",
            &document,
            "--parallelism",
            parallelism,
            "--from",
            &place,
        ];
        bench.ask(&args);
        let output = format!("{name}.jsonl");
        assert_eq!(
            bench.lines(&output),
            totals(rows, RECORDS),
            "behind the savepoint"
        );
    }

    // Elsewhere it is as good, when nothing is left of where it was taken.
    bench.ask(&[
        "savepoint",
        "copy",
        "job.yaml",
        &savepoint,
        "--to",
        "copied",
    ]);
    fs::remove_dir_all(bench.file("checkpoints-job")).expect("it can be removed");
    let moved = format!(
        "copied/default/job/0-127/{}",
        &place[place.find("log/").expect("a log")..]
    );
    let document = renamed(&bench, "moved");
    bench.ask(&["run", &document, "--parallelism", "2", "--from", &moved]);
    assert_eq!(bench.lines("moved.jsonl"), totals(rows, RECORDS));
    // What was left out of the copy is missed by name.
    let objects = bench.file("copied/default/job/0-127/objects");
    fs::remove_dir_all(objects).expect("it can be removed");
    let document = renamed(&bench, "lacking");
    let error = bench.refused(&["run", &document, "--from", &moved]);
    assert!(error.contains("is gone"), "{error}");
}

#[test]
fn a_job_goes_back_to_a_savepoint_only_if_rows_may_come_again() {
    let bench = Bench::new();
    bench.totals("job", RECORDS, RATE);
    let job = bench.start(&["job.yaml", "--parallelism", "2"]);
    bench.until_read("job", RECORDS / 4);
    let said = bench.ask(&["savepoint", "job"]);
    let (savepoint, rows) = (number(&said), bench.rows_at(&place(&said)));
    assert!(job.wait().success(), "{}", bench.said());
    let error = bench.refused(&["run", "job.yaml", "--from", &savepoint]);
    assert!(
        error.contains("rows behind that would come out again"),
        "{error}"
    );
    // It was refused before anything was written: the job is still finished.
    let said = bench.output(&["run", "job.yaml"]).stderr;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("nothing left to do"), "{said}");
    let back = [
        "run",
        "job.yaml",
        "--from",
        &savepoint,
        "--repeat-rows",
        "--parallelism",
        "3",
    ];
    bench.ask(&back);
    let mut twice = totals(0, RECORDS);
    for (line, count) in totals(rows, RECORDS) {
        *twice.get_mut(&line).expect("it is one of all") += count;
    }
    assert_eq!(bench.lines("job.jsonl"), twice);
    let error = bench.refused(&["run", "job.yaml", "--from", "9999"]);
    assert!(
        error.contains("checkpoint 9999 cannot be restored"),
        "{error}"
    );
    let error = bench.refused(&["run", "job.yaml", "--from", "nowhere"]);
    assert!(error.contains("names no savepoint"), "{error}");
}

#[test]
fn a_savepoint_stands_until_it_is_disposed_of() {
    let bench = Bench::new();
    bench.totals("job", 100_000_000, 5_000);
    let job = bench.start(&["job.yaml", "--parallelism", "1"]);
    bench.until_read("job", 1);
    let first = number(&bench.ask(&["savepoint", "job"]));
    let second = number(&bench.ask(&["savepoint", "job"]));
    let error = bench.refused(&["savepoint", "dispose", "job", "9999"]);
    assert!(error.contains("there is no savepoint 9999"), "{error}");
    bench.ask(&["savepoint", "dispose", "job", &first]);
    bench.until("job", |_| {
        bench.json(&["savepoint", "ls", "job", "--json"]).len() == 1
    });
    let stopped = bench.ask(&["stop", "job", "--savepoint"]);
    assert!(job.wait().success());
    let third = number(&stopped);

    let objects = bench.file("checkpoints-job/default/job/0-127/objects");
    let bytes_of = |savepoint: &str| {
        let attempts = fs::read_dir(&objects).expect("a folder");
        let folders = attempts.map(|entry| entry.expect("an entry").path());
        let name = format!("{:0>10}", savepoint);
        folders
            .filter(|attempt| has_files(&attempt.join(&name)))
            .count()
    };
    assert_eq!([&first, &second, &third].map(|it| bytes_of(it)), [0, 1, 1]);
    let error = bench.refused(&["savepoint", "dispose", "job.yaml", &third]);
    assert!(error.contains("the job goes on from savepoint"), "{error}");
    let said = bench.ask(&["savepoint", "dispose", "job.yaml", &second]);
    assert!(said.contains("is gone"), "{said}");
    assert_eq!([&second, &third].map(|it| bytes_of(it)), [0, 1]);
    assert_eq!(
        bench.json(&["savepoint", "ls", "job.yaml", "--json"]).len(),
        1
    );
    // The log is as sound as before: the job goes on.
    let job = bench.start(&["job.yaml", "--parallelism", "2"]);
    bench.until("job", |status| {
        status["checkpoints"]["decided"].as_u64() > Some(0)
    });
    bench.ask(&["savepoint", "dispose", "job", &third]);
    bench.ask(&["stop", "job"]);
    assert!(job.wait().success());
}

fn has_files(folder: &std::path::Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    paths.any(|path| path.is_file() || has_files(&path))
}

#[test]
fn state_is_dropped_only_by_name() {
    let bench = Bench::new();
    bench.totals("job", RECORDS, RATE);
    let job = bench.start(&["job.yaml", "--parallelism", "1"]);
    bench.until_read("job", 1_000);
    bench.ask(&["stop", "job", "--savepoint"]);
    assert!(job.wait().success());
    let read = |name: &str| fs::read_to_string(bench.file(name)).expect("it is there");
    let renamed = read("job.yaml").replace("  totals:", "  sums:");
    bench.write("job.yaml", &renamed.replace("input: totals", "input: sums"));
    let error = bench.refused(&["run", "job.yaml"]);
    assert!(error.contains("operator `totals` has state"), "{error}");
    assert!(error.contains("--drop-state totals"), "{error}");
    let error = bench.refused(&["run", "job.yaml", "--drop-state", "sums"]);
    assert!(error.contains("operator `totals` has state"), "{error}");
    bench.ask(&["run", "job.yaml", "--drop-state", "totals"]);
    let lines = read("job.jsonl").lines().count() as u64;
    assert_eq!(lines, RECORDS, "each row once, counted anew");
}
