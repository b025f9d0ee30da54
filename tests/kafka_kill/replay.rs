//! What an operator in event time makes of a topic is the same when the topic is read again, from
//! its beginning or from a time, as it was while the topic grew and the job was killed.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use wasmill_tests::Random;
use wasmill_tests::kafka::{Broker, Settings};
use wasmill_tests::kill::report;
use wasmill_tests::sales::{SECOND, time};

use crate::client::{self, PARTITIONS};
use crate::job::Job;
use crate::produce::{New, produce};
use crate::{number, wait};

/// Keys, of which each has one partition.
const KEYS: u64 = 60;
/// Keys from here on end the windows of all others.
const LAST: u64 = 1_000;
/// How far out of order rows are at most.
const OUT_OF_ORDERNESS: i64 = 2 * SECOND;
/// A window's length.
const SIZE: i64 = 10 * SECOND;
/// Stretches of the input, with a kill behind each.
const STRETCHES: u64 = 8;
/// Rows of a stretch.
const ROWS: u64 = 3_000;
/// The longest that a process lives, in milliseconds.
const LIFE: u64 = 1_200;

/// The results of each key, in their order.
type Results = BTreeMap<u64, Vec<Json>>;

fn document(name: &str, brokers: &str, reading: &str) -> String {
    format!(
        "name: {name}
checkpoint: {{ interval: 100ms, storage: checkpoints }}
sources:
  rows:
    kafka: {{ brokers: \"{brokers}\", topic: in, {reading} }}
    format: {{ json: {{ key: u64, amount: i64, at: timestamp }}, timestamp: microseconds }}
    event-time: {{ column: at, out-of-orderness: 2s }}
operators:
  windows:
    input: rows
    key-by: [key]
    window: {{ tumbling: 10s }}
    aggregates:
      n: {{ count: rows }}
      total: {{ sum: amount }}
      first: {{ first: amount }}
      largest: {{ top: {{ column: amount, n: 3 }} }}
sinks:
  out:
    input: windows
    kafka: {{ brokers: \"{brokers}\", topic: {name}, key: key }}
    delivery: exactly-once
"
    )
}

/// The input, with times that are out of order within each partition.
struct Input {
    random: Random,
    clock: i64,
}

impl Input {
    fn row(&mut self, key: u64, at: i64) -> New {
        let amount = self.random.below(1_000);
        New {
            partition: (key % PARTITIONS as u64) as i32,
            key: key.to_string(),
            value: format!(r#"{{"key":{key},"amount":{amount},"at":{at}}}"#).into_bytes(),
            at: Some(at / 1_000),
        }
    }

    fn stretch(&mut self) -> Vec<New> {
        let mut rows = Vec::new();
        for _ in 0..ROWS {
            self.clock += self.random.below(10_000) as i64;
            let key = self.random.below(KEYS);
            let at = self.clock - self.random.below(OUT_OF_ORDERNESS as u64) as i64;
            rows.push(self.row(key, at / 1_000 * 1_000));
        }
        rows
    }

    /// A row of each partition that is far behind all others in time.
    fn last(&mut self) -> Vec<New> {
        let keys = LAST..LAST + PARTITIONS as u64;
        keys.map(|key| self.row(key, self.clock + 100 * SIZE))
            .collect()
    }
}

/// What a job has brought out, but for the keys that end the windows of others.
fn results(brokers: &str, topic: &str) -> Results {
    let mut all = Results::new();
    for text in client::texts(brokers, topic) {
        let row: Json = serde_json::from_str(&text).expect("JSON");
        let key = row["key"].as_u64().expect("a key");
        if key < LAST {
            all.entry(key).or_default().push(row);
        }
    }
    all
}

fn rows_of(results: &Results) -> u64 {
    let all = results.values().flatten();
    all.map(|row| row["n"].as_u64().expect("a count")).sum()
}

/// Shows the first key whose results differ.
fn same(found: &Results, wanted: &Results, what: &str) {
    let keys = found.keys().chain(wanted.keys());
    for key in keys {
        assert_eq!(found.get(key), wanted.get(key), "{what}, key {key}");
    }
}

#[test]
fn a_replay_gives_what_was_live() {
    let seed = number("KILL_SEED", 1);
    let broker = Broker::start(Settings::default());
    let brokers = broker.direct();
    for topic in ["in", "live", "again", "later"] {
        client::create(&brokers, topic);
    }
    let start = 1_772_366_400 * SECOND;
    let mut input = Input {
        random: Random(seed),
        clock: start,
    };
    let live = Job::new();
    live.write(&document("live", &brokers, "discover-every: 5s"));
    for _ in 0..STRETCHES {
        produce(&brokers, "in", input.stretch());
        let (parallelism, life) = (1 + input.random.below(4), input.random.below(LIFE));
        let parallelism = parallelism.to_string();
        live.start(&["--parallelism", &parallelism], None)
            .kill_after(life);
    }
    produce(&brokers, "in", input.last());
    let mut process = live.start(&[], None);
    wait("all windows have ended", || {
        process.check();
        rows_of(&results(&brokers, "live")) >= STRETCHES * ROWS
    });
    process.kill();
    let lived = results(&brokers, "live");
    assert_eq!(rows_of(&lived), STRETCHES * ROWS);

    let again = Job::new();
    again.write(&document("again", &brokers, "start: earliest, stop: end"));
    again.start(&["--parallelism", "3"], None).finish();
    // A transaction's end is answered before readers see it.
    let rows = || rows_of(&results(&brokers, "again"));
    wait("all is there again", || rows() >= STRETCHES * ROWS);
    same(&results(&brokers, "again"), &lived, "from the beginning");

    let middle = start + (input.clock - start) / 2 / SIZE * SIZE;
    let later = Job::new();
    let (midnight, of_day) = (middle / (86_400 * SECOND), middle % (86_400 * SECOND));
    assert_eq!(midnight, start / (86_400 * SECOND), "a day holds it all");
    let from = time(of_day);
    let reading = format!("start: {{ timestamp: \"{from}\" }}, stop: end");
    later.write(&document("later", &brokers, &reading));
    later.start(&["--parallelism", "2"], None).finish();
    let behind = |mut results: Results| {
        for rows in results.values_mut() {
            rows.retain(|row| row["window-start"].as_str().expect("a time") >= &*from);
        }
        results
    };
    let lived = behind(lived);
    assert!(rows_of(&lived) > 0, "from {from}");
    let rows = || rows_of(&behind(results(&brokers, "later")));
    wait("what is later is there again", || rows() >= rows_of(&lived));
    same(&behind(results(&brokers, "later")), &lived, &from);
    let windows = lived.values().map(Vec::len).sum::<usize>();
    report(&format!(
        "replay: {} rows give the same windows again, {windows} of them from {from} on, seed {seed}",
        STRETCHES * ROWS
    ));
}
