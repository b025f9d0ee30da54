//! `cargo xtask kill`: a real job under `kill -9`, with Kafka if asked for.

use crate::workspace::Workspace;
use crate::{kafka, plugins, postgres, shell};
use anyhow::{Result, bail};

/// Random kills of a run by command; the tests come with 20.
const KILLS: &str = "200";
/// Records that go through Kafka meanwhile.
const RECORDS: &str = "5000000";

/// `[--kafka] [--kills N] [--seed S] [--records R]`: N random kills, one at each crash point with
/// each backend, and with Kafka everything else that can go wrong while R records pass.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut kills, mut seed, mut records) = (KILLS, "1", RECORDS);
    let mut rest: Vec<&str> = args.iter().map(String::as_str).collect();
    let with_kafka = rest.contains(&"--kafka");
    rest.retain(|it| *it != "--kafka");
    while let [option, value, ..] = rest[..] {
        match option {
            "--kills" => kills = value,
            "--seed" => seed = value,
            "--records" if with_kafka => records = value,
            _ => break,
        }
        rest.drain(..2);
    }
    let mut numbers = [kills, seed, records].into_iter();
    if !rest.is_empty() || numbers.any(|it| it.parse::<u64>().is_err()) {
        bail!("usage: cargo xtask kill [--kafka [--records R]] [--kills N] [--seed S]");
    }
    plugins::run(&[])?;
    let workspace = Workspace::load()?;
    shell::run(&mut workspace.cargo("build"))?;
    let (name, url) = postgres::variable()?;
    let mut test = workspace.cargo("test");
    test.env(name, url);
    if with_kafka {
        test.env(kafka::CLASSES, kafka::classes()?);
        test.env("KILL_RECORDS", records);
    }
    let target = if with_kafka { "kafka_kill" } else { "kill" };
    test.args(["--test", target, "--", "--nocapture", "every_row_once"]);
    shell::run(test.env("KILL_KILLS", kills).env("KILL_SEED", seed))
}
