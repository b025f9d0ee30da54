//! A folder with jobs, and the real program in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value as Json;
use wasmill_tests::{programs, root};

/// Accounts of the generated payments.
pub(crate) const ACCOUNTS: u64 = 50;
/// Looks after which a job that has not come so far never will.
const LOOKS_MAX: usize = 10_000;

/// A folder for a test's files, with a folder of sockets of its own.
pub(crate) struct Bench(tempfile::TempDir);

/// A job, killed with the test if it has not ended.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Waits for its end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.0.wait().expect("a child can be waited for")
    }

    /// Ends it by force.
    pub(crate) fn kill(mut self) {
        self.0.kill().expect("a child can be killed");
        self.0.wait().expect("a killed child ends");
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test's files"))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The folder in which jobs have their sockets.
    pub(crate) fn sockets(&self) -> PathBuf {
        self.file("run/wasmill")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("the folder is writable");
    }

    /// Payments that are counted by account: `records` of them, so many a second.
    pub(crate) fn totals(&self, name: &str, records: u64, rate: u64) {
        let plugin = root().join("target/plugins/count-by-key.wasm");
        let plugin = plugin.display();
        let document = format!(
            "name: {name}\n\
             checkpoint: {{ interval: 100ms, storage: checkpoints-{name} }}\n\
             sources:\n  payments:\n    generator:\n      records: {records}\n      rate: {rate}\n\
             \x20     columns:\n        account: {{ mod: {ACCOUNTS} }}\n\
             \x20       amount: {{ sequence: true, type: f64 }}\n\
             operators:\n  totals: {{ input: payments, key-by: [account], plugin: {plugin} }}\n\
             sinks:\n  out: {{ input: totals, file: {{ path: {name}.jsonl }} }}\n"
        );
        self.write(&format!("{name}.yaml"), &document);
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.args(args).current_dir(self.0.path());
        command.env("XDG_RUNTIME_DIR", self.file("run"));
        command.env("XDG_DATA_HOME", self.file("data"));
        command.env_remove("WASMILL_LOG");
        command
    }

    /// Starts a job; what it says is written into files beside its output.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let said = fs::File::create(self.file("said.txt")).expect("the folder is writable");
        let mut command = self.command(&[&["run"], args].concat());
        command.stdout(Stdio::null()).stderr(said);
        Running(command.spawn().expect("wasmill starts"))
    }

    /// What jobs have said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.file("said.txt")).unwrap_or_default()
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("wasmill starts")
    }

    /// What a command answers.
    pub(crate) fn ask(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{args:?}: {complaint}{}",
            self.said()
        );
        String::from_utf8(output.stdout).expect("answers are text")
    }

    /// Why a command does not do what it is asked.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(!output.status.success(), "{args:?} is refused");
        String::from_utf8(output.stderr).expect("complaints are text")
    }

    /// A command's answer as JSON, an object a line.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Json> {
        let text = self.ask(args);
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("JSON lines")
    }

    /// How a job does, once it is as far as is wanted.
    pub(crate) fn until(&self, job: &str, is_enough: impl Fn(&Json) -> bool) -> Json {
        let mut complaint = String::new();
        for _ in 0..LOOKS_MAX {
            let output = self.output(&["status", job, "--json"]);
            let status = serde_json::from_slice::<Json>(&output.stdout);
            if let Ok(status) = status
                && is_enough(&status)
            {
                return status;
            }
            complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        panic!("`{job}` does not come so far: {complaint}{}", self.said());
    }

    /// Lets a job read so many rows at least.
    pub(crate) fn until_read(&self, job: &str, rows: u64) -> Json {
        self.until(job, |status| status["records_in"].as_u64() >= Some(rows))
    }

    /// How often each line stands in an output.
    pub(crate) fn lines(&self, name: &str) -> BTreeMap<String, usize> {
        let text = fs::read_to_string(self.file(name)).expect("the output");
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            *counts.entry(line.to_owned()).or_insert(0) += 1;
        }
        counts
    }

    /// The single source's position at a checkpoint, in rows.
    pub(crate) fn rows_at(&self, place: &str) -> u64 {
        let entry = fs::read_to_string(place).expect("the manifest lies where it was said to lie");
        let line = entry.lines().next().expect("a line of JSON");
        let manifest: Json = serde_json::from_str(line).expect("JSON");
        let splits = &manifest["body"]["sources"]["payments"]["splits"];
        let splits = splits.as_object().expect("splits by name").values();
        let rows = splits.map(|split| split["position"]["rows"].as_u64());
        rows.sum::<Option<u64>>().expect("rows are numbers")
    }
}

/// What plain Rust finds in the payments from `first` on, where all before them count too.
pub(crate) fn totals(first: u64, records: u64) -> BTreeMap<String, usize> {
    let mut tallies = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for row in 0..records {
        let account = row % ACCOUNTS;
        let (count, sum) = tallies.entry(account).or_insert((0u64, 0u64));
        *count += 1;
        *sum += row;
        if row >= first {
            let line = format!("{{\"account\":{account},\"count\":{count},\"sum\":{sum}.0}}");
            *lines.entry(line).or_insert(0) += 1;
        }
    }
    lines
}

/// The words behind `lies in`: where a savepoint was said to lie.
pub(crate) fn place(said: &str) -> String {
    let (_, place) = said.split_once("lies in ").expect("it says where");
    place.trim().to_owned()
}

/// The number of the savepoint that an answer is about.
pub(crate) fn number(said: &str) -> String {
    let mut words = said
        .split_whitespace()
        .skip_while(|word| *word != "savepoint");
    words.nth(1).expect("it has a number").to_owned()
}
