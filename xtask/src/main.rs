//! `cargo xtask`: prepares a machine, then builds, shows, tests and measures wasmill.
//!
//! It depends on next to nothing, so that a machine with only Rust and a linker reaches its first
//! useful message in seconds. Each subcommand is one file.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command-line tool: it talks to a person and times real programs"
)]

mod bench;
mod ci;
mod demo;
mod fresh;
mod go;
mod kafka;
mod kill;
mod lint;
mod plugins;
mod postgres;
mod registry;
mod s3;
mod server;
mod setup;
mod shell;
mod sim;
mod soak;
mod test;
mod workspace;

use anyhow::{Result, bail};
use std::process::ExitCode;

/// A subcommand: its name, what it does, and the function that gets the remaining arguments.
struct Task {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

/// Every subcommand, in the order in which a newcomer meets them.
const TASKS: &[Task] = &[
    Task {
        name: "setup",
        about: "install what this machine lacks",
        run: setup::run,
    },
    Task {
        name: "plugins",
        about: "build every Wasm component into target/plugins",
        run: plugins::run,
    },
    Task {
        name: "demo",
        about: "find card fraud in a million transactions: [--records N] [--kafka]",
        run: demo::run,
    },
    Task {
        name: "test",
        about: "set up, build the plugins, run all tests",
        run: test::run,
    },
    Task {
        name: "lint",
        about: "formatting, clippy and documentation, warnings denied",
        run: lint::run,
    },
    Task {
        name: "sim",
        about: "checkpoints under bad luck: [--seeds N | --seed S]",
        run: sim::run,
    },
    Task {
        name: "kill",
        about: "a job under kill -9: [--kills N] [--seed S] [--kafka [--records R]]",
        run: kill::run,
    },
    Task {
        name: "bench",
        about: "measure: [SCENARIO...] [--json] [--peers] [--rounds N] [--seconds S]",
        run: bench::run,
    },
    Task {
        name: "postgres",
        about: "a PostgreSQL for tests: up | down",
        run: postgres::run,
    },
    Task {
        name: "kafka",
        about: "an Apache Kafka for tests: up | down",
        run: kafka::run,
    },
    Task {
        name: "registry",
        about: "a schema registry for tests: up | down",
        run: registry::run,
    },
    Task {
        name: "soak",
        about: "long runs with bounded memory: spill | ttl [--minutes N]",
        run: soak::run,
    },
    Task {
        name: "fresh",
        about: "the README's commands on a bare Debian (needs root)",
        run: fresh::run,
    },
    Task {
        name: "ci",
        about: "everything a change must pass (.ci/run)",
        run: ci::run,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((name, rest)) = args.split_first() else {
        print!("{}", usage());
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        print!("{}", usage());
        return Ok(());
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        bail!("there is no task `{name}`\n\n{}", usage());
    };
    (task.run)(rest)
}

/// The help text, made from [`TASKS`].
fn usage() -> String {
    let mut text = String::from("usage: cargo xtask TASK [ARGUMENT...]\n\ntasks:\n");
    for task in TASKS {
        text.push_str(&format!("  {:<8} {}\n", task.name, task.about));
    }
    text
}
