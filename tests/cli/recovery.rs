//! A job that is run again: finished, killed, taken over, restarted, changed.

use std::fs;
use std::path::Path;
use std::process::Child;

use serde_json::json;
use wasmill_tests::{Signal, signal};

use crate::document;
use crate::program::{Ran, component, ended, run, wasmill};

const RUN: [&str; 2] = ["run", "pipeline.yaml"];

fn text(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_default()
}

/// The whole lines of a file.
fn lines(folder: &Path, file: &str) -> Vec<String> {
    let text = text(folder, file);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// Waits until something is so, while the job runs.
fn until(child: &mut Child, mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        let ended = child.try_wait().expect("a child can be asked");
        assert_eq!(ended, None, "the job goes on meanwhile");
        std::thread::yield_now();
    }
}

/// Numbers from 0 on into files and a table.
fn numbers(top: &str, generator: &str) -> String {
    format!(
        "name: numbers\n{top}sources:\n  n: {{ generator: {{ {generator}, columns: {{ n: sequence }} \
         }} }}\nsinks:\n  out: {{ input: n, file: {{ path: out.jsonl }} }}\n  table: {{ input: n, \
         sqlite: {{ path: out.db, table: numbers }} }}\n"
    )
}

/// The numbers are there, each once, in both outputs.
fn check_numbers(folder: &Path, count: usize) {
    let mut wanted: Vec<String> = (0..count).map(|n| format!("{{\"n\":{n}}}")).collect();
    wanted.sort();
    let mut found = lines(folder, "out.jsonl");
    found.sort();
    assert!(found == wanted, "each number once: {} lines", found.len());
    let database = rusqlite::Connection::open(folder.join("out.db")).expect("a database");
    let counts = database.query_row(
        "select count(*), count(distinct n) from numbers",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    );
    assert_eq!(
        counts,
        Ok((count as i64, count as i64)),
        "each number once in the table"
    );
}

#[test]
fn a_job_whose_output_lasts_remembers_that_it_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    document::write(folder, &numbers("", "records: 500"));
    let first = run(folder, &RUN).ended(0);
    assert!(
        first.out.starts_with("numbers: 500 records in "),
        "{}",
        first.out
    );
    check_numbers(folder, 500);
    assert!(
        folder
            .join("data/wasmill/checkpoints/default/numbers")
            .is_dir()
    );
    let again = run(folder, &RUN).ended(0);
    assert_eq!(again.out, "");
    for said in [
        "wasmill: `numbers` has come to the end of its input before (checkpoint 1 in ",
        "data/wasmill/checkpoints",
        "so there is nothing left to do; --fresh begins anew: files are replaced, and ",
        "tables get all rows besides those that they have. If that was another pipeline, give this ",
    ] {
        assert!(again.err.contains(said), "{}", again.err);
    }
    check_numbers(folder, 500);
    let again = run(folder, &[&RUN[..], &["--summary", "json"]].concat()).ended(0);
    let summary = Ran::summary_of(&again.out);
    assert_eq!(
        (&summary["outcome"], &summary["records_in"]),
        (&json!("done"), &json!(0))
    );
    fs::remove_file(folder.join("out.db")).expect("a table's rows are kept otherwise");
    run(folder, &[&RUN[..], &["--fresh"]].concat()).ended(0);
    check_numbers(folder, 500);
    // Elsewhere nothing is known of it, and the output is another's.
    let elsewhere = [&RUN[..], &["--storage", "elsewhere"]].concat();
    let refused = run(folder, &elsewhere).ended(2);
    assert!(
        refused.err.contains("begin anew with --fresh"),
        "{}",
        refused.err
    );
}

#[test]
fn a_filter_begins_anew_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    document::write(folder, &document::finite(50));
    for _ in 0..2 {
        assert_eq!(run(folder, &RUN).ended(0).out.lines().count(), 40);
    }
    document::write(folder, &numbers("checkpoint: off\n", "records: 50"));
    for _ in 0..2 {
        let ran = run(folder, &RUN).ended(0);
        assert!(
            ran.out.starts_with("numbers: 50 records in "),
            "{}",
            ran.out
        );
        assert_eq!(lines(folder, "out.jsonl").len(), 50);
    }
    let kept = folder.join("data/wasmill/checkpoints");
    assert!(!kept.exists(), "nothing is kept");
}

