//! Logs: on standard error, for people and for machines.

use serde_json::Value as Json;

use crate::document;
use crate::program::{ended, run, wasmill};

#[test]
fn a_log_for_machines_is_an_object_a_line() {
    let folder = tempfile::tempdir().expect("a folder");
    document::write(folder.path(), &document::finite(20));
    let arguments = [
        "--log",
        "trace",
        "--log-format",
        "json",
        "run",
        "pipeline.yaml",
        "--summary",
        "json",
    ];
    let ran = run(folder.path(), &arguments).ended(0);
    let lines: Vec<Json> = ran
        .err
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (summary, logs): (Vec<&Json>, Vec<&Json>) =
        lines.iter().partition(|line| line["summary"] == 1);
    assert_eq!(summary.len(), 1);
    assert!(!logs.is_empty(), "nothing is logged");
    for log in logs {
        for field in ["timestamp", "level", "target", "fields"] {
            assert!(!log[field].is_null(), "{field}: {log}");
        }
    }
}

#[test]
fn a_log_for_people_has_no_colours_in_a_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    document::write(folder.path(), &document::finite(20));
    let mut command = wasmill(folder.path(), &["run", "pipeline.yaml"]);
    command.env("WASMILL_LOG", "trace");
    let ran = ended(command.spawn().expect("wasmill starts")).ended(0);
    assert!(ran.err.contains("TRACE"), "{}", ran.err);
    assert!(!ran.err.contains('\x1b'), "{}", ran.err);
    // Rows alone are on standard output: of amounts 0 to 19 ten pass.
    assert_eq!(ran.out.lines().count(), 10, "{}", ran.out);
    let quiet = run(folder.path(), &["run", "pipeline.yaml"]).ended(0);
    assert!(!quiet.err.contains("TRACE"), "{}", quiet.err);
    run(folder.path(), &["--log", "a=b=c", "run", "pipeline.yaml"]).ended(2);
}
