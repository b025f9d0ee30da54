//! Partitions whose event times drift apart: the one that is ahead waits, and what is not read yet
//! is told.

use serde_json::Value as Json;

use crate::job::{Job, Running, some_time};
use crate::topics::Topic;

/// Rows of the partition that is ahead, a second of event time each.
const ROWS: usize = 200_000;
/// How far it may be ahead.
const DRIFT_SECONDS: usize = 60;
/// Rows of it that may have come before it waits: what was read meanwhile.
const READ_AHEAD: usize = ROWS / 2;
/// How often one looks for something that comes within a second.
const LOOKS: usize = 400;

fn row(second: usize) -> String {
    format!(r#"{{"at":{second}}}"#)
}

fn source(job: &Job) -> Json {
    let mut status = job.program();
    let output = status.args(["status", "drift", "--json"]).output();
    let output = output.expect("wasmill starts");
    let status: Json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    status["sources"][0].clone()
}

/// Waits until two checkpoints in a row have found as many rows out.
fn wait_for_standstill(job: &Job, running: &mut Running) -> usize {
    let mut before = 0;
    loop {
        job.wait_for_checkpoint(running);
        let now = job.lines("out.jsonl").len();
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

#[test]
fn a_partition_that_is_ahead_waits_for_the_others() {
    let topic = Topic::new("drift", 2);
    topic.values(0, [row(0)]);
    topic.values(1, (0..ROWS).map(row));
    let job = Job::new(&format!(
        "name: drift
checkpoint: {{ interval: 200ms, storage: checkpoints }}
sources:
  in:
    kafka: {{ brokers: BROKERS, topic: {} }}
    format: {{ json: {{ at: timestamp }}, timestamp: seconds }}
    event-time: {{ column: at, out-of-orderness: 0s, max-drift: {DRIFT_SECONDS}s }}
sinks:
  out: {{ input: in, file: {{ path: out.jsonl }} }}
",
        topic.name
    ));
    let mut running = job.start(1);
    let out = wait_for_standstill(&job, &mut running);
    assert!(out > DRIFT_SECONDS, "{out} rows are out");
    assert!(out < READ_AHEAD, "{out} rows are out");
    let expected = Some((ROWS + 1 - out) as u64);
    let mut left = None;
    // It is measured now and then.
    for _ in 0..LOOKS {
        left = source(&job)["rows_left"].as_u64();
        if left == expected {
            break;
        }
        some_time(50);
    }
    assert_eq!(left, expected, "rows that are left");
    // The slow one comes near: the other may go on to its end.
    topic.values(0, [row(ROWS)]);
    job.wait_for(&mut running, "out.jsonl", ROWS + 2);
    running.stop();
    assert_eq!(job.lines("out.jsonl").len(), ROWS + 2);
}
