//! Rows that go out at least once: whoever is killed, none is missing, and who drops repeats by the
//! ids of rows has each of them once.

use std::collections::BTreeMap;

use wasmill_tests::Random;
use wasmill_tests::kafka::{Action, Api, Broker, Fault, Settings};
use wasmill_tests::kill::report;

use crate::client::{self, PARTITIONS, Record, Records};
use crate::job::Job;
use crate::produce::{New, produce};
use crate::{number, wait};

/// Rows of one kind of delivery.
const ROWS: u64 = 20_000;
/// Kills on the way; the broker crashes behind half of them.
const KILLS: u64 = 6;
/// The longest that a process lives, in milliseconds.
const LIFE: u64 = 900;

fn document(delivery: &str, brokers: &str) -> String {
    format!(
        "name: repeats
checkpoint: {{ interval: 100ms, storage: checkpoints }}
sources:
  rows:
    kafka: {{ brokers: \"{brokers}\", topic: in }}
    format: {{ raw: {{ value: string }} }}
sinks:
  out:
    input: rows
    kafka: {{ brokers: \"{brokers}\", topic: out }}
    format: {{ raw: {{ column: value }} }}
    delivery: {delivery}
"
    )
}

fn row(n: u64) -> New {
    New {
        partition: (n % PARTITIONS as u64) as i32,
        key: n.to_string(),
        value: format!("row {n}").into_bytes(),
        at: None,
    }
}

/// The value that each id stands for.
///
/// # Panics
///
/// If a row has no id, or an id stands for two rows.
fn by_id(records: &[Record]) -> BTreeMap<&[u8], &[u8]> {
    let mut values = BTreeMap::new();
    for record in records {
        let id = record.row_id.as_deref().expect("each row has its id");
        let before = values.insert(id, &*record.value);
        assert!(
            before.is_none_or(|before| before == record.value),
            "{record:?}"
        );
    }
    values
}

#[test]
fn rows_come_at_least_once_and_their_ids_tell_repeats() {
    let seed = number("KILL_SEED", 1);
    for delivery in ["at-least-once", "early"] {
        let broker = Broker::start(Settings::default());
        let direct = broker.direct();
        ["in", "out"]
            .iter()
            .for_each(|topic| client::create(&direct, topic));
        let job = Job::new();
        job.write(&document(delivery, &broker.proxy().address().to_string()));
        let mut random = Random(seed);
        let share = ROWS / (KILLS + 1);
        for kill in 0..KILLS {
            produce(&direct, "in", (kill * share..(kill + 1) * share).map(row));
            let action = [Action::Drop, Action::Cut, Action::CutRequest][kill as usize % 3];
            let (api, nth) = (Api::Produce, 1 + random.below(3) as u32);
            broker.proxy().arm(Fault { api, nth, action });
            job.start(&[], None).kill_after(random.below(LIFE));
            if kill == KILLS / 2 {
                broker.crash();
                broker.up();
            }
        }
        produce(&direct, "in", (KILLS * share..ROWS).map(row));
        let mut process = job.start(&[], None);
        let all = || Records::of(&direct, "out", PARTITIONS).all();
        wait("every row has come", || {
            process.check();
            by_id(&all()).len() as u64 >= ROWS
        });
        process.kill();
        let records = all();
        let mut values: Vec<&[u8]> = by_id(&records).into_values().collect();
        values.sort_unstable();
        let mut expected: Vec<Vec<u8>> = (0..ROWS).map(|n| row(n).value).collect();
        expected.sort_unstable();
        assert_eq!(values, expected, "{delivery}");
        let repeats = records.len() - values.len();
        report(&format!(
            "repeats, {delivery}: {ROWS} rows, none lost, {repeats} twice and known by their ids, \
             through {KILLS} kills, seed {seed}"
        ));
    }
}
