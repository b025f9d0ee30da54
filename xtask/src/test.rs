//! `cargo xtask test`: sets up, builds the components, runs every test.

use crate::workspace::Workspace;
use crate::{plugins, shell};
use anyhow::Result;

/// Runs all tests. The arguments go to `cargo test`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    plugins::run(&[])?;
    let workspace = Workspace::load()?;
    // Tests from outside run the real program.
    shell::run(&mut workspace.cargo("build"))?;
    shell::run(workspace.cargo("test").arg("--no-fail-fast").args(args))
}
