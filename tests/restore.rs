//! A job that goes on from a checkpoint, whoever wrote it: at every parallelism after every other
//! one, with either kind of state after the other, and from every format that ever stood on main,
//! it brings out what plain Rust finds.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use wasmill_tests::kill::reaches;
use wasmill_tests::sales::{self, OUT_OF_ORDERNESS, Sale, Sales};
use wasmill_tests::{Signal, programs, root, signal};

/// Each of the four follows each of the four, itself included, once.
const WALK: [u8; 17] = [1, 1, 2, 1, 4, 1, 8, 2, 2, 4, 2, 8, 4, 4, 8, 8, 1];

/// All state in memory.
const MEMORY: &str = "state: { backend: memory }\n";
/// So little memory that keys leave it and come back.
const SPILLING: &str = "state: { backend: rocksdb, cache: 64KiB, directory: spill }\n";

/// Rows of the input in each step of the walk.
const STEP: usize = 400;

/// A pipeline with every kind of state, timers, rows that wait, and every kind of feature.
const PIPELINE: &str = "\
name: restored
checkpoint: { interval: 50ms, storage: checkpoints }
sources:
  sales:
    file: { path: sales.csv, follow: true }
    format: { csv: { key: u64, shop: string, amount: i64, at: timestamp } }
    event-time: { column: at, out-of-orderness: 2s }
  payments:
    file: { path: payments.csv, follow: true }
    format: { csv: { account: u64, amount: f64, at: timestamp } }
    event-time: { column: at, out-of-orderness: 5s }
operators:
  memory:
    input: sales
    key-by: [key]
    plugin: PLUGINS/guest-every-state.wasm
    order: event-time
  rows:
    input: payments
    key-by: [account]
    order: event-time
    features:
      count_1m: { count: rows, over: 1m }
      spent_1h: { sum: amount, over: 1h }
      mean_3: { mean: amount, rows: 3 }
    plugin: PLUGINS/unusual.wasm
    config: { max-per-minute: 0 }
  tiles:
    input: payments
    key-by: [account]
    features:
      count_1m: { distinct: amount, over: 1m, granularity: 1s }
      spent_1h: { sum: amount, over: 1h, granularity: 10s }
      mean_3: { ewma: amount, rows: 3 }
    plugin: PLUGINS/unusual.wasm
    config: { max-per-minute: 0 }
sinks:
  out: { input: memory, file: { path: out.csv }, format: csv }
  table: { input: memory, sqlite: { path: out.db, table: memories } }
  rows-out: { input: rows, file: { path: rows.jsonl } }
  tiles-out: { input: tiles, file: { path: tiles.jsonl } }
";

/// A job's folder.
struct Place(tempfile::TempDir);

/// A job that runs, and is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    fn new(pipeline: &str, follow: bool) -> Self {
        let place = Self(tempfile::tempdir().expect("a folder for the test's files"));
        place.write_pipeline(pipeline, MEMORY, follow);
        place
    }

    fn write_pipeline(&self, pipeline: &str, state: &str, follow: bool) {
        let plugins = root().join("target/plugins");
        let plugins = plugins.to_str().expect("text");
        let mut text = pipeline.replace("PLUGINS", plugins) + state;
        if !follow {
            text = text.replace("follow: true", "follow: false");
        }
        fs::write(self.file("pipeline.yaml"), text).expect("writable");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, parallelism: u8) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.args(["run", "pipeline.yaml", "--parallelism"]);
        command.arg(parallelism.to_string());
        command.current_dir(self.0.path());
        command
    }

    /// Runs the job to its end.
    fn finish(&self, parallelism: u8) {
        let output = self.command(parallelism).output().expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// The whole lines of an output so far.
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(name)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    fn sorted(&self, name: &str) -> Vec<String> {
        let mut lines = self.lines(name);
        lines.sort();
        lines
    }

    /// Runs the job until it has brought out so many lines, then stops it.
    fn run_until(&self, parallelism: u8, lines: usize) {
        let mut command = self.command(parallelism);
        let child = command.stderr(Stdio::piped()).spawn();
        let mut running = Running(child.expect("wasmill starts"));
        while self.lines("out.csv").len() < lines {
            let ended = running.0.try_wait().expect("a child can be asked");
            assert_eq!(ended, None, "a job that follows its files has no end");
            std::thread::yield_now();
        }
        signal(&running.0, Signal::TERM);
        let ended = running.0.wait().expect("it ends");
        // A signal that comes while plugins are compiled ends a process that has done nothing yet;
        // a shell tells both ways as 143.
        let is_stopped = ended.code() == Some(143) || ended.signal() == Some(15);
        assert!(is_stopped, "as one that was stopped: {ended}");
    }

    /// Holds what came out against plain Rust.
    fn check_memory(&self, sales: &[Sale]) {
        let mut sales = sales.to_vec();
        sales.sort_by_key(|sale| sale.at);
        let expected = sales::lines(&sales, 0);
        let mut found = self.lines("out.csv");
        found.remove(0);
        found.sort();
        let differs = found.iter().zip(&expected).find(|(a, b)| a != b);
        assert_eq!(differs, None);
        assert_eq!(found.len(), expected.len());
        let database = rusqlite::Connection::open(self.file("out.db")).expect("a database");
        let count = database.query_row("select count(*) from memories", [], |row| row.get(0));
        assert_eq!(
            count,
            Ok(expected.len() as i64),
            "the table has each row once"
        );
    }
}

fn write_sales(place: &Place, sales: &[Sale]) {
    let rows = sales.iter().map(|sale| sale.csv() + "\n");
    let text = "key,shop,amount,at\n".to_owned() + &rows.collect::<String>();
    fs::write(place.file("sales.csv"), text).expect("writable");
}

