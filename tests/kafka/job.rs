//! A job that reads topics, in a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use wasmill_tests::{Signal, programs, signal};

use crate::topics::brokers;

/// A folder with a pipeline.
pub(crate) struct Job {
    folder: tempfile::TempDir,
}

/// A job that runs, and is ended with the test.
pub(crate) struct Running(Child);

impl Running {
    /// Asks it to stop, which takes a last checkpoint.
    pub(crate) fn stop(mut self) -> Output {
        signal(&self.0, Signal::TERM);
        self.take()
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().expect("a child can be killed");
        drop(self.0.wait());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Output {
        self.take()
    }

    /// Waits until a line of what it says has this in it.
    pub(crate) fn wait_until_said(&mut self, part: &str) {
        let said = self.0.stderr.as_mut().expect("it is read here alone");
        let mut so_far = String::new();
        let is_said = BufReader::with_capacity(1, said).lines().any(|line| {
            so_far += &line.expect("it writes text");
            so_far.contains(part)
        });
        assert!(is_said, "`{part}` was not said: {so_far}");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("a child can be asked").is_some()
    }

    fn take(&mut self) -> Output {
        let mut said = Vec::new();
        let mut shown = Vec::new();
        if let Some(mut out) = self.0.stdout.take() {
            out.read_to_end(&mut shown).expect("it writes");
        }
        if let Some(mut error) = self.0.stderr.take() {
            error.read_to_end(&mut said).expect("it writes");
        }
        Output {
            status: self.0.wait().expect("it ends"),
            stdout: shown,
            stderr: said,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Job {
    /// `document` names BROKERS.
    pub(crate) fn new(document: &str) -> Self {
        let job = Self {
            folder: tempfile::tempdir().expect("a folder for the test's files"),
        };
        job.write(document);
        job
    }

    pub(crate) fn write(&self, document: &str) {
        let document = document.replace("BROKERS", &brokers());
        fs::write(self.path("pipeline.yaml"), document).expect("the folder is writable");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, parallelism: usize) -> Command {
        let mut command = self.program();
        command.args(["run", "pipeline.yaml", "--parallelism"]);
        command.arg(parallelism.to_string());
        command
    }

    /// The program, in the job's folder.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.current_dir(self.folder.path());
        command.env_remove("WASMILL_LOG");
        // What other runs have left under the same names is not this job's.
        command.env("XDG_DATA_HOME", self.path("data"));
        command
    }

    pub(crate) fn start(&self, parallelism: usize) -> Running {
        let mut command = self.command(parallelism);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        Running(command.spawn().expect("wasmill starts"))
    }

    /// Runs to the end; gives what it said.
    pub(crate) fn finish(&self, parallelism: usize) -> String {
        let output = self.start(parallelism).end();
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        said
    }

    /// Runs to a failure; gives the exit code and what was said.
    pub(crate) fn fail(&self, parallelism: usize) -> (Option<i32>, String) {
        let output = self.start(parallelism).end();
        assert!(!output.status.success(), "it should have failed");
        (output.status.code(), said(&output))
    }

    /// The whole lines of an output so far.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Waits until this run has decided a checkpoint.
    pub(crate) fn wait_for_checkpoint(&self, running: &mut Running) {
        let decided = || {
            let mut list = Command::new(programs().join("wasmill"));
            list.args(["checkpoint", "ls", "pipeline.yaml"])
                .current_dir(self.folder.path());
            let output = list.output().expect("wasmill starts");
            let listed = String::from_utf8_lossy(&output.stdout).into_owned();
            let numbers = listed
                .lines()
                .filter_map(|line| line.split_whitespace().next());
            numbers
                .filter_map(|number| number.parse::<u64>().ok())
                .max()
        };
        let before = decided();
        while decided() <= before {
            assert!(
                !running.has_ended(),
                "the job has ended without a checkpoint"
            );
            some_time(20);
        }
    }

    /// Waits until an output has so many lines.
    pub(crate) fn wait_for(&self, running: &mut Running, name: &str, lines: usize) {
        while self.lines(name).len() < lines {
            assert!(
                !running.has_ended(),
                "the job has ended before its output was there"
            );
            some_time(5);
        }
    }
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Lets the job run for a while, however far that takes it.
#[expect(
    clippy::disallowed_methods,
    reason = "a kill comes at any time; nothing is expected to have happened"
)]
pub(crate) fn some_time(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}
