//! `cargo xtask test`: sets up, builds the components, runs every test.

use crate::workspace::Workspace;
use crate::{plugins, shell};
use anyhow::Result;

/// Runs all tests. The arguments go to `cargo test`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    plugins::run(&[])?;
    let workspace = Workspace::load()?;
    // Tests from outside run the real program.
    shell::run(shell::cargo().args(["build", "--package", "wasmill-host"]))?;
    let mut command = shell::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    // Test guests misbehave inside the sandbox only; `tests` runs them there.
    for guest in workspace
        .guests
        .iter()
        .filter(|guest| guest.is_test_guest())
    {
        command.args(["--exclude", &guest.package]);
    }
    shell::run(command.args(args))
}
