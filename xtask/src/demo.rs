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
    match (options.kafka, options.check) {
        (Some(kafka), check) => {
            kafka.run(&demo)?;
            if check {
                demo.find_expected()?;
                demo.compare()?;
            }
        }
        (None, check) => {
            demo.mill(PIPELINE, &[], &[])?;
            demo.show()?;
            println!("{}", closing());
            if check {
                demo.check(options.records)?;
            }
        }
    }
    Ok(())
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
    fn mill(&self, pipeline: &str, environment: &[(&str, &str)], options: &[&str]) -> Result<()> {
        let start = Instant::now();
        let mut command = shell::command(self.programs.join("wasmill"));
        command.envs(environment.iter().copied());
        command
            .args(["run", pipeline, "--fresh", "--storage"])
            .arg(self.folder.join("checkpoints"))
            .arg("--summary-file")
            .arg(self.folder.join("summary.json"))
            .args(options);
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
        print!("{}", shell::output(&mut self.evaluate())?);
        Ok(())
    }

    /// The alerts held against the labels.
    fn evaluate(&self) -> Command {
        let mut command = self.data();
        command
            .arg("evaluate")
            .arg("--alerts")
            .arg(self.folder.join("alerts.jsonl"));
        command
            .arg("--labels")
            .arg(self.folder.join("labels.jsonl"));
        command
    }
}

/// In a whole demo so many incidents of each kind of fraud are to be found.
const RECALL_MIN: f64 = 0.9;
/// And so many alerts are to be true, of all and of each kind.
const PRECISION_MIN: f64 = 0.8;

impl Demo {
    /// Holds the alerts against the labels, and against those that plain Rust finds in the same
    /// transactions, at several parallelisms.
    fn check(&self, records: u64) -> Result<()> {
        if records >= RECORDS {
            self.judge()?;
        }
        self.find_expected()?;
        self.compare()?;
        for parallelism in ["1", "2", "4"] {
            // A table keeps what earlier runs wrote.
            fs::remove_file(self.folder.join("audit.db")).ok();
            self.mill(PIPELINE, &[], &["--parallelism", parallelism])?;
            self.compare()?;
        }
        Ok(())
    }

    fn judge(&self) -> Result<()> {
        let told = shell::output(self.evaluate().arg("--json"))?;
        let told: Value = serde_json::from_str(&told).context("the evaluation is no JSON")?;
        let precision = told["precision"].as_f64().context("no precision")?;
        if precision < PRECISION_MIN {
            bail!("{precision} of the alerts are true, at least {PRECISION_MIN} are to be");
        }
        let kinds = told["kinds"].as_object().context("no kinds of fraud")?;
        for (kind, count) in kinds {
            let recall = count["recall"].as_f64().context("no recall")?;
            if recall < RECALL_MIN {
                bail!("{recall} of {kind} were found, at least {RECALL_MIN} are to be");
            }
            let precision = count["precision_min"].as_f64().context("no precision")?;
            if precision < PRECISION_MIN {
                bail!("the precision of {kind} is known to be {precision}, not {PRECISION_MIN}");
            }
        }
        Ok(())
    }

    fn find_expected(&self) -> Result<()> {
        let mut oracle = self.data();
        oracle
            .args(["oracle", "--transactions"])
            .arg(self.folder.join("transactions.jsonl"))
            .arg("--out")
            .arg(self.folder.join("expected.jsonl"));
        shell::run(&mut oracle)
    }

    fn compare(&self) -> Result<()> {
        let mut compare = self.data();
        compare
            .args(["compare", "--found"])
            .arg(self.folder.join("alerts.jsonl"))
            .arg("--expected")
            .arg(self.folder.join("expected.jsonl"));
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
