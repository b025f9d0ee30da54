//! The programs that follow an order: `wasmill run` with a document, or a command.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use wasmill_core::tree;

use super::{
    client::Topics,
    order::{Guarantee, Mode, Order},
};
use crate::{
    data,
    job::{self, plugin},
};

/// Who follows an order.
pub(crate) enum Program {
    /// wasmill.
    Ours,
    /// A command; the order's words come behind its own.
    Other(Vec<String>),
}

/// What it took to follow an order to its end.
pub(crate) struct Figures {
    pub(crate) records: u64,
    pub(crate) seconds: f64,
    /// Of the process, all its threads.
    pub(crate) cpu_seconds: f64,
    /// Records that the program says it has written, if it does.
    pub(crate) written: Option<u64>,
}

/// A process that is ended with it.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Program {
    /// Runs to the end of the topic.
    pub(crate) fn run(&self, order: &Order, topics: &mut Topics) -> Result<Figures> {
        match self {
            Self::Ours => {
                let place = Place::new(order, topics)?;
                let status = place.command().status().context("wasmill starts")?;
                ensure!(status.success(), "wasmill ended with {status}");
                place.figures()
            }
            Self::Other(words) => {
                let mut command = command(words, order)?;
                let output = command.stderr(Stdio::inherit()).output()?;
                let text = String::from_utf8(output.stdout)?;
                ensure!(
                    output.status.success(),
                    "it ended with {}: {text}",
                    output.status
                );
                let line = text.lines().last().context("it printed nothing")?;
                let line: Value = serde_json::from_str(line)?;
                let records = line["records"].as_u64().context("no `records`")?;
                let cpu = line["cpu"].as_f64().context("no `cpu`")?;
                Ok(Figures {
                    records,
                    seconds: line["seconds"].as_f64().context("no `seconds`")?,
                    cpu_seconds: cpu * records as f64 / 1e6,
                    written: None,
                })
            }
        }
    }

    /// Runs until it is ended.
    pub(crate) fn start(&self, order: &Order, topics: &mut Topics) -> Result<Running> {
        let mut command = match self {
            Self::Ours => Place::new(order, topics)?.command(),
            Self::Other(words) => command(words, order)?,
        };
        command.stdout(Stdio::null());
        Ok(Running(command.spawn().context("a program starts")?))
    }
}

fn command(words: &[String], order: &Order) -> Result<Command> {
    let (program, first) = words.split_first().context("no program is named")?;
    let mut command = Command::new(program);
    command.args(first).args(order.words());
    Ok(command)
}

/// Where a run of wasmill keeps its files.
struct Place(PathBuf);

impl Place {
    fn new(order: &Order, topics: &mut Topics) -> Result<Self> {
        let folder = data::folder()?.join("kafka");
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder)?;
        let markers = topics.name("markers");
        let document = match order.mode {
            Mode::Flagship => flagship(order, &markers, &folder)?,
            Mode::Pass | Mode::Fraud => document(order, &markers),
        };
        fs::write(folder.join("pipeline.json"), document.to_string())?;
        Ok(Self(folder))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(wasmill());
        command.arg("run").arg(self.0.join("pipeline.json"));
        command
            .arg("--fresh")
            .arg("--storage")
            .arg(self.0.join("checkpoints"));
        command
            .arg("--summary-file")
            .arg(self.0.join("summary.json"));
        // The last line of this process is for who measures.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn figures(&self) -> Result<Figures> {
        let text = fs::read_to_string(self.0.join("summary.json"))?;
        let summary: Value = serde_json::from_str(&text)?;
        let whole = |name: &str| {
            summary[name]
                .as_u64()
                .with_context(|| format!("no `{name}`"))
        };
        let number = |name: &str| {
            summary[name]
                .as_f64()
                .with_context(|| format!("no `{name}`"))
        };
        for name in ["rejected", "dead_letters", "faults", "restarts"] {
            ensure!(whole(name)? == 0, "{name}: {}", whole(name)?);
        }
        let sinks = summary["sinks"].as_array().context("no `sinks`")?;
        let alerts = sinks.iter().find(|sink| sink["name"] == "alerts");
        let Some(written) = alerts.and_then(|sink| sink["records_in"].as_u64()) else {
            bail!("the summary tells nothing of the sink");
        };
        Ok(Figures {
            records: whole("records_in")?,
            seconds: number("wall_seconds")?,
            cpu_seconds: number("cpu_seconds")?,
            written: Some(written),
        })
    }
}

