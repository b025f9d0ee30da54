//! Files that grow, from outside: a split without rows holds the others back until `idle-after`,
//! and a signal ends the job with everything written.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use wasmill_tests::{Signal, programs, root, signal};

/// A run that takes longer hangs.
const HANGS: Duration = Duration::from_secs(60);

/// Of the window that only the end of the job closes.
const CLOSES_LAST: &str = "\"start\":\"2026-01-01T00:02:30.000000Z\"";

/// A job that follows files, and ends with the test.
struct Running {
    child: Child,
    folder: TempDir,
    start: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Counts the rows of each page over ten seconds, in files that are there.
    fn start(folder: TempDir) -> Self {
        let plugin = root().join("target/plugins/tumbling-count.wasm");
        let pipeline = format!(
            "name: idle
checkpoint: off
sources:
  clicks:
    file: {{ path: 'in-*.csv', follow: true }}
    format: {{ csv: {{ page: string, at: timestamp }} }}
    event-time: {{ column: at, idle-after: 1s }}
operators:
  counts:
    input: clicks
    key-by: [page]
    plugin: {}
    config: {{ size: 10s }}
    on-error: skip
sinks:
  out: {{ input: counts, file: {{ path: out.jsonl }}, format: json, delivery: at-least-once }}
",
            plugin.display()
        );
        fs::write(folder.path().join("pipeline.yaml"), pipeline).expect("writable");
        let child = Command::new(programs().join("wasmill"))
            .args(["run", "pipeline.yaml", "--storage", "checkpoints"])
            .args(["--summary-file", "summary.json"])
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .expect("wasmill starts");
        #[expect(
            clippy::disallowed_methods,
            reason = "a guard against hanging, which no outcome depends on"
        )]
        let start = Instant::now();
        Self {
            child,
            folder,
            start,
        }
    }

    fn rows(&self) -> String {
        fs::read_to_string(self.folder.path().join("out.jsonl")).unwrap_or_default()
    }

    /// Waits until the rows are as they should be.
    fn wait(&mut self, is_there: impl Fn(&str) -> bool) {
        self.wait_and(is_there, || {});
    }

    /// The same, doing something meanwhile.
    fn wait_and(&mut self, is_there: impl Fn(&str) -> bool, mut meanwhile: impl FnMut()) {
        while !is_there(&self.rows()) {
            meanwhile();
            assert!(self.start.elapsed() < HANGS, "hangs: {}", self.rows());
            let ended = self.child.try_wait().expect("the child is ours");
            assert_eq!(ended, None, "the job follows its files: {}", self.rows());
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_split_that_pauses_holds_nobody_back_for_long() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let file = |name: &str| folder.path().join(name);
    // One split has come to second 1 and pauses there, the other is far ahead.
    fs::write(file("in-a.csv"), "page,at\na,2026-01-01T00:00:01Z\n").expect("writable");
    let mut ahead = File::create(file("in-b.csv")).expect("writable");
    writeln!(
        ahead,
        "page,at\nb,2026-01-01T00:00:02Z\nb,2026-01-01T00:01:00Z"
    )
    .expect("writable");
    let mut paused = File::options().append(true).open(file("in-a.csv"));
    let paused = paused.as_mut().expect("it is there");
    let mut running = Running::start(folder);
    running.wait(|rows| rows.contains("\"b\"") && rows.contains("\"a\""));
    // It goes on without the split that pauses.
    writeln!(ahead, "b,2026-01-01T00:01:30Z").expect("writable");
    running.wait(|rows| rows.lines().count() >= 3);
    // Its next row is in time for its own split, and too late for what the others were told; the
    // window of the one behind that shows that it was read.
    let mut write = |time: &str| writeln!(paused, "a,2026-01-01T{time}Z").expect("writable");
    ["00:00:05", "00:02:00", "00:02:30"]
        .into_iter()
        .for_each(&mut write);
    let read = "{\"page\":\"a\",\"start\":\"2026-01-01T00:02:00.000000Z\"";
    // It does not pause before the other one has: while both do, event time stands still.
    running.wait_and(|rows| rows.contains(read), || write("00:02:30"));
    signal(&running.child, Signal::TERM);
    let ended = running.child.wait().expect("the child is ours");
    let rows = running.rows();
    assert_eq!(ended.code(), Some(143), "{rows}");
    assert!(rows.contains(CLOSES_LAST), "it closes at the end: {rows}");
    let summary = fs::read(running.folder.path().join("summary.json")).expect("written at the end");
    let summary: Value = serde_json::from_slice(&summary).expect("JSON");
    let source = &summary["sources"][0];
    assert_eq!(source["late_rows"], 1, "{source}");
    assert_eq!(source["late_idle_rows"], 1, "{source}");
}
