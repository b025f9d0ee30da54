//! Runs the program, and tells what came of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;
use wasmill_tests::{programs, root};

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ran {
    /// Fails the test unless the program ended with this code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// The JSON summary: the last line of an output.
    #[track_caller]
    pub(crate) fn summary_of(text: &str) -> Json {
        let found = text.lines().rev().find(|line| line.starts_with('{'));
        let line = found.unwrap_or_else(|| panic!("no summary in:\n{text}"));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

/// The program with its arguments, in a folder, silent on every stream.
pub(crate) fn wasmill(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(programs().join("wasmill"));
    command.args(arguments).current_dir(folder);
    command
        .env_remove("WASMILL_LOG")
        .env_remove("WASMILL_STORAGE");
    command.stdin(Stdio::null());
    // No two tests share checkpoints.
    command.env("XDG_DATA_HOME", folder.join("data"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Ran {
    ended(wasmill(folder, arguments).spawn().expect("wasmill starts"))
}

/// Runs the program to its end with a text on standard input.
pub(crate) fn run_fed(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut command = wasmill(folder, arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .expect("wasmill starts");
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    pipe.write_all(input.as_bytes())
        .expect("wasmill reads its input");
    drop(pipe);
    ended(child)
}

/// Waits for a program that was started.
pub(crate) fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("outputs are text");
    Ran {
        code: output.status.code().expect("it ends by itself"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A component that `cargo xtask plugins` has built.
pub(crate) fn component(name: &str) -> PathBuf {
    let path = root().join("target/plugins").join(format!("{name}.wasm"));
    let shown = path.display();
    assert!(path.is_file(), "{shown} is missing: cargo xtask test");
    path
}
