//! `cargo xtask test`: sets up, builds the components, runs every test.

use crate::workspace::Workspace;
use crate::{kafka, plugins, postgres, registry, s3, shell};
use anyhow::Result;

/// Runs all tests. The arguments go to `cargo test`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    plugins::run(&[])?;
    let workspace = Workspace::load()?;
    // Tests from outside run the real program.
    shell::run(&mut workspace.cargo("build"))?;
    let mut test = workspace.cargo("test");
    let (name, url) = postgres::variable()?;
    test.env(name, url).env(s3::VARIABLE, s3::server()?);
    test.env(kafka::BROKERS, kafka::up()?);
    test.env(kafka::CLASSES, kafka::classes()?);
    test.env(registry::VARIABLE, registry::up()?);
    shell::run(test.arg("--no-fail-fast").args(args))
}
