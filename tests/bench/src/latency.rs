//! How long a record takes from source to sink at a fixed rate, alone and beside busy neighbours.
//!
//! A record counts from the moment at which it is due, not from the one at which it was computed:
//! a source that is held up makes its records late, and that is part of the figure.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use guest_bench_spin::spin;
use serde_json::{Value, json};
use wasmill_host::clock;

use crate::{
    durable,
    job::{self, Native, plugin},
    native,
    probe::{self, Birth, Probe},
    scenario::Measured,
    throughput,
};

/// Records a second.
const RATE: u64 = 100_000;
/// Operators beside the measured one.
const NEIGHBOURS: usize = 4;
/// CPU time that a neighbour spends on each of its rows.
const NEIGHBOUR_CPU: Duration = Duration::from_micros(200);
/// Records that are due in the first second do not count: instances are made then.
const WARM_UP: u64 = RATE;
/// Turns by which the speed of the machine is found.
const TRIAL_TURNS: u64 = 20_000_000;

/// Keys whose state a checkpoint holds.
const STALLING_KEYS: u64 = 1_000_000;

/// The keyed job by itself; `percentile` in percent.
pub(crate) fn alone(percentile: f64, seconds: f64) -> Result<Measured> {
    measure(document(10_000), percentile, seconds)
}

/// The keyed job over many keys, without checkpoints.
pub(crate) fn unstalled(percentile: f64, seconds: f64) -> Result<Measured> {
    measure(document(STALLING_KEYS), percentile, seconds)
}

/// The same with a checkpoint each second.
pub(crate) fn stalled(percentile: f64, seconds: f64) -> Result<Measured> {
    let warm_up = WARM_UP as f64 / RATE as f64;
    let document = document(STALLING_KEYS);
    let summary = durable::run(document, &natives()?, seconds + warm_up)?;
    job::check(&summary)?;
    delays(percentile, seconds)
}

/// The same beside four operators that never rest.
pub(crate) fn beside_neighbours(percentile: f64, seconds: f64) -> Result<Measured> {
    let mut document = document(10_000);
    let turns = turns();
    for number in 0..NEIGHBOURS {
        let (source, operator) = (format!("tasks-{number}"), format!("spin-{number}"));
        document["sinks"][format!("found-{number}")] = json!({ "input": operator, "discard": {} });
        document["operators"][&operator] = json!({
            "input": source,
            "plugin": plugin("guest-bench-spin"),
            "config": { "turns": turns },
            "limits": { "cpu-per-batch": "10s" },
        });
        document["sources"][&source] = json!({ "generator": {
            "splits": job::cores(), "columns": { "n": "sequence" },
        } });
    }
    measure(document, percentile, seconds)
}

/// The keyed job, which tells of every record; it begins and ends with operators of ours that read
/// the clock.
fn document(keys: u64) -> Value {
    let mut source = throughput::payments(keys);
    source["generator"]["rate"] = RATE.into();
    source["generator"]["splits"] = 1.into();
    let mut rule = throughput::rule();
    rule["input"] = "birth".into();
    rule["config"]["sum-max"] = (-1).into();
    json!({
        "name": "latency",
        "sources": { "payments": source },
        "operators": {
            "birth": { "input": "payments", "plugin": "birth" },
            "rule": rule,
            "probe": { "input": "rule", "plugin": "probe" },
        },
        "sinks": { "nothing": { "input": "probe", "discard": {} } },
    })
}

fn measure(document: Value, percentile: f64, seconds: f64) -> Result<Measured> {
    let natives = natives()?;
    let warm_up = WARM_UP as f64 / RATE as f64;
    let summary = job::run(job::build(&document, &natives)?, Some(seconds + warm_up))?;
    job::check(&summary)?;
    for operator in summary
        .operators
        .iter()
        .filter(|o| o.name.starts_with("spin"))
    {
        let per_row = operator.cpu_seconds.unwrap_or_default() / operator.records_in as f64;
        eprintln!(
            "{}: {} rows, {:.0} us each",
            operator.name,
            operator.records_in,
            per_row * 1e6
        );
    }
    delays(percentile, seconds)
}

/// The operators that read the clock.
fn natives() -> Result<[(&'static str, Native); 2]> {
    Ok([
        ("birth", native::operator::<Birth>("{}")?),
        ("probe", native::operator::<Probe>("{}")?),
    ])
}

/// A percentile of what the operators saw.
fn delays(percentile: f64, seconds: f64) -> Result<Measured> {
    let start = start(&probe::births())?;
    let delays = probe::arrivals()
        .into_iter()
        .filter(|(number, _)| *number >= WARM_UP)
        .map(|(number, at)| at.saturating_duration_since(due(start, number)))
        .collect();
    measured(delays, percentile, seconds)
}

/// A percentile of delays, in milliseconds.
pub(crate) fn measured(
    mut delays: Vec<Duration>,
    percentile: f64,
    seconds: f64,
) -> Result<Measured> {
    ensure!(!delays.is_empty(), "no record arrived");
    delays.sort_unstable();
    let rank = (delays.len() as f64 * percentile / 100.0).ceil() as usize;
    let delay = delays[rank.clamp(1, delays.len()) - 1];
    Ok(Measured {
        records: delays.len() as u64,
        seconds,
        value: delay.as_secs_f64() * 1e3,
        unit: "ms",
        cpu: None,
    })
}

/// When record 0 was due. The source computes what is due, so the last record of each piece is at
/// most one record's distance older than the moment at which it was seen: the least difference
/// tells the start to within that.
fn start(births: &[(u64, Instant)]) -> Result<Instant> {
    let starts = births
        .iter()
        .filter_map(|(number, at)| at.checked_sub(distance(*number)));
    starts
        .min()
        .ok_or_else(|| anyhow::anyhow!("no record was computed"))
}

fn due(start: Instant, number: u64) -> Instant {
    start + distance(number)
}

/// From record 0 to this one.
fn distance(number: u64) -> Duration {
    Duration::from_nanos(number * 1_000_000_000 / RATE)
}

/// Turns of a neighbour's loop that take its CPU time.
fn turns() -> u64 {
    let began = clock::thread_cpu();
    std::hint::black_box(spin(1, TRIAL_TURNS));
    let used = clock::thread_cpu() - began;
    (TRIAL_TURNS as f64 * NEIGHBOUR_CPU.as_secs_f64() / used.as_secs_f64()) as u64
}
