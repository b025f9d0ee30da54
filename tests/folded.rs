//! States that are folded and those of subtasks, from outside: guests that show all that they
//! remember against the same in plain Rust, whatever the parallelism, however the rows are cut into
//! batches, after kills, from memory and from disk, and as a checkpoint has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use wasmill_tests::folds::folds;
use wasmill_tests::kill::Kills;
use wasmill_tests::sales::{OUT_OF_ORDERNESS, Sale, Sales};
use wasmill_tests::{Random, Signal, programs, root, signal};

/// Each (parallelism, most rows of a call).
const CUTS: [(usize, usize); 5] = [(1, 4096), (2, 4096), (4, 100), (2, 3), (1, 1)];
/// State and checkpoints of a job that is not disturbed.
const PLAIN: (&str, &str) = ("{ backend: memory }", "off");
/// Checkpoints of one that is.
const FREQUENT: &str = "{ interval: 30ms, storage: checkpoints }";
/// So little memory that most keys are on disk.
const SPILLING: &str = "{ backend: rocksdb, cache: 64KiB, directory: spill }";
/// The subtasks of each start that is killed: state of a subtask goes on with it.
const SUBTASKS: [usize; 9] = [1, 1, 1, 2, 2, 2, 4, 4, 4];
/// Starts that are killed at most, until rows have come out.
const KILLS_MAX: usize = 24;

/// A job of two operators, over the same sales: one keeps folded states and a number of its
/// subtask, the other has no key and keeps such a number only.
struct Job {
    folder: tempfile::TempDir,
    sales: Vec<Sale>,
}

