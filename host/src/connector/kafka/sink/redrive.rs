//! Dead letters back to where they came from, each once.

use std::{collections::HashSet, ffi::CString};

use rdkafka::Message;
use wasmill_core::pipeline::document::KafkaSource;

use super::{
    marker_topic,
    producer::{PATIENCE, Producer},
    record::{Record, Writer, part},
};
use crate::connector::kafka::{
    KafkaError,
    client::Cluster,
    letter::{self, Letter},
};

/// The header of a record that was brought back: where the row stood that had failed.
const REDRIVEN: &[u8] = b"wasmill-redriven\0";
/// Letters of one transaction.
const TOGETHER: usize = 1_000;

/// What came of bringing letters back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Redriven {
    /// Letters that were brought back.
    pub sent: usize,
    /// Letters that had been brought back before.
    pub before: usize,
}

/// Tells what [`redrive`] would come to now, and changes nothing.
///
/// # Errors
/// If the brokers are away or refuse.
pub fn would_redrive(
    source: &KafkaSource,
    (job, sink): (&str, &str),
    letters: &[Letter],
) -> Result<Redriven, KafkaError> {
    let cluster = Cluster::new(&source.brokers, &source.options);
    let notes = notes_topic(job, sink);
    let mut done = HashSet::new();
    if marker_topic::prepare(&cluster, (&notes, false), None)? {
        done = noted(&cluster, &notes)?;
    }
    let (due, before) = due(letters, done);
    let sent = due.len();
    Ok(Redriven { sent, before })
}

/// Brings letters back to the topics that their rows were read from: the original key, value,
/// headers and time, in the original partition. Which ones that was done with is noted in the same
/// transactions, in a topic of its own, so that a letter is brought back once, however often this
/// is done and whenever it is broken off.
///
/// # Errors
/// If the brokers are away or refuse.
pub fn redrive(
    source: &KafkaSource,
    (job, sink): (&str, &str),
    letters: &[Letter],
) -> Result<Redriven, KafkaError> {
    let cluster = Cluster::new(&source.brokers, &source.options);
    let notes = notes_topic(job, sink);
    marker_topic::prepare(&cluster, (&notes, true), None)?;
    let id = format!("wasmill.redrive.{job}.{sink}");
    let mut redriven = Redriven::default();
    loop {
        let mut producer = Producer::new(&cluster, &[], &[("transactional.id", &id)])?;
        // Whoever is at it at this moment can commit no more.
        producer.init()?;
        let (due, before) = due(letters, noted(&cluster, &notes)?);
        redriven.before = before.saturating_sub(redriven.sent);
        let sent = bring(&mut producer, &notes, &due)?;
        producer.throw_away();
        redriven.sent += sent;
        if sent == due.len() {
            return Ok(redriven);
        }
    }
}

/// Brings letters back, as many as the producer may; gives how many.
fn bring(
    producer: &mut Producer,
    notes: &str,
    due: &[(String, &Letter)],
) -> Result<usize, KafkaError> {
    let notes = CString::new(notes).unwrap_or_default();
    let mut sent = 0;
    for together in due.chunks(TOGETHER) {
        if producer.is_spent() {
            break;
        }
        producer.begin()?;
        for (lineage, letter) in together {
            send(producer, letter, lineage)?;
            let note = Record {
                partition: Some(0),
                key: Some(lineage.as_bytes()),
                value: Some(b"{}"),
                ..Record::default()
            };
            producer.send(&notes, &note, PATIENCE)?;
        }
        producer.settle(PATIENCE)?;
        producer.commit()?;
        sent += together.len();
    }
    Ok(sent)
}

/// Where it is noted which letters were brought back.
fn notes_topic(job: &str, sink: &str) -> String {
    format!("wasmill.redriven.{job}.{sink}")
}

/// The rows of which it is noted.
fn noted(cluster: &Cluster, notes: &str) -> Result<HashSet<String>, KafkaError> {
    let mut done = HashSet::new();
    letter::for_each(cluster, notes, |message| {
        let key = message.key().unwrap_or_default();
        done.insert(String::from_utf8_lossy(key).into_owned());
        Ok(())
    })?;
    Ok(done)
}

/// The letters that were not brought back, each row once, and how many were.
fn due(letters: &[Letter], mut done: HashSet<String>) -> (Vec<(String, &Letter)>, usize) {
    let (mut due, mut before) = (Vec::new(), 0);
    for letter in letters {
        let lineage = letter.lineage().filter(|_| letter.origin().is_some());
        match lineage {
            Some(lineage) if done.insert(lineage.clone()) => due.push((lineage, letter)),
            Some(_) => before += 1,
            None => {}
        }
    }
    (due, before)
}

fn send(producer: &mut Producer, letter: &Letter, lineage: &str) -> Result<(), KafkaError> {
    let Some((topic, partition)) = letter.origin() else {
        return Ok(());
    };
    let mut bytes = Vec::new();
    let mut record = Writer::begin(&mut bytes);
    record.time(letter.time_us);
    record.partition(Some(partition));
    record.octets(part::KEY, letter.key.as_deref());
    record.octets(part::VALUE, letter.original.as_deref());
    for (name, value) in &letter.headers {
        let mut name = name.clone().into_bytes();
        name.push(0);
        record.header(&name, value.as_deref().unwrap_or_default());
    }
    record.header(REDRIVEN, lineage.as_bytes());
    record.end();
    let topic = CString::new(topic).unwrap_or_default();
    match Record::take(&mut &bytes[..]) {
        Some(record) => producer.send(&topic, &record, PATIENCE),
        None => Ok(()),
    }
}
