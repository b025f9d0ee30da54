//! `wasmill run`.

pub(super) mod attempt;
mod listen;
mod progress;
mod restart;

use std::{fs, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, value_parser};
use tokio::signal::unix::SignalKind;
use wasmill_core::{
    checkpoint::Manifest,
    pipeline::{OperatorKind, Pipeline, SinkKind},
    plan,
};

use attempt::Session;
use listen::Listening;
use progress::Progress;
use restart::{Ran, Running, Signals};

use super::{failure::Failure, load};
use crate::{
    checkpoint::{Beginning, Origin},
    job::{self, Ended, Job, Outcome},
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
    /// Begin anew: forget where an earlier run of this pipeline's name stood. Files are replaced;
    /// topics and tables keep what earlier runs wrote, and get this run's rows besides.
    #[arg(long)]
    pub(super) fresh: bool,
    /// Where checkpoints are kept, instead of where the document says.
    #[arg(long, env = "WASMILL_STORAGE", value_name = "FOLDER")]
    pub(super) storage: Option<String>,
    /// End another process that runs this pipeline, wherever it hangs, and go on from its newest
    /// checkpoint.
    #[arg(long)]
    pub(super) take_over: bool,
    /// Begin with a savepoint or checkpoint: its number, or where its manifest lies, as
    /// `wasmill savepoint ls` shows it.
    #[arg(long, value_name = "SAVEPOINT", conflicts_with = "fresh")]
    pub(super) from: Option<Origin>,
    /// Let go of state that nobody in the pipeline takes any more: of an operator, OPERATOR.STATE,
    /// a source or a sink. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(super) drop_state: Vec<String>,
    /// With --from: let rows come out again that were brought out after that savepoint.
    #[arg(long, requires = "from")]
    pub(super) repeat_rows: bool,
}

impl Arguments {
    /// Without checkpoints there is nothing to begin with.
    fn needs_no_checkpoints<T>(&self, pipeline: &Pipeline) -> Result<Option<T>, Failure> {
        if self.from.is_none() && self.drop_state.is_empty() {
            return Ok(None);
        }
        let name = &pipeline.name;
        Err(Failure::Invalid(format!(
            "`{name}` takes no checkpoints, so it has no state to begin with: say \
             `checkpoint: {{}}` in its document, or leave out --from and --drop-state"
        )))
    }

    /// What they say about where the job begins.
    fn beginning(&self) -> Beginning {
        Beginning {
            from: self.from.clone(),
            drops: self.drop_state.iter().cloned().collect(),
        }
    }
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
    let pipeline = &loaded.pipeline;
    let (ran, place) = match job(arguments, &loaded) {
        Ok(ran) => ran,
        Err(failure) => {
            if let Err(unwritten) = unstarted(arguments, pipeline, &failure) {
                super::complain(&unwritten.to_string());
            }
            return Err(failure);
        }
    };
    let (outcome, signal) = match ran {
        Ran::To(outcome, signal) => (*outcome, signal),
        Ran::Finished(manifest) => {
            return finished(arguments, pipeline, (&manifest, place.as_deref()));
        }
    };
    report(arguments, pipeline, &outcome.summary)?;
    match (outcome.error, signal) {
        (Some(error), _) if error.is_fenced() => Err(Failure::fenced(error)),
        (Some(error), _) => Err(Failure::failed(error)),
        (None, Some(signal)) if outcome.summary.outcome == Ended::Stopped => {
            Err(Failure::Stopped(signal))
        }
        _ => Ok(()),
    }
}

/// Runs the job to its end, restarts included; tells where its checkpoints lie, too.
fn job(arguments: &Arguments, loaded: &load::Loaded) -> Result<(Ran, Option<String>), Failure> {
    let asked = arguments.parallelism.map(usize::from);
    let plan = plan::plan(&loaded.pipeline, load::parallelism(&loaded.pipeline, asked));
    let plugins = plugins(loaded)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let entered = runtime.enter();
    let mut signals = Signals::new()?;
    drop(entered);
    let session = match &loaded.pipeline.checkpoint {
        None => arguments.needs_no_checkpoints(&loaded.pipeline)?,
        Some(checkpointing) => {
            let opened = Session::open(
                &loaded.pipeline,
                (&plan, &plugins),
                checkpointing,
                arguments,
            );
            let session = runtime.block_on(signals.or(opened))??;
            let met = session.meets(&loaded.pipeline, &plan);
            runtime.block_on(signals.or(met))??;
            Some(session)
        }
    };
    let place = session
        .as_ref()
        .map(|session| session.location().to_owned());
    let mut running = Running {
        loaded,
        plan: &plan,
        plugins: &plugins,
        session,
        listening: Listening::new(&loaded.pipeline, &arguments.pipeline, place.clone()),
    };
    let ran = running.run(&runtime, &mut signals);
    let outcome = match &ran {
        Ok(Ran::To(outcome, _)) => Some(Ok(&**outcome)),
        Ok(Ran::Finished(_)) => None,
        Err(failure) => Some(Err(failure)),
    };
    runtime.block_on(running.listening.end(outcome));
    Ok((ran?, place))
}

