//! `cargo xtask setup`: installs what this machine lacks, or says the one command that does.

use crate::shell;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// What plugins compile to.
pub(crate) const WASM_TARGET: &str = "wasm32-wasip2";

/// A program that comes with the system's packages.
struct Tool {
    program: &'static str,
    package: &'static str,
    reason: &'static str,
}

/// What building needs beside Rust.
const BUILD_TOOLS: &[Tool] = &[Tool {
    program: "cc",
    package: "build-essential",
    reason: "zstd and SQLite are compiled from C",
}];

/// What the programs to compare with need.
const PEER_TOOLS: &[Tool] = &[
    Tool {
        program: "javac",
        package: "openjdk-17-jdk-headless",
        reason: "Flink runs on Java",
    },
    Tool {
        program: "mvn",
        package: "maven",
        reason: "Flink comes from Maven",
    },
];

/// What a bare Debian needs.
const FRESH_TOOLS: &[Tool] = &[Tool {
    program: "debootstrap",
    package: "debootstrap",
    reason: "it makes the bare Debian",
}];

/// Prepares a machine for building, testing and the demo.
pub(crate) fn run(_args: &[String]) -> Result<()> {
    ensure_tools(BUILD_TOOLS)?;
    ensure_wasm_target()
}

/// Prepares a machine for `bench --peers`.
pub(crate) fn peers() -> Result<()> {
    ensure_tools(PEER_TOOLS)
}

/// Prepares a machine for `fresh`.
pub(crate) fn fresh() -> Result<()> {
    ensure_tools(FRESH_TOOLS)
}

fn ensure_tools(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools
        .iter()
        .filter(|tool| shell::find(tool.program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        eprintln!("`{}` is missing: {}", tool.program, tool.reason);
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    install(&packages)
}

fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if shell::find("apt-get").is_none() {
        bail!("install what Debian calls `{list}` with your system's package manager, then repeat");
    }
    if !shell::is_root() {
        bail!("run `sudo apt-get install -y {list}`, then repeat");
    }
    shell::run(shell::command("apt-get").arg("update"))?;
    let mut command = shell::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages);
    shell::run(&mut command)
}

/// Adds the Wasm target to the toolchain in use, unless its library is there already.
fn ensure_wasm_target() -> Result<()> {
    let sysroot = shell::output(Command::new("rustc").args(["--print", "sysroot"]))
        .context("Rust is missing: install it from https://rustup.rs, then repeat")?;
    let library = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(WASM_TARGET)
        .join("lib");
    if library.is_dir() {
        return Ok(());
    }
    if shell::find("rustup").is_none() {
        bail!(
            "this Rust has no `{WASM_TARGET}` and no rustup to add it: install https://rustup.rs"
        );
    }
    shell::run(shell::command("rustup").args(["target", "add", WASM_TARGET]))
}
