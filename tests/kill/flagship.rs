//! The flagship job under `kill -9`: whenever it is ended, at whatever parallelism it goes on, what
//! it has brought out in the end is what plain Rust finds, each alert once.
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use wasmill_tests::{Random, Signal, programs, root, signal};

use crate::some_time;

/// Enough to outlast some of the kills on a fast machine.
const RECORDS: &str = "150000";
/// Starts that are ended by force.
const KILLS: usize = 14;

/// A folder with a job, its input and its checkpoints.
struct Bench(tempfile::TempDir);

impl Bench {
    /// A pipeline of the repository that takes checkpoints.
    fn new(pipeline: &str) -> Self {
        let bench = Self(tempfile::tempdir().expect("a folder for the test's files"));
        let out = bench.file("transactions.jsonl");
        bench.data(&[
            "generate",
            "--records",
            RECORDS,
            "--seed",
            "5",
            "--out",
            &out,
        ]);
        let text = fs::read_to_string(root().join("examples/card-fraud").join(pipeline));
        let plugins = root().join("target/plugins");
        let checkpoint = "checkpoint: { interval: 20ms, storage: checkpoints }\nsources:";
        let text = text
            .expect("the pipeline stands in the repository")
            .replace("../../target/plugins", plugins.to_str().expect("text"))
            .replace("../../target/demo/", "")
            .replace("target/demo/", "")
            .replace("-event-time.", ".")
            .replace("sources:", checkpoint);
        fs::write(bench.file("pipeline.yaml"), text).expect("the folder is writable");
        bench
    }

    fn file(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.to_str().expect("temporary paths are text").to_owned()
    }

    fn data(&self, args: &[&str]) -> String {
        let program = programs().join("card-fraud-data");
        let output = Command::new(program).args(args).output();
        let output = output.expect("card-fraud-data starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}{complaint}");
        said
    }

    fn command(&self, parallelism: u64) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.args(["run", "pipeline.yaml", "--parallelism"]);
        command.arg(parallelism.to_string());
        command.current_dir(self.0.path());
        command
    }

    /// Runs the job to its end; gives what it said.
    fn finish(&self, parallelism: u64) -> String {
        let output = self.command(parallelism).output().expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }

    /// The alerts that a reader sees now, in whole lines.
    fn seen(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("alerts.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Kills the job after random times, each attempt at another parallelism; gives how many were
    /// still running.
    fn kill(&self, random: &mut Random) -> usize {
        let (mut killed, mut before) = (0, Vec::new());
        for _ in 0..KILLS {
            let mut command = self.command(random.below(4) + 1);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut running = command.spawn().expect("wasmill starts");
            some_time(100 + random.below(500));
            let was_running = running.try_wait().expect("a child can be asked").is_none();
            running.kill().expect("a child can be killed");
            running.wait().expect("a killed child ends");
            killed += usize::from(was_running);
            let seen = self.seen();
            assert!(seen.starts_with(&before), "what was decided stays as it is");
            before = seen;
        }
        killed
    }

    fn check(&self, expected: &str) {
        let found = self.file("alerts.jsonl");
        let said = self.data(&["compare", "--found", &found, "--expected", expected]);
        assert!(said.contains("all equal"), "{said}");
        let database = rusqlite::Connection::open(self.file("audit.db")).expect("a database");
        let (rows, ids): (i64, i64) = database
            .query_row(
                "select count(*), count(distinct row_id) from alerts",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .expect("a table of alerts");
        let alerts = self.seen().len() as i64;
        assert_eq!(
            (rows, ids),
            (alerts, alerts),
            "the audit has each alert once"
        );
    }
}

fn survives(pipeline: &str, more: &[&str], seed: u64) {
    let bench = Bench::new(pipeline);
    let (transactions, expected) = (
        bench.file("transactions.jsonl"),
        bench.file("expected.jsonl"),
    );
    let oracle = [
        "oracle",
        "--transactions",
        &transactions,
        "--out",
        &expected,
    ];
    bench.data(&[&oracle, more].concat());
    let killed = bench.kill(&mut Random(seed));
    println!("{pipeline}, seed {seed}: {killed} kills");
    assert!(killed > 0, "the job is slower than the first kill");
    bench.finish(2);
    bench.check(&expected);
    let said = bench.finish(2);
    assert!(said.contains("nothing left to do"), "{said}");
    bench.check(&expected);
}

#[test]
fn alerts_survive_kills_in_order_of_arrival() {
    survives("pipeline.yaml", &[], 1);
}

#[test]
fn alerts_survive_kills_in_order_of_event_time() {
    survives("pipeline-event-time.yaml", &["--event-time"], 2);
}

/// A job that is asked to stop goes on where it was; one that begins anew forgets that.
#[test]
fn a_stopped_job_goes_on() {
    let bench = Bench(tempfile::tempdir().expect("a folder for the test's files"));
    let document = "name: numbers\n\
        checkpoint: { interval: 1h, storage: checkpoints }\n\
        sources:\n  n: { generator: { rate: 20000, records: 30000, columns: \
        { n: { sequence: true, type: u64 } } } }\n\
        sinks:\n  out: { input: n, file: { path: out.jsonl } }\n";
    fs::write(bench.file("pipeline.yaml"), document).expect("the folder is writable");
    let mut running = bench
        .command(2)
        .stderr(Stdio::null())
        .spawn()
        .expect("wasmill starts");
    while !fs::exists(bench.file("checkpoints/default/numbers")).expect("a look") {
        thread::yield_now();
    }
    some_time(300);
    signal(&running, Signal::TERM);
    let ended = running.wait().expect("it ends");
    assert_eq!(ended.code(), Some(143), "as one that was stopped");
    let numbers = || {
        let text = fs::read_to_string(bench.file("out.jsonl")).expect("its output");
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            *counts.entry(line.to_owned()).or_insert(0) += 1;
        }
        (counts.len(), counts.into_values().max())
    };
    let before = numbers().0;
    assert!(
        (1..30_000).contains(&before),
        "it was stopped on its way: {before}"
    );
    bench.finish(1);
    assert_eq!(numbers(), (30_000, Some(1)), "each number once");
    let fresh = bench
        .command(1)
        .arg("--fresh")
        .status()
        .expect("wasmill starts");
    assert!(fresh.success());
    assert_eq!(numbers(), (30_000, Some(1)), "the output begins anew, too");
}
