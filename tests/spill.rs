//! State that is larger than its memory, from outside: jobs whose keys hardly ever are all in
//! memory, ended by `kill -9`, with one backend and then the other, at one parallelism and then
//! another, bring out what plain Rust finds.
#![allow(
    clippy::print_stdout,
    reason = "which seed it was, for whoever repeats a failure"
)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use wasmill_tests::Random;
use wasmill_tests::kill::Kills;
use wasmill_tests::sales::{self, Sale, Sales};
use wasmill_tests::{programs, root};

/// Starts that are ended by force.
const KILLS: usize = 8;
/// So little memory that most keys are on disk, whichever job it is.
const SPILLING: &str = "{ backend: rocksdb, cache: 64KiB, directory: spill }";

/// A folder with a job and its input.
struct Bench {
    folder: tempfile::TempDir,
    /// The document, but for its name and what stands before the sources.
    document: String,
    /// The file that comes out.
    out: &'static str,
}

impl Bench {
    fn new(document: String, out: &'static str, inputs: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        for (name, text) in inputs {
            fs::write(folder.path().join(name), text).expect("the folder is writable");
        }
        Self {
            folder,
            document,
            out,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The job with a kind of state.
    fn command(&self, state: &str, parallelism: u64, has_checkpoints: bool) -> Command {
        let checkpoint = match has_checkpoints {
            true => "checkpoint: { interval: 30ms, storage: checkpoints }\n",
            false => "checkpoint: off\n",
        };
        let head = format!("name: spill\nstate: {state}\n{checkpoint}");
        fs::write(self.path("pipeline.yaml"), head + &self.document).expect("writable");
        let mut command = Command::new(programs().join("wasmill"));
        command.args(["run", "pipeline.yaml", "--parallelism"]);
        command.arg(parallelism.to_string());
        command.current_dir(self.folder.path());
        command
    }

    /// Lets a process come to its end; gives its number.
    fn finish(&self, mut command: Command) -> u32 {
        command.stderr(Stdio::piped()).stdout(Stdio::null());
        let child = command.spawn().expect("wasmill starts");
        let process = child.id();
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        process
    }

    /// What came out, sorted.
    fn found(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path(self.out)).expect("the job wrote its file");
        let head = usize::from(self.out.ends_with(".csv"));
        let mut lines: Vec<String> = text.lines().skip(head).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn check(&self, expected: &[String], how: &str) {
        let found = self.found();
        let mut pairs = found.iter().zip(expected);
        let differs = pairs.find(|(found, expected)| found != expected);
        assert_eq!(differs, None, "{how}");
        assert_eq!(found.len(), expected.len(), "{how}");
    }

    /// What `memory` brings out without any disturbance, which other tests compare with plain Rust.
    fn undisturbed(&self) -> Vec<String> {
        self.finish(self.command("{ backend: memory }", 1, false));
        let found = self.found();
        fs::remove_file(self.path(self.out)).expect("it is there");
        found
    }

    /// Whole runs, and then one that is killed again and again.
    fn survives(&self, expected: &[String], seed: u64) {
        for parallelism in [1, 2, 4] {
            self.finish(self.command(SPILLING, parallelism, false));
            self.check(expected, &format!("parallelism {parallelism}"));
            fs::remove_file(self.path(self.out)).expect("it is there");
        }
        let mut random = Random(seed);
        let mut kills = Kills::default();
        for number in 0..KILLS {
            let state = ["{ backend: memory }", SPILLING, SPILLING][number % 3];
            let parallelism = [1, 2, 4][random.below(3) as usize];
            let mut command = self.command(state, parallelism, true);
            kills.kill(&mut command, random.below(1_000));
        }
        let killed = kills.number();
        println!("{}, seed {seed}: {killed} kills", self.out);
        assert!(killed > 0, "the job is slower than the first kill");
        self.finish(self.command(SPILLING, 2, true));
        self.check(expected, "after kills");
        // A process may end before its own folder is gone: that is the next one's to remove.
        let last = self.finish(self.command(SPILLING, 1, false));
        let own = format!(".{last}.");
        for left in fs::read_dir(self.path("spill")).expect("the folder of the disk") {
            let name = left.expect("it can be listed").file_name();
            let name = name.to_string_lossy();
            assert!(
                name == ".lock" || name.contains(&own),
                "what dead processes left is removed: {name}"
            );
        }
    }
}

/// Values, lists, both kinds of maps and timers.
#[test]
fn every_kind_of_state_and_timers_leave_memory() {
    let sales: Vec<Sale> = Sales::new(11).of(600).take(60_000).collect();
    let mut text = String::from("key,shop,amount,at\n");
    for sale in &sales {
        writeln!(text, "{}", sale.csv()).expect("memory");
    }
    let plugin = root().join("target/plugins/guest-every-state.wasm");
    let document = format!(
        "sources:
  sales:
    file: {{ path: sales.csv }}
    format: {{ csv: {{ key: u64, shop: string, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 2s }}
operators:
  memory: {{ input: sales, key-by: [key], plugin: {}, order: arrival }}
sinks:
  out: {{ input: memory, file: {{ path: out.csv }}, format: csv }}
",
        plugin.display()
    );
    let bench = Bench::new(document, "out.csv", &[("sales.csv", text)]);
    bench.survives(&sales::lines(&sales, 2_000_000), 11);
}

/// What features remember, with windows of time and of rows.
#[test]
fn features_leave_memory() {
    let mut random = Random(12);
    let mut text = String::from("account,amount,at\n");
    for second in 0..60_000_u64 {
        let (account, amount) = (random.below(3_000), random.below(1_000));
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        let at = format!("2026-03-01T{hour:02}:{minute:02}:{:02}Z", second % 60);
        writeln!(text, "{account},{amount},{at}").expect("memory");
    }
    let plugin = root().join("target/plugins/unusual.wasm");
    let document = format!(
        "sources:
  payments:
    file: {{ path: payments.csv }}
    format: {{ csv: {{ account: u64, amount: f64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 5s }}
operators:
  unusual:
    input: payments
    key-by: [account]
    order: event-time
    features:
      count_1m: {{ count: rows, over: 1h }}
      spent_1h: {{ sum: amount, over: 1h }}
      mean_3: {{ mean: amount, rows: 3 }}
    plugin: {}
    config: {{ max-per-minute: 0 }}
sinks:
  out: {{ input: unusual, file: {{ path: out.jsonl }}, format: json }}
",
        plugin.display()
    );
    let bench = Bench::new(document, "out.jsonl", &[("payments.csv", text)]);
    let expected = bench.undisturbed();
    assert_eq!(expected.len(), 60_000);
    bench.survives(&expected, 12);
}

/// State with a time to live: a day, after which a key is new again.
#[test]
fn what_has_expired_does_not_come_back() {
    const PERIODS: u64 = 6;
    const ROWS: u64 = 50_000;
    let mut random = Random(13);
    let mut text = String::from("id,body,at\n");
    let (mut expected, mut seen) = (Vec::new(), BTreeSet::new());
    for number in 0..PERIODS * ROWS {
        // Every third day: what came the time before has expired, by far.
        let period = number / ROWS;
        let (day, second) = (period * 3 + 1, number % ROWS);
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        // A time to live is judged once a call, so no call may have a key of two periods: half of
        // the keys come in the first half of each, the others in the second.
        let id = random.below(2_000) + second / (ROWS / 2) * 2_000;
        let at = format!("2026-03-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60);
        writeln!(text, "k{id},{number},{at}").expect("memory");
        if seen.insert((period, id)) {
            expected.push(format!("k{id},{number}"));
        }
    }
    expected.sort();
    let plugin = root().join("target/plugins/dedup.wasm");
    let document = format!(
        "sources:
  messages:
    file: {{ path: messages.csv }}
    format: {{ csv: {{ id: string, body: string, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 5s }}
operators:
  dedup: {{ input: messages, key-by: [id], plugin: {}, batch: {{ rows-max: 500 }} }}
sinks:
  out: {{ input: dedup, file: {{ path: out.csv }}, format: csv }}
  again: {{ input: dedup.duplicates, discard: {{}} }}
",
        plugin.display()
    );
    let bench = Bench::new(document, "out.csv", &[("messages.csv", text)]);
    bench.survives(&expected, 13);
}
