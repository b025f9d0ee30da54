//! Pipelines given as documents, run by the engine's own job as `wasmill run` does, in this
//! process.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::Value;
use wasmill_core::{
    descriptor::Descriptor,
    pipeline::{self, Pipeline},
    plan,
};
use wasmill_host::{
    job::{self, Job, Plugins, Summary},
    operator::Make,
    plugin_store::PluginStore,
    wasm::{Engine, EngineOptions},
};

/// Operators without a sandbox, by the name under which a document calls for them.
pub(crate) type Natives<'a> = &'a [(&'a str, Native)];

/// An operator that is linked in: its descriptor, and how it is made.
#[derive(Clone)]
pub(crate) struct Native {
    pub(crate) descriptor: Arc<Descriptor>,
    pub(crate) make: Make,
}

/// Where `cargo xtask plugins` puts components.
pub(crate) fn plugin(name: &str) -> PathBuf {
    root().join("target/plugins").join(format!("{name}.wasm"))
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A sound pipeline and how its operators are made.
pub(crate) struct Bound {
    pub(crate) pipeline: Pipeline,
    pub(crate) makes: Plugins,
}

/// Reads a document and finds its plugins.
pub(crate) fn bind(document: &Value, natives: Natives<'_>) -> Result<Bound> {
    // Compiled code outlasts the process: no round shall wait for the compiler.
    let engine = Engine::new(EngineOptions {
        cache: Some(root().join("target/bench/code")),
        ..EngineOptions::default()
    })?;
    let plugins = PluginStore::new(engine, &root());
    let native = |name: &str| natives.iter().find(|(known, _)| *known == name);
    let find = |reference: &str| match native(reference) {
        Some((_, native)) => Ok(native.descriptor.clone()),
        None => match plugins.load(reference) {
            Ok(loaded) => Ok(loaded.descriptor),
            Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
        },
    };
    let written = pipeline::parse(&document.to_string());
    let pipeline = written.and_then(|written| written.validate(&find));
    let pipeline = pipeline.map_err(|errors| {
        let lines: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })?;
    let makes = pipeline.operators.iter().map(|operator| {
        let Some(used) = operator.plugin() else {
            return Ok(None);
        };
        Ok(Some(match native(&used.plugin) {
            Some((_, native)) => native.make.clone(),
            None => Make::Plugin(plugins.load(&used.plugin)?.plugin),
        }))
    });
    let makes = makes.collect::<Result<_>>()?;
    Ok(Bound { pipeline, makes })
}

/// A job that is ready to run.
pub(crate) fn build(document: &Value, natives: Natives<'_>) -> Result<Job> {
    let Bound { pipeline, makes } = bind(document, natives)?;
    let plan = plan::plan(&pipeline, pipeline.parallelism.unwrap_or(cores()));
    Ok(job::build(&pipeline, &plan, &makes, &root(), None)?)
}

/// Threads that a job uses unless it says otherwise.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs a job to its end, or stops it after so many seconds; everything read is processed.
pub(crate) fn run(job: Job, seconds: Option<f64>) -> Result<Summary> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ending = job.ending();
    let outcome = runtime.block_on(async {
        let mut running = pin!(job.run());
        if let Some(seconds) = seconds {
            let time = Duration::from_secs_f64(seconds);
            if let Ok(outcome) = tokio::time::timeout(time, &mut running).await {
                return outcome;
            }
            ending.end();
        }
        running.await
    });
    match outcome.error {
        Some(error) => Err(error.into()),
        None => Ok(outcome.summary),
    }
}

/// No row may have got lost or failed: else the figure measures something else.
pub(crate) fn check(summary: &Summary) -> Result<()> {
    let failed = (summary.rejected, summary.dead_letters, summary.faults);
    ensure!(
        failed == (0, 0, 0),
        "rejected, dead letters, faults: {failed:?}"
    );
    ensure!(summary.records_in > 0, "nothing was read");
    Ok(())
}
