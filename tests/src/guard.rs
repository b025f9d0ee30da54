//! Ends programs that hang, so that a test fails in their place.

use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A run that takes longer hangs.
const HANGS: Duration = Duration::from_secs(60);

/// Runs a program to its end, silent on every stream.
///
/// # Panics
///
/// If it does not start, or hangs: then it is killed, and what it said is told.
pub fn run_guarded(command: &mut Command) -> Output {
    run_for(command, HANGS)
}

/// Does what depends on a program that is running; one that hangs meanwhile is killed, so that
/// whoever waits for it sees its end.
pub fn guarded<T>(child: &Child, work: impl FnOnce() -> T) -> T {
    let pid = Pid::from_child(child);
    let (is_done, wait) = mpsc::sync_channel::<()>(1);
    thread::scope(move |scope| {
        scope.spawn(move || {
            if wait.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let done = work();
        drop(is_done);
        done
    })
}

fn run_for(command: &mut Command, most: Duration) -> Output {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let pid = Pid::from_child(&child);
    let (ended, wait) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        scope.spawn(move || ended.send(child.wait_with_output()));
        let in_time = wait.recv_timeout(most);
        let hangs = in_time.is_err();
        if hangs {
            // It may have ended this very moment.
            let _ = kill_process(pid, Signal::KILL);
        }
        let output = in_time.or_else(|_| wait.recv());
        let output = output.expect("the program is waited for");
        let output = output.expect("what it says can be read");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!hangs, "{command:?} hangs: {said}");
        output
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_told() {
        let output = run_guarded(Command::new("sh").args(["-c", "echo out; exit 3"]));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, b"out\n");
    }

    #[test]
    #[should_panic(expected = "hangs: about to wait")]
    fn what_hangs_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo about to wait >&2; exec sleep 3600"]);
        run_for(&mut command, Duration::from_millis(200));
    }
}
