//! How a run ends, and what it leaves: done, failed, invalid, stopped.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use wasmill_tests::{Signal, signal};

use crate::document;
use crate::program::{Ran, run, run_fed, wasmill};

/// Starts a job, waits for its first row, sends the signal, and reads to the end.
fn stopped(folder: &Path, sent: Signal, input: Option<&str>) -> Ran {
    let mut command = wasmill(folder, &["run", "pipeline.yaml", "--summary", "json"]);
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .expect("wasmill starts");
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    pipe.write_all(input.unwrap_or_default().as_bytes())
        .expect("it reads");
    let mut rows = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    let mut out = String::new();
    rows.read_line(&mut out).expect("a row comes");
    signal(&child, sent);
    rows.read_to_string(&mut out).expect("rows are text");
    let ended = child.wait_with_output().expect("it ends");
    // Standard input stays open to the end: a job that is stopped does not wait for it.
    drop(pipe);
    Ran {
        code: ended.status.code().expect("it ends by itself"),
        out,
        err: String::from_utf8(ended.stderr).expect("text"),
    }
}

#[test]
fn a_signal_drains_flushes_and_reports() {
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let folder = tempfile::tempdir().expect("a folder");
        let sinks = "file: { input: large, file: { path: out.jsonl } }";
        let text = document::endless();
        document::write(
            folder.path(),
            &text.replace("sinks:\n", &format!("sinks:\n  {sinks}\n")),
        );
        let ran = stopped(folder.path(), sent, None).ended(code);
        let summary = Ran::summary_of(&ran.err);
        assert_eq!(summary["outcome"], "stopped");
        // What was read was processed, and what came of it stands in both sinks, whole.
        let read = summary["sources"][0]["records_in"]
            .as_u64()
            .expect("a count");
        let large = (0..read).filter(|i| i % 200 >= 10).count();
        assert_eq!(ran.out.lines().count(), large, "of {read}");
        assert!(ran.out.ends_with("}\n"), "{}", ran.out);
        let file = fs::read_to_string(folder.path().join("out.jsonl")).expect("the file");
        assert_eq!(file.lines().count(), large);
        assert!(
            ran.err.contains("wasmill: stopped by signal "),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_signal_ends_a_job_that_waits_for_input() {
    let folder = tempfile::tempdir().expect("a folder");
    document::write(folder.path(), &document::fed("fail"));
    let row = "{\"account\":1,\"amount\":50}\n";
    let ran = stopped(folder.path(), Signal::INT, Some(row)).ended(130);
    let summary = Ran::summary_of(&ran.err);
    assert_eq!(
        (&summary["outcome"], &summary["records_out"]),
        (&json!("stopped"), &json!(1))
    );
}

#[test]
fn a_signal_ends_a_job_that_follows_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("in.jsonl"),
        "{\"account\":1,\"amount\":50}\n",
    )
    .expect("ours");
    let source = "file: { path: in.jsonl, follow: true }\n    \
                  format: { json: { account: u64, amount: f64 } }";
    document::write(
        folder.path(),
        &document::large(source, "out: { input: large, stdout: {} }"),
    );
    let ran = stopped(folder.path(), Signal::TERM, None).ended(143);
    assert_eq!(Ran::summary_of(&ran.err)["records_in"], 1);
}

#[test]
fn a_row_that_does_not_fit_fails_the_job_unless_told_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = "{\"account\":1,\"amount\":50}\n{\"account\":-1,\"amount\":50}\n";
    for parallelism in ["1", "2", "4"] {
        document::write(folder.path(), &document::fed("fail"));
        let arguments = [
            "run",
            "pipeline.yaml",
            "--summary",
            "json",
            "--parallelism",
            parallelism,
        ];
        let ran = run_fed(folder.path(), &arguments, input).ended(1);
        let summary = Ran::summary_of(&ran.err);
        assert_eq!(summary["outcome"], "failed");
        let error = summary["error"].as_str().expect("why it failed");
        assert!(
            error.starts_with("source `payments`: row 2 of `stdin`: field `account`"),
            "{error}"
        );
        assert!(
            ran.err.contains(&format!("wasmill: {error}")),
            "{}",
            ran.err
        );
        document::write(folder.path(), &document::fed("skip"));
        let ran = run_fed(folder.path(), &arguments, input).ended(0);
        assert_eq!(Ran::summary_of(&ran.err)["rejected"], 1);
    }
}

