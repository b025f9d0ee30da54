//! A ledger's job, and what plain Rust remembers of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value as Json;
use wasmill_tests::{Signal, programs, root, signal};

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const DAY: i64 = 24 * 60 * 60 * SECOND;

/// A row of the input; times are microseconds of one day.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) account: u64,
    pub(crate) shop: u16,
    pub(crate) amount: i64,
    pub(crate) at: i64,
}

/// Numbers that a seed decides (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

pub(crate) fn entries(seed: u64, count: usize) -> Vec<Entry> {
    let mut random = Random(seed);
    let entry = |second| Entry {
        account: random.below(200),
        shop: random.below(12) as u16,
        amount: random.below(100) as i64 - 20,
        at: second * SECOND,
    };
    (0..count as i64).map(entry).collect()
}

/// What version 1 remembers of an account.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) total: i64,
    pub(crate) recent: Vec<u32>,
    pub(crate) shops: BTreeMap<u16, u32>,
    pub(crate) seen: i64,
}

pub(crate) fn remembered(entries: &[Entry]) -> BTreeMap<u64, Memory> {
    let mut accounts: BTreeMap<u64, Memory> = BTreeMap::new();
    for entry in entries {
        let memory = accounts.entry(entry.account).or_default();
        memory.total += entry.amount;
        memory.recent.push(entry.amount.unsigned_abs() as u32);
        if memory.recent.len() > 3 {
            memory.recent.remove(0);
        }
        *memory.shops.entry(entry.shop).or_default() += 1;
        memory.seen = entry.at;
    }
    accounts
}

