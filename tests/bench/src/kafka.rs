//! Jobs through a real broker: what `wasmill run` makes of a topic, and beside it other programs
//! that are given the same order.
//!
//! Every program runs in a process of its own, so that its CPU time is its own and not the
//! broker's. What it has written is counted by a reader of committed records, round by round.

mod alerts;
mod batch;
mod client;
mod feed;
mod latency;
mod order;
mod ours;
pub(crate) mod raw;
mod topics;

use anyhow::{Context, Result, ensure};

use crate::scenario::Measured;
use client::{PARTITIONS, Topics};
use order::{Guarantee, Mode, Order};
use ours::Program;

/// Records of the topic for each second that is asked for.
const RECORDS_A_SECOND: f64 = 1e6;
/// Transactions of the flagship for each second that is asked for: each costs some ten times more.
const TRANSACTIONS_A_SECOND: f64 = 1e5;
/// The flagship tells of about one transaction in so many. Who only passes records on does the
/// same.
const ALERTS_EVERY: u64 = 70;
/// Milliseconds from one checkpoint to the next where throughput is measured.
const INTERVAL: u64 = 1_000;

/// What a scenario measures.
enum Measure {
    /// Records a second; one of so many comes out.
    Rate { every: u64 },
    /// A percentile of the time from a record's sending to its arrival behind the job.
    Latency {
        percentile: f64,
        guarantee: Guarantee,
        interval: u64,
    },
}

struct Job {
    name: &'static str,
    mode: Mode,
    measure: Measure,
}

const fn rate(name: &'static str, mode: Mode, every: u64) -> Job {
    Job {
        name,
        mode,
        measure: Measure::Rate { every },
    }
}

const fn soon(name: &'static str, percentile: f64) -> Job {
    Job {
        name,
        mode: Mode::Fraud,
        measure: Measure::Latency {
            percentile,
            guarantee: Guarantee::AtLeastOnce,
            interval: INTERVAL,
        },
    }
}

const fn committed_soon(name: &'static str, mode: Mode) -> Job {
    Job {
        name,
        mode,
        measure: Measure::Latency {
            percentile: 99.0,
            guarantee: Guarantee::ExactlyOnce,
            interval: 100,
        },
    }
}

const JOBS: &[Job] = &[
    rate("kafka-passthrough", Mode::Pass, 1),
    rate("kafka-fraud", Mode::Fraud, 100),
    rate("kafka-fraud-all", Mode::Fraud, 1),
    soon("kafka-latency-p50", 50.0),
    soon("kafka-latency-p99", 99.0),
    soon("kafka-latency-p999", 99.9),
    committed_soon("kafka-latency-exactly-once-p99", Mode::Fraud),
    rate("kafka-flagship", Mode::Flagship, ALERTS_EVERY),
    committed_soon("kafka-flagship-p99", Mode::Flagship),
];

/// A round of wasmill itself.
pub(crate) fn ours(name: &str, seconds: f64) -> Result<Measured> {
    round(name, seconds, &Program::Ours)
}

/// A round of another program, which is started with the order behind these words.
pub(crate) fn beside(name: &str, seconds: f64, command: &[&str]) -> Result<Measured> {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    round(name, seconds, &Program::Other(command))
}

fn round(name: &str, seconds: f64, program: &Program) -> Result<Measured> {
    let job = JOBS.iter().find(|job| job.name == name);
    let job = job.with_context(|| format!("`{name}` does not go through Kafka"))?;
    match job.measure {
        Measure::Rate { every } => throughput((job.mode, every), seconds, program),
        Measure::Latency {
            percentile,
            guarantee,
            interval,
        } => latency::round(
            (job.mode, guarantee, interval),
            (percentile, seconds),
            program,
        ),
    }
}

/// Reads a whole topic and holds what came out against what must.
fn throughput((mode, every): (Mode, u64), seconds: f64, program: &Program) -> Result<Measured> {
    let brokers = client::brokers()?;
    let (records, from) = match mode {
        Mode::Flagship => {
            let records = (seconds * TRANSACTIONS_A_SECOND) as u64;
            (records, topics::transactions(&brokers, records)?)
        }
        Mode::Pass | Mode::Fraud => {
            let records = (seconds * RECORDS_A_SECOND) as u64;
            (records, topics::payments(&brokers, records)?)
        }
    };
    let mut topics = Topics::new(&brokers);
    let order = Order {
        mode,
        brokers: brokers.clone(),
        from,
        to: topics.make("out")?,
        records,
        every,
        guarantee: Guarantee::ExactlyOnce,
        milliseconds: INTERVAL,
    };
    let figures = program.run(&order, &mut topics)?;
    ensure!(
        figures.records == records,
        "{} of {records} records were read",
        figures.records
    );
    let committed = check(&order, program)?;
    if let Some(told) = figures.written {
        same(told, committed)?;
    }
    // Of the offsets that are no records, each is the end of a transaction in a partition.
    let ends = client::offsets(&brokers, &order.to)?.unwrap_or(0) - committed;
    eprintln!("{committed} records came out, {ends} ends of transactions beside them");
    let least = PARTITIONS as u64 * (figures.seconds as u64).saturating_sub(1);
    if ends < least {
        let seconds = figures.seconds;
        let few = format!("{ends} ends in {seconds:.1} s: fewer than one transaction a second");
        // Another program that commits less often than it is asked to has less to do: its rate
        // counts, and ours would not.
        ensure!(matches!(program, Program::Other(_)), "{few}");
        eprintln!("{few}");
    }
    Ok(Measured {
        cpu: Some(figures.cpu_seconds * 1e6 / records as f64),
        ..Measured::rate(records, figures.seconds)
    })
}

/// Holds what a program has told, as a reader of committed records finds it, against what it must;
/// gives the number of records.
fn check(order: &Order, program: &Program) -> Result<u64> {
    let (records, every) = (order.records, order.every);
    let mut told = Vec::new();
    let committed = client::committed(&order.brokers, &order.to, |value| {
        if order.mode == Mode::Flagship {
            told.extend_from_slice(value);
            told.push(b'\n');
        }
    })?;
    match (order.mode, program) {
        // Bytes that nobody looks into: each of its threads counts its own.
        (_, Program::Other(words)) if words.iter().any(|word| word == raw::NAME) => {
            let missing = (records / every).abs_diff(committed);
            ensure!(missing <= PARTITIONS as u64, "{committed} records came out");
        }
        (Mode::Flagship, _) => alerts::check(&told, records)?,
        (Mode::Pass, _) => same(records / every, committed)?,
        (Mode::Fraud, _) => same(topics::told(records, every), committed)?,
    }
    Ok(committed)
}

fn same(expected: u64, committed: u64) -> Result<()> {
    ensure!(
        expected == committed,
        "{committed} committed records came out, and {expected} must"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds: fifty thousand records.
    const SHORT: f64 = 0.05;

    #[test]
    fn a_round_through_the_broker_loses_no_record() {
        for name in ["kafka-passthrough", "kafka-fraud", "kafka-fraud-all"] {
            let measured = ours(name, SHORT).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert_eq!(measured.records, 50_000, "{name}");
            assert!(measured.cpu.is_some_and(|cpu| cpu > 0.0), "{name}");
        }
    }
}
