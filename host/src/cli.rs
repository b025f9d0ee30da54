//! The command line: arguments in, exit codes out. The only place that prints.

mod check;
mod checkpoint;
mod dlq;
mod failure;
mod graph;
mod jobs;
mod load;
mod logs;
mod plugin;
mod run;
mod savepoint;
mod state;
mod status;
mod stop;
mod table;
mod target;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    clock,
    crash_point::{self, CrashPoint},
    plugin_store::COMPILE_COMMAND,
    wasm,
};
use failure::Failure;

/// Streams with Flink's semantics, operators in WebAssembly.
///
/// Exit codes: 0 done, 1 failed, 2 invalid input, 3 taken over by another run, 130 and 143 stopped
/// by Ctrl-C and SIGTERM.
#[derive(Parser)]
#[command(name = "wasmill", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    logs: logs::Arguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a pipeline until its input ends or it is stopped.
    Run(run::Arguments),
    /// Show how a running job does, or which jobs of this user run.
    Status(status::Arguments),
    /// List the running jobs of this user.
    Ls(status::ListArguments),
    /// Take a savepoint of a running job; list, copy and dispose of savepoints.
    Savepoint(savepoint::Arguments),
    /// Stop a running job; it goes on from its last checkpoint another time.
    Stop(stop::Arguments),
    /// End a running job's input: timers fire, everything comes out, and the job is finished.
    Drain(stop::DrainArguments),
    /// Tell everything that is wrong with a pipeline, without running it.
    Check(check::Arguments),
    /// Show what would run where: the plan as text, DOT or SVG.
    Graph(graph::Arguments),
    /// Look at checkpoints: what there is, what is in one, whether it is whole.
    #[command(subcommand)]
    Checkpoint(checkpoint::Command),
    /// Look at state in a checkpoint: sizes, keys, rows, SQL.
    #[command(subcommand)]
    State(state::Command),
    /// Look at dead letters in a topic, and bring their records back.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Print the JSON Schema of pipeline documents, for editors.
    Schema,
    /// Make, build, test and look at plugins.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Print a script that completes commands in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    // Not a command of the user's: help and completions do not know it.
    if env::args_os()
        .nth(1)
        .is_some_and(|word| word == COMPILE_COMMAND)
    {
        return end(compile());
    }
    match env::var(crash_point::VARIABLE).as_deref() {
        Err(_) => {}
        Ok("list") => return end(crash_points()),
        Ok(point) => {
            if let Err(wrong) = crash_point::arm(point) {
                return end(Err(Failure::Invalid(wrong)));
            }
        }
    }
    if let Some(seed) = env::var(clock::JUMPS)
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        clock::jump(seed);
    }
    let cli = Cli::parse();
    cli.logs.start();
    end(match cli.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Ls(arguments) => status::list(&arguments),
        Command::Savepoint(arguments) => savepoint::run(&arguments),
        Command::Stop(arguments) => stop::run(&arguments),
        Command::Drain(arguments) => stop::drain(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Graph(arguments) => graph::run(&arguments),
        Command::Checkpoint(command) => checkpoint::run(&command),
        Command::State(command) => state::run(&command),
        Command::Dlq(command) => dlq::run(&command),
        Command::Schema => schema(),
        Command::Plugin(command) => plugin::run(command),
        Command::Completions { shell } => completions(shell),
    })
}

/// Tells why a command failed, and gives its exit code.
fn end(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            failure.code()
        }
    }
}

/// Octets as text.
fn base64(octets: &[u8]) -> String {
    let mut text = Vec::new();
    crate::format::base64::encode(octets, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn schema() -> Result<(), Failure> {
    let schema = wasmill_core::pipeline::schema();
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    print(&format!("{text}\n"))
}

fn crash_points() -> Result<(), Failure> {
    let names = CrashPoint::ALL.iter().map(|point| point.name());
    print(&format!("{}\n", names.collect::<Vec<_>>().join("\n")))
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wasmill", &mut script);
    write(&script)
}

/// Compiles the component on standard input, as a child of this program.
fn compile() -> Result<(), Failure> {
    let code = wasm::compile_child(io::stdin().lock()).map_err(Failure::failed)?;
    write(&code)
}

/// Writes text to standard output; a reader that has gone away is no failure.
fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

/// A number of things, as people say it.
fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// Writes a line to standard error; there is nobody to tell when that fails.
fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
