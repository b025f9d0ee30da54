//! How many rows a call has, from outside: a lone row waits for nobody, rows that wait are taken
//! together, and `linger` has rows wait until as many have come as one call takes.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use wasmill_tests::{guarded, programs, root};

/// A job that is fed by hand, and what it gives back.
struct Job {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// Feeds a job whose operator has these options; what is left when the input ends comes back.
fn feed(batch: &str, work: impl FnOnce(&mut Job)) -> Vec<(u64, u64)> {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let pipeline = pipeline(batch);
    std::fs::write(folder.path().join("pipeline.yaml"), pipeline).expect("writable");
    let mut child = Command::new(programs().join("wasmill"))
        .args(["run", "pipeline.yaml", "--parallelism", "1"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("wasmill starts");
    let output = child.stdout.take().expect("standard output is a pipe");
    let mut job = Job {
        input: child.stdin.take().expect("standard input is a pipe"),
        output: BufReader::new(output).lines(),
    };
    let rest = guarded(&child, || {
        job.write("id\n");
        work(&mut job);
        drop(job.input);
        let output = job.output;
        output.map(|line| row(&line.expect("text"))).collect()
    });
    let status = child.wait().expect("the child is ours");
    assert!(status.success(), "{status}");
    rest
}

fn pipeline(batch: &str) -> String {
    let guest = root().join("target/plugins/guest-batch-sizes.wasm");
    format!(
        "name: batching
checkpoint: off
sources:
  rows:
    stdin: {{}}
    format: {{ csv: {{ id: u64 }} }}
operators:
  sizes:
    input: rows
    key-by: [id]
    plugin: {}
    batch: {batch}
sinks:
  out: {{ input: sizes, stdout: {{}}, format: json, delivery: at-least-once }}
",
        guest.display()
    )
}

/// A row's id, and how many rows its call had.
fn row(line: &str) -> (u64, u64) {
    let row: Value = serde_json::from_str(line).expect("JSON");
    let number = |name: &str| row[name].as_u64().expect("a number");
    (number("id"), number("rows"))
}

impl Job {
    fn write(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).expect("it reads");
    }

    fn next(&mut self) -> (u64, u64) {
        let line = self.output.next().expect("the job goes on");
        row(&line.expect("text"))
    }
}

#[test]
fn a_lone_row_waits_for_nobody() {
    let rest = feed("{}", |job| {
        for id in 0..50 {
            job.write(&format!("{id}\n"));
            // Only then comes the next one.
            assert_eq!(job.next(), (id, 1));
        }
    });
    assert_eq!(rest, []);
}

#[test]
fn rows_that_wait_are_taken_together() {
    const ROWS: u64 = 5_000;
    let rows: String = (0..ROWS).map(|id| format!("{id}\n")).collect();
    let came = feed("{}", |job| job.write(&rows));
    let ids: Vec<u64> = came.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (0..ROWS).collect::<Vec<_>>());
    // Each call is counted by its rows: one part of it each.
    let calls: f64 = came.iter().map(|(_, rows)| 1.0 / *rows as f64).sum();
    assert!(calls < 50.0, "{calls} calls for {ROWS} rows");
}

#[test]
fn no_call_has_more_rows_than_it_may() {
    let rows: String = (0..1_000).map(|id| format!("{id}\n")).collect();
    let came = feed("{ rows-max: 7 }", |job| job.write(&rows));
    assert_eq!(came.len(), 1_000);
    let most = came.iter().map(|(_, rows)| *rows).max();
    assert_eq!(most, Some(7));
}

#[test]
fn rows_linger_until_they_fill_a_call() {
    let rest = feed("{ linger: 1h, rows-max: 3 }", |job| {
        for call in 0..5 {
            let ids = call * 3..call * 3 + 3;
            for id in ids.clone() {
                job.write(&format!("{id}\n"));
            }
            for id in ids {
                assert_eq!(job.next(), (id, 3));
            }
        }
        job.write("15\n16\n");
    });
    // What waits when the input ends has waited long enough.
    assert_eq!(rest, [(15, 2), (16, 2)]);
}
