//! `wasmill run`.

mod attempt;

use std::{fs, io::IsTerminal, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use wasmill_core::{
    pipeline::{Pipeline, SinkKind},
    plan,
};

use super::{failure::Failure, load};
use crate::{
    crash_point::{CrashPoint, reach},
    job::{self, Ended, Job, Outcome},
    metrics::{Node, NodeKind},
    operator::Make,
};

/// Between two looks at the counters for the progress line.
const PROGRESS: Duration = Duration::from_millis(100);

/// What `wasmill run` takes.
#[derive(Args)]
pub(super) struct Arguments {
    /// The pipeline document.
    pub(super) pipeline: PathBuf,
    /// How the summary is printed when the job has ended: on standard output, or on standard error
    /// where standard output carries rows.
    #[arg(long, value_enum, default_value_t = Summary::Human, value_name = "FORM")]
    pub(super) summary: Summary,
    /// Also write the summary as JSON into this file.
    #[arg(long, value_name = "FILE")]
    pub(super) summary_file: Option<PathBuf>,
    /// Subtasks of each task; as the document says, or the number of cores.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=128))]
    pub(super) parallelism: Option<u16>,
    /// Begin anew: forget where an earlier run of this pipeline's name stood, and replace what it
    /// wrote.
    #[arg(long)]
    pub(super) fresh: bool,
}

/// The form of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Summary {
    /// A table for people.
    Human,
    /// One JSON object: docs/summary.md.
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = load::load(&arguments.pipeline, load::Inputs::Needed)?;
    let asked = arguments.parallelism.map(usize::from);
    let plan = plan::plan(&loaded.pipeline, load::parallelism(&loaded.pipeline, asked));
    let plugins = loaded.pipeline.operators.iter().map(|operator| {
        let loaded = loaded
            .plugins
            .load(&operator.plugin)
            .map_err(Failure::invalid)?;
        Ok(Make::Plugin(loaded.plugin))
    });
    let plugins = plugins.collect::<Result<Vec<_>, Failure>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let attempt = match &loaded.pipeline.checkpoint {
        None => None,
        Some(checkpointing) => {
            let told = (checkpointing, arguments.fresh);
            let begun = attempt::begin(&loaded.pipeline, &plan, &plugins, told);
            match runtime.block_on(begun)? {
                Some(attempt) => Some(attempt),
                None => return Ok(()),
            }
        }
    };
    // Sources that read and sinks that write may ask for the runtime.
    let entered = runtime.enter();
    let built = job::build(&loaded.pipeline, &plan, &plugins, &loaded.folder, attempt);
    drop(entered);
    let job = built.map_err(|error| match error {
        job::JobError::Open { .. } => Failure::invalid(error),
        other => Failure::failed(other),
    })?;
    reach(CrashPoint::Restored);
    let (outcome, signal) = runtime.block_on(watch(job))?;
    report(arguments, &loaded.pipeline, &outcome)?;
    match (outcome.error, signal) {
        (Some(error), _) => Err(Failure::failed(error)),
        (None, Some(signal)) if outcome.summary.outcome == Ended::Stopped => {
            Err(Failure::Stopped(signal))
        }
        _ => Ok(()),
    }
}

/// Runs a job, shows how far it is, and stops it at the first signal; the second one ends the
/// process.
async fn watch(job: Job) -> Result<(Outcome, Option<i32>), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    let ending = job.ending();
    let nodes = job.nodes().to_vec();
    let progress = Progress::new();
    let mut tick = tokio::time::interval(PROGRESS);
    let running = job.run();
    tokio::pin!(running);
    let mut stopped = None;
    loop {
        let arrived = tokio::select! {
            outcome = &mut running => {
                progress.finish();
                return Ok((outcome, stopped));
            }
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
            _ = tick.tick() => {
                progress.show(&nodes);
                continue;
            }
        };
        let number = arrived.as_raw_value();
        if stopped.replace(number).is_some() {
            std::process::exit(128 + number);
        }
        tracing::info!(
            signal = number,
            "stopping: what was read is processed and written"
        );
        ending.end();
    }
}

/// The line that shows how far a job is, where a person watches.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
        Self(
            style
                .ok()
                .map(|style| ProgressBar::new_spinner().with_style(style)),
        )
    }

    fn show(&self, nodes: &[Node]) {
        let Some(bar) = &self.0 else { return };
        let read = |node: &&Node| node.kind == NodeKind::Source;
        let rows: u64 = nodes
            .iter()
            .filter(read)
            .map(|node| node.metrics.records_in.get())
            .sum();
        let rate = rows as f64 / bar.elapsed().as_secs_f64().max(0.001);
        bar.set_message(format!("{rows} records, {rate:.0}/s"));
        bar.tick();
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn report(arguments: &Arguments, pipeline: &Pipeline, outcome: &Outcome) -> Result<(), Failure> {
    let summary = &outcome.summary;
    let json = serde_json::to_string(summary).expect("a summary is plain data");
    if let Some(file) = &arguments.summary_file {
        fs::write(file, format!("{json}\n")).map_err(|error| {
            Failure::Failed(format!("`{}` cannot be written: {error}", file.display()))
        })?;
    }
    for source in &summary.sources {
        let is_failed = summary.outcome == Ended::Failed;
        if !is_failed && source.records_in > 0 && source.rejected == Some(source.records_in) {
            let (name, rows) = (&source.name, super::count(source.records_in, "row"));
            super::complain(&format!(
                "wasmill: warning: all of `{name}` was rejected, {rows}: does its `format` fit? \
                 Its dead letters, or `on-error: fail`, tell why"
            ));
        }
    }
    let text = match arguments.summary {
        Summary::Json => json,
        Summary::Human => table(summary),
    };
    let carries_rows =
        |sink: &wasmill_core::pipeline::Sink| matches!(sink.kind, SinkKind::Stdout(_));
    if pipeline.sinks.iter().any(carries_rows) {
        super::complain(&text);
        return Ok(());
    }
    super::print(&format!("{text}\n"))
}

/// The summary for people.
fn table(summary: &job::Summary) -> String {
    let mut lines = vec![format!(
        "{}: {} records in {:.2} s, {:.0} records/s, {:.2} s of CPU, {} MiB at most, \
         parallelism {}",
        summary.pipeline,
        summary.records_in,
        summary.wall_seconds,
        summary.records_per_second,
        summary.cpu_seconds,
        summary.peak_memory_bytes >> 20,
        summary.parallelism,
    )];
    let nodes = summary
        .sources
        .iter()
        .chain(&summary.operators)
        .chain(&summary.sinks);
    let width = nodes.clone().map(|node| node.name.len()).max().unwrap_or(0);
    for node in nodes {
        let mut line = format!(
            "  {:width$}  {:>12} in  {:>12} out",
            node.name, node.records_in, node.records_out
        );
        for (count, word) in [
            (node.rejected, "rejected"),
            (node.dead_letters, "dead letters"),
            (node.late_rows, "late"),
            (node.faults, "faults"),
            (node.state_bytes, "bytes of state"),
        ] {
            if let Some(count) = count.filter(|count| *count > 0) {
                line.push_str(&format!("  {count} {word}"));
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}
