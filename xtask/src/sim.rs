//! `cargo xtask sim`: checkpoints under every kind of bad luck, by seed.

use crate::shell;
use anyhow::{Result, bail};

/// Seeds of a run by command; the tests run a hundredth of them.
const SEEDS: &str = "100000";

/// `[--seeds N]` runs so many seeds, `--seed S` one, telling what happens.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (variable, value) = match args[..] {
        [] => ("SIM_SEEDS", SEEDS),
        ["--seeds", seeds] => ("SIM_SEEDS", seeds),
        ["--seed", seed] => ("SIM_SEED", seed),
        _ => bail!("usage: cargo xtask sim [--seeds N | --seed S]"),
    };
    let mut test = shell::cargo();
    test.args(["test", "--package", "wasmill-core", "--test", "simulation"]);
    test.args(["--", "--nocapture", "every_seed_holds"]);
    shell::run(test.env(variable, value))
}
