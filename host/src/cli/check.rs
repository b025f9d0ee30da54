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
    let loaded = load::load(&arguments.pipeline)?;
    let pipeline = &loaded.pipeline;
    super::print(&format!(
        "{}: sound; {} sources, {} operators, {} sinks\n",
        pipeline.name,
        pipeline.sources.len(),
        pipeline.operators.len(),
        pipeline.sinks.len()
    ))
}
