//! The fraud job as `cargo xtask demo` runs it, from its own pipeline document.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_core::tree;
use wasmill_host::{clock, spawn};

use crate::{
    data, job, latency, native,
    probe::{self, Decision},
    scenario::Measured,
    throughput,
};

/// Transactions in the file: about 400 MB.
const RECORDS: u64 = 2_000_000;
/// Transactions a second where latency is measured: well below what the job can do.
const RATE: u64 = 50_000;
/// Between two writes of what has become due.
const PACE: Duration = Duration::from_micros(500);

/// How many transactions a second. The file is read again until the time is over.
pub(crate) fn rate(seconds: f64) -> Result<Measured> {
    let input = data::transactions(RECORDS)?;
    let folder = data::folder()?.join("flagship");
    fs::create_dir_all(&folder)?;
    throughput::again_and_again(&document(&input, &folder)?, seconds)
}

/// How long a decision takes: from the moment at which a transaction is due, and written into a
/// pipe, to the alert in front of the sinks. Transactions that raise no alert cannot be seen.
pub(crate) fn latency(percentile: f64, seconds: f64) -> Result<Measured> {
    let warm_up = 1.0;
    let records = ((seconds + warm_up) * RATE as f64) as u64;
    let text = fs::read(data::transactions(RECORDS.max(records))?)?;
    let folder = data::folder()?.join("flagship-latency");
    fs::create_dir_all(&folder)?;
    let pipe = folder.join("transactions");
    fs::remove_file(&pipe).ok();
    make_pipe(&pipe)?;
    let mut document = document(&pipe, &folder)?;
    document["operators"]["probe"] = json!({ "input": ["rules", "scorer"], "plugin": "probe" });
    document["sinks"]["nothing"] = json!({ "input": "probe", "discard": {} });
    let natives = [("probe", native::operator::<Decision>("{}")?)];
    let job = job::build(&document, &natives)?;
    let writer = spawn::thread("pacer", move || pace(&pipe, &text, records));
    let summary = job::run(job, None)?;
    job::check(&summary)?;
    let start = match writer.join() {
        Ok(start) => start?,
        Err(_) => anyhow::bail!("the pacer panicked"),
    };
    let due = |number: u64| start + Duration::from_nanos(number * 1_000_000_000 / RATE);
    let first = (warm_up * RATE as f64) as u64;
    let delays = probe::arrivals()
        .into_iter()
        .filter(|(number, _)| *number >= first)
        .map(|(number, at)| at.saturating_duration_since(due(number)))
        .collect();
    latency::measured(delays, percentile, seconds)
}

/// The flagship's document with another input and other places for its output.
fn document(input: &Path, output: &Path) -> Result<Value> {
    let path = job::root().join("examples/card-fraud/pipeline.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let mut document = tree::parse(&text)
        .map_err(|error| anyhow::anyhow!("{}", error.message))?
        .to_json();
    document["sources"]["transactions"]["file"]["path"] = json!(input);
    for name in ["rules", "scorer"] {
        document["operators"][name]["plugin"] = json!(job::plugin(&format!("fraud-{name}")));
    }
    for (sink, kind, file) in [
        ("alerts", "file", "alerts.jsonl"),
        ("audit", "sqlite", "audit.db"),
        ("rejects", "file", "rejects.jsonl"),
    ] {
        let place = &mut document["sinks"][sink][kind]["path"];
        ensure!(place.is_string(), "the pipeline has no sink `{sink}`");
        *place = json!(output.join(file));
    }
    Ok(document)
}

/// Writes each transaction when it is due; gives when the first was.
fn pace(pipe: &Path, text: &[u8], records: u64) -> Result<Instant> {
    let ends: Vec<usize> = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1)
        .take(records as usize)
        .collect();
    let mut out = OpenOptions::new().write(true).open(pipe)?;
    let start = clock::monotonic();
    let (mut written, mut from) = (0, 0);
    while written < ends.len() {
        let due = (clock::monotonic() - start).as_nanos() * u128::from(RATE) / 1_000_000_000;
        let due = usize::try_from(due)?.min(ends.len());
        if due > written {
            out.write_all(&text[from..ends[due - 1]])?;
            (written, from) = (due, ends[due - 1]);
        }
        spawn::pause(PACE);
    }
    Ok(start)
}

fn make_pipe(path: &Path) -> Result<()> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path, FileType::Fifo, mode, 0)
        .with_context(|| format!("no pipe at {}", path.display()))
}