#[test]
fn a_run_is_refused_while_another_one_lives_unless_it_takes_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let top = "checkpoint: { interval: 300ms }\n";
    document::write(folder, &numbers(top, "records: 6000, rate: 2000"));
    let mut first = wasmill(folder, &RUN).spawn().expect("wasmill starts");
    until(&mut first, || lines(folder, "out.jsonl").len() > 100);
    let told = [&RUN[..], &["--summary-file", "summary.json"]].concat();
    let refused = run(folder, &told).ended(1);
    let summary = Ran::summary_of(&text(folder, "summary.json"));
    assert_eq!(
        (&summary["outcome"], &summary["parallelism"]),
        (&json!("failed"), &json!(0))
    );
    let reason = summary["error"].as_str().expect("it failed");
    for part in ["`numbers` is running already", "--take-over"] {
        assert!(refused.err.contains(part), "{}", refused.err);
        assert!(reason.contains(part), "{summary}");
    }
    // From here on the first one is a zombie, wherever it stands.
    signal(&first, Signal::STOP);
    let over = [&RUN[..], &["--take-over", "--summary", "json"]].concat();
    let second = run(folder, &over);
    if second.code != 0 && second.err.contains("another process is writing") {
        // It was stopped while it held its output; it must be woken, and then is fenced.
        signal(&first, Signal::CONT);
        ended(first).ended(3);
        run(folder, &over).ended(0);
        return check_numbers(folder, 6000);
    }
    let second = second.ended(0);
    let place = folder.join("data/wasmill/checkpoints");
    let (begins, ends) = (
        "wasmill: `numbers` goes on from checkpoint ",
        format!(" in {}\n", place.display()),
    );
    let is_told = second.err.contains(begins) && second.err.contains(&ends);
    assert!(is_told, "{}", second.err);
    let summary = Ran::summary_of(&second.out);
    assert_eq!(summary["outcome"], "done");
    check_numbers(folder, 6000);
    let before = text(folder, "out.jsonl") + &text(folder, "out.jsonl.commits");
    signal(&first, Signal::CONT);
    let fenced = ended(first).ended(3);
    assert!(fenced.err.contains("another run"), "{}", fenced.err);
    let after = text(folder, "out.jsonl") + &text(folder, "out.jsonl.commits");
    assert!(before == after, "it wrote something");
    check_numbers(folder, 6000);
    let done = run(folder, &RUN).ended(0);
    assert!(
        done.err.contains("has come to the end of its input"),
        "{}",
        done.err
    );
}

/// A job that copies numbers to a file at once.
fn copying(top: &str, path: &str) -> String {
    numbers(top, "records: 3000").replace(
        "path: out.jsonl }",
        &format!("path: {path} }}, delivery: at-least-once"),
    )
}

#[test]
fn a_job_is_restarted_as_often_as_its_policy_allows() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let policy = "restart: { fixed: { attempts: 2, delay: 10ms } }\n";
    document::write(folder, &copying(policy, "/dev/full"));
    let ran = run(folder, &[&RUN[..], &["--summary", "json"]].concat()).ended(1);
    for part in [
        "wasmill: sink `out`: `/dev/full` cannot be written: No space left on device",
        "; restart 1 in 10ms, from the newest checkpoint\n",
        "; restart 2 in 10ms, from the newest checkpoint\n",
        "wasmill: no further restart: it was restarted 2 times, as often as `restart` allows\n",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    let summary = Ran::summary_of(&ran.out);
    assert_eq!(
        (&summary["outcome"], &summary["restarts"]),
        (&json!("failed"), &json!(2))
    );
    document::write(folder, &copying("restart: none\n", "/dev/full"));
    let ran = run(folder, &RUN).ended(1);
    assert!(!ran.err.contains("restart"), "{}", ran.err);
}