/// As the engine writes times.
pub(crate) fn time(us: i64) -> String {
    let (day, us) = (us / DAY, us % DAY);
    let (seconds, us) = (us / SECOND, us % SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let day = day + 1;
    format!("2026-03-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{us:06}Z")
}

/// As `state get` writes times of whole seconds.
pub(crate) fn short(us: i64) -> String {
    time(us).replace(".000000", "")
}

/// A folder with a job and its checkpoints.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    /// The job's name.
    name: &'static str,
    /// Where the checkpoints are.
    storage: String,
    /// From one checkpoint to the next.
    interval: &'static str,
    /// Variables of each command.
    environment: Vec<(&'static str, String)>,
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for the test's files"),
            name: "books",
            storage: "checkpoints".into(),
            interval: "20ms",
            environment: Vec::new(),
        }
    }

    /// A job that takes checkpoints only when it is told to, and can be told so by nobody else.
    pub(crate) fn told() -> Self {
        let mut bench = Self::new();
        bench.interval = "1h";
        let sockets = bench.path("run").display().to_string();
        bench.environment.push(("XDG_RUNTIME_DIR", sockets));
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes it the folder of a job of another name, with checkpoints and output of its own.
    pub(crate) fn rename(&mut self, name: &'static str) {
        self.name = name;
        self.storage = name.into();
    }

    /// Writes the pipeline with a version of the ledger, which waits for more rows or not.
    pub(crate) fn pipeline(&self, version: u32, follow: bool) {
        let plugins = root().join("target/plugins");
        let text = format!(
            "name: {}
checkpoint: {{ interval: {}, storage: '{}' }}
sources:
  entries:
    file: {{ path: entries.csv, follow: {follow} }}
    format: {{ csv: {{ account: u64, shop: u16, amount: i64, at: timestamp }} }}
    event-time: {{ column: at }}
operators:
  ledger:
    input: entries
    key-by: [account]
    features: {{ spent-1h: {{ sum: amount, over: 1h }} }}
    plugin: {}/guest-ledger-{version}.wasm
sinks:
  out: {{ input: ledger, file: {{ path: {}.jsonl }}, format: json }}
",
            self.name,
            self.interval,
            self.storage,
            plugins.display(),
            self.name
        );
        fs::write(self.path("pipeline.yaml"), text).expect("the folder is writable");
    }

    /// The input so far.
    pub(crate) fn write(&self, entries: &[Entry]) {
        let mut text = String::from("account,shop,amount,at\n");
        for entry in entries {
            let Entry {
                account,
                shop,
                amount,
                at,
            } = *entry;
            writeln!(text, "{account},{shop},{amount},{}", time(at)).expect("memory");
        }
        fs::write(self.path("entries.csv"), text).expect("the folder is writable");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.args(arguments).current_dir(self.folder.path());
        command.envs(self.environment.iter().cloned());
        command.env_remove("WASMILL_LOG").stdin(Stdio::null());
        command
    }

    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().expect("wasmill starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// What a command says that must succeed.
    #[track_caller]
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments);
        assert_eq!(
            said.code,
            Some(0),
            "{arguments:?}: {}{}",
            said.out,
            said.err
        );
        said.out
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        let text = self.ask(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// The answer to a question in SQL, as JSON lines.
    #[track_caller]
    pub(crate) fn answer(&self, question: &str) -> String {
        self.ask(&[
            "state",
            "sql",
            "pipeline.yaml",
            question,
            "--format",
            "json",
        ])
    }

    /// Runs the job until a decided checkpoint has seen all of the input, then stops it.
    pub(crate) fn run_until_read(&self, arguments: &[&str]) {
        let mut command = self.command(&["run", "pipeline.yaml"]);
        command.args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().expect("wasmill starts");
        let bytes = fs::metadata(self.path("entries.csv"))
            .expect("it is there")
            .len();
        while !self.has_read(bytes) {
            let ended = running.try_wait().expect("a child can be asked");
            assert_eq!(ended, None, "the job waits for more rows");
            thread::yield_now();
        }
        stop(&mut running);
    }

    /// Runs the job until it has read all of its input, then ends it by a command, which succeeds.
    pub(crate) fn run_and(&self, parallelism: &str, end: &[&str]) {
        let mut command = self.command(&["run", "pipeline.yaml", "--parallelism", parallelism]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running(command.spawn().expect("wasmill starts"));
        let is_read = || {
            let said = self.say(&["status", "pipeline.yaml", "--json"]);
            let status: Json = serde_json::from_str(&said.out).unwrap_or_default();
            status["sources"][0]["bytes_left"] == 0
        };
        while !is_read() {
            let ended = running.0.try_wait().expect("a child can be asked");
            assert_eq!(ended, None, "the job waits for more rows");
        }
        self.ask(end);
        assert!(running.0.wait().expect("it ends").success());
    }

    /// Whether the newest checkpoint stands at this place of the input.
    fn has_read(&self, bytes: u64) -> bool {
        let said = self.say(&["checkpoint", "show", "pipeline.yaml", "--json"]);
        if said.code != Some(0) {
            return false;
        }
        let manifest: Json = serde_json::from_str(&said.out).expect("a manifest");
        let splits = manifest["sources"]["entries"]["splits"].as_object();
        let mut positions = splits.into_iter().flat_map(|splits| splits.values());
        positions.any(|split| split["position"].to_string().contains(&bytes.to_string()))
    }

    /// Every file of the checkpoints with its bytes.
    pub(crate) fn stored(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path("checkpoints")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(files.insert(path.clone(), fs::read(path).expect("a file"))),
                }
            }
        }
        files
    }

    /// The rows of a table of the ledger, as JSON.
    #[track_caller]
    pub(crate) fn export(&self, job: &[&str], state: &str) -> Vec<Json> {
        let choice = ["ledger", "--state", state];
        let text = self.ask(&[&["state", "export"], job, &choice].concat());
        let row = |line: &str| serde_json::from_str(line).expect("a row");
        text.lines().map(row).collect()
    }
}

/// A job that runs, killed with the test if it has not ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stop(running: &mut Child) {
    signal(running, Signal::TERM);
    let ended = running.wait().expect("it ends");
    assert_eq!(ended.code(), Some(143), "as one that was stopped");
}

/// A job of version 1 that has been stopped behind its input.
pub(crate) fn stopped(entries: &[Entry], parallelism: &str) -> Bench {
    stopped_at((entries, parallelism), "checkpoints", Vec::new())
}

/// The same with its checkpoints elsewhere, and variables for each command.
pub(crate) fn stopped_at(
    (entries, parallelism): (&[Entry], &str),
    storage: &str,
    environment: Vec<(&'static str, String)>,
) -> Bench {
    let bench = Bench {
        storage: storage.into(),
        environment,
        ..Bench::new()
    };
    bench.write(entries);
    bench.pipeline(1, true);
    bench.run_until_read(&["--parallelism", parallelism]);
    bench
}