#[test]
fn wrong_arguments_and_wrong_paths_are_invalid_input() {
    let folder = tempfile::tempdir().expect("a folder");
    document::write(folder.path(), &document::finite(1));
    for arguments in [
        &["rum", "pipeline.yaml"][..],
        &["run"],
        &["run", "nothing.yaml"],
        &["run", "pipeline.yaml", "--parallelism", "0"],
        &["run", "pipeline.yaml", "--summary", "xml"],
    ] {
        let ran = run(folder.path(), arguments).ended(2);
        assert_eq!(ran.out, "", "{arguments:?}");
        assert!(!ran.err.is_empty(), "{arguments:?}");
    }
    let source =
        "file: { path: nothing.jsonl }\n    format: { json: { account: u64, amount: f64 } }";
    document::write(
        folder.path(),
        &document::large(source, "out: { input: large, stdout: {} }"),
    );
    let ran = run(folder.path(), &["run", "pipeline.yaml"]).ended(2);
    assert!(
        ran.err.contains("sources.payments.file.path") && ran.err.contains("nothing.jsonl"),
        "{}",
        ran.err
    );
}

/// A row that fails ends its source's job with all that lies behind it: nothing of that counts.
#[test]
fn nothing_comes_of_what_lies_behind_a_row_that_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let row = |i: u32| match i {
        10 => "{\"account\":1,\"amount\":\"bad\"}\n".to_owned(),
        _ => format!("{{\"account\":{},\"amount\":1}}\n", i % 3),
    };
    let rows: String = (0..20_000).map(row).collect();
    fs::write(folder.path().join("rows.jsonl"), rows).expect("ours");
    let text = "name: totals
sources:
  rows:
    file: { path: rows.jsonl }
    format: { json: { account: u64, amount: f64 } }
operators:
  totals:
    input: rows
    key-by: [account]
    window: { global: {} }
    aggregates: { n: { count: rows } }
sinks:
  out: { input: totals, stdout: {} }
";
    document::write(folder.path(), text);
    for parallelism in ["1", "2", "4", "2", "2", "4"] {
        let arguments = [
            "run",
            "pipeline.yaml",
            "--fresh",
            "--parallelism",
            parallelism,
        ];
        let ran = run(folder.path(), &arguments).ended(1);
        assert!(ran.err.contains("row 11 of `rows.jsonl`"), "{}", ran.err);
        assert_eq!(ran.out, "", "parallelism {parallelism}");
    }
}

/// That a source fails is no end of another one: what is cut off gives out no totals.
#[test]
fn an_input_that_is_cut_off_has_not_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("bad.jsonl"), "{\"n\":1}\n{\"n\":true}\n").expect("ours");
    let text = "name: cut
sources:
  bad: { file: { path: bad.jsonl }, format: { json: { n: u64 } } }
  endless: { generator: { rate: 100000, columns: { account: { mod: 7 } } } }
operators:
  totals:
    input: endless
    key-by: [account]
    window: { global: {} }
    aggregates: { n: { count: rows } }
sinks:
  out: { input: totals, stdout: {} }
  rest: { input: bad, discard: {} }
";
    document::write(folder.path(), text);
    for parallelism in ["1", "2", "3"] {
        let arguments = ["run", "pipeline.yaml", "--parallelism", parallelism];
        let ran = run(folder.path(), &arguments).ended(1);
        assert!(ran.err.contains("row 2 of `bad.jsonl`"), "{}", ran.err);
        assert_eq!(ran.out, "", "parallelism {parallelism}");
    }
}
