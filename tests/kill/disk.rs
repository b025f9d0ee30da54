//! A disk that is full, and one that must not be written: the job says so once and clearly, and
//! what was decided is as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use wasmill_tests::programs;

/// Rows of the job.
const RECORDS: usize = 60_000;

/// What is on the disk: checkpoints, or the output.
fn document(checkpoints: &str, output: &str) -> String {
    format!(
        "name: numbers
checkpoint: {{ interval: 20ms, storage: {checkpoints} }}
sources:
  n:
    generator:
      rate: 30000
      records: {RECORDS}
      columns: {{ n: {{ sequence: true, type: u64 }} }}
sinks:
  out: {{ input: n, file: {{ path: {output}/out.jsonl }} }}
"
    )
}

/// Runs a script with a small disk of its own at `disk`, which is gone with it; none if this
/// machine lets nobody mount one.
fn on_a_disk(folder: &Path, script: &str) -> Option<String> {
    fs::create_dir(folder.join("disk")).expect("the folder is writable");
    let script = format!(
        "set -u
        mount -t tmpfs -o size=4m none disk || exit 99
        run() {{ {} run pipeline.yaml 2>> said; echo \"ended with $?\" >> said; }}
        {script}",
        programs().join("wasmill").display()
    );
    for flags in [&["-m"][..], &["-rm"]] {
        let mut command = Command::new("unshare");
        command
            .args(flags)
            .args(["sh", "-c", &script])
            .current_dir(folder);
        let output = command.output().ok()?;
        if output.status.success() {
            return Some(fs::read_to_string(folder.join("said")).expect("it has run"));
        }
    }
    println!("not tried: this machine does not let a test mount a disk");
    None
}

/// Each number once, whatever has happened on the way.
fn check(folder: &Path) {
    let text = fs::read_to_string(folder.join("out.jsonl")).expect("its output");
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        *counts.entry(line.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(
        (counts.len(), counts.into_values().max()),
        (RECORDS, Some(1))
    );
}

/// Fills the disk but for so many bytes, and makes room after a while, in which the job fails, or
/// waits; then it is started again.
fn full(checkpoints: &str, output: &str, room: u64) {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let document = document(checkpoints, output);
    fs::write(folder.path().join("pipeline.yaml"), document).expect("the folder is writable");
    let script = format!(
        "head -c $((4194304 - {room})) /dev/zero > disk/filler
        (sleep 4; rm disk/filler) & run; wait; run
        cp disk/out.jsonl out.jsonl 2> /dev/null || cp elsewhere/out.jsonl out.jsonl"
    );
    let Some(said) = on_a_disk(folder.path(), &script) else {
        return;
    };
    let (first, second) = said.split_once("ended with").expect("it ended");
    assert!(first.contains("No space left on device"), "{said}");
    // Restarts are told on the way.
    let told = first
        .lines()
        .filter(|line| line.starts_with("wasmill: ") && !line.contains("; restart "));
    let told: Vec<&str> = told.collect();
    if second.starts_with(" 1") {
        assert_eq!(told.len(), 1, "one error: {said}");
        assert!(told[0].contains("No space left on device"), "{said}");
        let place = [output, "default/numbers"];
        assert!(place.iter().any(|place| told[0].contains(place)), "{said}");
    } else {
        assert!(
            second.starts_with(" 0") && told.is_empty(),
            "it waited: {said}"
        );
    }
    assert!(second.ends_with("ended with 0\n"), "{said}");
    check(folder.path());
}

#[test]
fn a_full_disk_for_the_output_damages_nothing() {
    full("checkpoints", "disk", 400_000);
}

#[test]
fn a_full_disk_for_checkpoints_damages_nothing() {
    full("disk", "elsewhere", 24_000);
    full("disk", "elsewhere", 28_000);
}

#[test]
fn a_folder_that_must_not_be_written_is_named() {
    for (checkpoints, output) in [("checkpoints", "disk"), ("disk", "elsewhere")] {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        let document = document(checkpoints, output);
        fs::write(folder.path().join("pipeline.yaml"), document).expect("the folder is writable");
        let script = "mount -o remount,ro disk; run; mount -o remount,rw disk; run; \
             cp disk/out.jsonl out.jsonl 2> /dev/null || cp elsewhere/out.jsonl out.jsonl";
        let Some(said) = on_a_disk(folder.path(), script) else {
            return;
        };
        let (first, second) = said.split_once("ended with").expect("it ended");
        let told: Vec<&str> = first
            .lines()
            .filter(|line| line.starts_with("wasmill: "))
            .collect();
        assert_eq!(told.len(), 1, "one error: {said}");
        assert!(
            told[0].contains("Read-only file system") && told[0].contains("disk"),
            "{said}"
        );
        assert!(
            !second.starts_with(" 0") && second.contains("ended with 0"),
            "{said}"
        );
        check(folder.path());
    }
}
