//! What the README tells a newcomer to type works as it stands there.

use std::path::Path;
use std::process::Command;
use wasmill_tests::{programs, root};

/// The lines of the first block of shell after a heading.
fn block<'a>(readme: &'a str, heading: &str) -> &'a str {
    let (_, rest) = readme
        .split_once(heading)
        .expect("the heading stands in README.md");
    let (_, rest) = rest
        .split_once("```sh\n")
        .expect("a block of shell follows");
    rest.split_once("```").expect("the block ends").0
}

#[test]
fn a_first_operator_runs_by_the_readme_alone() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let programs = programs();
    let here = "$PWD/target/debug";
    let script = block(&readme, "## Your first operator");
    assert!(
        script.contains(here),
        "the README says where wasmill stands"
    );
    // The build under test may stand elsewhere; what it compiles is kept for the next run.
    let script = script.replace(here, &programs.display().to_string());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", kept)
        .output()
        .expect("bash starts");
    let (out, err) = (output.stdout, output.stderr);
    let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
    assert!(output.status.success(), "{script}\n{out}\n{err}");
    assert!(
        out.lines().any(|line| line.contains("\"count\"")),
        "no row came out:\n{out}\n{err}"
    );
}
