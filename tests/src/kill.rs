//! Ends processes by force at random times, however fast or slow the machine is.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// The signal of `kill -9`.
const KILL: i32 = 9;
/// The longest that a job runs before the first kill, in milliseconds.
const LONGEST: u64 = 400;
/// The same of a job that has nothing to show for it.
const LONGEST_MAX: u64 = 20_000;

/// Tells what came of a run past the capture of output, for whoever reads the log of all tests;
/// and adds it to the file that `KILL_REPORT` names, if there is one.
///
/// # Panics
///
/// If that cannot be written.
pub fn report(line: &str) {
    let line = format!("{line}\n");
    let told = std::io::stderr().write_all(line.as_bytes());
    told.expect("somebody reads it");
    if let Some(file) = std::env::var_os("KILL_REPORT") {
        let file = OpenOptions::new().append(true).create(true).open(file);
        let added = file.and_then(|mut file| file.write_all(line.as_bytes()));
        added.expect("the report can be written");
    }
}

/// Kills starts of one job. As long as none was killed at work, the next one begins anew and has
/// half the time: so that a fast machine is not done with the job before.
#[derive(Debug)]
pub struct Kills {
    longest: u64,
    number: usize,
}

impl Default for Kills {
    fn default() -> Self {
        Self {
            longest: LONGEST,
            number: 0,
        }
    }
}

impl Kills {
    /// How many starts were killed at work.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The job had nothing to show for its time: the next start has twice as much. So a slow
    /// machine comes to what is worth killing as well.
    pub fn take_longer(&mut self) {
        self.longest = (self.longest * 2).min(LONGEST_MAX);
    }

    /// Starts a job and kills it at a part of the longest time, of 1,000 parts. `false` means that
    /// it was done before.
    ///
    /// # Panics
    /// If a process cannot be started or killed.
    pub fn kill(&mut self, command: &mut Command, part: u64) -> bool {
        if self.number == 0 {
            command.arg("--fresh");
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().expect("wasmill starts");
        some_time(self.longest * part / 1_000);
        let was_running = running.try_wait().expect("a child can be asked").is_none();
        running.kill().expect("a child can be killed");
        running.wait().expect("a killed child ends");
        self.number += usize::from(was_running);
        if !was_running && self.number == 0 {
            self.longest = (self.longest / 2).max(2);
            forget(command.get_current_dir().unwrap_or(Path::new(".")));
        }
        was_running
    }
}

/// Takes away the outputs and the checkpoints of a job that is done: a start that begins anew and
/// is killed before it has come to that would leave them there as its own.
fn forget(folder: &Path) {
    let entries = fs::read_dir(folder).expect("a job's folder can be listed");
    for entry in entries {
        let path = entry.expect("a job's folder can be listed").path();
        if path.extension().is_some_and(|suffix| suffix == "commits") {
            for file in [path.with_extension(""), path] {
                fs::remove_file(file).expect("an output has its commits beside it");
            }
        }
    }
    let checkpoints = folder.join("checkpoints");
    if checkpoints.exists() {
        fs::remove_dir_all(checkpoints).expect("a job's folder is writable");
    }
}

/// Lets the job run for a while, however far that takes it.
#[expect(
    clippy::disallowed_methods,
    reason = "a kill comes at any time; nothing is expected to have happened"
)]
fn some_time(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// Whether a job comes to a crash point so many times: then it dies there.
///
/// # Panics
/// If the process cannot be started.
pub fn reaches(command: &mut Command, point: &str, times: u32) -> bool {
    command.env("WASMILL_CRASH_AT", format!("{point}:{times}"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("wasmill starts");
    status.signal() == Some(KILL)
}
