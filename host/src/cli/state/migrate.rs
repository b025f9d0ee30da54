//! `wasmill state migrate`.

use std::path::PathBuf;

use clap::Args;
use wasmill_core::plan;

use crate::{
    checkpoint::{DryRun, Storage, dry_run},
    cli::{
        self,
        failure::Failure,
        load,
        run::{self, attempt},
    },
    job,
};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The pipeline document, with the plugins that would go on from the newest checkpoint.
    pipeline: PathBuf,
    /// Migrate a copy in memory, and tell what came out. Starting the job is what migrates.
    #[arg(long, required = true)]
    dry_run: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    debug_assert!(arguments.dry_run, "the only way there is");
    let loaded = load::load(&arguments.pipeline, load::Inputs::Unread)?;
    let pipeline = &loaded.pipeline;
    let Some(checkpointing) = &pipeline.checkpoint else {
        let name = &pipeline.name;
        return Err(Failure::Invalid(format!(
            "`{name}` takes no checkpoints: add `checkpoint`"
        )));
    };
    let plan = plan::plan(pipeline, load::parallelism(pipeline, None));
    let plugins = run::plugins(&loaded)?;
    let participants = job::participants(pipeline, &plan, &plugins, (checkpointing, false));
    let participants = participants.map_err(Failure::invalid)?;
    let place = attempt::place(checkpointing.storage.as_ref(), None)?;
    let storage = Storage::existing(&place).map_err(Failure::failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let tried = runtime.block_on(dry_run(&storage, &participants));
    cli::print(&text(&tried.map_err(Failure::failed)?))
}

fn text(tried: &DryRun) -> String {
    let Some(checkpoint) = tried.checkpoint else {
        return "there is no checkpoint to go on from\n".into();
    };
    if tried.migrated.is_empty() {
        return format!("checkpoint {checkpoint}: nothing has to be migrated\n");
    }
    let mut text = format!("checkpoint {checkpoint}:\n");
    for state in &tried.migrated {
        let what = &state.what;
        let values = cli::count(state.values, "value");
        text.push_str(&format!(
            "  `{}.{}` from {} to {}: {values}, {} dropped\n",
            what.operator, what.state, what.from, what.to, state.dropped
        ));
    }
    text
}
