//! `wasmill plugin`: from an empty folder to a component.

mod build;
mod fixture;
mod inspect;
mod new;
mod test;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::Failure;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Write a new plugin with everything it needs to build.
    New(NewArguments),
    /// Build a plugin's folder into a component.
    Build(BuildArguments),
    /// Build a plugin's folder, and hold the component against the fixtures in its `tests`.
    Test(TestArguments),
    /// Tell what a component says about itself.
    Inspect(InspectArguments),
}

#[derive(Args)]
pub(super) struct NewArguments {
    /// The folder; made if it is not there.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The plugin's name; the folder's if not given.
    #[arg(long)]
    name: Option<String>,
    /// An aggregate for windows in the place of an operator.
    #[arg(long)]
    aggregate: bool,
}

#[derive(Args)]
pub(super) struct BuildArguments {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
}

#[derive(Args)]
pub(super) struct TestArguments {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Test this component and build nothing.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct InspectArguments {
    /// The component.
    plugin: PathBuf,
    /// Print the descriptor as the plugin gave it.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::New(arguments) => new::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
    }
}
