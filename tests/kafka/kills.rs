//! Jobs under `kill -9`: each record comes out once, in the order of its partition.

#![allow(
    clippy::print_stdout,
    reason = "seeds are shown, so that a failure can be repeated"
)]

use std::collections::BTreeMap;
use std::fs;

use wasmill_tests::Random;

use crate::job::{Job, some_time};
use crate::topics::Topic;

const PARTITIONS: i32 = 5;
/// Where nothing was shown.
const FAST: &str = "the job has ended before the first kill";

/// Kills a job again and again at another parallelism, while records come in; every record stands
/// in its output once, those of a partition in order.
fn kill(job: &Job, seed: u64, kills: usize, mut feed: impl FnMut(usize)) -> usize {
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut killed = 0;
    for round in 0..kills {
        let mut running = job.start([1, 2, 4, 3][round % 4]);
        feed(round);
        some_time(150 + random.below(600));
        killed += usize::from(!running.has_ended());
        running.kill();
    }
    println!("{killed} kills");
    killed
}

/// The numbers in the output, by partition, in the order in which they came out.
fn numbers(job: &Job) -> BTreeMap<u64, Vec<u64>> {
    let mut numbers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for line in job.lines("out.jsonl") {
        let row: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let value = row["value"].as_str().expect("text");
        let (partition, number) = value.split_once(':').expect("two parts");
        let partition = partition.parse().expect("a number");
        let number = number.parse().expect("a number");
        numbers.entry(partition).or_default().push(number);
    }
    numbers
}

fn texts(partition: i32, numbers: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    numbers.map(move |number| format!("{partition}:{number}"))
}

#[test]
fn each_record_comes_out_once_however_often_the_job_is_killed() {
    const ROUND: u64 = 2_000;
    let topic = Topic::new("kills", PARTITIONS);
    let document = |stop: &str| {
        format!(
            "name: kills\n\
             checkpoint: {{ interval: 20ms, storage: checkpoints }}\n\
             sources:\n  in:\n    kafka: {{ brokers: BROKERS, topic: {}, discover-every: 100ms, \
             {stop} }}\n\
             \x20   format: {{ raw: {{ value: string }} }}\n\
             sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n",
            topic.name
        )
    };
    let job = Job::new(&document(""));
    let rounds = 8;
    let mut aborted = 0;
    let killed = kill(&job, 11, rounds, |round| {
        let from = round as u64 * ROUND;
        for partition in 0..PARTITIONS {
            topic.values(partition, texts(partition, from..from + ROUND));
        }
        // Gaps.
        aborted += 1;
        let never = [format!("{}:{}", PARTITIONS + 1, aborted)];
        topic.transaction(0, &never, false);
    });
    assert!(killed > 0, "{FAST}");
    let total = PARTITIONS as usize * rounds * ROUND as usize;
    let mut running = job.start(2);
    job.wait_for(&mut running, "out.jsonl", total);
    running.stop();
    let all: Vec<u64> = (0..rounds as u64 * ROUND).collect();
    let found = numbers(&job);
    assert_eq!(found.len(), PARTITIONS as usize);
    for (partition, numbers) in found {
        assert_eq!(numbers, all, "partition {partition}");
    }
}

#[test]
fn a_bounded_job_keeps_its_end_through_kills() {
    const ROWS: u64 = 60_000;
    let topic = Topic::new("bounded-kills", PARTITIONS);
    for partition in 0..PARTITIONS {
        topic.values(partition, texts(partition, 0..ROWS));
    }
    let job = Job::new(&format!(
        "name: kills\n\
         checkpoint: {{ interval: 10ms, storage: checkpoints }}\n\
         sources:\n  in:\n    kafka: {{ brokers: BROKERS, topic: {}, stop: end }}\n\
         \x20   format: {{ raw: {{ value: string }} }}\n\
         sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n",
        topic.name
    ));
    let mut next = ROWS;
    let mut running = job.start(2);
    job.wait_for_checkpoint(&mut running);
    let was_running = usize::from(!running.has_ended());
    running.kill();
    let killed = kill(&job, 5, 3, |_| {
        // It is no part of the input any more.
        topic.values(0, texts(0, next..next + 100));
        next += 100;
    });
    assert!(was_running + killed > 0, "{FAST}");
    job.finish(3);
    let all: Vec<u64> = (0..ROWS).collect();
    let found = numbers(&job);
    assert_eq!(found.len(), PARTITIONS as usize);
    for (partition, numbers) in found {
        assert_eq!(numbers, all, "partition {partition}");
    }
}

#[test]
fn files_come_first_and_then_the_topic_through_kills_in_either_phase() {
    const ROWS: u64 = 30_000;
    let topic = Topic::new("backfill", PARTITIONS);
    let job = Job::new(&format!(
        "name: backfill\n\
         checkpoint: {{ interval: 10ms, storage: checkpoints }}\n\
         sources:\n  in:\n    file: {{ path: \"history/*.txt\" }}\n\
         \x20   kafka: {{ brokers: BROKERS, topic: {} }}\n\
         \x20   format: {{ raw: {{ value: string }} }}\n\
         sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n",
        topic.name
    ));
    fs::create_dir(job.path("history")).expect("the folder is writable");
    for file in 0..4_u64 {
        let lines: String = texts(100 + file as i32, 0..ROWS)
            .map(|line| line + "\n")
            .collect();
        fs::write(job.path(&format!("history/{file}.txt")), lines).expect("writable");
    }
    let round = 1_000;
    let rounds = 8_u64;
    let killed = kill(&job, 23, rounds as usize, |number| {
        let from = number as u64 * round;
        for partition in 0..PARTITIONS {
            topic.values(partition, texts(partition, from..from + round));
        }
    });
    assert!(killed > 0, "{FAST}");
    let total = 4 * ROWS + PARTITIONS as u64 * rounds * round;
    let mut running = job.start(2);
    job.wait_for(&mut running, "out.jsonl", total as usize);
    running.stop();
    let first_of_topic = job
        .lines("out.jsonl")
        .iter()
        .position(|line| !line.contains("\"10"));
    assert_eq!(first_of_topic, Some(4 * ROWS as usize), "files come first");
    for (partition, numbers) in numbers(&job) {
        let rows = if partition < 100 {
            rounds * round
        } else {
            ROWS
        };
        assert!(numbers.into_iter().eq(0..rows), "partition {partition}");
    }
}
