//! Jobs that take checkpoints, and jobs whose state is larger than their memory.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use wasmill_core::plan;
use wasmill_host::{
    checkpoint::{Begun, Checkpoints, Storage, reports},
    clock,
    job::{self as engine, Attempt, Job, Summary},
    spawn,
};

use crate::{
    data,
    job::{self, Bound, Natives},
    scenario::Measured,
    throughput,
};

/// From one checkpoint to the next.
const INTERVAL: &str = "1s";
/// Decided checkpoints inside a measured stretch that is long enough for them.
const DECIDED_MIN: u64 = 8;
/// The bytes of segments that a recovery reads.
const RECOVERED_BYTES: u64 = 1 << 30;
/// Records whose keys' state comes to so many bytes, and some.
const RECOVERED_RECORDS: u64 = 19_500_000;
/// A power of two: no key comes twice among so many.
const RECOVERED_KEYS: u64 = 1 << 25;
/// How long a recovery may take at most.
const RECOVERY_MAX: Duration = Duration::from_secs(300);

/// The state of `rocksdb` with as much memory as Flink gets for it.
pub(crate) fn rocksdb(cache: &str) -> Result<Value> {
    let directory = data::folder()?.join("state");
    Ok(json!({ "backend": "rocksdb", "cache": cache, "directory": directory }))
}

/// The keyed job with a kind of state, with or without checkpoints.
pub(crate) fn keyed(
    (keys, has_checkpoints): (u64, bool),
    cache: Option<&str>,
    seconds: f64,
) -> Result<Measured> {
    let mut document = throughput::keyed_document(throughput::payments(keys));
    if let Some(cache) = cache {
        document["state"] = rocksdb(cache)?;
    }
    if !has_checkpoints {
        return throughput::rate(&document, seconds);
    }
    let summary = run(document, &[], seconds)?;
    throughput::every_operator_saw_every_row(&summary)?;
    Ok(Measured::rate(summary.records_in, summary.wall_seconds))
}

/// Runs a job with a checkpoint each second, for so long and until the last one is decided.
pub(crate) fn run(document: Value, natives: Natives<'_>, seconds: f64) -> Result<Summary> {
    let folder = empty_folder("checkpoints")?;
    let name = document["name"].as_str().unwrap_or_default().to_owned();
    let job = build(document, natives, (&folder, INTERVAL))?;
    let summary = job::run(job, Some(seconds))?;
    // The first entry is the attempt's, and the last checkpoint lies behind the measured stretch.
    let decided = entries(&folder, &name)?.saturating_sub(2);
    let expected = DECIDED_MIN.min((seconds as u64).saturating_sub(2));
    ensure!(decided >= expected, "{decided} checkpoints were decided");
    eprintln!("{decided} checkpoints were decided");
    Ok(summary)
}

/// A job that is ready to run and takes checkpoints into a folder.
fn build(
    mut document: Value,
    natives: Natives<'_>,
    (folder, interval): (&Path, &str),
) -> Result<Job> {
    document["checkpoint"] = json!({ "interval": interval, "storage": folder });
    let Bound { pipeline, makes } = job::bind(&document, natives)?;
    let plan = plan::plan(&pipeline, pipeline.parallelism.unwrap_or(job::cores()));
    let checkpointing = pipeline.checkpoint.as_ref().context("it was set")?;
    let told = (checkpointing, false);
    let participants = engine::participants(&pipeline, &plan, &makes, told)?;
    let storage = Storage::folder(folder)?;
    let (sender, receiver) = reports();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let begun = runtime.block_on(Checkpoints::begin(storage, participants, receiver))?;
    let Begun::Running(running) = begun else {
        bail!("the job has come to its end");
    };
    let (checkpoints, restored) = *running;
    let attempt = Attempt {
        checkpoints,
        restored,
        reports: sender,
        is_fresh: false,
        spool: folder.into(),
        counters: Vec::new(),
    };
    Ok(engine::build(
        &pipeline,
        &plan,
        &makes,
        &job::root(),
        Some(attempt),
    )?)
}

