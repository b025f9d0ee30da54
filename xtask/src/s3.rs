//! A real S3 server for tests: versitygw, built from its source by Go into the cache folder.

use crate::{setup, shell};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// The variable under which tests find it.
pub(crate) const VARIABLE: &str = "WASMILL_S3_SERVER";
/// Where it comes from; one version for everybody.
const PACKAGE: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";
/// Go before that cannot fetch the newer one that it needs.
const GO_MIN: (u32, u32) = (1, 21);

/// The server's program, set up if need be.
pub(crate) fn server() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        return Ok(given.into());
    }
    let tools = cache()?.join("wasmill/tools");
    let program = tools.join("versitygw");
    if program.is_file() {
        return Ok(program);
    }
    setup::s3()?;
    let said = shell::output(Command::new("go").args(["env", "GOVERSION"]))?;
    if version(&said).is_none_or(|version| version < GO_MIN) {
        let (major, minor) = GO_MIN;
        bail!(
            "Go {major}.{minor} or newer builds the S3 server of the tests, here is {}: install \
             it from https://go.dev/dl, or set {VARIABLE} to a versitygw",
            said.trim()
        );
    }
    let mut command = shell::command("go");
    command.args(["install", PACKAGE]).env("GOBIN", &tools);
    shell::run(&mut command)?;
    Ok(program)
}

fn cache() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(cache) = variable("XDG_CACHE_HOME") {
        return Ok(cache.into());
    }
    let home = variable("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache"))
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