impl Job {
    fn new(sales: Vec<Sale>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        let rows = sales.iter().map(|sale| sale.csv() + "\n");
        let text = "key,shop,amount,at\n".to_owned() + &rows.collect::<String>();
        let job = Self { folder, sales };
        fs::write(job.file("sales.csv"), text).expect("writable");
        job
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wasmill(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// A start with a kind of state and of checkpoints, and a cut of the rows.
    fn start(&self, (state, checkpoint): (&str, &str), cut: (usize, usize)) -> Command {
        let (plugins, (parallelism, rows_max)) = (root().join("target/plugins"), cut);
        let plugins = plugins.display();
        let text = format!(
            "name: folding
state: {state}
checkpoint: {checkpoint}
sources:
  sales:
    file: {{ path: sales.csv }}
    format: {{ csv: {{ key: u64, shop: string, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 2s }}
operators:
  folded:
    input: sales
    key-by: [key]
    plugin: {plugins}/guest-folded-state.wasm
    batch: {{ rows-max: {rows_max} }}
  numbers: {{ input: sales, plugin: {plugins}/guest-numbered-rows.wasm }}
sinks:
  out: {{ input: folded, file: {{ path: out.csv }}, format: csv }}
  numbered: {{ input: numbers, file: {{ path: numbered.csv }}, format: csv }}
"
        );
        fs::write(self.file("pipeline.yaml"), text).expect("writable");
        let mut command = self.wasmill(&["run", "pipeline.yaml", "--parallelism"]);
        command.arg(parallelism.to_string());
        command
    }

    /// Runs the job until each sale has come out, and stops it while it waits for more.
    fn stop_behind_all(&self, subtasks: usize) {
        let mut command = self.start((SPILLING, FREQUENT), (subtasks, 512));
        let document = fs::read_to_string(self.file("pipeline.yaml")).expect("a document");
        let document = document.replace("path: sales.csv", "path: sales.csv, follow: true");
        fs::write(self.file("pipeline.yaml"), document).expect("writable");
        let running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut running = Running(running.expect("wasmill starts"));
        let has_all = |file: &str| {
            let text = fs::read_to_string(self.file(file)).unwrap_or_default();
            text.lines().count() > self.sales.len()
        };
        while !has_all("out.csv") || !has_all("numbered.csv") {
            let ended = running.0.try_wait().expect("a child can be asked");
            assert_eq!(ended, None, "a job that follows its files has no end");
            std::thread::yield_now();
        }
        signal(&running.0, Signal::TERM);
        let ended = running.0.wait().expect("it ends");
        assert_eq!(ended.code(), Some(143), "as one that was stopped");
    }

    /// Rows of a file without their last two columns, a subtask and a number, sorted; and how many
    /// there are of each subtask, whose numbers count from 1 on without a gap.
    fn numbered(&self, file: &str) -> (Vec<String>, BTreeMap<u64, u64>) {
        let text = fs::read_to_string(self.file(file)).expect("the job wrote it");
        let (mut rows, mut numbers) = (Vec::new(), BTreeMap::<u64, BTreeSet<u64>>::new());
        for line in text.lines().skip(1) {
            let (line, number) = line.rsplit_once(',').expect("columns");
            let (line, subtask) = line.rsplit_once(',').expect("columns");
            let of_subtask = numbers.entry(subtask.parse().expect("a subtask"));
            let number = number.parse().expect("a number");
            let is_new = of_subtask.or_default().insert(number);
            assert!(is_new, "{file}: {number} of subtask {subtask} stands twice");
            rows.push(line.to_owned());
        }
        rows.sort();
        let last = numbers.into_iter().map(|(subtask, numbers)| {
            let count = numbers.len() as u64;
            let last = numbers.last().copied();
            assert_eq!(last, Some(count), "{file}: numbers of subtask {subtask}");
            (subtask, count)
        });
        (rows, last.collect())
    }

    /// Holds what came out against plain Rust; gives the last number of each subtask.
    fn check(&self, how: &str) -> [BTreeMap<u64, u64>; 2] {
        let (found, folded) = self.numbered("out.csv");
        let expected = folds(&self.sales, OUT_OF_ORDERNESS).lines;
        let differs = found.iter().zip(&expected).find(|(a, b)| a != b);
        assert_eq!(differs, None, "{how}");
        assert_eq!(found.len(), expected.len(), "{how}");
        let (found, numbered) = self.numbered("numbered.csv");
        let rows = self.sales.iter();
        let rows = rows.map(|sale| format!("{},{}", sale.key, sale.amount));
        let mut expected: Vec<String> = rows.collect();
        expected.sort();
        assert!(found == expected, "{how}: each row comes out once");
        [folded, numbered]
    }

    /// The rows of a state in the newest checkpoint: the values of these columns.
    fn exported<const N: usize>(
        &self,
        (operator, state): (&str, &str),
        columns: [&str; N],
    ) -> BTreeSet<[i64; N]> {
        let what = ["pipeline.yaml", operator, "--state", state];
        let export = [&["state", "export"][..], &what].concat();
        let text = succeeds(self.wasmill(&export));
        let row = |line: &str| {
            let row: Value = serde_json::from_str(line).expect("JSON");
            columns.map(|column| row[column].as_i64().expect("a number"))
        };
        text.lines().map(row).collect()
    }
}

/// A job that runs, and is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a command that succeeds prints.
fn succeeds(mut command: Command) -> String {
    let output = command.output().expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn states_are_folded_as_in_plain_rust() {
    println!("seed 5");
    let job = Job::new(Sales::new(5).take(20_000).collect());
    for cut in CUTS {
        succeeds(job.start(PLAIN, cut));
        job.check(&format!("parallelism and rows of a call: {cut:?}"));
    }
}

/// What a plugin counts and says is seen, and each row draws numbers of its own, however rows are
/// put into batches.
#[test]
fn a_plugins_counters_and_warnings_are_told() {
    println!("seed 8");
    let job = Job::new(Sales::new(8).take(20_000).collect());
    let mut drawn = Vec::new();
    for cut in CUTS {
        let output = job.start(PLAIN, cut).args(["--summary", "json"]).output();
        let output = output.expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("the first row is here"), "{said}");
        let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
        let counters = &summary["operators"][1]["counters"];
        assert_eq!(counters["rows"], job.sales.len(), "{counters}");
        drawn.push(counters["heads"].as_u64().expect("a count"));
    }
    println!("heads: {drawn:?}");
    assert!((9_000..11_000).contains(&drawn[0]), "{drawn:?} of 20000");
    assert!(drawn.iter().all(|heads| *heads == drawn[0]), "{drawn:?}");
}

#[test]
fn folded_states_and_those_of_subtasks_survive_kills_and_leave_memory() {
    println!("seed 6");
    let job = Job::new(Sales::new(6).of(600).take(60_000).collect());
    let (mut random, mut kills) = (Random(6), Kills::default());
    let states = ["{ backend: memory }", SPILLING, SPILLING];
    let mut is_shown = false;
    for start in 0..KILLS_MAX {
        if start >= SUBTASKS.len() && is_shown {
            break;
        }
        let subtasks = SUBTASKS[start.min(SUBTASKS.len() - 1)];
        let mut command = job.start((states[start % 3], FREQUENT), (subtasks, 512));
        kills.kill(&mut command, random.below(1_000));
        let out = fs::read_to_string(job.file("out.csv")).unwrap_or_default();
        is_shown = kills.number() > 0 && out.lines().count() > 1;
        if kills.number() > 0 && !is_shown {
            kills.take_longer();
        }
    }
    println!("{} kills", kills.number());
    assert!(is_shown, "no rows have come out of a job that was killed");
    succeeds(job.start((SPILLING, FREQUENT), (4, 512)));
    let [folded, numbered] = job.check("after kills");
    // The same from outside, by the last checkpoint.
    let expected = folds(&job.sales, OUT_OF_ORDERNESS);
    let greatest = expected.greatest.iter();
    let greatest = greatest.map(|(key, amount)| [*key as i64, *amount]);
    let found = job.exported(("folded", "greatest"), ["key", "value"]);
    assert_eq!(found, greatest.collect());
    let tallies = expected.tallies.iter();
    let tallies = tallies.map(|(key, (count, sum))| [*key as i64, *count as i64, *sum]);
    let found = job.exported(("folded", "tally"), ["key", "count", "sum"]);
    assert_eq!(found, tallies.collect());
    let places = [("folded", "emitted"), ("numbers", "last")];
    for (place, last) in places.into_iter().zip([folded, numbered]) {
        let last = last.iter();
        let last = last.map(|(subtask, last)| [*subtask as i64, *last as i64]);
        assert_eq!(job.exported(place, ["subtask", "value"]), last.collect());
    }
}

#[test]
fn states_of_subtasks_that_are_no_more_are_not_dropped() {
    println!("seed 7");
    let job = Job::new(Sales::new(7).take(2_000).collect());
    job.stop_behind_all(3);
    let before = job.numbered("out.csv");
    let output = job.start((SPILLING, FREQUENT), (2, 512)).output();
    let output = output.expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("run with at least 3 subtasks"), "{said}");
    assert_eq!(job.numbered("out.csv"), before, "nothing has changed");
    succeeds(job.start((SPILLING, FREQUENT), (4, 512)));
    job.check("with more subtasks");
}
