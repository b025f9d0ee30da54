//! `cargo xtask kill`: a real job under `kill -9`.

use crate::workspace::Workspace;
use crate::{plugins, postgres, shell};
use anyhow::{Result, bail};

/// Random kills of a run by command; the tests come with 20.
const KILLS: &str = "200";

/// `[--kills N] [--seed S]`: N random kills, and one at each crash point with each backend.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut kills, mut seed) = (KILLS, "1");
    let mut rest: Vec<&str> = args.iter().map(String::as_str).collect();
    while let [option, value, ..] = rest[..] {
        match option {
            "--kills" => kills = value,
            "--seed" => seed = value,
            _ => break,
        }
        rest.drain(..2);
    }
    if !rest.is_empty() || [kills, seed].iter().any(|it| it.parse::<u64>().is_err()) {
        bail!("usage: cargo xtask kill [--kills N] [--seed S]");
    }
    plugins::run(&[])?;
    let workspace = Workspace::load()?;
    shell::run(&mut workspace.cargo("build"))?;
    let (name, url) = postgres::variable()?;
    let mut test = workspace.cargo("test");
    test.env(name, url);
    test.args(["--test", "kill", "--", "--nocapture", "every_row_once"]);
    shell::run(test.env("KILL_KILLS", kills).env("KILL_SEED", seed))
}
