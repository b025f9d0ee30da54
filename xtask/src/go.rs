//! Go, for a program that tests need: the machine's own, or one fetched into the cache folder.

use crate::{setup, shell, workspace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Go before that cannot fetch the newer one that a program needs.
const VERSION_MIN: (u32, u32) = (1, 21);
/// The toolchain that is fetched where there is none. Go publishes them as modules.
const FETCHED: &str = "go1.25.0";
/// The digests (SHA-256) of its archives.
const ARCHIVES: &[(&str, &str)] = &[
    (
        "amd64",
        "891083c63e4d7a5020bdaa1911a9c5a1a966b993d9d3c1137d1727be04435e02",
    ),
    (
        "arm64",
        "5b6d398c5062f2094ea8efd8487bd93f4b5a2876cbab4d635e747da9567b7705",
    ),
];
/// Where modules come from if `GOPROXY` says nothing else.
const PROXY: &str = "https://proxy.golang.org";

/// Builds a program from its module, and puts it into a folder.
pub(crate) fn install(package: &str, folder: &Path) -> Result<()> {
    let mut command = shell::command(program()?);
    command.args(["install", package]).env("GOBIN", folder);
    shell::run(&mut command)
}

/// A Go that is new enough.
fn program() -> Result<PathBuf> {
    if let Some(own) = shell::find("go") {
        let said = shell::output(Command::new(&own).args(["env", "GOVERSION"]))?;
        if version(&said).is_some_and(|version| version >= VERSION_MIN) {
            return Ok(own);
        }
    }
    fetch()
}

fn fetch() -> Result<PathBuf> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let archive = ARCHIVES.iter().find(|(name, _)| *name == architecture);
    let Some((_, digest)) = archive else {
        let (major, minor) = VERSION_MIN;
        bail!("install Go {major}.{minor} or newer from https://go.dev/dl");
    };
    let version = format!("v0.0.1-{FETCHED}.linux-{architecture}");
    let tools = workspace::cache()?.join("tools");
    let root = tools.join(format!("golang.org/toolchain@{version}"));
    let program = root.join("bin/go");
    if root.join("whole").is_file() {
        return Ok(program);
    }
    setup::go()?;
    std::fs::create_dir_all(&tools)?;
    let zip = tools.join(format!("{version}.zip"));
    let url = format!("{}/golang.org/toolchain/@v/{version}.zip", proxy());
    let mut get = shell::command("curl");
    get.args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--retry",
        "3",
        "--output",
    ]);
    shell::run(get.arg(&zip).arg(&url))?;
    let said = shell::output(Command::new("sha256sum").arg(&zip))?;
    if !said.starts_with(digest) {
        bail!("{url} is not what it was: its digest is {said}, and {digest} was expected");
    }
    let mut unpack = shell::command("unzip");
    shell::run(unpack.args(["-q", "-o"]).arg(&zip).arg("-d").arg(&tools))?;
    // Modules keep no modes of files.
    let mut modes = shell::command("chmod");
    modes
        .args(["-R", "+x"])
        .arg(root.join("bin"))
        .arg(root.join("pkg/tool"));
    shell::run(&mut modes)?;
    std::fs::remove_file(&zip)?;
    std::fs::write(root.join("whole"), "").context("the cache folder is writable")?;
    Ok(program)
}

/// The first place where modules come from.
fn proxy() -> String {
    let given = std::env::var("GOPROXY").unwrap_or_default();
    let mut places = given.split([',', '|']);
    let first = places.find(|place| place.starts_with("http"));
    first.unwrap_or(PROXY).trim_end_matches('/').into()
}

/// The first two numbers of `go1.26.8`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix("go")?.split('.');
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_known() {
        assert_eq!(version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(version("go1.19"), Some((1, 19)));
        assert_eq!(version("devel"), None);
    }
}
