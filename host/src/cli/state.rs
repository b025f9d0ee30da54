//! `wasmill state`: what a checkpoint remembers.

mod export;
mod get;
mod list;
mod migrate;
mod sql;

use clap::{Args, Subcommand};

use super::{failure::Failure, target};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List operators and states with their types, keys and sizes.
    Ls(ListArguments),
    /// Show everything that an operator keeps of one key: states, timers, what features remember.
    Get(get::Arguments),
    /// Write the rows of a state with typed columns.
    Export(export::Arguments),
    /// Ask the state in SQL: each operator is a schema, each state a table of it, and its pending
    /// timers are the table `timers`.
    ///
    /// Without a question the tables and their columns are told.
    Sql(sql::Arguments),
    /// Try what a start of the pipeline would migrate, and change nothing.
    Migrate(migrate::Arguments),
}

#[derive(Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    target: target::Arguments,
    /// Tell the sizes of each key group, too.
    #[arg(long)]
    key_groups: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Ls(arguments) => list::run(arguments),
        Command::Get(arguments) => get::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Sql(arguments) => sql::run(arguments),
        Command::Migrate(arguments) => migrate::run(arguments),
    }
}