/// The plugins of a pipeline's operators, in their order.
pub(super) fn plugins(loaded: &load::Loaded) -> Result<job::Plugins, Failure> {
    let operators = loaded.pipeline.operators.iter();
    let plugin = operators.map(|operator| {
        let load = |reference: &str| {
            let loaded = loaded.plugins.load(reference);
            Ok(loaded.map_err(Failure::invalid)?.plugin)
        };
        match &operator.kind {
            OperatorKind::Plugin(used) => Ok(Some(Make::Plugin(load(&used.plugin)?))),
            OperatorKind::Window(windowing) => {
                let plugins = windowing.plugins().map(|(_, used)| load(&used.plugin));
                let plugins: Vec<_> = plugins.collect::<Result<_, Failure>>()?;
                Ok((!plugins.is_empty()).then(|| Make::Aggregates(plugins.into())))
            }
            OperatorKind::Join(_) => Ok(None),
        }
    });
    plugin.collect()
}

/// Says that there is nothing left to do. A program that wants a summary gets one.
fn finished(
    arguments: &Arguments,
    pipeline: &Pipeline,
    (manifest, place): (&Manifest, Option<&str>),
) -> Result<(), Failure> {
    super::complain(&format!(
        "wasmill: `{}` has come to the end of its input before (checkpoint {} in {}), so there is \
         nothing left to do; --fresh begins anew: files are replaced, and topics and tables get \
         all rows besides those that they have. If that was another pipeline, give this one \
         another name",
        pipeline.name,
        manifest.checkpoint,
        place.unwrap_or_default(),
    ));
    told_to_programs(arguments, pipeline, Ended::Done, None)
}

/// Says in the summary that a job did not start, and why.
fn unstarted(arguments: &Arguments, pipeline: &Pipeline, failure: &Failure) -> Result<(), Failure> {
    let ended = match failure {
        Failure::Stopped(_) => Ended::Stopped,
        _ => Ended::Failed,
    };
    told_to_programs(arguments, pipeline, ended, failure.reason())
}

/// The summary of a job of which nothing ran, for a program that wants one.
fn told_to_programs(
    arguments: &Arguments,
    pipeline: &Pipeline,
    outcome: Ended,
    error: Option<&str>,
) -> Result<(), Failure> {
    if arguments.summary == Summary::Human && arguments.summary_file.is_none() {
        return Ok(());
    }
    let summary = job::Summary {
        outcome,
        error: error.map(Into::into),
        ..job::Summary::new(&pipeline.name, &[], Duration::ZERO, Duration::ZERO)
    };
    report(arguments, pipeline, &summary)
}

/// Runs a job, shows how far it is, and stops it at the first signal; the second one ends the
/// process.
async fn watch(
    job: Job,
    pipeline: &Pipeline,
    signals: &mut Signals,
) -> Result<(Outcome, Option<i32>), Failure> {
    let ending = job.ending();
    let progress = Progress::new(pipeline, job.live());
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
            _ = signals.interrupt.recv() => SignalKind::interrupt(),
            _ = signals.terminate.recv() => SignalKind::terminate(),
            _ = tick.tick() => {
                progress.show();
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

fn report(
    arguments: &Arguments,
    pipeline: &Pipeline,
    summary: &job::Summary,
) -> Result<(), Failure> {
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
            (node.without_value, "without a value"),
            (node.faults, "faults"),
            (node.lost_rows, "lost"),
            (node.state_bytes, "bytes of state"),
        ] {
            if let Some(count) = count.filter(|count| *count > 0) {
                line.push_str(&format!("  {count} {word}"));
            }
        }
        lines.push(line);
    }
    if summary.restarts > 0 {
        let restarts = super::count(u64::from(summary.restarts), "restart");
        lines.push(format!(
            "  {restarts}; rows that came again are counted again"
        ));
    }
    lines.join("\n")
}
