//! What the repository holds: its root, its target folder, its crates.

use crate::shell;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders whose crates are Wasm components. `*` stands for one folder's name.
const GUEST_FOLDERS: &[&str] = &["plugins/*", "examples/*/plugin", "tests/guests/*"];

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable when it runs us; a binary started by hand falls back to its build's.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").filter(|_| is_ours());
    let here = here.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// The folder of this user's cache that is wasmill's.
pub(crate) fn cache() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("wasmill"))
}

/// Whether the variables of the surrounding cargo speak of this package.
fn is_ours() -> bool {
    std::env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"))
}

/// A crate that becomes a Wasm component.
pub(crate) struct Guest {
    /// The package's name, such as `plugin-filter`.
    pub(crate) package: String,
    /// The file's stem that cargo writes, such as `plugin_filter`.
    pub(crate) artifact: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest: PathBuf,
    /// Whether native programs link it too.
    pub(crate) is_linked: bool,
}

impl Guest {
    /// The name that pipelines use: the package's without `plugin-`.
    pub(crate) fn name(&self) -> &str {
        self.package
            .strip_prefix("plugin-")
            .unwrap_or(&self.package)
    }

    /// Whether it exists to misbehave: such a crate has no native tests.
    pub(crate) fn is_test_guest(&self) -> bool {
        self.manifest.starts_with(root().join("tests"))
    }
}

/// What `cargo metadata` says of one workspace.
pub(crate) struct Workspace {
    /// The target folder, wherever the user has put it.
    pub(crate) target: PathBuf,
    /// Every crate that becomes a component.
    pub(crate) guests: Vec<Guest>,
    /// The names of all other packages.
    pub(crate) natives: Vec<String>,
}

impl Workspace {
    /// Reads the repository's own workspace.
    pub(crate) fn load() -> Result<Self> {
        Self::load_from(&root().join("Cargo.toml"))
    }

    /// Reads the workspace of another manifest.
    pub(crate) fn load_from(manifest: &Path) -> Result<Self> {
        let text = shell::output(
            shell::cargo()
                .args([
                    "metadata",
                    "--no-deps",
                    "--format-version",
                    "1",
                    "--manifest-path",
                ])
                .arg(manifest),
        )?;
        Self::parse(&text)
    }

    /// A cargo command over everything that runs on this machine. Always this one set of packages:
    /// another set would unify other features, and compile wasmtime again.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = shell::cargo();
        command.args([verb, "--workspace"]);
        for guest in self.guests.iter().filter(|guest| guest.is_test_guest()) {
            // Test guests misbehave inside the sandbox only; `tests` runs them there.
            command.args(["--exclude", &guest.package]);
        }
        command
    }

    fn parse(text: &str) -> Result<Self> {
        let metadata: Value = serde_json::from_str(text).context("cargo metadata is not JSON")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("no target directory")?;
        let mut workspace = Self {
            target: target.into(),
            guests: Vec::new(),
            natives: Vec::new(),
        };
        for package in metadata["packages"].as_array().context("no packages")? {
            let name = package["name"].as_str().context("a package without name")?;
            let manifest: PathBuf = package["manifest_path"]
                .as_str()
                .context("a package without manifest")?
                .into();
            match component(package).filter(|_| is_guest_folder(&manifest)) {
                Some((artifact, is_linked)) => {
                    workspace.guests.push(Guest {
                        package: name.into(),
                        artifact,
                        manifest,
                        is_linked,
                    });
                }
                None => workspace.natives.push(name.into()),
            }
        }
        Ok(workspace)
    }
}

/// The file stem of a package's dynamic library, if it has one, and whether it is another kind of
/// library too.
fn component(package: &Value) -> Option<(String, bool)> {
    let targets = package["targets"].as_array()?;
    let types = |target: &Value| {
        target["crate_types"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let library = targets
        .iter()
        .find(|target| types(target).iter().any(|t| t == "cdylib"))?;
    let stem = library["name"].as_str()?.replace('-', "_");
    Some((stem, types(library).len() > 1))
}

fn is_guest_folder(manifest: &Path) -> bool {
    let root = root();
    let Some(folder) = manifest
        .parent()
        .and_then(|folder| folder.strip_prefix(&root).ok())
    else {
        return false;
    };
    GUEST_FOLDERS.iter().any(|pattern| {
        let wanted: Vec<&str> = pattern.split('/').collect();
        let found: Vec<_> = folder.components().map(|part| part.as_os_str()).collect();
        wanted.len() == found.len()
            && wanted
                .iter()
                .zip(found)
                .all(|(wanted, found)| *wanted == "*" || found == *wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(folder: &str, crate_types: &[&str]) -> String {
        let manifest = root().join(folder).join("Cargo.toml");
        let target = serde_json::json!({ "name": "plugin-a", "crate_types": crate_types });
        let package = serde_json::json!({
            "name": "plugin-a", "manifest_path": manifest, "targets": [target],
        });
        serde_json::json!({ "target_directory": "/t", "packages": [package] }).to_string()
    }

    #[test]
    fn components_are_found_by_their_place() {
        for folder in ["plugins/a", "examples/b/plugin", "tests/guests/c"] {
            let workspace = Workspace::parse(&metadata(folder, &["cdylib"])).unwrap();
            assert_eq!(workspace.guests[0].name(), "a", "{folder}");
            assert_eq!(workspace.guests[0].artifact, "plugin_a");
            assert!(!workspace.guests[0].is_linked);
        }
        let both = Workspace::parse(&metadata("plugins/a", &["cdylib", "rlib"])).unwrap();
        assert!(both.guests[0].is_linked);
        for (folder, kind) in [
            ("plugins/a", "lib"),
            ("sdk/rust", "cdylib"),
            ("x/plugins/a", "cdylib"),
        ] {
            let workspace = Workspace::parse(&metadata(folder, &[kind])).unwrap();
            assert_eq!(workspace.natives, ["plugin-a"], "{folder}");
        }
    }
}