/// Sales of a seed, each time once, so that the order of all of them is known.
fn some_sales(seed: u64, count: usize) -> Vec<Sale> {
    let mut times = BTreeSet::new();
    let is_new = |sale: &Sale| times.insert(sale.at);
    Sales::new(seed).filter(is_new).take(count).collect()
}

/// Payments of seven accounts, in blocks of five, each turned round.
fn write_payments(place: &Place, count: usize) {
    let mut text = String::from("account,amount,at\n");
    for i in 0..count {
        let at = sales::time((i / 5 * 5 + 4 - i % 5) as i64 * sales::SECOND);
        writeln!(text, "{},{},{at}", i * 31 % 7, i * 7_919 % 1_000).expect("memory");
    }
    fs::write(place.file("payments.csv"), text).expect("writable");
}

/// How many rows are sure to come out while the file may still grow.
fn released(sales: &[Sale]) -> usize {
    let newest = sales.iter().map(|sale| sale.at).max().unwrap_or(0);
    let due = |sale: &&Sale| sale.at < newest - OUT_OF_ORDERNESS;
    sales.iter().filter(due).count()
}

/// Goes the walk, each step with the next of some kinds of state.
fn walk(states: &[&str]) {
    let all = some_sales(11, STEP * WALK.len());
    let place = Place::new(PIPELINE, true);
    for (step, parallelism) in WALK.into_iter().enumerate() {
        let (rows, is_last) = (STEP * (step + 1), step + 1 == WALK.len());
        write_sales(&place, &all[..rows]);
        write_payments(&place, rows);
        place.write_pipeline(PIPELINE, states[step % states.len()], !is_last);
        if is_last {
            place.finish(parallelism);
        } else {
            // The header is a line, too.
            place.run_until(parallelism, released(&all[..rows]) + 1);
        }
    }
    place.check_memory(&all);
    let whole = Place::new(PIPELINE, false);
    write_sales(&whole, &all);
    write_payments(&whole, all.len());
    whole.finish(1);
    for output in ["rows.jsonl", "tiles.jsonl"] {
        assert!(place.lines(output).len() == all.len(), "{output}");
        assert_eq!(place.sorted(output), whole.sorted(output), "{output}");
    }
}

/// The walk is what it says: a pair that it left out would never be tried.
#[test]
fn the_walk_has_every_pair() {
    let steps: BTreeSet<(u8, u8)> = WALK.windows(2).map(|step| (step[0], step[1])).collect();
    let all = [1, 2, 4, 8];
    let pairs = all.iter().flat_map(|from| all.map(|to| (*from, to)));
    assert_eq!(steps, pairs.collect());
}

#[test]
fn every_parallelism_goes_on_behind_every_other() {
    walk(&[MEMORY]);
}

/// The walk has each step from one parallelism to another once: here half of them lead from memory
/// to a disk, and half of them back.
#[test]
fn either_kind_of_state_goes_on_behind_the_other() {
    let spilling = Place::new(PIPELINE, false);
    spilling.write_pipeline(PIPELINE, SPILLING, false);
    let all = some_sales(11, STEP * 2);
    write_sales(&spilling, &all);
    write_payments(&spilling, all.len());
    for point in ["keys-left", "keys-fetched"] {
        let mut command = spilling.command(1);
        assert!(
            reaches(&mut command, point, 2),
            "it keeps all keys: {point}"
        );
    }
    walk(&[MEMORY, SPILLING]);
}

/// The other half: now each step has led both ways.
#[test]
fn the_other_kind_of_state_goes_on_behind_the_one() {
    walk(&[SPILLING, MEMORY]);
}

#[test]
fn every_parallelism_goes_on_behind_every_other_on_disk() {
    walk(&[SPILLING]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(fs::copy(&from, &to).expect("writable")),
        }
    }
}

/// Each folder of `tests/fixtures` holds a job that was stopped in the middle by the wasmill of its
/// time, and the input with what has come since. Nobody changes them: a format that is on a user's
/// disk is read for ever.
#[test]
fn every_format_that_stood_on_main_restores() {
    let frozen = root().join("tests/fixtures");
    let mut count = 0;
    for entry in fs::read_dir(frozen).expect("fixtures") {
        let fixture = entry.expect("an entry").path();
        let name = fixture.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| name.starts_with("checkpoint-")) {
            continue;
        }
        let pipeline = fs::read_to_string(fixture.join("pipeline.yaml")).expect("a pipeline");
        let sales = some_sales(9, 400);
        let whole = Place::new(&pipeline, false);
        for input in ["sales.csv", "payments.csv"] {
            fs::copy(fixture.join(input), whole.file(input)).expect("writable");
        }
        whole.finish(1);
        whole.check_memory(&sales);
        for (parallelism, state) in [(1, MEMORY), (2, SPILLING), (5, MEMORY)] {
            let place = Place(tempfile::tempdir().expect("a folder"));
            copy(&fixture, place.0.path());
            let before = place.lines("out.csv");
            let rows = before.len() - 1;
            assert!((1..400).contains(&rows), "it was stopped in the middle");
            place.write_pipeline(&pipeline, state, false);
            place.finish(parallelism);
            assert!(place.lines("out.csv").starts_with(&before));
            place.check_memory(&sales);
            let alerts = place.sorted("alerts.jsonl");
            assert_eq!(alerts, whole.sorted("alerts.jsonl"));
        }
        count += 1;
    }
    assert!(count > 0, "there is no fixture");
}