#[test]
fn a_restart_goes_on_once_the_cause_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let out = folder.join("link.jsonl");
    std::os::unix::fs::symlink("/dev/full", &out).expect("writable");
    let policy = "restart: { exponential: { initial: 20ms, max: 20ms } }\n";
    document::write(folder, &copying(policy, "link.jsonl"));
    let arguments = [&RUN[..], &["--summary-file", "summary.json"]].concat();
    let mut command = wasmill(folder, &arguments);
    let errors = fs::File::create(folder.join("errors")).expect("writable");
    let mut child = command.stderr(errors).spawn().expect("wasmill starts");
    until(&mut child, || {
        text(folder, "errors").contains("; restart 3 in ")
    });
    let new = folder.join("new");
    std::os::unix::fs::symlink("real.jsonl", &new).expect("writable");
    fs::rename(&new, &out).expect("writable");
    ended(child).ended(0);
    let summary = Ran::summary_of(&text(folder, "summary.json"));
    assert_eq!(summary["outcome"], "done");
    assert!(summary["restarts"].as_u64() >= Some(3), "{summary}");
    assert_eq!(lines(folder, "real.jsonl").len(), 3000);
    let database = rusqlite::Connection::open(folder.join("out.db")).expect("a database");
    let count = database.query_row("select count(*) from numbers", [], |row| row.get(0));
    assert_eq!(count, Ok(3000), "nothing had been decided before");
}

#[test]
fn a_row_that_fails_ends_the_job_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(
        folder.join("in.jsonl"),
        "{\"account\":1,\"amount\":50}\n{\"account\":-1}\n",
    )
    .expect("writable");
    let source = "file: { path: in.jsonl }\n    format: { json: { account: u64, amount: f64 } }";
    let sink = "out: { input: large, file: { path: out.jsonl } }";
    document::write(folder, &document::large(source, sink));
    let ran = run(folder, &[&RUN[..], &["--summary", "json"]].concat()).ended(1);
    let said = "wasmill: source `payments`: row 2 of `in.jsonl`: ";
    assert!(
        ran.err.starts_with(said) && !ran.err.contains("restart"),
        "{}",
        ran.err
    );
    assert_eq!(Ran::summary_of(&ran.out)["restarts"], 0);
}

/// Counts the rows of each account; the operator and its plugin are put in.
fn counting(operator: &str, plugin: &Path) -> String {
    format!(
        "name: counting\ncheckpoint: {{ interval: 50ms }}\nsources:\n  payments:\n    file: {{ \
         path: in.jsonl, follow: true }}\n    format: {{ json: {{ account: u64, amount: f64 }} }}\n\
         operators:\n  {operator}: {{ input: payments, key-by: [account], plugin: {} }}\nsinks:\n  \
         out: {{ input: {operator}, file: {{ path: out.jsonl }} }}\n",
        plugin.display()
    )
}

/// Appends payments to the input, runs the job until they are out, and stops it.
fn count_more(folder: &Path, rows: usize) -> Ran {
    let more: String = (0..rows)
        .map(|row| format!("{{\"account\":{},\"amount\":1}}\n", row % 3))
        .collect();
    fs::write(folder.join("in.jsonl"), text(folder, "in.jsonl") + &more).expect("writable");
    let wanted = lines(folder, "out.jsonl").len() + rows;
    let mut child = wasmill(folder, &RUN).spawn().expect("wasmill starts");
    until(&mut child, || lines(folder, "out.jsonl").len() >= wanted);
    signal(&child, Signal::TERM);
    let ran = ended(child).ended(143);
    assert_eq!(lines(folder, "out.jsonl").len(), wanted);
    ran
}

/// A component like another one, of which nothing but the digest differs.
fn recompiled(folder: &Path, name: &str) -> std::path::PathBuf {
    let mut bytes = fs::read(component(name)).expect("it is there");
    // A custom section without content, named `a`.
    bytes.extend([0, 2, 1, b'a']);
    let path = folder.join("recompiled.wasm");
    fs::write(&path, bytes).expect("writable");
    path
}

