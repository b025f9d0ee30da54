//! Jobs of guests that misbehave: how they run, and what they leave behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use wasmill_tests::{programs, root, run_guarded};

/// The ids of the rows.
pub(crate) const IDS: std::ops::Range<u64> = 10..22;

/// The CPU time that a pipeline here allows a call, and that of two ticks, in microseconds.
pub(crate) const CPU_US_MAX: u64 = 200_000;
const TWO_TICKS_US: u64 = 2_000;

/// Which ids a guest's misbehaviour costs.
pub(crate) type IsLost = fn(u64) -> bool;

/// A component that `cargo xtask plugins` has built.
pub(crate) fn component(name: &str) -> PathBuf {
    root().join("target/plugins").join(format!("{name}.wasm"))
}

/// A folder with a pipeline and a file of rows.
pub(crate) fn folder(pipeline: &str, (file, rows): (&str, &str)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    fs::write(folder.path().join("pipeline.yaml"), pipeline).expect("writable");
    fs::write(folder.path().join(file), rows).expect("writable");
    folder
}

/// The program about to run the pipeline in a folder.
pub(crate) fn wasmill(folder: &Path) -> Command {
    let mut command = Command::new(programs().join("wasmill"));
    command.args(["run", "pipeline.yaml", "--fresh"]);
    command.args(["--storage", "checkpoints"]);
    command.current_dir(folder);
    command
}

/// Runs the pipeline in a folder.
pub(crate) fn run(folder: &Path) -> Output {
    run_guarded(&mut wasmill(folder))
}

/// Runs a job that gets to its end.
#[track_caller]
pub(crate) fn run_well(folder: &Path, name: &str) -> Output {
    let output = run(folder);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    output
}

pub(crate) fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).expect("the job wrote its file")
}

/// The dead letters of a job.
pub(crate) fn letters(folder: &Path) -> Vec<Value> {
    let text = read(folder, "letters.jsonl");
    let letter = |line: &str| serde_json::from_str(line).expect("JSON");
    text.lines().map(letter).collect()
}

/// A field of a letter; empty if it is no text.
pub(crate) fn text<'a>(letter: &'a Value, field: &str) -> &'a str {
    letter[field].as_str().unwrap_or_default()
}

/// A job's dead letters are of these rows, are faults of this plugin, and name this reason; a limit
/// tells the CPU time, too. Gives the CPU times that were told.
#[track_caller]
pub(crate) fn check_letters(
    folder: &Path,
    (plugin, part): (&str, &str),
    originals: &[String],
    name: &str,
) -> Vec<u64> {
    let letters = letters(folder);
    let mut found: Vec<&str> = letters.iter().map(|it| text(it, "original")).collect();
    // A guest that blames a row is believed before the rows in front of it have run again.
    found.sort_unstable();
    assert_eq!(found, originals, "{name}");
    let digest = digest(plugin);
    let mut told = Vec::new();
    for letter in &letters {
        let reason = text(letter, "reason");
        assert!(reason.contains(part), "{name}: {reason}");
        assert_eq!(letter["kind"], "fault", "{name}");
        assert_eq!(letter["plugin"], digest, "{name}");
        told.extend(cpu_us(reason));
    }
    let is_limit = letters
        .iter()
        .any(|it| text(it, "reason").contains("exceeded its limit"));
    if is_limit {
        assert_eq!(told.len(), letters.len(), "{name}: CPU times");
    }
    if part != "`cpu-per-batch`" {
        let most = told.iter().max().copied().unwrap_or_default();
        assert!(most <= CPU_US_MAX + TWO_TICKS_US, "{name}: {told:?} µs");
    }
    told
}

/// The CPU time that a reason tells, in microseconds.
fn cpu_us(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once("(the call used ")?;
    let (number, _) = rest.split_once(" µs of CPU time)")?;
    number.parse().ok()
}

/// Guests that spin use up their budget and at most two ticks more. A loaded machine may hold the
/// ticker back: one good call of several shows the rule.
#[track_caller]
pub(crate) fn check_spins(run: impl Fn() -> Vec<u64>) {
    let mut seen = Vec::new();
    for _ in 0..10 {
        let told = run();
        assert!(!told.is_empty(), "a limit tells the CPU time");
        assert!(told.iter().all(|us| *us >= CPU_US_MAX), "{told:?} µs");
        seen.extend(told);
        if seen.iter().any(|us| *us <= CPU_US_MAX + TWO_TICKS_US) {
            return;
        }
    }
    panic!("CPU time used: {seen:?} µs, allowed: {CPU_US_MAX} µs and two ticks");
}

/// SHA-256 of a component, as coreutils compute it.
pub(crate) fn digest(plugin: &str) -> String {
    let summed = Command::new("sha256sum").arg(component(plugin)).output();
    let text = String::from_utf8(summed.expect("sha256sum starts").stdout).expect("text");
    text.split(' ').next().expect("a sum").to_owned()
}
