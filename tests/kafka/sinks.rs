//! What a sink into topics writes, in both forms of exactly-once, as somebody else reads it.

#![allow(
    clippy::print_stdout,
    reason = "seeds are shown, so that a failure can be repeated"
)]

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use wasmill_tests::Random;

use crate::job::{Job, Running, some_time};
use crate::topics::{Record, Topic, name};

/// Partitions of an output.
const PARTITIONS: i32 = 5;
/// Keys of a table, and changes of it at once.
const KEYS: u64 = 40;
const CHANGES: usize = 25;
/// 2026-03-01T00:00:00Z.
const TIME_MS: i64 = 1_772_323_200_000;
/// Keys, and what Java's clients hash them to (`UtilsTest.testMurmur2` of Kafka).
const HASHED: [(&str, i32); 3] = [
    ("21", -973_932_308),
    ("foobar", -790_332_482),
    ("abc", 479_470_107),
];

/// Which of the partitions Java's clients take for a hash.
fn partition(hash: i32) -> i32 {
    (hash & i32::MAX) % PARTITIONS
}

/// A row that says all about its record but the topic, and that record. `value` is its value.
fn whole(value: Option<&str>, second: i64) -> (Value, Record) {
    let row = json!({
        "p": 4, "k": "k", "h": "x", "n": 18_446_744_073_709_551_615_u64, "v": value,
        "at": format!("2026-03-01T00:00:{second:02}.123999Z"), "seen": "2026-03-02T00:00:00Z",
    });
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let record = Record {
        key: Some(b"k".to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: vec![header("h", "x"), header("n", "18446744073709551615")],
        time_ms: Some(TIME_MS + second * 1_000 + 123),
    };
    (row, record)
}

/// Two topics, a row's by what it says.
fn what_stands_beside_values(decides: bool) {
    let topics = ["first", "second"].map(|stem| Topic::new(stem, PARTITIONS));
    let mut rows = Vec::new();
    let mut expected = [Vec::new(), Vec::new()];
    let mut row = |topic: usize, partition: i32, (mut row, record): (Value, Record)| {
        row["to"] = json!(topics[topic].name);
        rows.push(row);
        expected[topic].push((partition, record));
    };
    row(0, 4, whole(Some("one"), 1));
    row(1, 4, whole(Some("two"), 2));
    // Not the same: a value of no bytes, and none.
    row(0, 4, whole(Some(""), 3));
    row(1, 4, whole(None, 4));
    row(0, 4, whole(None, 5));
    row(1, 4, whole(Some("three"), 4));
    let seen = "2026-03-01T00:01:00Z";
    let time_ms = Some(TIME_MS + 60_000);
    let bare = Record {
        time_ms,
        ..Record::of("bare")
    };
    let says = json!({ "p": 0, "k": null, "h": null, "n": null, "at": null, "seen": seen,
        "v": "bare" });
    row(0, 0, (says.clone(), bare.clone()));
    for (key, hash) in HASHED {
        let (mut says, mut record) = (says.clone(), bare.clone());
        says["p"] = Value::Null;
        says["k"] = json!(key);
        record.key = Some(key.as_bytes().to_vec());
        says["h"] = json!(key);
        record.headers = vec![("h".to_owned(), key.as_bytes().to_vec())];
        row(1, partition(hash), (says, record));
    }
    let job = Job::new(&format!(
        "name: {}
checkpoint: {{ interval: 50ms, storage: checkpoints }}
sources:
  in:
    file: {{ path: in.jsonl }}
    format:
      json: {{ to: string, p: \"u32?\", k: \"string?\", h: \"string?\", n: \"u64?\", \
         at: \"timestamp?\", seen: timestamp, v: \"string?\" }}
    event-time: {{ column: seen }}
sinks:
  out:
    input: in
    kafka:
      brokers: BROKERS
      topic: {{ column: to }}
      partition: p
      key: k
      headers: {{ h: h, n: n }}
      timestamp: at
      decides: {decides}
    format: {{ raw: {{ column: v }} }}
    delivery: exactly-once
",
        name("beside")
    ));
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(job.path("in.jsonl"), lines).expect("the folder is writable");
    job.finish(1);
    for (topic, mut expected) in topics.iter().zip(expected) {
        expected.sort_by_key(|(partition, _)| *partition);
        assert_eq!(topic.records(), expected, "{}", topic.name);
    }
}

#[test]
fn a_sink_that_follows_writes_what_stands_beside_values() {
    what_stands_beside_values(false);
}

#[test]
fn a_sink_that_decides_writes_what_stands_beside_values() {
    what_stands_beside_values(true);
}

/// A table, as Debezium tells of its changes.
#[derive(Default)]
struct Table {
    rows: BTreeMap<u64, Value>,
    /// What is not written yet, by the partition.
    changes: BTreeMap<i32, Vec<Record>>,
    /// What a key's records should hold, in their order; nothing for a deletion.
    told: BTreeMap<u64, Vec<Option<Value>>>,
}

impl Table {
    /// Changes rows: most are set, some are deleted.
    fn change_some(&mut self, random: &mut Random) {
        for _ in 0..CHANGES {
            let id = random.below(KEYS);
            match self.rows.remove(&id) {
                Some(before) if random.below(3) == 0 => {
                    self.tell(id, "d", [Some(before), None]);
                    self.change(id, None);
                }
                before => {
                    let note = (random.below(5) > 0).then(|| random.below(1_000).to_string());
                    let row = json!({ "id": id, "note": note });
                    self.rows.insert(id, row.clone());
                    let op = if before.is_some() { "u" } else { "c" };
                    self.tell(id, op, [before, Some(row)]);
                }
            }
        }
    }

    fn tell(&mut self, id: u64, op: &str, [before, after]: [Option<Value>; 2]) {
        let envelope = json!({ "op": op, "before": before, "after": after });
        self.change(id, Some(envelope.to_string().into_bytes()));
        self.told.entry(id).or_default().push(after);
    }

    fn change(&mut self, id: u64, value: Option<Vec<u8>>) {
        let partition = i32::try_from(id % 2).expect("it is small");
        let record = Record {
            key: Some(json!({ "id": id }).to_string().into_bytes()),
            value,
            ..Record::default()
        };
        self.changes.entry(partition).or_default().push(record);
    }

    fn send(&mut self, topic: &Topic) {
        for (partition, changes) in std::mem::take(&mut self.changes) {
            topic.send(partition, changes);
        }
    }

    /// How many records there should be by now.
    fn records(&self) -> usize {
        self.told.values().map(Vec::len).sum()
    }
}

/// What the records of each key hold.
fn told(topic: &Topic) -> BTreeMap<u64, Vec<Option<Value>>> {
    let mut told: BTreeMap<u64, Vec<Option<Value>>> = BTreeMap::new();
    let mut places = BTreeMap::new();
    for (partition, record) in topic.records() {
        assert!(record.headers.is_empty(), "{record:?}");
        let key = record.key.expect("a changelog has keys");
        let key = String::from_utf8(key).expect("text");
        let key = key.parse().expect("a number");
        let place = *places.entry(key).or_insert(partition);
        assert_eq!(place, partition, "key {key} has one place");
        let value = record.value;
        let row = value.map(|value| serde_json::from_slice(&value).expect("JSON"));
        told.entry(key).or_default().push(row);
    }
    told
}

/// The job dies with changes on their way, again and again.
fn newest_form_of_each_key(decides: bool) {
    const SEED: u64 = 47;
    println!("seed {SEED}");
    let mut random = Random(SEED);
    let (changes, rows) = (Topic::new("changes", 2), Topic::new("rows", PARTITIONS));
    let job = Job::new(&format!(
        "name: {}
checkpoint: {{ interval: 400ms, storage: checkpoints }}
sources:
  in:
    kafka: {{ brokers: BROKERS, topic: {} }}
    format: {{ json: {{ id: u64, note: \"string?\" }}, envelope: debezium }}
sinks:
  out:
    input: in
    kafka: {{ brokers: BROKERS, topic: {}, key: id, upsert: true, decides: {decides} }}
    delivery: exactly-once
",
        name("upsert"),
        changes.name,
        rows.name
    ));
    let mut table = Table::default();
    for round in 0..4 {
        table.change_some(&mut random);
        table.send(&changes);
        let mut running = job.start(1 + round % 2);
        rows.wait_for(&mut running, table.records());
        table.change_some(&mut random);
        table.send(&changes);
        some_time(50 + random.below(300));
        assert!(!running.has_ended(), "the job has ended before its kill");
        running.kill();
        changes.flush();
    }
    let mut running = job.start(2);
    rows.wait_for(&mut running, table.records());
    running.stop();
    let found = told(&rows);
    for (id, forms) in &found {
        let newest = forms.last().and_then(Option::as_ref);
        assert_eq!(newest, table.rows.get(id), "key {id}");
    }
    let gone = found.keys().filter(|id| !table.rows.contains_key(id));
    assert!(gone.count() > 0, "a deletion is the newest form of some");
    assert_eq!(found, table.told);
}

#[test]
fn a_sink_that_follows_holds_the_newest_form_of_each_key() {
    newest_form_of_each_key(false);
}

#[test]
fn a_sink_that_decides_holds_the_newest_form_of_each_key() {
    newest_form_of_each_key(true);
}

/// Checkpoints are decided, and nothing is written into the topic, no end of a transaction either.
fn idles(job: &Job, running: &mut Running, topic: &Topic) {
    let before = topic.ends();
    for _ in 0..4 {
        job.wait_for_checkpoint(running);
    }
    assert_eq!(topic.ends(), before);
}

fn nothing_is_written_for_nothing(decides: bool) {
    const ROWS: usize = 20;
    const ROUNDS: usize = 2;
    let (input, output) = (Topic::new("idle", 2), Topic::new("idle-out", 3));
    let job = Job::new(&format!(
        "name: {}
checkpoint: {{ interval: 30ms, storage: checkpoints }}
sources:
  in:
    kafka: {{ brokers: BROKERS, topic: {} }}
    format: {{ raw: {{ value: string }} }}
sinks:
  out:
    input: in
    kafka: {{ brokers: BROKERS, topic: {}, decides: {decides} }}
    format: {{ raw: {{ column: value }} }}
    delivery: exactly-once
",
        name("idle"),
        input.name,
        output.name
    ));
    let mut running = job.start(2);
    idles(&job, &mut running, &output);
    assert_eq!(output.ends(), [0; 3]);
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        running.kill();
        let values: Vec<String> = (0..ROWS).map(|n| format!("{round}:{n:02}")).collect();
        let (first, second) = values.split_at(ROWS / 2);
        input.values(0, first.to_vec());
        input.values(1, second.to_vec());
        expected.extend(values);
        running = job.start(1 + round % 2);
        output.wait_for(&mut running, expected.len());
        idles(&job, &mut running, &output);
    }
    running.stop();
    let records = output.records().into_iter();
    let mut found: Vec<String> = records
        .map(|(_, record)| record.text().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn an_idle_job_whose_sink_follows_writes_nothing() {
    nothing_is_written_for_nothing(false);
}

#[test]
fn an_idle_job_whose_sink_decides_writes_nothing() {
    nothing_is_written_for_nothing(true);
}
