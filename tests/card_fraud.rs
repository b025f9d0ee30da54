//! The flagship job from outside: what the program finds equals what plain Rust finds, whatever
//! the parallelism and however the rows are cut into batches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wasmill_tests::{programs, root};

/// Enough for every kind of fraud, and for several chunks of the file.
const RECORDS: &str = "60000";

/// A folder with transactions, and what is to be found in them.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(seed: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        let bench = Self { folder };
        let out = bench.file("transactions.jsonl");
        data(&[
            "generate",
            "--records",
            RECORDS,
            "--seed",
            seed,
            "--out",
            &out,
        ]);
        bench
    }

    fn file(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("temporary paths are text").to_owned()
    }

    fn oracle(&self, more: &[&str]) -> String {
        let (transactions, out) = (self.file("transactions.jsonl"), self.file("expected.jsonl"));
        let args = ["oracle", "--transactions", &transactions, "--out", &out];
        data(&[&args, more].concat());
        out
    }

    /// Runs a pipeline of the repository in this folder, its operators' batches bounded, and gives
    /// its alerts.
    fn mill(&self, pipeline: &str, parallelism: usize, rows_max: usize) -> String {
        self.run(pipeline, (parallelism, rows_max), &[]);
        self.file(match pipeline {
            "pipeline.yaml" => "alerts.jsonl",
            _ => "alerts-event-time.jsonl",
        })
    }

    /// The same with other words in the document; gives the folder.
    fn run(
        &self,
        pipeline: &str,
        (parallelism, rows_max): (usize, usize),
        words: &[(&str, &str)],
    ) -> &Path {
        let text = fs::read_to_string(root().join("examples/card-fraud").join(pipeline));
        let plugins = root().join("target/plugins");
        let batch = format!("    batch: {{ rows-max: {rows_max} }}\n    plugin:");
        let mut text = text
            .expect("the pipeline stands in the repository")
            .replace("../../target/plugins", plugins.to_str().expect("text"))
            .replace("../../target/demo/", "")
            .replace("target/demo/", "")
            .replace("    plugin:", &batch);
        for (word, other) in words {
            assert!(text.contains(word), "{pipeline} does not say `{word}`");
            text = text.replace(word, other);
        }
        fs::write(self.file("pipeline.yaml"), text).expect("the folder is writable");
        let output = Command::new(programs().join("wasmill"))
            .args([
                "run",
                "pipeline.yaml",
                "--fresh",
                "--storage",
                "checkpoints",
                "--parallelism",
                &parallelism.to_string(),
            ])
            .current_dir(self.folder.path())
            .output()
            .expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{pipeline}: {said}");
        self.folder.path()
    }
}

/// Runs the example's own program, which makes the input and knows the answer.
fn data(args: &[&str]) -> String {
    let output = Command::new(programs().join("card-fraud-data"))
        .args(args)
        .output()
        .expect("card-fraud-data starts");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{args:?}: {out}{err}");
    out.into_owned()
}

fn lines(path: impl AsRef<Path>) -> usize {
    let text = fs::read_to_string(path).expect("the job wrote its file");
    text.lines().count()
}

/// Each (parallelism, most rows of a call).
const CUTS: [(usize, usize); 5] = [(1, 4096), (2, 4096), (4, 4096), (2, 7), (3, 1)];

fn check(pipeline: &str, seed: &str, oracle: &[&str]) {
    let bench = Bench::new(seed);
    let expected = bench.oracle(oracle);
    assert!(lines(&expected) > 100, "there is something to find");
    for (parallelism, rows_max) in CUTS {
        let found = bench.mill(pipeline, parallelism, rows_max);
        let said = data(&["compare", "--found", &found, "--expected", &expected]);
        assert!(
            said.contains("all equal"),
            "parallelism {parallelism}, batches of {rows_max}: {said}"
        );
        let rejects = PathBuf::from(&found).with_file_name(match pipeline {
            "pipeline.yaml" => "rejects.jsonl",
            _ => "rejects-event-time.jsonl",
        });
        assert_eq!(lines(rejects), 0, "no row failed");
    }
}

