//! A real S3 server for tests: versitygw, built from its source by Go into the cache folder.

use crate::{go, workspace};
use anyhow::Result;
use std::path::PathBuf;

/// The variable under which tests find it.
pub(crate) const VARIABLE: &str = "WASMILL_S3_SERVER";
/// Where it comes from; one version for everybody.
const PACKAGE: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

/// The server's program, set up if need be.
pub(crate) fn server() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        return Ok(given.into());
    }
    let tools = workspace::cache()?.join("tools");
    let program = tools.join("versitygw");
    if !program.is_file() {
        go::install(PACKAGE, &tools)?;
    }
    Ok(program)
}
