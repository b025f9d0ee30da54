//! Every example does what its `expected` folder says, at any parallelism.
//!
//! An example has `pipeline.yaml` and `expected/`, in which `stdout.jsonl` is what the job prints
//! and each other file is one that it writes. Rows of different keys may come in any order.

use std::fs;
use std::path::Path;
use std::process::Command;
use wasmill_tests::{programs, root};

/// The example that has tests of its own, beside its generator.
const FLAGSHIP: &str = "card-fraud";

#[test]
fn every_example_gives_its_expected_output() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("examples")).expect("examples") {
        let folder = entry.expect("an entry").path();
        if folder.is_dir() && !folder.ends_with(FLAGSHIP) {
            for parallelism in ["1", "2", "4"] {
                check(&folder, parallelism);
            }
            count += 1;
        }
    }
    assert!(count > 0, "there is no example");
}

fn check(example: &Path, parallelism: &str) {
    let place = tempfile::tempdir().expect("a folder");
    let output = Command::new(programs().join("wasmill"))
        .arg("run")
        .arg(example.join("pipeline.yaml"))
        .args(["--parallelism", parallelism])
        .args(["--fresh", "--storage", "checkpoints"])
        .current_dir(place.path())
        .output()
        .expect("wasmill starts");
    let name = format!("{} at parallelism {parallelism}", example.display());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {complaint}");
    fs::write(place.path().join("stdout.jsonl"), output.stdout).expect("the folder is ours");
    for entry in fs::read_dir(example.join("expected")).expect("expected") {
        let expected = entry.expect("an entry").path();
        let file = expected.file_name().expect("a name");
        let given = sorted(&place.path().join(file));
        assert_eq!(given, sorted(&expected), "{name}: {}", file.display());
    }
}

/// A file's lines in order, each as JSON: neither the order of rows nor spaces matter.
fn sorted(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let json = |line: &str| serde_json::from_str::<serde_json::Value>(line).map(|v| v.to_string());
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| json(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect();
    lines.sort_unstable();
    lines
}