#[test]
fn alerts_at_arrival_are_the_oracles() {
    check("pipeline.yaml", "7", &[]);
    check("pipeline.yaml", "4711", &[]);
}

/// Of each alert the offset leads to the very transaction that it is about.
fn check_offsets(transactions: &str, alerts: &str, split: &str) -> usize {
    let text = fs::read_to_string(transactions).expect("the generator wrote it");
    let rows: Vec<&str> = text.lines().collect();
    let alerts = fs::read_to_string(alerts).expect("the job wrote its file");
    let json = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    for alert in alerts.lines().map(json) {
        assert_eq!(alert["split"], split, "{alert}");
        let offset = alert["offset"].as_u64().expect("an offset");
        let row = json(rows[usize::try_from(offset).expect("rows fit into memory")]);
        assert_eq!(row["id"], alert["transaction"], "{alert}: {row}");
        for column in ["account", "at", "amount"] {
            assert_eq!(row[column], alert[column], "{alert}: {row}");
        }
    }
    alerts.lines().count()
}

#[test]
fn an_alerts_offset_leads_to_its_transaction() {
    let bench = Bench::new("5");
    let transactions = bench.file("transactions.jsonl");
    for pipeline in ["pipeline.yaml", "pipeline-event-time.yaml"] {
        let found = bench.mill(pipeline, 2, 512);
        let count = check_offsets(&transactions, &found, "transactions.jsonl");
        assert!(count > 100, "{pipeline}: {count} alerts");
    }
}

#[test]
fn alerts_through_a_broker_are_the_oracles_and_the_audits() {
    let brokers = std::env::var("KAFKA_BROKERS")
        .expect("run `cargo xtask test`, or set KAFKA_BROKERS to what `cargo xtask kafka up` says");
    let bench = Bench::new("31");
    let expected = bench.oracle(&[]);
    for parallelism in [1, 3] {
        let name = |what: &str| format!("card-fraud-{what}-{parallelism}-{}", std::process::id());
        let (from, to, markers) = (name("from"), name("to"), name("markers"));
        data(&["topics", "--brokers", &brokers, &from, &to]);
        let transactions = bench.file("transactions.jsonl");
        let topic = ["--brokers", &brokers, "--topic", &from];
        data(&[&["produce", "--transactions", &transactions], &topic[..]].concat());
        let more = [
            ("localhost:9092", &*format!("\"{brokers}\"")),
            ("topic: transactions", &*format!("topic: {from}")),
            (
                "topic: fraud-alerts",
                &*format!("markers: {markers}\n      topic: {to}"),
            ),
        ];
        let audit = bench.run("pipeline-kafka.yaml", (parallelism, 512), &more);
        let (alerts, database) = (bench.file("committed.jsonl"), bench.file("audit.db"));
        let topic = ["--brokers", &brokers, "--topic", &to];
        data(&[&["consume", "--out", &alerts], &topic[..]].concat());
        // One that is left over costs the shared broker only a little.
        data(&[
            "topics",
            "--brokers",
            &brokers,
            "--replace",
            "--without",
            &from,
        ]);
        data(&[
            "topics",
            "--brokers",
            &brokers,
            "--replace",
            "--without",
            &to,
        ]);
        data(&[
            "topics",
            "--brokers",
            &brokers,
            "--replace",
            "--without",
            &markers,
        ]);
        let said = data(&["compare", "--found", &alerts, "--expected", &expected]);
        assert!(
            said.contains("all equal"),
            "parallelism {parallelism}: {said}"
        );
        assert_eq!(lines(audit.join("rejects.jsonl")), 0, "no row failed");
        data(&["agree", "--alerts", &alerts, "--database", &database]);
        fs::remove_file(database).expect("the job wrote it");
    }
}

#[test]
fn alerts_in_event_time_order_are_the_oracles() {
    check("pipeline-event-time.yaml", "23", &["--event-time"]);
}
