//! `cargo xtask ci`: what the continuous integration runs, by hand.

use crate::shell;
use anyhow::Result;

/// Runs `.ci/run`.
pub(crate) fn run(_args: &[String]) -> Result<()> {
    shell::run(&mut shell::command("./.ci/run"))
}
