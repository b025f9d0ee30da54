//! Checkpoints of earlier versions, frozen: each still restores, into either kind of state, at any
//! parallelism. A folder of `tests/fixtures` is what a run left that was asked to stop; it is never
//! written anew.

mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use wasmill_tests::{programs, root};

/// Rows in all; the runs that were frozen had seen some of them.
const ROWS: u64 = 1_200;
const ACCOUNTS: u64 = 40;

/// The folders, each of which a test below lets go on.
const SEGMENTS: &str = "segments-v1";
const WINDOWS: &str = "windows-1";
const AGGREGATES: &str = "aggregates-1";
const STATES: &str = "segments-v2";
/// All state in memory.
const MEMORY: &str = "state: { backend: memory }";
/// So little memory that keys leave it.
const SPILLING: &str = "state: { backend: rocksdb, cache: 64KiB, directory: spill }";
/// Folders that `tests/restore.rs` lets go on, whatever number follows.
const OF_RESTORE: &str = "checkpoint-";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the frozen folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

/// What comes out for all rows, sorted.
fn expected() -> Vec<String> {
    let mut tallies: BTreeMap<u64, (u64, f64)> = BTreeMap::new();
    let line = |i: u64| {
        let account = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ACCOUNTS;
        let (count, sum) = tallies.entry(account).or_default();
        *count += 1;
        *sum += (i % 100) as f64;
        format!(r#"{{"account":{account},"count":{count},"sum":{sum:.1}}}"#)
    };
    let mut lines: Vec<String> = (0..ROWS).map(line).collect();
    lines.sort();
    lines
}

/// Runs a job to its end.
fn run(folder: &Path, document: &str, parallelism: &str) {
    fs::write(folder.join("pipeline.yaml"), document).expect("writable");
    let output = Command::new(programs().join("wasmill"))
        .args(["run", "pipeline.yaml", "--parallelism", parallelism])
        .current_dir(folder)
        .output()
        .expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// The sorted lines of a text.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The files that the wasmill of that time wrote when nothing stopped it, by the output's name.
fn expected_files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder.join("expected")).expect("the frozen output");
    let files = entries.map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let mut text = String::new();
        let file = fs::File::open(&path).expect("the frozen output");
        let mut decoder = flate2::read::GzDecoder::new(file);
        decoder.read_to_string(&mut text).expect("packed lines");
        (name.expect("a name").to_owned(), text)
    });
    files.collect()
}

/// The folder's own document for a job that goes as fast as it can and comes to its end.
fn to_its_end(folder: &Path, state: &str) -> String {
    let document = fs::read_to_string(folder.join("pipeline.yaml")).expect("a document");
    let plugins = root().join("target/plugins").display().to_string();
    let lines = document.replace("PLUGINS", &plugins);
    let lines = lines.replace("follow: true", "follow: false");
    let lines = lines
        .lines()
        .filter(|line| !line.trim_start().starts_with("rate:"));
    lines.chain([state]).collect::<Vec<&str>>().join("\n")
}

/// The job of the folder's own document, to its end.
fn ends_as_expected(version: &str, state: &str, parallelism: &str) {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    copy(&root().join("tests/fixtures").join(version), folder.path());
    let files = expected_files(folder.path());
    assert!(!files.is_empty(), "{version}");
    let read = |name: &String| fs::read_to_string(folder.path().join(name)).expect("some rows");
    let before: Vec<String> = files.keys().map(read).collect();
    let document = to_its_end(folder.path(), state);
    run(folder.path(), &document, parallelism);
    for ((name, wanted), before) in files.iter().zip(before) {
        let (after, told) = (
            read(name),
            format!("{version}, {name}, {state}, parallelism {parallelism}"),
        );
        assert!(after.starts_with(&before), "what was decided stays: {told}");
        assert!(
            after.len() > before.len() && !before.is_empty(),
            "it was stopped within: {told}"
        );
        match name == states::NUMBERED {
            true => {
                let (found, wanted) = (&after, wanted);
                let [found, wanted] = [found, wanted].map(|text| states::without_numbers(text));
                assert_eq!(found, wanted, "{told}");
            }
            false => assert_eq!(sorted(&after), sorted(wanted), "{told}"),
        }
    }
}

/// The job of the folder, to its end.
fn goes_on(version: &str, state: &str, parallelism: &str) {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    copy(&root().join("tests/fixtures").join(version), folder.path());
    let before = fs::read_to_string(folder.path().join("out.jsonl")).expect("some rows");
    assert!((100..ROWS as usize).contains(&before.lines().count()));
    let plugin = root().join("target/plugins/count-by-key.wasm");
    let document = format!(
        "name: frozen
checkpoint: {{ interval: 1h, storage: checkpoints }}
{state}
sources:
  sales:
    generator:
      records: {ROWS}
      columns: {{ account: {{ hash-mod: {ACCOUNTS} }}, amount: {{ mod: 100, type: f64 }} }}
operators:
  counts: {{ input: sales, key-by: [account], plugin: {} }}
sinks:
  out: {{ input: counts, file: {{ path: out.jsonl }} }}
",
        plugin.display()
    );
    run(folder.path(), &document, parallelism);
    let after = fs::read_to_string(folder.path().join("out.jsonl")).expect("all rows");
    assert!(
        after.starts_with(&before),
        "what was decided stays as it is"
    );
    assert_eq!(
        sorted(&after),
        expected(),
        "{version}, {state}, parallelism {parallelism}"
    );
}

/// A folder that nothing lets go on would be a promise that nobody keeps.
#[test]
fn every_frozen_folder_has_its_test() {
    let (mut own, mut of_restore) = (BTreeSet::new(), 0);
    for entry in fs::read_dir(root().join("tests/fixtures")).expect("the frozen folders") {
        let path = entry.expect("an entry").path();
        if !path.is_dir() {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("names are text").to_owned();
        assert!(
            path.join("checkpoints").is_dir(),
            "{name} holds no checkpoints"
        );
        match name.strip_prefix(OF_RESTORE) {
            Some(number) => {
                assert!(
                    number.parse::<u32>().is_ok(),
                    "{name}: no version is called so"
                );
                of_restore += 1;
            }
            None => assert!(own.insert(name)),
        }
    }
    let claimed = [SEGMENTS, WINDOWS, AGGREGATES, STATES].map(str::to_owned);
    assert_eq!(
        own,
        BTreeSet::from(claimed),
        "tests/fixtures, and what this file lets go on"
    );
    assert!(of_restore > 0, "tests/restore.rs has nothing to let go on");
}

#[test]
fn segments_of_version_1_restore() {
    for parallelism in ["1", "2", "3"] {
        for state in [MEMORY, SPILLING] {
            goes_on(SEGMENTS, state, parallelism);
        }
    }
}

/// Into either kind of state, at several parallelisms.
fn ends_everywhere(version: &str) {
    for parallelism in ["1", "2", "3"] {
        for state in [MEMORY, SPILLING] {
            ends_as_expected(version, state, parallelism);
        }
    }
}

#[test]
fn windows_and_joins_of_version_1_restore() {
    ends_everywhere(WINDOWS);
}

#[test]
fn aggregates_of_plugins_of_version_1_restore() {
    ends_everywhere(AGGREGATES);
}

#[test]
fn bases_and_deltas_of_segments_of_version_2_restore() {
    ends_everywhere(STATES);
}

/// The folder has what it is there for, and today's wasmill finds it whole.
#[test]
fn every_kind_of_state_is_in_segments_of_version_2() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    copy(&root().join("tests/fixtures").join(STATES), folder.path());
    states::holds_every_kind(folder.path());
}
