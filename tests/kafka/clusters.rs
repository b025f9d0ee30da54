//! One job and two clusters: what the sink of one decides, that of the other follows, whoever dies.

#![allow(
    clippy::print_stdout,
    reason = "seeds are shown, so that a failure can be repeated"
)]

use wasmill_tests::Random;
use wasmill_tests::kafka::{Broker, Settings};

use crate::job::{Job, Running, some_time};
use crate::topics::{Record, Topic, name};

const PARTITIONS: i32 = 3;
/// Rows of a partition that are written at once.
const ROWS: u64 = 50;
const ROUNDS: usize = 6;
/// The round in which a cluster crashes, and no job.
const CRASH: usize = 3;
/// A job that begins, or that is at work, dies within this, in milliseconds.
const BEGINS_MS: u64 = 4_000;
const WORKS_MS: u64 = 300;
/// What takes minutes elsewhere takes seconds.
const CLIENT: &str = "socket.timeout.ms: \"2000\", reconnect.backoff.max.ms: \"500\"";

/// A job that copies a topic within its cluster, and into another one, which decides.
struct Copy {
    input: Topic,
    near: Topic,
    far: Topic,
    job: Job,
    /// Rows of a partition by now.
    rows: u64,
}

impl Copy {
    fn new(near: &Broker, far: &Broker) -> Self {
        let (here, there) = (near.direct(), far.direct());
        let topic = |brokers: &str, stem: &str| Topic::at(brokers.into(), name(stem), PARTITIONS);
        let input = topic(&here, "in");
        let (near, far) = (topic(&here, "near"), topic(&there, "far"));
        let sink = |brokers: &str, topic: &Topic, decides: bool| {
            format!(
                "    input: in
    kafka:
      brokers: \"{brokers}\"
      topic: {}
      partition: p
      decides: {decides}
      options: {{ {CLIENT} }}
    format: {{ raw: {{ column: value }} }}
    delivery: exactly-once
",
                topic.name
            )
        };
        let job = Job::new(&format!(
            "name: clusters
checkpoint: {{ interval: 300ms, storage: checkpoints }}
restart: {{ fixed: {{ attempts: 1000000, delay: 100ms }} }}
sources:
  in:
    kafka:
      brokers: \"{here}\"
      topic: {}
      message: {{ p: partition }}
      options: {{ {CLIENT} }}
    format: {{ raw: {{ value: string }} }}
sinks:
  near:
{}  far:
{}",
            input.name,
            sink(&here, &near, false),
            sink(&there, &far, true)
        ));
        Self {
            input,
            near,
            far,
            job,
            rows: 0,
        }
    }

    fn feed(&mut self) {
        let numbers = self.rows..self.rows + ROWS;
        for partition in 0..PARTITIONS {
            let values = numbers.clone().map(|n| format!("{partition}:{n}"));
            self.input.send(partition, values.map(Record::of));
        }
        self.rows += ROWS;
    }

    /// Waits until all rows are out in both clusters.
    fn catch_up(&self, running: &mut Running) {
        for topic in [&self.near, &self.far] {
            topic.wait_for(running, PARTITIONS as usize * self.rows as usize);
        }
    }
}

#[test]
fn each_row_stands_once_in_two_clusters_whoever_dies() {
    const SEED: u64 = 31;
    println!("seed {SEED}");
    let mut random = Random(SEED);
    let [near, far] = [(); 2].map(|()| Broker::start(Settings::default()));
    let mut copy = Copy::new(&near, &far);
    for round in 0..ROUNDS {
        let mut running = copy.job.start([1, 2, 4, 3][round % 4]);
        copy.feed();
        if round % 3 == 2 {
            some_time(random.below(BEGINS_MS));
        } else {
            copy.catch_up(&mut running);
            copy.feed();
            some_time(random.below(WORKS_MS));
        }
        if round == CRASH {
            far.crash();
            copy.feed();
            some_time(random.below(1_000));
            far.up();
            copy.catch_up(&mut running);
        }
        assert!(!running.has_ended(), "round {round}: the job has ended");
        running.kill();
        copy.input.flush();
    }
    let mut running = copy.job.start(2);
    copy.catch_up(&mut running);
    running.stop();
    let all: Vec<String> = (0..PARTITIONS)
        .flat_map(|partition| {
            let numbers = 0..copy.rows;
            numbers.map(move |number| format!("{partition} {partition}:{number}"))
        })
        .collect();
    for topic in [&copy.near, &copy.far] {
        let records = topic.records();
        let found = records
            .iter()
            .map(|(partition, record)| format!("{partition} {}", record.text()));
        let found: Vec<String> = found.collect();
        let differs = found.iter().zip(&all).find(|(found, row)| found != row);
        assert_eq!(
            differs, None,
            "{}: what stands there, and what should",
            topic.name
        );
        assert_eq!(found.len(), all.len(), "{}", topic.name);
    }
}
