//! `wasmill status` and `wasmill ls`.

use std::{io::IsTerminal, time::Duration};

use clap::Args;

use super::{failure::Failure, jobs};
use crate::api::shape::{Checkpoints, Job, JobState, Operator, Sink, Source, Status};

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(1);
/// Clears a terminal and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What `wasmill status` takes.
#[derive(Args)]
pub(super) struct Arguments {
    /// A running job's name, or its pipeline document; all jobs of this user if not given.
    #[arg(value_name = "JOB|PIPELINE")]
    job: Option<String>,
    /// Look again each second, until Ctrl-C or the job's end.
    #[arg(long)]
    watch: bool,
    /// Print the JSON of docs/api.md, an object a line.
    #[arg(long)]
    json: bool,
}

/// What `wasmill ls` takes.
#[derive(Args)]
pub(super) struct ListArguments {
    /// Print JSON, an object a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    jobs::block_on(async {
        let mut tick = tokio::time::interval(AGAIN);
        let mut is_first = true;
        loop {
            tick.tick().await;
            let text = match look(arguments).await {
                // A job that was watched and is gone has ended.
                Err(_) if !is_first => return Ok(()),
                looked => looked?,
            };
            let clears = arguments.watch && !arguments.json && std::io::stdout().is_terminal();
            super::print(&match clears {
                true => format!("{CLEAR}{text}"),
                false => text,
            })?;
            if !arguments.watch {
                return Ok(());
            }
            is_first = false;
        }
    })
}

pub(super) fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let text = jobs::block_on(listed(arguments.json))?;
    super::print(&text)
}

/// How one job does, or which there are.
async fn look(arguments: &Arguments) -> Result<String, Failure> {
    let Some(word) = &arguments.job else {
        return listed(arguments.json).await;
    };
    let (client, _) = jobs::one(word).await?;
    let status: Status = client.get("/v1/job/status").await.map_err(jobs::refused)?;
    Ok(match arguments.json {
        true => line(&status),
        false => table(&status),
    })
}

async fn listed(is_json: bool) -> Result<String, Failure> {
    let jobs = jobs::all().await?;
    if is_json {
        return Ok(jobs.iter().map(|(_, job)| line(job)).collect());
    }
    if jobs.is_empty() {
        return Ok("no job of this user runs\n".into());
    }
    let mut rows = vec![["JOB", "STATE", "UP", "PROCESS", "PIPELINE"].map(String::from)];
    rows.extend(jobs.iter().map(|(_, job)| {
        [
            job.name.clone(),
            word(job.state).into(),
            time(job.uptime_seconds),
            job.process.to_string(),
            job.pipeline.clone(),
        ]
    }));
    Ok(columns(&rows))
}

fn line(of: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(of).expect("an answer is plain data");
    format!("{json}\n")
}

fn word(state: JobState) -> &'static str {
    match state {
        JobState::Starting => "starting",
        JobState::Running => "running",
        JobState::Stopping => "stopping",
        JobState::Draining => "draining",
        JobState::Ended => "ended",
    }
}

/// A job for people.
fn table(status: &Status) -> String {
    let mut text = heading(&status.job);
    text += &format!(
        "{} records in, {} out; {}/s in, {}/s out{}\n",
        status.records_in,
        status.records_out,
        number(status.records_in_per_second),
        number(status.records_out_per_second),
        notes(&[
            (status.late_rows, "late"),
            (status.rejected, "rejected"),
            (status.dead_letters, "dead letters"),
            (status.faults, "faults"),
            (status.lost_rows, "lost"),
            (status.state_bytes, "bytes of state"),
        ])
    );
    if let Some(watermark) = &status.watermark {
        let lag = status.lag_seconds.map(|lag| match lag < 0.0 {
            true => format!(", {} ahead of the clock", time(-lag)),
            false => format!(", {} ago", time(lag)),
        });
        text += &format!("watermark {watermark}{}\n", lag.unwrap_or_default());
    }
    if let Some(checkpoints) = &status.checkpoints {
        text += &told(checkpoints);
    }
    let head = [
        "NAME", "IN/S", "OUT/S", "IN", "OUT", "BUSY", "WAITS", "LAG", "LEFT", "LATE", "STATE",
        "SAVED",
    ];
    let mut rows = vec![head.map(String::from)];
    rows.extend(status.sources.iter().map(source));
    rows.extend(status.operators.iter().map(operator));
    rows.extend(status.sinks.iter().map(sink));
    text + "\n" + &columns(&rows)
}

fn heading(job: &Job) -> String {
    let parallelism = job.parallelism.unwrap_or(0);
    let attempt = job.attempt.map(|attempt| format!(", attempt {attempt}"));
    format!(
        "{}: {} for {}, parallelism {parallelism}{}, process {}\n",
        job.name,
        word(job.state),
        time(job.uptime_seconds),
        attempt.unwrap_or_default(),
        job.process,
    )
}

fn told(checkpoints: &Checkpoints) -> String {
    let mut text = match &checkpoints.last {
        None => "no checkpoint yet".to_owned(),
        Some(last) => format!(
            "checkpoint {} is {} old, took {}, {}",
            last.checkpoint,
            time(checkpoints.age_seconds.unwrap_or(0.0)),
            time(last.duration_seconds),
            bytes(last.bytes),
        ),
    };
    text += &format!(
        "; {} decided, {} given up",
        checkpoints.decided, checkpoints.given_up
    );
    if let Some(pending) = &checkpoints.pending {
        let since = time(pending.since_seconds);
        text += &format!("; {} under way for {since}", pending.checkpoint);
    }
    if let Some(failure) = &checkpoints.failure {
        text += &format!(
            "\nthe last one was given up at {}: {}",
            failure.at, failure.reason
        );
    }
    text + "\n"
}

fn source(source: &Source) -> [String; 12] {
    let left = match (source.rows_left, source.bytes_left) {
        (Some(rows), _) => format!("{rows} rows"),
        (None, Some(left)) => bytes(left),
        (None, None) => String::new(),
    };
    [
        source.name.clone(),
        number(source.records_in_per_second),
        number(source.records_out_per_second),
        source.records_in.to_string(),
        source.records_out.to_string(),
        percent(source.busy),
        percent(source.back_pressure),
        source.lag_seconds.map(time).unwrap_or_default(),
        left,
        source.late_rows.to_string(),
        String::new(),
        String::new(),
    ]
}

fn operator(operator: &Operator) -> [String; 12] {
    [
        operator.name.clone(),
        number(operator.records_in_per_second),
        number(operator.records_out_per_second),
        operator.records_in.to_string(),
        operator.records_out.to_string(),
        percent(operator.busy),
        percent(operator.back_pressure),
        operator.lag_seconds.map(time).unwrap_or_default(),
        String::new(),
        operator.late_rows.to_string(),
        bytes(operator.state_bytes),
        operator.checkpoint_bytes.map(bytes).unwrap_or_default(),
    ]
}

fn sink(sink: &Sink) -> [String; 12] {
    let mut row = std::array::from_fn(|_| String::new());
    row[0] = sink.name.clone();
    row[1] = number(sink.records_in_per_second);
    row[3] = sink.records_in.to_string();
    row[5] = percent(sink.busy);
    row
}

/// Counts that are not nothing.
fn notes(counts: &[(u64, &str)]) -> String {
    let some = counts.iter().filter(|(count, _)| *count > 0);
    some.map(|(count, word)| format!("; {count} {word}"))
        .collect()
}

fn number(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.1}M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.0}k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

pub(super) fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        seconds => format!("{:.0} d", seconds / 86_400.0),
    }
}

/// Rows below each other.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}
