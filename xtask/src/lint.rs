//! `cargo xtask lint`: formatting, clippy and documentation. Nothing is compiled to code.

use crate::{setup, shell};
use anyhow::Result;

/// Runs all three; each denies warnings.
pub(crate) fn run(_args: &[String]) -> Result<()> {
    setup::run(&[])?;
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    // A workspace of its own, which `--all` does not reach.
    let timely = [
        "fmt",
        "--check",
        "--manifest-path",
        "tests/peers/timely/Cargo.toml",
    ];
    shell::run(shell::cargo().args(timely))?;
    shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    let mut doc = shell::cargo();
    doc.env("RUSTDOCFLAGS", "--deny warnings");
    shell::run(doc.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]))
}
