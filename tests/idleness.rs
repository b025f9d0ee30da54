//! Files that grow, from outside: a split without rows holds the others back until `idle-after`,
//! and a signal ends the job with everything written.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wasmill_tests::{Signal, programs, root, signal};

/// A run that takes longer hangs.
const HANGS: Duration = Duration::from_secs(60);

/// Ends the program with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_split_that_pauses_holds_nobody_back_for_long() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let file = |name: &str| folder.path().join(name);
    let plugin = root().join("target/plugins/tumbling-count.wasm");
    let pipeline = format!(
        "name: idle
checkpoint: off
sources:
  clicks:
    file: {{ path: 'in-*.csv', follow: true }}
    format: {{ csv: {{ page: string, at: timestamp }} }}
    event-time: {{ column: at, idle-after: 300ms }}
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
    fs::write(file("pipeline.yaml"), pipeline).expect("writable");
    // One split has come to second 1 and pauses there, the other is far ahead.
    fs::write(file("in-a.csv"), "page,at\na,2026-01-01T00:00:01Z\n").expect("writable");
    let mut ahead = File::create(file("in-b.csv")).expect("writable");
    writeln!(
        ahead,
        "page,at\nb,2026-01-01T00:00:02Z\nb,2026-01-01T00:01:00Z"
    )
    .expect("writable");
    let child = Command::new(programs().join("wasmill"))
        .args(["run", "pipeline.yaml", "--storage", "checkpoints"])
        .args(["--summary-file", "summary.json"])
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .spawn()
        .expect("wasmill starts");
    let mut running = Running(child);
    #[expect(
        clippy::disallowed_methods,
        reason = "a guard against hanging, which no outcome depends on"
    )]
    let start = Instant::now();
    let rows = || fs::read_to_string(file("out.jsonl")).unwrap_or_default();
    while !(rows().contains("\"b\"") && rows().contains("\"a\"")) {
        assert!(start.elapsed() < HANGS, "windows stay open: {}", rows());
        let ended = running.0.try_wait().expect("the child is ours");
        assert_eq!(ended, None, "the job follows its files: {}", rows());
        std::thread::yield_now();
    }
    // It goes on without the split that pauses.
    writeln!(ahead, "b,2026-01-01T00:01:30Z").expect("writable");
    while rows().lines().count() < 3 {
        assert!(start.elapsed() < HANGS, "windows stay open: {}", rows());
        std::thread::yield_now();
    }
    // Its next row is in time for its own split, and too late for what the others were told; the
    // one behind that shows that it was read.
    let mut paused = File::options().append(true).open(file("in-a.csv"));
    let paused = paused.as_mut().expect("it is there");
    writeln!(paused, "a,2026-01-01T00:00:05Z\na,2026-01-01T00:02:00Z").expect("writable");
    writeln!(ahead, "b,2026-01-01T00:02:00Z").expect("writable");
    let closed = "\"start\":\"2026-01-01T00:01:30.000000Z\"";
    while !rows().contains(closed) {
        assert!(start.elapsed() < HANGS, "windows stay open: {}", rows());
        let ended = running.0.try_wait().expect("the child is ours");
        assert_eq!(ended, None, "the job follows its files: {}", rows());
        std::thread::yield_now();
    }
    signal(&running.0, Signal::TERM);
    let ended = running.0.wait().expect("the child is ours");
    assert_eq!(ended.code(), Some(143), "{}", rows());
    let last = "\"start\":\"2026-01-01T00:02:00.000000Z\"";
    assert!(
        rows().contains(last),
        "the last window closes at the end: {}",
        rows()
    );
    let summary = fs::read(file("summary.json")).expect("it was written at the end");
    let summary: serde_json::Value = serde_json::from_slice(&summary).expect("JSON");
    let source = &summary["sources"][0];
    assert_eq!(source["late_rows"], 1, "{source}");
    assert_eq!(source["late_idle_rows"], 1, "{source}");
}
