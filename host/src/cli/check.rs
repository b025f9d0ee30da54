//! `wasmill check`.

use std::path::PathBuf;

use clap::Args;

use super::{failure::Failure, load};

#[derive(Args)]
pub(super) struct Arguments {
    /// The pipeline document.
    pipeline: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = load::load(&arguments.pipeline, load::Inputs::Looked)?;
    let pipeline = &loaded.pipeline;
    super::print(&format!(
        "{}: sound; {}, {}, {}\n",
        pipeline.name,
        super::count(pipeline.sources.len() as u64, "source"),
        super::count(pipeline.operators.len() as u64, "operator"),
        super::count(pipeline.sinks.len() as u64, "sink")
    ))
}
