//! `wasmill plugin`: from an empty folder to a running operator.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use crate::program::{Ran, component, ended, run, wasmill};

/// Runs a command that calls cargo. What it compiles is kept for the next run, and crates come from
/// the machine's own copies where it has them.
fn building(folder: &Path, arguments: &[&str]) -> Ran {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin");
    let mut command = wasmill(folder, arguments);
    command.env("CARGO_TARGET_DIR", kept);
    // Names of functions show what was inlined.
    command.env("CARGO_PROFILE_RELEASE_STRIP", "none");
    ended(command.spawn().expect("wasmill starts"))
}

#[test]
fn a_new_plugin_is_built_tested_shown_and_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(folder.path(), &["plugin", "new", "my_rule"]).ended(0);
    assert!(
        ran.out
            .starts_with("my-rule is there. Next:\n  cd my_rule\n"),
        "{}",
        ran.out
    );
    let place = folder.path().join("my_rule");

    let ran = building(&place, &["plugin", "build"]).ended(0);
    assert_eq!(ran.out, "./my-rule.wasm\n");
    let component = fs::read(place.join("my-rule.wasm")).expect("it was built");
    let names = String::from_utf8_lossy(&component);
    assert!(names.contains("wasmill_sdk"), "functions have names");
    // In the old and in the new way of mangling names.
    for process in ["Operator$GT$7process", "8Operator7process"] {
        assert!(!names.contains(process), "a row costs a call of `process`");
    }
    assert!(place.join(".gitignore").is_file());
    let ran = building(&place, &["plugin", "test"]).ended(0);
    assert!(ran.out.ends_with("1 passed, 0 failed\n"), "{}", ran.out);

    let ran = run(&place, &["plugin", "inspect", "my-rule.wasm"]).ended(0);
    for line in [
        "my-rule 0.1.0",
        "world    batch-operator",
        "key      needs key-by",
        "config   min-amount: number, 100.0 if not given",
    ] {
        assert!(
            ran.out.lines().any(|found| found == line),
            "{line}: {}",
            ran.out
        );
    }
    let ran = run(&place, &["plugin", "inspect", "my-rule.wasm", "--json"]).ended(0);
    let descriptor: Json = serde_json::from_str(&ran.out).expect("a descriptor is JSON");
    assert_eq!(
        (&descriptor["descriptor"], &descriptor["name"]),
        (&1.into(), &"my-rule".into())
    );

    run(&place, &["check", "pipeline.yaml"]).ended(0);
    let ran = run(&place, &["run", "pipeline.yaml"]).ended(0);
    assert!(ran.out.lines().count() > 0, "{}", ran.err);
    for line in ran.out.lines() {
        let row: Json = serde_json::from_str(line).expect("a row is JSON");
        assert!(row["amount"].as_f64() >= Some(199.0), "{row}");
    }
}

#[test]
fn a_new_aggregate_is_built_tested_shown_and_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(folder.path(), &["plugin", "new", "--aggregate", "spread"]).ended(0);
    let next = "spread is there. Next:\n  cd spread\n";
    assert!(ran.out.starts_with(next), "{}", ran.out);
    let place = folder.path().join("spread");

    let ran = building(&place, &["plugin", "build"]).ended(0);
    assert_eq!(ran.out, "./spread.wasm\n");
    let ran = building(&place, &["plugin", "test"]).ended(0);
    assert!(ran.out.ends_with("1 passed, 0 failed\n"), "{}", ran.out);
    let fixture = place.join("tests/spread.json");
    let text = fs::read_to_string(&fixture).expect("the fixture");
    let wrong = text.replace("\"result\": 9", "\"result\": 8");
    assert_ne!(text, wrong);
    fs::write(&fixture, wrong).expect("ours");
    let ran = building(&place, &["plugin", "test"]).ended(1);
    assert!(ran.out.contains("result: expected 8, got 9"), "{}", ran.out);

    let ran = run(&place, &["plugin", "inspect", "spread.wasm"]).ended(0);
    for line in [
        "spread 0.1.0",
        "world    window-aggregate",
        "keeps    struct<least: i64, greatest: i64>",
        "result   u64?",
        "config   most: integer, 1000000 if not given",
        "           Readings above this are refused.",
        "merges   in windows of every kind",
    ] {
        assert!(
            ran.out.lines().any(|found| found == line),
            "{line}: {}",
            ran.out
        );
    }

    run(&place, &["check", "pipeline.yaml"]).ended(0);
    let ran = run(&place, &["run", "pipeline.yaml"]).ended(0);
    // A hundred seconds of five sensors: two windows of each.
    assert_eq!(ran.out.lines().count(), 10, "{}", ran.err);
    for line in ran.out.lines() {
        let row: Json = serde_json::from_str(line).expect("a row is JSON");
        let spread = row["spread"].as_u64().expect("a number");
        assert!((1..1_000).contains(&spread), "{row}");
    }
}

#[test]
fn what_the_program_carries_is_what_the_repository_has() {
    let folder = tempfile::tempdir().expect("a folder");
    run(folder.path(), &["plugin", "new", ".", "--name", "a"]).ended(0);
    let unpacked = folder.path().join(".wasmill");
    for part in ["sdk/rust", "wit"] {
        let mut command = Command::new("diff");
        command
            .arg("-r")
            .arg(wasmill_tests::root().join(part))
            .arg(unpacked.join(part));
        let output = command.output().expect("diff starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("pipeline.yaml"), "mine").expect("ours");
    let ran = run(folder.path(), &["plugin", "new", ".", "--name", "a"]).ended(2);
    assert!(
        ran.err.contains("`./pipeline.yaml` is there already"),
        "{}",
        ran.err
    );
    assert!(!folder.path().join("Cargo.toml").exists());
    let ran = run(folder.path(), &["plugin", "new", "x", "--name", "No Name"]).ended(2);
    assert!(
        ran.err.contains("`No Name` is not a plugin's name"),
        "{}",
        ran.err
    );
}

#[test]
fn what_cannot_be_built_or_read_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(folder.path(), &["plugin", "build"]).ended(2);
    assert!(ran.err.contains("wasmill plugin new"), "{}", ran.err);
    let ran = run(folder.path(), &["plugin", "inspect", "a.wasm"]).ended(2);
    assert!(ran.err.contains("`a.wasm` cannot be read"), "{}", ran.err);
    let plugin = component("filter").display().to_string();
    let ran = run(folder.path(), &["plugin", "test", "--plugin", &plugin]).ended(2);
    assert!(ran.err.contains("put fixtures there"), "{}", ran.err);
}
