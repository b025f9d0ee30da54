//! `cargo xtask plugins`: builds every Wasm component and puts it where pipelines look for it.
//!
//! Components have a target folder of their own: a build script or test that calls cargo on the
//! folder of the cargo above it would wait for that cargo's lock for ever.

use crate::setup::{self, WASM_TARGET};
use crate::shell;
use crate::workspace::{Guest, Workspace, root};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Cargo's profile for components.
const PROFILE: &str = "plugin";

/// Builds all components, or those that are named.
pub(crate) fn run(names: &[String]) -> Result<()> {
    setup::run(&[])?;
    let workspace = Workspace::load()?;
    let wanted = select(&workspace.guests, names)?;
    let built = workspace.target.join("guests");
    build(&wanted, &built)?;
    let from = built.join(WASM_TARGET).join(PROFILE);
    let to = root().join("target/plugins");
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for guest in &wanted {
        place(
            &from.join(format!("{}.wasm", guest.artifact)),
            &to,
            guest.name(),
        )?;
    }
    eprintln!("{} components in {}", wanted.len(), to.display());
    Ok(())
}

/// Compiles the components. Cargo optimises a library as a whole (`lto`) only if it is nothing but
/// a component; one that is linked natively too is therefore compiled by itself.
fn build(guests: &[&Guest], target: &Path) -> Result<()> {
    let (linked, plain): (Vec<&Guest>, Vec<&Guest>) =
        guests.iter().partition(|guest| guest.is_linked);
    if !plain.is_empty() {
        let mut command = cargo("build", target);
        for guest in plain {
            command.args(["--package", &guest.package]);
        }
        shell::run(&mut command)?;
    }
    for guest in linked {
        let mut command = cargo("rustc", target);
        command.args(["--package", &guest.package]);
        command.args(["--lib", "--crate-type", "cdylib"]);
        shell::run(&mut command)?;
    }
    Ok(())
}

fn cargo(verb: &str, target: &Path) -> Command {
    let mut command = shell::cargo();
    command.args([verb, "--profile", PROFILE, "--target", WASM_TARGET]);
    command.arg("--target-dir").arg(target);
    command
}

fn select<'a>(guests: &'a [Guest], names: &[String]) -> Result<Vec<&'a Guest>> {
    for name in names {
        if !guests
            .iter()
            .any(|guest| guest.name() == name || guest.package == *name)
        {
            let known: Vec<&str> = guests.iter().map(Guest::name).collect();
            bail!(
                "there is no plugin `{name}`; there are {}",
                known.join(", ")
            );
        }
    }
    let is_wanted = |guest: &&Guest| {
        names.is_empty()
            || names
                .iter()
                .any(|n| n == guest.name() || *n == guest.package)
    };
    Ok(guests.iter().filter(is_wanted).collect())
}

/// Copies a component unless the same bytes are there: its digest and its cache stay as they are.
fn place(built: &Path, folder: &Path, name: &str) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    let file = folder.join(format!("{name}.wasm"));
    if fs::read(&file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    // A running pipeline may be reading the old file: replace it in one step.
    let fresh = folder.join(format!(".{name}.wasm.new"));
    fs::write(&fresh, bytes).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, &file).with_context(|| format!("cannot replace {}", file.display()))
}
