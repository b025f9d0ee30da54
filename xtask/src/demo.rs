//! `cargo xtask demo`: the flagship job from nothing to a summary a person can read; from a file
//! into files, or with `--kafka` from a topic into a topic.

mod kafka;

use crate::workspace::{Workspace, root};
use crate::{plugins, shell};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// The job.
const PIPELINE: &str = "examples/card-fraud/pipeline.yaml";
/// Where its input and its results lie; the pipeline names the same folder.
const FOLDER: &str = "target/demo";
/// Transactions that are made, unless the command line says otherwise.
const RECORDS: u64 = 1_000_000;

/// Sets up, builds, makes transactions, runs the job, shows what it found.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    plugins::run(&[])?;
    let workspace = Workspace::load()?;
    shell::run(&mut workspace.cargo("build"))?;
    let demo = Demo::new(workspace.target)?;
    demo.generate(options.records)?;
    match options.kafka {
        Some(kafka) => kafka.run(&demo),
        None => {
            demo.mill(PIPELINE, &[])?;
            demo.show()?;
            println!("{}", closing());
            Ok(())
        }
    }?;
    match options.check {
        true => demo.check(),
        false => Ok(()),
    }
}

/// What the command line asks for.
struct Options {
    records: u64,
    /// Whether the alerts are held against those of plain Rust.
    check: bool,
    kafka: Option<kafka::Options>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let (mut records, mut kafka) = (RECORDS, None);
        let (mut audit, mut replace) = (kafka::Audit::default(), false);
        let mut check = false;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--kafka" => kafka = Some(()),
                "--replace-topics" => replace = true,
                "--check" => check = true,
                "--records" | "--audit" => {
                    let value = args.next();
                    let value = value.with_context(|| format!("{arg} wants a value"))?;
                    match arg.as_str() {
                        "--records" => records = value.parse().context("--records")?,
                        _ => audit = kafka::Audit::parse(value)?,
                    }
                }
                _ => bail!(
                    "usage: cargo xtask demo [--records N] [--check] \
                     [--kafka [--audit sqlite|postgres] [--replace-topics]]"
                ),
            }
        }
        if kafka.is_none() && (replace || audit != kafka::Audit::default()) {
            bail!("--audit and --replace-topics go with --kafka");
        }
        Ok(Self {
            records,
            check,
            kafka: kafka.map(|()| kafka::Options { audit, replace }),
        })
    }
}

/// The two programs and the folder they work in.
struct Demo {
    programs: PathBuf,
    folder: PathBuf,
}

impl Demo {
    /// An empty folder: results of an earlier run must not pass for this one's.
    fn new(target: PathBuf) -> Result<Self> {
        let folder = root().join(FOLDER);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            programs: target.join("debug"),
            folder,
        })
    }

    /// The example's own program.
    fn data(&self) -> Command {
        shell::command(self.programs.join("card-fraud-data"))
    }

    fn generate(&self, records: u64) -> Result<()> {
        let mut command = self.data();
        command.args(["generate", "--records", &records.to_string()]);
        command
            .arg("--out")
            .arg(self.folder.join("transactions.jsonl"));
        command
            .arg("--labels")
            .arg(self.folder.join("labels.jsonl"));
        shell::run(&mut command)
    }

    /// Runs the job; its progress bar is its own.
    fn mill(&self, pipeline: &str, environment: &[(&str, &str)]) -> Result<()> {
        let start = Instant::now();
        let mut command = shell::command(self.programs.join("wasmill"));
        command.envs(environment.iter().copied());
        command
            .args(["run", pipeline, "--fresh", "--storage"])
            .arg(self.folder.join("checkpoints"))
            .arg("--summary-file")
            .arg(self.folder.join("summary.json"));
        shell::run(&mut command)?;
        eprintln!("the job took {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// The summary: how much, how fast, how right.
    fn show(&self) -> Result<()> {
        let text = fs::read_to_string(self.folder.join("summary.json"))
            .context("the job wrote no summary")?;
        let summary: Value = serde_json::from_str(&text).context("the summary is no JSON")?;
        println!("\n{}\n", headline(&summary)?);
        let mut command = self.data();
        command
            .arg("evaluate")
            .arg("--alerts")
            .arg(self.folder.join("alerts.jsonl"));
        command
            .arg("--labels")
            .arg(self.folder.join("labels.jsonl"));
        print!("{}", shell::output(&mut command)?);
        Ok(())
    }
}

impl Demo {
    /// Holds the alerts against those that plain Rust finds in the same transactions.
    fn check(&self) -> Result<()> {
        let expected = self.folder.join("expected.jsonl");
        let mut oracle = self.data();
        oracle
            .args(["oracle", "--transactions"])
            .arg(self.folder.join("transactions.jsonl"))
            .arg("--out")
            .arg(&expected);
        shell::run(&mut oracle)?;
        let mut compare = self.data();
        compare
            .args(["compare", "--found"])
            .arg(self.folder.join("alerts.jsonl"))
            .arg("--expected")
            .arg(expected);
        shell::run(&mut compare)
    }
}

/// Records and records per second, from the summary's documented fields.
fn headline(summary: &Value) -> Result<String> {
    let field = |name: &str| {
        summary[name]
            .as_f64()
            .with_context(|| format!("the summary has no number `{name}`"))
    };
    Ok(format!(
        "{:.0} records, {:.0} records/s",
        field("records_in")?,
        field("records_per_second")?
    ))
}

/// Where the results lie and what to try next.
fn closing() -> String {
    format!(
        "\nresults, in {FOLDER}:\n  \
           alerts.jsonl        each alert with its rule, reasons and source offset\n  \
           audit.db            the same as a SQLite table\n  \
           summary.json        rows, faults, seconds and memory, per operator\n  \
           transactions.jsonl  the input; labels.jsonl says which frauds were planted\n\n\
         to try next:\n  \
           head -1 {FOLDER}/alerts.jsonl\n  \
           target/debug/wasmill graph {PIPELINE}\n  \
           change a threshold in {PIPELINE}, then `cargo xtask demo` again"
    )
}
