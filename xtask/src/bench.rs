//! `cargo xtask bench`: measures wasmill, and on request the programs to compare with, in turn.
//!
//! Absolute figures move with the machine and its load, so a comparison is the ratio of two
//! medians of one run, its rounds taken in turn: peer, ours, peer, ours.

mod kafka_peer;
mod peer;
mod report;

use crate::workspace::{Workspace, root};
use crate::{kafka, plugins, shell};
use anyhow::{Context, Result, bail};
use peer::{Peer, Peers};
use report::{Line, Sample};
use std::path::PathBuf;
use std::process::Command;

/// What the command line asks for.
struct Options {
    scenarios: Vec<String>,
    json: bool,
    peers: bool,
    rounds: usize,
    seconds: f64,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            scenarios: Vec::new(),
            json: false,
            peers: false,
            rounds: 5,
            seconds: 10.0,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} wants a number"));
            match arg.as_str() {
                "--json" => options.json = true,
                "--peers" => options.peers = true,
                "--rounds" => options.rounds = value()?.parse().context("--rounds")?,
                "--seconds" => options.seconds = value()?.parse().context("--seconds")?,
                _ if arg.starts_with('-') => bail!(
                    "there is no option {arg}\n\n\
                     usage: cargo xtask bench [SCENARIO...] [--json] [--peers] \
                     [--rounds N] [--seconds S]"
                ),
                _ => options.scenarios.push(arg.clone()),
            }
        }
        if options.rounds == 0 || options.seconds <= 0.0 {
            bail!("--rounds and --seconds must be above zero");
        }
        Ok(options)
    }
}

/// Runs the scenarios that are named, or all.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut options = Options::parse(args)?;
    plugins::run(&[])?;
    let mut ours = Ours::build()?;
    if options.scenarios.is_empty() {
        options.scenarios = ours.list()?;
    }
    if options
        .scenarios
        .iter()
        .any(|name| kafka_peer::is_kafka(name))
    {
        ours.brokers = Some(kafka::up()?);
    }
    let mut peers = Peers::new(&ours, options.seconds);
    for scenario in &options.scenarios {
        let rivals = if options.peers {
            peers.of(scenario)?
        } else {
            Vec::new()
        };
        for line in measure(&ours, scenario, rivals, &options)? {
            println!(
                "{}",
                if options.json {
                    line.json()
                } else {
                    line.text()
                }
            );
        }
    }
    Ok(())
}

/// One scenario: all rounds in turn, then a line for each peer, or one line where there is none.
fn measure(
    ours: &Ours,
    scenario: &str,
    mut rivals: Vec<Peer>,
    options: &Options,
) -> Result<Vec<Line>> {
    let mut samples = Vec::new();
    let mut theirs: Vec<Vec<Sample>> = rivals.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (peer, samples) in rivals.iter_mut().zip(&mut theirs) {
            samples.push(peer.round()?);
            progress(scenario, round, peer.name(), samples);
        }
        samples.push(ours.round(scenario, options.seconds)?);
        progress(scenario, round, "wasmill", &samples);
    }
    let line = Line::new(scenario, &samples);
    if rivals.is_empty() {
        return Ok(vec![line]);
    }
    let versus = |(peer, samples): (&Peer, &Vec<Sample>)| line.clone().versus(peer.name(), samples);
    Ok(rivals.iter().zip(&theirs).map(versus).collect())
}

fn progress(scenario: &str, round: usize, who: &str, samples: &[Sample]) {
    if let Some(sample) = samples.last() {
        eprintln!(
            "{scenario} round {round} {who}: {:.4} {}",
            sample.value, sample.unit
        );
    }
}

/// The benchmark program, `tests/bench`.
struct Ours {
    program: PathBuf,
    target: PathBuf,
    /// The Kafka that scenarios go through.
    brokers: Option<String>,
}

impl Ours {
    fn build() -> Result<Self> {
        let workspace = Workspace::load()?;
        shell::run(&mut workspace.cargo("build"))?;
        let target = workspace.target;
        Ok(Self {
            program: target.join("debug/wasmill-bench"),
            target,
            brokers: None,
        })
    }

    /// The command of one of our rounds, or of another program's that ours starts.
    fn command(&self, scenario: &str, seconds: f64) -> Command {
        let mut command = shell::command(&self.program);
        command.args([scenario, "--seconds", &seconds.to_string()]);
        command.current_dir(root());
        if let Some(brokers) = &self.brokers {
            command.env(kafka::BROKERS, brokers);
        }
        command
    }

    /// The scenarios that a run without names measures.
    fn list(&self) -> Result<Vec<String>> {
        let text = shell::output(shell::command(&self.program).arg("list"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn round(&self, scenario: &str, seconds: f64) -> Result<Sample> {
        Sample::parse(&shell::output(&mut self.command(scenario, seconds))?)
    }
}