/// The last entry of a job's log.
fn entries(folder: &Path, job: &str) -> Result<u64> {
    let log = folder.join("default").join(job).join("0-127/log");
    let names = fs::read_dir(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut last = 0;
    for name in names {
        let number = name?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

fn empty_folder(name: &str) -> Result<PathBuf> {
    let folder = data::folder()?.join(name);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// From the start of the program to the first row that comes out, with a gigabyte of state between.
pub(crate) fn recovery(_seconds: f64) -> Result<Measured> {
    let folder = data::folder()?.join("recovery");
    let checkpoints = folder.join("checkpoints");
    let mut document = throughput::keyed_document(throughput::payments(RECOVERED_KEYS));
    document["name"] = "recovery".into();
    if !folder.join("done").exists() {
        empty_folder("recovery")?;
        prepare(document.clone(), &checkpoints)?;
        let bytes = bytes_below(&checkpoints.join("default/recovery/0-127/objects"))?;
        ensure!(
            bytes >= RECOVERED_BYTES,
            "{bytes} bytes of segments are too few"
        );
        fs::write(folder.join("done"), "")?;
    }
    // Every row comes out: the first one tells that the job goes on.
    document["operators"]["rule"]["config"]["sum-max"] = (-1).into();
    document["sinks"]["alerts"] = json!({ "input": "rule", "stdout": {}, "format": "json" });
    document["checkpoint"] = json!({ "interval": "1h", "storage": checkpoints });
    let pipeline = folder.join("pipeline.json");
    fs::write(&pipeline, document.to_string())?;
    fs::write("/proc/sys/vm/drop_caches", "3")
        .context("the page cache cannot be dropped here: segments would be read from memory")?;
    let program = std::env::current_exe()?.with_file_name("wasmill");
    let start = clock::monotonic();
    let mut running = Command::new(&program)
        .arg("run")
        .arg(&pipeline)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let mut out = running.stdout.take().context("it was asked for")?;
    let read = out.read(&mut [0]);
    let seconds = (clock::monotonic() - start).as_secs_f64();
    running.kill().ok();
    running.wait()?;
    ensure!(read? == 1, "the job ended before its first row");
    ensure!(seconds < RECOVERY_MAX.as_secs_f64(), "{seconds} s");
    Ok(Measured {
        records: RECOVERED_RECORDS,
        seconds,
        value: seconds,
        unit: "s",
        cpu: None,
    })
}

/// Has every key get its state, and one checkpoint taken of it.
fn prepare(document: Value, checkpoints: &Path) -> Result<()> {
    let job = build(document, &[], (checkpoints, "1h"))?;
    let (ending, node) = (job.ending(), job.nodes()[0].clone());
    let watch = spawn::thread("watch", move || {
        while node.metrics.records_in.get() < RECOVERED_RECORDS {
            spawn::pause(Duration::from_millis(50));
        }
        ending.end();
    });
    let summary = job::run(job, None)?;
    watch.join().ok();
    job::check(&summary)
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => bytes_below(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

/// Records a second whose keys' state is ten times the memory that it may take: nine of ten bring a
/// key from the disk and another one there.
const SPILL_RATE: u64 = 25_000;
/// Records a second of which each brings a new key.
const TTL_RATE: u64 = 100_000;
/// Keys of 90 bytes each, in memory.
const SOAK_KEYS: u64 = 2_000_000;
const SOAK_CACHE: &str = "18MiB";
/// Ids that are remembered at a time: those of a day, one each tenth of a second.
const SOAK_STEP: &str = "100ms";
/// A run that is shorter says nothing about growth: not every key has come yet.
const SETTLED_SECONDS: f64 = 300.0;
/// Between two looks at the process.
const LOOK: Duration = Duration::from_secs(1);

/// State ten times larger than its memory, at a steady rate.
pub(crate) fn soak_spill(seconds: f64) -> Result<Measured> {
    let mut source = throughput::payments(SOAK_KEYS);
    source["generator"]["rate"] = SPILL_RATE.into();
    let mut document = throughput::keyed_document(source);
    document["state"] = rocksdb(SOAK_CACHE)?;
    document["name"] = "soak-spill".into();
    soak(document, SPILL_RATE, seconds)
}

/// Keys that come once and are forgotten after a while.
pub(crate) fn soak_ttl(seconds: f64) -> Result<Measured> {
    soak(
        json!({
            "name": "soak-ttl",
            "sources": { "messages": {
                "generator": { "rate": TTL_RATE, "splits": 1, "columns": {
                    "id": { "text": "k{sequence}" },
                    "body": { "constant": "b" },
                    "at": { "time": { "step": SOAK_STEP } },
                } },
                "event-time": { "column": "at" },
            } },
            "operators": { "dedup": {
                "input": "messages", "key-by": ["id"], "plugin": job::plugin("dedup"),
            } },
            "sinks": {
                "first": { "input": "dedup", "discard": {} },
                "again": { "input": "dedup.duplicates", "discard": {} },
            },
        }),
        TTL_RATE,
        seconds,
    )
}

/// Runs a job for so long and looks at the process's memory: after a third of the time it must not
/// grow any more, and the rate must be kept.
fn soak(document: Value, rate: u64, seconds: f64) -> Result<Measured> {
    let folder = empty_folder(document["name"].as_str().unwrap_or("soak"))?;
    let job = build(document, &[], (&folder, "10s"))?;
    let node = job.nodes()[0].clone();
    let start = clock::monotonic();
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
    let looking = spawn::thread("look", move || {
        let mut looks = Vec::new();
        while stopped.recv_timeout(LOOK).is_err() {
            let at = (clock::monotonic() - start).as_secs_f64();
            let (bytes, records) = (resident_bytes(), node.metrics.records_in.get());
            eprintln!("{at:.0} s: {records} records, {} MiB", bytes >> 20);
            looks.push((at, bytes));
        }
        looks
    });
    let summary = job::run(job, Some(seconds))?;
    stop.send(()).ok();
    let Ok(looks) = looking.join() else {
        bail!("nobody looked");
    };
    job::check(&summary)?;
    let most = |from: f64, to: f64| {
        let within = looks.iter().filter(|(at, _)| (from..to).contains(at));
        within.map(|(_, bytes)| *bytes).max().unwrap_or(0)
    };
    let (middle, end) = (
        most(seconds / 3.0, seconds * 2.0 / 3.0),
        most(seconds * 2.0 / 3.0, seconds),
    );
    eprintln!(
        "at most {} MiB in the second third, {} MiB in the last",
        middle >> 20,
        end >> 20
    );
    if seconds < SETTLED_SECONDS {
        eprintln!("shorter than {SETTLED_SECONDS} s: whether memory grows was not looked at");
    } else {
        ensure!(
            end <= middle + middle / 10,
            "memory grows: {middle} bytes, then {end}"
        );
    }
    let expected = seconds * rate as f64;
    ensure!(
        summary.records_in as f64 >= expected * 0.9,
        "{} records came, and {expected} were due",
        summary.records_in
    );
    Ok(Measured {
        records: summary.records_in,
        seconds: summary.wall_seconds,
        value: (end >> 20) as f64,
        unit: "MiB",
        cpu: None,
    })
}

/// What the process has in memory.
fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}
