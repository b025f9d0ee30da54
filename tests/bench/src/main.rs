//! Benchmark scenarios, each one round in one process: `wasmill-bench SCENARIO --seconds S` prints
//! one line of JSON with `scenario`, `records`, `seconds`, `value` and `unit`.
//!
//! `cargo xtask bench` builds this, takes several rounds in turn with the programs to compare with,
//! and prints medians. `wasmill-bench list` prints the scenarios that it measures by default.
//!
//! A scenario of Kafka measures another program in its place with `--beside COMMAND...`; the words
//! `wasmill-bench raw` are such a command: librdkafka alone.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool whose result is a line"
)]

mod big_file;
mod data;
mod durable;
mod flagship;
mod job;
mod join;
mod kafka;
mod latency;
mod native;
mod probe;
mod sandbox;
mod scenario;
mod throughput;
mod windows;

use anyhow::{Context, Result, bail};
use scenario::SCENARIOS;
use std::process::ExitCode;

/// How long a round lasts at least, if the command line does not say.
const SECONDS: f64 = 10.0;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The text that the arguments ask for.
fn run(args: &[String]) -> Result<String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (name, seconds) = match words.as_slice() {
        ["list"] => return Ok(list()),
        [name] => (*name, SECONDS),
        [name, "--seconds", seconds] => (*name, seconds.parse().context("--seconds")?),
        [name, "--seconds", seconds, "--beside", command @ ..] => {
            let seconds = seconds.parse().context("--seconds")?;
            return Ok(kafka::beside(name, seconds, command)?.line(name));
        }
        [kafka::raw::NAME, order @ ..] => {
            return Ok(kafka::raw::run(order)?.line(kafka::raw::NAME));
        }
        _ => bail!(
            "usage: wasmill-bench SCENARIO [--seconds S], or wasmill-bench list, or a Kafka \
             scenario with --seconds S --beside COMMAND..."
        ),
    };
    let Some(scenario) = SCENARIOS.iter().find(|scenario| scenario.name == name) else {
        bail!("there is no scenario `{name}`; there are\n{}", list());
    };
    let measured = (scenario.run)(seconds)?;
    Ok(measured.line(name))
}

/// The scenarios of a run without names, a line each.
fn list() -> String {
    let names = SCENARIOS
        .iter()
        .filter(|scenario| scenario.by_default)
        .map(|s| s.name);
    names.collect::<Vec<_>>().join("\n")
}
