//! The JSON of answers: docs/api.md says what each field means. Fields are added and never change
//! their meaning.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wasmill_core::{checkpoint::Reason, watermark};

use crate::checkpoint::Completed;

/// Whose job it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Job {
    pub name: String,
    pub pipeline: String,
    pub storage: Option<String>,
    pub state: JobState,
    pub parallelism: Option<usize>,
    pub attempt: Option<u64>,
    pub process: u32,
    pub program: String,
    pub started: String,
    pub uptime_seconds: f64,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It is being built, or waits to be started again.
    Starting,
    /// Rows pass.
    Running,
    /// It was asked to stop.
    Stopping,
    /// Its input was cut off.
    Draining,
    /// It has ended.
    Ended,
}

/// How a job does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Status {
    pub status: u32,
    pub job: Job,
    pub records_in: u64,
    pub records_out: u64,
    pub records_in_per_second: f64,
    pub records_out_per_second: f64,
    pub late_rows: u64,
    pub rejected: u64,
    pub dead_letters: u64,
    pub faults: u64,
    #[serde(default)]
    pub lost_rows: u64,
    pub state_bytes: u64,
    pub watermark: Option<String>,
    pub lag_seconds: Option<f64>,
    pub checkpoints: Option<Checkpoints>,
    pub sources: Vec<Source>,
    pub operators: Vec<Operator>,
    pub sinks: Vec<Sink>,
}

/// A source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Source {
    pub name: String,
    pub records_in: u64,
    pub records_out: u64,
    pub records_in_per_second: f64,
    pub records_out_per_second: f64,
    pub busy: f64,
    pub back_pressure: f64,
    pub late_rows: u64,
    #[serde(default)]
    pub late_idle_rows: u64,
    pub rejected: u64,
    pub dead_letters: u64,
    pub watermark: Option<String>,
    pub lag_seconds: Option<f64>,
    pub rows_left: Option<u64>,
    pub bytes_left: Option<u64>,
    pub splits: usize,
    pub splits_ended: usize,
}

/// An operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Operator {
    pub name: String,
    pub task: String,
    pub records_in: u64,
    pub records_out: u64,
    pub records_in_per_second: f64,
    pub records_out_per_second: f64,
    pub busy: f64,
    pub back_pressure: f64,
    pub late_rows: u64,
    pub rejected: u64,
    pub dead_letters: u64,
    pub faults: u64,
    #[serde(default)]
    pub lost_rows: u64,
    pub plugin_cpu: f64,
    pub state_bytes: u64,
    pub watermark: Option<String>,
    pub lag_seconds: Option<f64>,
    pub checkpoint_bytes: Option<u64>,
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// A sink.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Sink {
    pub name: String,
    pub records_in: u64,
    pub records_in_per_second: f64,
    pub busy: f64,
}

/// How checkpoints come along.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Checkpoints {
    pub interval_seconds: Option<f64>,
    pub decided: u64,
    pub given_up: u64,
    pub age_seconds: Option<f64>,
    pub last: Option<Checkpoint>,
    pub pending: Option<Pending>,
    pub failure: Option<Failure>,
    pub restored: Option<Restored>,
}

/// A checkpoint that is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Pending {
    pub checkpoint: u64,
    pub reason: Reason,
    pub since_seconds: f64,
}

/// Why the last one that was given up was.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Failure {
    pub at: String,
    pub reason: String,
}

/// What the job goes on from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Restored {
    pub checkpoint: u64,
    pub origin: Option<String>,
}

/// A decided checkpoint or savepoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Checkpoint {
    pub checkpoint: u64,
    pub reason: Reason,
    pub is_finished: bool,
    pub place: String,
    pub attempt: u64,
    pub triggered: String,
    pub duration_seconds: f64,
    pub bytes: u64,
    pub watermark: Option<String>,
}

/// The kept ones, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct CheckpointList {
    pub checkpoints: Vec<Checkpoint>,
}

/// What a job shall stop with.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct StopRequest {
    pub savepoint: bool,
}

/// A request that says nothing but what its path says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// How a job has ended that was asked to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Ending {
    pub outcome: String,
    pub checkpoint: Option<Checkpoint>,
}

/// What became of a savepoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/api.md says what each field means")]
pub struct Disposal {
    pub checkpoint: u64,
    pub is_gone: bool,
}

impl Status {
    /// A job of which nothing runs yet.
    pub(super) fn of(job: Job) -> Self {
        Self {
            status: 1,
            job,
            records_in: 0,
            records_out: 0,
            records_in_per_second: 0.0,
            records_out_per_second: 0.0,
            late_rows: 0,
            rejected: 0,
            dead_letters: 0,
            faults: 0,
            lost_rows: 0,
            state_bytes: 0,
            watermark: None,
            lag_seconds: None,
            checkpoints: None,
            sources: Vec::new(),
            operators: Vec::new(),
            sinks: Vec::new(),
        }
    }
}

impl From<&Completed> for Checkpoint {
    fn from(completed: &Completed) -> Self {
        Self {
            checkpoint: completed.checkpoint.0,
            reason: completed.reason,
            is_finished: completed.is_finished,
            place: completed.place.clone(),
            attempt: completed.attempt.0,
            triggered: time(completed.triggered_us),
            duration_seconds: seconds(completed.duration_us),
            bytes: completed.bytes,
            watermark: event_time(completed.watermark),
        }
    }
}

/// Microseconds since 1970 as RFC 3339 writes them.
pub fn time(us: i64) -> String {
    Timestamp::from_microsecond(us)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

/// Event time; none before the first row and after the last.
pub fn event_time(us: i64) -> Option<String> {
    (us > watermark::START && us < watermark::END).then(|| time(us))
}

/// Microseconds as seconds.
pub fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
