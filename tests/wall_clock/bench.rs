//! A job that follows a file, what it is given, and what it brings out.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;
use wasmill_tests::{Signal, programs, root, signal};

/// What takes longer hangs.
const HANGS: Duration = Duration::from_secs(120);

/// A row that the job is given.
#[derive(Clone, Copy)]
pub(crate) struct Given {
    pub(crate) key: u64,
    pub(crate) wall_in_ms: u64,
    pub(crate) event_in_ms: u64,
}

/// A row that comes out: see the guest. Times are microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) key: u64,
    pub(crate) number: u64,
    pub(crate) cause: String,
    pub(crate) at: i64,
    pub(crate) now: i64,
    pub(crate) clock: i64,
    pub(crate) by_wall: u64,
    pub(crate) by_event: u64,
}

impl Seen {
    fn parse(line: &str) -> Self {
        let row: Json = serde_json::from_str(line).expect("a row is JSON");
        let whole = |name: &str| row[name].as_u64().expect("a whole number");
        let time = |name: &str| row[name].as_i64().expect("a time");
        Self {
            key: whole("key"),
            number: whole("number"),
            cause: row["cause"].as_str().expect("text").to_owned(),
            at: time("at"),
            now: time("now"),
            clock: time("clock"),
            by_wall: whole("by_wall"),
            by_event: whole("by_event"),
        }
    }
}

/// A process with the job, ended with the test.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// As `kill -9` ends it.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }

    /// Ends it with a last checkpoint.
    pub(crate) fn stop(&mut self) {
        signal(&self.0, Signal::TERM);
        let ended = self.0.wait().expect("it ends");
        // A shell tells both ways as 143.
        let is_stopped = ended.code() == Some(143) || ended.signal() == Some(15);
        assert!(is_stopped, "as one that was stopped: {ended}");
    }
}

/// The job's folder.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    state: &'static str,
    /// All that was given: the row of number n at n - 1.
    pub(crate) given: Vec<Given>,
    /// All that has come out, in its order.
    pub(crate) seen: Vec<Seen>,
    /// Bytes of the output that were read.
    read: u64,
    keys: u64,
}

