//! Signals to programs that tests have started. There is no program for that on a small system.

use std::process::Child;

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

/// Sends a signal.
///
/// # Panics
///
/// If there is no such process: it was waited for.
pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the child is there");
}
