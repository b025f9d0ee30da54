//! `cargo xtask soak`: long runs that show that memory is bounded.

use crate::workspace::{Workspace, root};
use crate::{plugins, shell};
use anyhow::{Context, Result, bail};

/// How long a run lasts if the command line does not say.
const MINUTES: f64 = 10.0;

/// `spill` or `ttl`, and `--minutes N`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (name, minutes) = match words[..] {
        [name] => (name, MINUTES),
        [name, "--minutes", minutes] => (name, minutes.parse().context("--minutes")?),
        _ => bail!("usage: cargo xtask soak spill|ttl [--minutes N]"),
    };
    let scenario = match name {
        "spill" | "ttl" => format!("soak-{name}"),
        _ => bail!("there is no soak {name}: there are spill and ttl"),
    };
    plugins::run(&[])?;
    let workspace = Workspace::load()?;
    shell::run(&mut workspace.cargo("build"))?;
    let mut command = shell::command(workspace.target.join("debug/wasmill-bench"));
    let seconds = (minutes * 60.0).to_string();
    command.args([scenario.as_str(), "--seconds", &seconds]);
    shell::run(command.current_dir(root()))
}