#[test]
fn code_may_change_and_state_may_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    document::write(folder, &counting("totals", &component("count-by-key")));
    let quiet = count_more(folder, 30);
    assert!(!quiet.err.contains("other code"), "{}", quiet.err);
    document::write(
        folder,
        &counting("totals", &recompiled(folder, "count-by-key")),
    );
    let told = count_more(folder, 30);
    let line = told.err.lines().find(|line| line.contains("other code"));
    let line = line.unwrap_or_else(|| panic!("{}", told.err));
    assert!(
        line.contains("totals") && line.contains("was") && line.contains("is"),
        "{line}"
    );
    let last = lines(folder, "out.jsonl").pop().expect("a row");
    assert!(last.contains("\"count\":20"), "it counts on: {last}");
    // Its checkpoint is by the new code now.
    let quiet = count_more(folder, 3);
    assert!(!quiet.err.contains("other code"), "{}", quiet.err);

    document::write(folder, &counting("totalls", &component("count-by-key")));
    let refused = run(folder, &RUN).ended(1);
    for part in [
        "operator `totals` has state in it",
        "did you mean `totalls`?",
        "--fresh",
    ] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    let other = counting("totals", &component("count-by-key"));
    document::write(folder, &other.replace("account: u64", "account: u32"));
    let refused = run(folder, &RUN).ended(1);
    let said = "operator `totals` was keyed by u64 and now is by u32";
    assert!(refused.err.contains(said), "{}", refused.err);
}

#[test]
fn an_input_that_was_changed_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    document::write(folder, &counting("totals", &component("count-by-key")));
    count_more(folder, 30);
    let input = text(folder, "in.jsonl");
    let changed = input.replacen("\"account\":2", "\"account\":1", 1);
    fs::write(folder.join("in.jsonl"), changed).expect("writable");
    let refused = run(folder, &RUN).ended(1);
    let said = "`in.jsonl` was changed: before byte ";
    assert!(
        refused.err.contains(said) && !refused.err.contains("restart"),
        "{}",
        refused.err
    );
    fs::write(folder.join("in.jsonl"), &input[..100]).expect("writable");
    let refused = run(folder, &RUN).ended(1);
    assert!(
        refused.err.contains("`in.jsonl` has 100 bytes"),
        "{}",
        refused.err
    );
    fs::write(folder.join("in.jsonl"), input).expect("writable");
    count_more(folder, 3);
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

#[test]
fn checkpoints_that_are_older_than_the_output_are_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    document::write(folder, &counting("totals", &component("count-by-key")));
    count_more(folder, 30);
    let (kept, old) = (folder.join("data"), folder.join("old"));
    copy(&kept, &old);
    count_more(folder, 30);
    fs::remove_dir_all(&kept).expect("writable");
    fs::rename(&old, &kept).expect("writable");
    let before = text(folder, "out.jsonl");
    let refused = run(folder, &RUN).ended(2);
    for part in [
        "`out`: it holds the rows up to checkpoint ",
        "begin anew with --fresh",
    ] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    assert_eq!(text(folder, "out.jsonl"), before);
}

#[test]
fn a_last_checkpoint_that_fails_is_made_up_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let top = "checkpoint: { interval: 1h, storage: kept }\nrestart: none\n";
    document::write(folder, &numbers(top, "records: 3000, rate: 3000"));
    let mut child = wasmill(folder, &RUN).spawn().expect("wasmill starts");
    let job = folder.join("kept/default/numbers/0-127");
    until(&mut child, || job.join("log/0000000001").is_file());
    // Where objects are to be written, something else stands.
    let blocked = job.join("objects");
    fs::write(&blocked, "in the way").expect("writable");
    let failed = ended(child).ended(1);
    assert!(
        failed.err.contains("failed in a row, the last one because"),
        "{}",
        failed.err
    );
    assert_eq!(text(folder, "out.jsonl"), "", "nothing was decided");
    fs::remove_file(&blocked).expect("writable");
    run(folder, &RUN).ended(0);
    check_numbers(folder, 3000);
}
