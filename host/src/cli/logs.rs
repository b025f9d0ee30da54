//! Logs: on standard error, for people or for machines.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, fmt};

/// How the program logs.
#[derive(Args)]
pub(super) struct Arguments {
    /// What is logged: error, warn, info, debug, trace, or a filter such as
    /// `wasmill_host::task=debug`.
    #[arg(
        long,
        global = true,
        default_value = "warn",
        env = "WASMILL_LOG",
        value_name = "FILTER",
        value_parser = filter
    )]
    log: EnvFilter,
    /// How it is logged.
    #[arg(long, global = true, value_enum, default_value_t = Form::Human, value_name = "FORM")]
    log_format: Form,
}

/// Reads a filter; one that is only half understood would hide what was asked for.
fn filter(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(text).map_err(|error| error.to_string())
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// A line that people read.
    Human,
    /// A JSON object a line.
    Json,
}

impl Arguments {
    /// Starts logging; at most once a process.
    pub(super) fn start(&self) {
        let logs = fmt()
            .with_env_filter(self.log.clone())
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        match self.log_format {
            Form::Human => logs.init(),
            Form::Json => logs.json().init(),
        }
    }
}
