//! `cargo xtask kill`: a real job under `kill -9`, with Kafka if asked for.

use crate::workspace::Workspace;
use crate::{kafka, plugins, postgres, s3, shell};
use anyhow::{Context, Result, bail};
use std::fs;

/// Random kills of a run by command; the tests come with 20.
const KILLS: &str = "200";
/// Records that go through Kafka meanwhile.
const RECORDS: &str = "5000000";
/// Records of which a hundredth is poison.
const POISON_RECORDS: &str = "1000000";

/// `[--kafka | --poison] [--kills N] [--seed S] [--records R]`: N random kills, one at each crash
/// point with each backend, and with Kafka everything else that can go wrong while R records pass;
/// or R records through Kafka of which a hundredth is poison. What came of it is told at the end.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut rest: Vec<&str> = args.iter().map(String::as_str).collect();
    let (with_kafka, with_poison) = (rest.contains(&"--kafka"), rest.contains(&"--poison"));
    let records = if with_poison { POISON_RECORDS } else { RECORDS };
    let (mut kills, mut seed, mut records) = (KILLS, "1", records);
    rest.retain(|it| !matches!(*it, "--kafka" | "--poison"));
    while let [option, value, ..] = rest[..] {
        match option {
            "--kills" => kills = value,
            "--seed" => seed = value,
            "--records" if with_kafka || with_poison => records = value,
            _ => break,
        }
        rest.drain(..2);
    }
    let mut numbers = [kills, seed, records].into_iter();
    let is_both = with_kafka && with_poison;
    if is_both || !rest.is_empty() || numbers.any(|it| it.parse::<u64>().is_err()) {
        bail!(
            "usage: cargo xtask kill [--kafka [--records R]] [--kills N] [--seed S], or \
             cargo xtask kill --poison [--records R] [--seed S]"
        );
    }
    plugins::run(&[])?;
    let workspace = Workspace::load()?;
    shell::run(&mut workspace.cargo("build"))?;
    let (name, url) = postgres::variable()?;
    let mut test = workspace.cargo("test");
    test.env(name, url).env(s3::VARIABLE, s3::server()?);
    let (target, name) = match (with_kafka, with_poison) {
        (true, _) => ("kafka_kill", "every_row_once"),
        (_, true) => ("kafka_kill", "poison_comes_once"),
        _ => ("kill", "every_row_once"),
    };
    if target == "kafka_kill" {
        test.env(kafka::CLASSES, kafka::classes()?);
        test.env("KILL_RECORDS", records);
        test.env("POISON_RECORDS", records);
    }
    let report = workspace.target.join("kill-report.txt");
    fs::write(&report, "").context("the target folder is writable")?;
    test.env("KILL_REPORT", &report);
    test.args(["--test", target, "--", "--nocapture", name]);
    let ran = shell::run(test.env("KILL_KILLS", kills).env("KILL_SEED", seed));
    let told = fs::read_to_string(&report).unwrap_or_default();
    let mut lines: Vec<&str> = told.lines().collect();
    // What stands for the whole comes last.
    lines.sort_by_key(|line| line.starts_with("kill: "));
    lines.iter().for_each(|line| println!("{line}"));
    ran
}
