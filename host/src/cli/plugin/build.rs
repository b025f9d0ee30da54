//! `wasmill plugin build`: cargo builds, the component is checked and put beside its manifest.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value as Json;

use super::BuildArguments;
use crate::cli::{self, failure::Failure};
use crate::plugin_store;

const TARGET: &str = "wasm32-wasip2";

pub(super) fn run(arguments: &BuildArguments) -> Result<(), Failure> {
    let built = build(&arguments.folder)?;
    cli::print(&format!("{}\n", built.display()))
}

/// Builds the plugin of a folder; gives the component's path.
pub(super) fn build(folder: &Path) -> Result<PathBuf, Failure> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        let manifest = manifest.display();
        return Err(Failure::Invalid(format!(
            "there is no `{manifest}`; start with: wasmill plugin new {}",
            folder.display()
        )));
    }
    let artifact = cargo(&manifest)?;
    let name = artifact
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .replace('_', "-");
    let component = folder.join(name);
    fs::copy(&artifact, &component).map_err(|error| {
        Failure::Failed(format!(
            "`{}` cannot be written: {error}",
            component.display()
        ))
    })?;
    let engine = plugin_store::engine().map_err(Failure::failed)?;
    plugin_store::load(&engine, &component).map_err(Failure::invalid)?;
    Ok(component)
}

/// Runs cargo; gives the component that it made of the manifest's own package.
fn cargo(manifest: &Path) -> Result<PathBuf, Failure> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Whatever types the library has, only as a component alone does cargo optimise it as a whole.
    command
        .args(["rustc", "--release", "--lib", "--crate-type", "cdylib"])
        .args(["--target", TARGET])
        .args([
            "--message-format",
            "json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(manifest)
        .stderr(Stdio::inherit());
    let output = command.output().map_err(|error| {
        Failure::Failed(format!(
            "cargo cannot be run ({error}); install Rust from https://rustup.rs"
        ))
    })?;
    if !output.status.success() {
        return Err(Failure::Failed(format!(
            "cargo failed; if it lacks the target: rustup target add {TARGET}"
        )));
    }
    let manifest = manifest.canonicalize().unwrap_or_default();
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let own = messages.filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().map(Path::new) == Some(&manifest)
    });
    let files =
        own.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let mut wasm = files.filter_map(|file| {
        let path = PathBuf::from(file.as_str()?);
        (path.extension()? == "wasm").then_some(path)
    });
    wasm.next().ok_or_else(|| {
        let remedy = "its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`";
        Failure::Invalid(format!("the package gives no component; {remedy}"))
    })
}
