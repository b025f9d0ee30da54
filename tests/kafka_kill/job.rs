//! A job's folder and its processes.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use wasmill_tests::{Signal, programs};

use crate::{LOOK, PATIENCE, some_time};

/// A folder with a job.
pub(crate) struct Job {
    folder: tempfile::TempDir,
}

impl Drop for Job {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("its files stand in {}", self.keep_files().display());
        }
    }
}

impl Job {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder behind, for whoever looks into what went wrong; gives where.
    pub(crate) fn keep_files(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Has the next processes run this.
    pub(crate) fn write(&self, document: &str) {
        let path = self.folder().join("pipeline.yaml");
        fs::write(path, document).expect("the folder is writable");
    }

    /// Starts a process with more arguments; it may be made to die at a crash point.
    pub(crate) fn start(&self, arguments: &[&str], crash_at: Option<&str>) -> Running {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = self.folder().join(format!("log-{number}.txt"));
        let said = File::create(&log).expect("the folder is writable");
        let mut command = self.command("run");
        command.args(arguments).stdout(Stdio::null()).stderr(said);
        if let Some(point) = crash_at {
            command.env("WASMILL_CRASH_AT", point);
        }
        let child = command.spawn().expect("wasmill starts");
        Running { child, log }
    }

    /// Asks something of the job, such as to drain.
    pub(crate) fn ask(&self, verb: &str) -> Output {
        self.command(verb).output().expect("wasmill starts")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.current_dir(self.folder());
        command.env("XDG_DATA_HOME", self.folder().join("data"));
        // Jobs of one name have one address there.
        command.env_remove("XDG_RUNTIME_DIR");
        command.args([verb, "pipeline.yaml"]);
        command
    }

    /// Runs it to its end, which must be a failure; gives what it said.
    pub(crate) fn refuse(&self) -> String {
        let mut process = self.start(&[], None);
        let status = process.wait("a refusal");
        let said = process.said();
        // What is wrong from the start is told as what is wrong with the document.
        assert!(matches!(status.code(), Some(1 | 2)), "{status}: {said}");
        said
    }
}

/// A process of a job.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Drop for Running {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Running {
    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sees that it has not ended by itself.
    ///
    /// # Panics
    ///
    /// If it has.
    pub(crate) fn check(&mut self) {
        let ended = self.child.try_wait().expect("a child can be asked");
        assert!(
            ended.is_none(),
            "the job ended by itself: {ended:?}: {}",
            self.said()
        );
    }

    /// Lets it run for so long, then kills it.
    pub(crate) fn kill_after(mut self, milliseconds: u64) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(milliseconds) {
            self.check();
            some_time(LOOK);
        }
        self.kill();
    }

    /// Kills it; it must not have ended by itself.
    pub(crate) fn kill(mut self) {
        self.check();
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        wasmill_tests::signal(&self.child, signal);
    }

    /// Waits until it ends by itself; gives how.
    pub(crate) fn wait(&mut self, what: &str) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{what}: nothing happened for {PATIENCE:?}: {}",
                self.said()
            );
            some_time(LOOK);
        }
    }

    /// Waits for it to die as `kill -9` ends a process.
    pub(crate) fn crash(mut self, point: &str) {
        let status = self.wait(point);
        let said = self.said();
        let signal = status.signal();
        assert_eq!(
            signal,
            Some(9),
            "`{point}` was never reached: {status}: {said}"
        );
    }

    /// Waits for it to end well; gives what it said.
    pub(crate) fn finish(mut self) -> String {
        let status = self.wait("its end");
        let said = self.said();
        assert!(status.success(), "{status}: {said}");
        said
    }
}
