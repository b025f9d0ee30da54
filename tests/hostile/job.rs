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

/// A way to misbehave, the ids of the rows that it costs, and what their letters say.
pub(crate) type Case = (&'static str, fn(u64) -> bool, &'static str);

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

/// A guest that misbehaves, and what its operators have besides.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    /// Fields of the guest's operators.
    pub(crate) fields: &'static str,
    pub(crate) log_lines: u64,
}

/// A job with a plugin that misbehaves, and a guest that does not.
pub(crate) fn pipeline(plugin: &Path, guest: &Guest, misbehave: &str) -> String {
    let Guest {
        name,
        fields,
        log_lines,
    } = guest;
    let (plugin, neighbour) = (plugin.display(), component(name));
    let neighbour = neighbour.display();
    format!(
        "name: hostile
sources:
  rows:
    file: {{ path: rows.csv }}
    format: {{ csv: {{ id: u64 }} }}
operators:
  hostile:
    input: rows
    plugin: {plugin}
    config: {{ misbehave: {misbehave} }}
    on-error: {{ dead-letter: letters }}
    limits:
      memory: 24MiB
      cpu-per-batch: {CPU_US_MAX}us
      output-bytes: 4MiB
      output-rows: 1000
      log-lines: {log_lines}
{fields}  neighbour:
    input: rows
    plugin: {neighbour}
    config: {{ misbehave: not }}
{fields}sinks:
  survived: {{ input: hostile, file: {{ path: survived.csv }}, format: csv }}
  exact: {{ input: neighbour, file: {{ path: exact.csv }}, format: csv }}
  letters: {{ file: {{ path: letters.jsonl }} }}
"
    )
}

/// The rows of every job here.
pub(crate) fn rows() -> String {
    let rows: String = IDS.map(|id| format!("{id}\n")).collect();
    format!("id\n{rows}")
}

/// Runs a job, which loses the rows that it may lose, and whose neighbour's output is exact. Gives
/// the CPU times that its letters tell. `each` is how many rows come of one.
#[track_caller]
pub(crate) fn check(guest: &Guest, &(misbehave, is_lost, part): &Case, each: usize) -> Vec<u64> {
    let pipeline = pipeline(&component(guest.name), guest, misbehave);
    let folder = folder(&pipeline, ("rows.csv", &rows()));
    run_well(folder.path(), misbehave);
    let (lost, kept): (Vec<u64>, Vec<u64>) = IDS.partition(|id| is_lost(*id));
    let found = |file: &str| {
        let mut found = ids(folder.path(), file);
        // Rows of several keys come from several subtasks; without a key they keep their order.
        if guest.fields.contains("key-by") {
            found.sort_unstable();
        }
        found
    };
    let exact = found("exact.csv");
    assert_eq!(exact, IDS.collect::<Vec<_>>(), "{misbehave}");
    let survived = found("survived.csv");
    let wanted = kept.iter().flat_map(|id| std::iter::repeat_n(*id, each));
    assert_eq!(survived, wanted.collect::<Vec<_>>(), "{misbehave}");
    let originals: Vec<String> = lost.iter().map(u64::to_string).collect();
    check_letters(folder.path(), (guest.name, part), &originals, misbehave)
}

/// The ids that came out, as they came.
pub(crate) fn ids(folder: &Path, file: &str) -> Vec<u64> {
    let text = read(folder, file);
    let id = |line: &str| {
        let id = line.split(',').next().expect("a column");
        id.parse().expect("an id")
    };
    text.lines().skip(1).map(id).collect()
}

/// A job's dead letters are of these rows, are faults of this plugin, name this reason and the CPU
/// time of the call that failed. Gives these times.
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
    let told = letters.iter().map(|letter| {
        let reason = text(letter, "reason");
        assert!(reason.contains(part), "{name}: {reason}");
        assert_eq!(letter["kind"], "fault", "{name}");
        assert_eq!(letter["plugin"], digest, "{name}");
        letter["cpu-us"].as_u64().expect("the call's CPU time")
    });
    let told: Vec<u64> = told.collect();
    if part != "`cpu-per-batch`" {
        let most = told.iter().max().copied().unwrap_or_default();
        assert!(most <= CPU_US_MAX + TWO_TICKS_US, "{name}: {told:?} µs");
    }
    told
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