impl Bench {
    pub(crate) fn new(state: &'static str) -> Self {
        let bench = Self {
            folder: tempfile::tempdir().expect("a folder for the test's files"),
            state,
            given: Vec::new(),
            seen: Vec::new(),
            read: 0,
            keys: 0,
        };
        bench.write_pipeline(true);
        let head = "key,number,wall_in,event_in,at\n";
        fs::write(bench.file("in.csv"), head).expect("the folder is writable");
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_pipeline(&self, follow: bool) {
        let plugin = root().join("target/plugins/guest-wall-clock.wasm");
        let (state, plugin) = (self.state, plugin.display());
        let text = format!(
            "name: wall
state: {state}
checkpoint: {{ interval: 50ms, storage: checkpoints }}
sources:
  orders:
    file: {{ path: in.csv, follow: {follow} }}
    format: {{ csv: {{ key: u64, number: u64, wall_in: u64, event_in: u64, at: timestamp }} }}
    event-time: {{ column: at }}
operators:
  wall: {{ input: orders, key-by: [key], plugin: {plugin} }}
sinks:
  out: {{ input: wall, file: {{ path: out.jsonl }} }}
"
        );
        fs::write(self.file("pipeline.yaml"), text).expect("the folder is writable");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.args(["run", "pipeline.yaml", "--parallelism", "2"]);
        let mut append = OpenOptions::new();
        let said = append.create(true).append(true).open(self.file("said"));
        command.stderr(said.expect("the folder is writable"));
        command.stdout(Stdio::null());
        command.current_dir(self.folder.path());
        command
    }

    pub(crate) fn start(&self) -> Running {
        Running(self.command().spawn().expect("wasmill starts"))
    }

    /// Runs the job to the end of its input.
    pub(crate) fn finish(&mut self) {
        let ended = self.command().status().expect("wasmill starts");
        assert!(ended.success(), "{}", self.said());
        self.look();
    }

    /// Starts the job so that it dies at a crash point; gives how it ended, if it did before
    /// something else was so.
    pub(crate) fn dies_at(
        &mut self,
        point: &str,
        is_otherwise: impl Fn(&Self) -> bool,
    ) -> Option<ExitStatus> {
        let mut command = self.command();
        command.env("WASMILL_CRASH_AT", format!("{point}:1"));
        let mut running = Running(command.spawn().expect("wasmill starts"));
        while !is_otherwise(self) {
            let ended = running.0.try_wait().expect("a child can be asked");
            if ended.is_some() {
                self.look();
                return ended;
            }
            self.look();
            std::thread::yield_now();
        }
        None
    }

    fn said(&self) -> String {
        fs::read_to_string(self.file("said")).unwrap_or_default()
    }

    /// Keys that nobody has used yet.
    pub(crate) fn new_keys(&mut self, count: u64) -> Range<u64> {
        let first = self.keys + 1;
        self.keys += count;
        first..first + count
    }

    /// Appends rows to the input; gives their numbers.
    pub(crate) fn give(&mut self, rows: &[Given], at: &str) -> Range<u64> {
        let first = self.given.len() as u64 + 1;
        let mut text = String::new();
        for (number, row) in (first..).zip(rows) {
            let (key, wall, event) = (row.key, row.wall_in_ms, row.event_in_ms);
            writeln!(text, "{key},{number},{wall},{event},{at}").expect("memory");
        }
        let input = OpenOptions::new().append(true).open(self.file("in.csv"));
        let written = input.and_then(|mut input| input.write_all(text.as_bytes()));
        written.expect("the input is writable");
        self.given.extend(rows);
        first..first + rows.len() as u64
    }

    /// Reads what has come out since, in whole lines.
    pub(crate) fn look(&mut self) {
        let Ok(mut file) = File::open(self.file("out.jsonl")) else {
            return;
        };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read)).expect("a file");
        file.read_to_string(&mut text).expect("rows are text");
        let end = text.rfind('\n').map_or(0, |end| end + 1);
        self.seen.extend(text[..end].lines().map(Seen::parse));
        self.read += end as u64;
    }

    /// Waits until something is so of what has come out, while the job runs.
    pub(crate) fn until(&mut self, job: &mut Running, is_so: impl Fn(&Self) -> bool) {
        let guard = Guard::new();
        loop {
            self.look();
            if is_so(self) {
                return;
            }
            let ended = job.0.try_wait().expect("a child can be asked");
            assert_eq!(ended, None, "it follows its file: {}", self.said());
            guard.check(|| format!("{:?}; {}", self.seen.last(), self.said()));
            std::thread::yield_now();
        }
    }

    /// Rows that came out of some, by their numbers.
    pub(crate) fn rows(&self, numbers: &Range<u64>) -> impl Iterator<Item = &Seen> {
        let seen = self.seen.iter().rev();
        seen.filter(|seen| numbers.contains(&seen.number))
    }

    /// Timers that fired for some keys.
    pub(crate) fn fired(&self, cause: &str, keys: &Range<u64>) -> usize {
        let seen = self.seen.iter();
        let fired = seen.filter(|seen| seen.cause == cause && keys.contains(&seen.key));
        fired.count()
    }
}

/// Against hanging: no outcome depends on it.
struct Guard(Instant);

impl Guard {
    #[expect(
        clippy::disallowed_methods,
        reason = "a guard against hanging, which no outcome depends on"
    )]
    fn new() -> Self {
        Self(Instant::now())
    }

    fn check(&self, state: impl Fn() -> String) {
        assert!(
            self.0.elapsed() < HANGS,
            "it does not come so far: {}",
            state()
        );
    }
}

/// Waits until the clock on the wall, which the job reads as well, has passed a time.
pub(crate) fn until_passed(us: i64) {
    while wall_us() <= us {
        std::thread::yield_now();
    }
}

/// Microseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock on the wall is what is tested: the job sets its timers by the same"
)]
fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is after 1970").as_micros() as i64
}
