//! `wasmill graph`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};
use wasmill_core::{graph, plan};

use super::{failure::Failure, load};

#[derive(Args)]
pub(super) struct Arguments {
    /// The pipeline document.
    pipeline: PathBuf,
    /// How the plan is drawn.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Subtasks of each task; as the document says, or the number of cores.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=128))]
    parallelism: Option<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// One task after the other, in words.
    Text,
    /// Graphviz's language.
    Dot,
    /// A picture for browsers.
    Svg,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = load::load(&arguments.pipeline, load::Inputs::Unread)?;
    let pipeline = &loaded.pipeline;
    let parallelism = load::parallelism(pipeline, arguments.parallelism.map(usize::from));
    let plan = plan::plan(pipeline, parallelism);
    let picture = match arguments.format {
        Form::Text => graph::text(pipeline, &plan),
        Form::Dot => graph::dot(pipeline, &plan),
        Form::Svg => graph::svg(pipeline, &plan),
    };
    super::print(&picture)
}