/// The program beside this one; a test's own stands a folder deeper.
fn wasmill() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.parent().unwrap_or(Path::new("."));
    let folder = match folder.ends_with("deps") {
        true => folder.parent().unwrap_or(folder),
        false => folder,
    };
    folder.join("wasmill")
}

/// The document of a job that is none of the flagship's.
fn document(order: &Order, markers: &str) -> Value {
    let mut source = json!({ "kafka": { "brokers": order.brokers, "topic": order.from } });
    if order.records > 0 {
        source["kafka"]["stop"] = "end".into();
    }
    let is_exact = order.guarantee == Guarantee::ExactlyOnce;
    let mut sink = json!({
        "input": "payments",
        "kafka": { "brokers": order.brokers, "topic": order.to },
        "delivery": order.guarantee.word(),
    });
    if is_exact {
        sink["kafka"]["markers"] = markers.into();
        sink["kafka"]["decides"] = true.into();
    }
    let mut document = json!({
        "name": "bench-kafka",
        "checkpoint": { "interval": format!("{}ms", order.milliseconds) },
    });
    if order.mode == Mode::Pass {
        source["format"] = json!({ "raw": { "value": "bytes" } });
        source["kafka"]["message"] = json!({ "key": "key-bytes" });
        sink["kafka"]["key"] = "key".into();
        sink["format"] = json!({ "raw": { "column": "value" } });
    } else {
        source["format"] = json!({ "json": {
            "account": "u64", "amount": "f64", "ts": "i64", "country": "i32",
        } });
        document["operators"] = json!({ "fraud": {
            "input": "payments",
            "key-by": ["account"],
            "plugin": plugin("guest-bench-fraud"),
            "config": { "every": order.every },
        } });
        sink["input"] = "fraud".into();
        sink["kafka"]["key"] = "account".into();
        sink["format"] = "json".into();
    }
    document["sources"] = json!({ "payments": source });
    document["sinks"] = json!({ "alerts": sink });
    document
}

/// The flagship's document with other topics and places.
fn flagship(order: &Order, markers: &str, output: &Path) -> Result<Value> {
    let path = job::root().join("examples/card-fraud/pipeline-kafka.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let mut document = tree::parse(&text)
        .map_err(|error| anyhow::anyhow!("{}", error.message))?
        .to_json();
    let source = &mut document["sources"]["transactions"]["kafka"];
    ensure!(
        source.is_object(),
        "the pipeline has no source `transactions`"
    );
    source["brokers"] = json!(order.brokers);
    source["topic"] = json!(order.from);
    if let Some(source) = source.as_object_mut().filter(|_| order.records == 0) {
        source.remove("stop");
    }
    let alerts = &mut document["sinks"]["alerts"]["kafka"];
    ensure!(alerts.is_object(), "the pipeline has no sink `alerts`");
    alerts["brokers"] = json!(order.brokers);
    alerts["topic"] = json!(order.to);
    alerts["markers"] = json!(markers);
    for name in ["rules", "scorer"] {
        document["operators"][name]["plugin"] = json!(plugin(&format!("fraud-{name}")));
    }
    for (sink, kind, file) in [
        ("audit", "sqlite", "audit.db"),
        ("rejects", "file", "rejects.jsonl"),
    ] {
        let place = &mut document["sinks"][sink][kind]["path"];
        ensure!(place.is_string(), "the pipeline has no sink `{sink}`");
        *place = json!(output.join(file));
    }
    document["checkpoint"]["interval"] = json!(format!("{}ms", order.milliseconds));
    Ok(document)
}
