//! Records that fit no columns, among many that do: each stands in a topic of dead letters, once.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value as Json;
use wasmill_tests::Random;
use wasmill_tests::kafka::{Broker, Settings};
use wasmill_tests::kill::report;

use crate::client::{self, PARTITIONS};
use crate::document::Form;
use crate::job::Job;
use crate::produce::{New, produce};
use crate::{number, wait};

/// One of so many records fits no columns.
const POISON: u64 = 100;
/// Kills on the way.
const KILLS: u64 = 5;
/// The longest that a process lives, in milliseconds.
const LIFE: u64 = 1_200;

fn document(form: Form, brokers: &str) -> String {
    let decides = form == Form::Decides;
    format!(
        "name: poison
checkpoint: {{ interval: 100ms, storage: checkpoints }}
restart: none
sources:
  rows:
    kafka: {{ brokers: \"{brokers}\", topic: in }}
    format: {{ json: {{ n: u64, amount: i64 }} }}
    on-error: {{ dead-letter: rejects }}
sinks:
  out:
    input: rows
    kafka: {{ brokers: \"{brokers}\", topic: out, key: n, decides: {decides} }}
    delivery: exactly-once
  rejects:
    kafka: {{ brokers: \"{brokers}\", topic: rejects }}
    delivery: exactly-once
"
    )
}

/// A record, and whether it is poison; of every kind that there is.
fn record(n: u64) -> (New, bool) {
    let is_poison = n % POISON == POISON / 2;
    let value = match (is_poison, n / POISON % 4) {
        (false, _) => format!(r#"{{"n":{n},"amount":{}}}"#, n % 7),
        (true, 0) => format!(r#"{{"n":{n},"amount":"much"}}"#),
        (true, 1) => format!(r#"{{"n":{n}"#),
        (true, 2) => format!(r#"{{"m":{n}}}"#),
        (true, _) => format!("poison {n}"),
    };
    let new = New {
        partition: (n % PARTITIONS as u64) as i32,
        key: n.to_string(),
        value: value.into_bytes(),
        at: None,
    };
    (new, is_poison)
}

fn feed(brokers: &str, rows: Range<u64>) {
    produce(brokers, "in", rows.map(|n| record(n).0));
}

/// `POISON_RECORDS` says how many there are, a million in the long form.
#[test]
fn poison_comes_once() {
    let (records, seed) = (number("POISON_RECORDS", 60_000), number("KILL_SEED", 1));
    for form in Form::ALL {
        let broker = Broker::start(Settings::default());
        let brokers = broker.direct();
        ["in", "out", "rejects"]
            .iter()
            .for_each(|topic| client::create(&brokers, topic));
        let job = Job::new();
        job.write(&document(*form, &brokers));
        let mut random = Random(seed);
        let share = records / (KILLS + 1);
        for kill in 0..KILLS {
            feed(&brokers, kill * share..(kill + 1) * share);
            job.start(&[], None).kill_after(random.below(LIFE));
        }
        feed(&brokers, KILLS * share..records);
        let mut process = job.start(&[], None);
        let count = |topic: &str| client::texts(&brokers, topic).len() as u64;
        wait("everything has come", || {
            process.check();
            count("rejects") >= records / POISON && count("out") >= records - records / POISON
        });
        assert!(!process.said().contains("restart"), "{}", process.said());
        process.kill();
        check(&brokers, records);
        let (form, poison) = (form.name(), records / POISON);
        report(&format!(
            "poison, {form}: {poison} of {records} records in the dead letters, once each, \
             through {KILLS} kills, seed {seed}"
        ));
    }
}

fn check(brokers: &str, records: u64) {
    let rows = |topic: &str| {
        let texts = client::texts(brokers, topic).into_iter();
        let rows = texts.map(|text| serde_json::from_str::<Json>(&text).expect("JSON"));
        rows.collect::<Vec<_>>()
    };
    let mut good: Vec<u64> = rows("out")
        .iter()
        .map(|row| row["n"].as_u64().expect("n"))
        .collect();
    good.sort_unstable();
    let expected: Vec<u64> = (0..records).filter(|n| !record(*n).1).collect();
    assert!(
        good == expected,
        "{} rows, {} expected",
        good.len(),
        expected.len()
    );
    let text = |row: &Json, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rejects = rows("rejects");
    let mut originals: Vec<String> = rejects.iter().map(|row| text(row, "original")).collect();
    originals.sort_unstable();
    let poison = (0..records).map(record).filter(|(_, is_poison)| *is_poison);
    let poison = poison.map(|(new, _)| String::from_utf8(new.value).expect("text"));
    let mut poison: Vec<String> = poison.collect();
    poison.sort_unstable();
    assert!(
        originals == poison,
        "{} dead letters, {} expected",
        originals.len(),
        poison.len()
    );
    let places: BTreeSet<(String, u64)> = rejects
        .iter()
        .map(|row| {
            (
                text(row, "split"),
                row["offset"].as_u64().expect("an offset"),
            )
        })
        .collect();
    assert_eq!(places.len(), rejects.len(), "each has a place of its own");
    for row in &rejects {
        assert_eq!(
            (text(row, "at"), text(row, "kind")),
            ("rows".into(), "decode".into())
        );
        assert!(!text(row, "reason").is_empty(), "{row}");
    }
}
