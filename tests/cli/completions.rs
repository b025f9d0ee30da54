//! `wasmill completions`: scripts that shells take.

use std::process::Command;

use crate::program::run;

#[test]
fn every_shell_completes_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(folder.path(), &["completions", shell]).ended(0).out;
        for word in [
            "run",
            "check",
            "graph",
            "schema",
            "plugin",
            "inspect",
            "summary-file",
        ] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
        assert!(
            !script.contains("compile-component"),
            "{shell} shows what is ours"
        );
    }
    run(folder.path(), &["completions", "cmd"]).ended(2);
}

#[test]
fn bash_takes_its_script() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = run(folder.path(), &["completions", "bash"]).ended(0).out;
    let asked = format!(
        "{script}\nCOMP_WORDS=(wasmill gr); COMP_CWORD=1; _wasmill wasmill gr wasmill; echo $COMPREPLY"
    );
    let output = Command::new("bash")
        .args(["-c", &asked])
        .output()
        .expect("bash starts");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "graph",
        "{output:?}"
    );
}
