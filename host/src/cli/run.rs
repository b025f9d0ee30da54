//! `wasmill run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};
use wasmill_core::plan;

use super::{failure::Failure, load};

/// What `wasmill run` takes.
#[derive(Args)]
pub(super) struct Arguments {
    /// The pipeline document.
    pub(super) pipeline: PathBuf,
    /// How the summary is printed when the job has ended: on standard output, or on standard error where standard output
    /// carries rows.
    #[arg(long, value_enum, default_value_t = Summary::Human, value_name = "FORM")]
    pub(super) summary: Summary,
    /// Also write the summary as JSON into this file.
    #[arg(long, value_name = "FILE")]
    pub(super) summary_file: Option<PathBuf>,
    /// Subtasks of each task; as the document says, or the number of cores.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=128))]
    pub(super) parallelism: Option<u16>,
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
    let loaded = load::load(&arguments.pipeline)?;
    let asked = arguments.parallelism.map(usize::from);
    let _plan = plan::plan(&loaded.pipeline, load::parallelism(&loaded.pipeline, asked));
    Err(Failure::Failed(
        "this build has no runtime for pipelines yet".into(),
    ))
}
