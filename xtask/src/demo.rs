//! `cargo xtask demo`: the flagship job from nothing to a summary a person can read.

use crate::workspace::{Workspace, root};
use crate::{plugins, shell};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// The job.
const PIPELINE: &str = "examples/card-fraud/pipeline.yaml";
/// Where its input and its results lie; the pipeline names the same folder.
const FOLDER: &str = "target/demo";
/// Transactions that are made, unless the command line says otherwise.
const RECORDS: u64 = 1_000_000;

/// Sets up, builds, makes transactions, runs the job, shows what it found.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let records = match args {
        [] => RECORDS,
        [option, number] if option == "--records" => number.parse().context("--records")?,
        _ => bail!("usage: cargo xtask demo [--records N]"),
    };
    plugins::run(&[])?;
    let workspace = Workspace::load()?;
    shell::run(&mut workspace.cargo("build"))?;
    let demo = Demo::new(workspace.target)?;
    demo.generate(records)?;
    demo.mill()?;
    demo.show()
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

    fn generate(&self, records: u64) -> Result<()> {
        let mut command = shell::command(self.programs.join("card-fraud-data"));
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
    fn mill(&self) -> Result<()> {
        let start = Instant::now();
        let mut command = shell::command(self.programs.join("wasmill"));
        command
            .args(["run", PIPELINE, "--fresh", "--storage"])
            .arg(self.folder.join("checkpoints"))
            .arg("--summary-file")
            .arg(self.folder.join("summary.json"));
        shell::run(&mut command)?;
        eprintln!("the job took {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// The summary: how much, how fast, how right, where it lies, what to try.
    fn show(&self) -> Result<()> {
        let text = fs::read_to_string(self.folder.join("summary.json"))
            .context("the job wrote no summary")?;
        let summary: Value = serde_json::from_str(&text).context("the summary is no JSON")?;
        println!("\n{}\n", headline(&summary)?);
        let mut command = shell::command(self.programs.join("card-fraud-data"));
        command
            .arg("evaluate")
            .arg("--alerts")
            .arg(self.folder.join("alerts.jsonl"));
        command
            .arg("--labels")
            .arg(self.folder.join("labels.jsonl"));
        print!("{}", shell::output(&mut command)?);
        println!("{}", closing());
        Ok(())
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
