//! The flagship from a topic into a topic: transactions are sent, the job runs exactly once, and
//! what a reader of committed records finds is judged, and held against the audit table.

use super::{Demo, FOLDER};
use crate::workspace::root;
use crate::{kafka, postgres, shell};
use anyhow::{Context, Result, bail};
use std::fs;
use std::process::Command;

/// The job; its broker and its audit are put in their places in a copy.
const PIPELINE: &str = "examples/card-fraud/pipeline-kafka.yaml";
/// What stands there for a broker.
const BROKER: &str = "localhost:9092";
/// What stands there for the audit, and what PostgreSQL takes in its place.
const SQLITE: &str = "sqlite: { path: target/demo/audit.db, table: alerts }";
const POSTGRES: &str = "postgres: { url: { env: POSTGRES_URL }, table: wasmill_demo_audit }";
/// The table there, which the demo makes anew.
const TABLE: &str = "wasmill_demo_audit";
/// Topics of the pipeline.
const TRANSACTIONS: &str = "transactions";
const ALERTS: &str = "fraud-alerts";
/// Where the sink notes what is committed.
const MARKERS: &str = "wasmill.markers.card-fraud-kafka.alerts";

/// Where the audit is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Audit {
    #[default]
    Sqlite,
    Postgres,
}

impl Audit {
    pub(super) fn parse(word: &str) -> Result<Self> {
        match word {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            _ => bail!("--audit is sqlite or postgres, not `{word}`"),
        }
    }
}

/// What the command line asks for.
pub(super) struct Options {
    pub(super) audit: Audit,
    /// Whether topics of these names may be deleted on a broker that is not the demo's own.
    pub(super) replace: bool,
}

impl Options {
    /// Everything behind the generator.
    pub(super) fn run(&self, demo: &Demo) -> Result<()> {
        let is_own = std::env::var_os(kafka::BROKERS).is_none();
        let brokers = kafka::up()?;
        let url = match self.audit {
            Audit::Sqlite => None,
            Audit::Postgres => Some(postgres::up()?),
        };
        if let Some(url) = &url {
            shell::run(psql(url).args(["-c", &format!("drop table if exists {TABLE}")]))?;
        }
        let mut topics = demo.data();
        topics.args(["topics", "--brokers", &brokers, TRANSACTIONS, ALERTS]);
        topics.args(["--without", MARKERS]);
        if is_own || self.replace {
            topics.arg("--replace");
        }
        let refused = "on a broker of yours, `--replace-topics` says that the demo may delete them";
        shell::run(&mut topics).context(refused)?;
        let mut produce = demo.data();
        produce.args(["produce", "--brokers", &brokers, "--topic", TRANSACTIONS]);
        produce
            .arg("--transactions")
            .arg(demo.folder.join("transactions.jsonl"));
        shell::run(&mut produce)?;
        let pipeline = self.pipeline(demo, &brokers)?;
        let url = url.as_deref();
        let environment = url.map(|url| ("POSTGRES_URL", url));
        demo.mill(&pipeline, environment.as_slice(), &[])?;
        let mut consume = demo.data();
        consume.args(["consume", "--brokers", &brokers, "--topic", ALERTS, "--out"]);
        shell::run(consume.arg(demo.folder.join("alerts.jsonl")))?;
        agree(demo, url)?;
        demo.show()?;
        println!("{}", closing(&brokers, &pipeline, url));
        Ok(())
    }

    /// A copy of the document with this broker and this audit. Its folder is as deep as the
    /// original's, so that the plugins are found.
    fn pipeline(&self, demo: &Demo, brokers: &str) -> Result<String> {
        let text = fs::read_to_string(root().join(PIPELINE)).context("the example is there")?;
        fs::write(
            demo.folder.join("pipeline-kafka.yaml"),
            self.placed(&text, brokers)?,
        )?;
        Ok(format!("{FOLDER}/pipeline-kafka.yaml"))
    }

    fn placed(&self, text: &str, brokers: &str) -> Result<String> {
        if !text.contains(BROKER) || !text.contains(SQLITE) {
            bail!("{PIPELINE} does not say `{BROKER}` and `{SQLITE}`");
        }
        let list: Vec<String> = brokers.split(',').map(|one| format!("\"{one}\"")).collect();
        let text = text.replace(BROKER, &format!("[{}]", list.join(", ")));
        Ok(match self.audit {
            Audit::Sqlite => text,
            Audit::Postgres => text.replace(SQLITE, POSTGRES),
        })
    }
}

/// The audit holds the rows of the topic and no others.
fn agree(demo: &Demo, url: Option<&str>) -> Result<()> {
    let mut agree = demo.data();
    agree
        .args(["agree", "--alerts"])
        .arg(demo.folder.join("alerts.jsonl"));
    match url {
        None => agree.arg("--database").arg(demo.folder.join("audit.db")),
        Some(url) => {
            let sql = format!("select row_to_json(a) from {TABLE} a");
            let rows = shell::output(psql(url).args(["-c", &sql]))?;
            let file = demo.folder.join("audit.jsonl");
            fs::write(&file, rows)?;
            agree.arg("--audit").arg(file)
        }
    };
    shell::run(&mut agree)
}

fn psql(url: &str) -> Command {
    let mut psql = shell::command("psql");
    psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]);
    psql
}

/// Where the results lie and what to try next.
fn closing(brokers: &str, pipeline: &str, url: Option<&str>) -> String {
    let audit = match url {
        None => format!("{FOLDER}/audit.db"),
        Some(url) => format!("table {TABLE} of {url}"),
    };
    format!(
        "\nresults:\n  \
           topic {ALERTS} of {brokers}, with isolation.level=read_committed\n  \
           {FOLDER}/alerts.jsonl   what stands there\n  \
           {audit}   the same rows, by the other sink\n\n\
         to try next:\n  \
           run {pipeline} without `stop: end`, end it with kill -9, run it again: it goes on\n  \
           cargo xtask bench kafka-fraud --peers\n  \
           cargo xtask kafka down"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_gets_its_broker_and_its_audit() {
        let text = fs::read_to_string(root().join(PIPELINE)).unwrap();
        let options = |audit| Options {
            audit,
            replace: false,
        };
        let placed = options(Audit::Sqlite).placed(&text, "127.0.0.1:1,127.0.0.1:2");
        let placed = placed.unwrap();
        assert_eq!(
            placed.matches("[\"127.0.0.1:1\", \"127.0.0.1:2\"]").count(),
            2
        );
        assert!(placed.contains(&format!("    {SQLITE}")));
        let placed = options(Audit::Postgres)
            .placed(&text, "127.0.0.1:1")
            .unwrap();
        assert!(placed.contains(&format!("\n    {POSTGRES}")) && !placed.contains(SQLITE));
        assert!(
            options(Audit::Sqlite)
                .placed("name: x", "127.0.0.1:1")
                .is_err()
        );
    }
}
