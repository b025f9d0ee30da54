//! Jobs under `kill -9`: whatever ends them and whenever, what they have brought out in the end is
//! what plain Rust finds, each row once and each key's rows in their order; and whoever reads along
//! never sees anything that is taken back.
//!
//! `cargo xtask kill --kills N --seed S` runs `every_row_once`, and says how it went in its last
//! line; among all tests it runs with few kills.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it tells how it went, and kills come at any time, whatever has happened by then"
)]

mod damage;
mod disk;
mod document;
mod feed;
mod flagship;
mod job;
mod ledger;
mod oracle;
mod outputs;
mod points;
mod reader;
mod run;
mod s3;
mod windows;

use std::thread;
use std::time::Duration;

use wasmill_tests::kill::report;

/// Lets a job run for a while, however far that takes it.
fn some_time(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// A number that the command line gives.
fn number(variable: &str, usual: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(usual, |text| text.parse().expect(variable))
}

/// Random kills, and a kill at each crash point, with each backend.
#[test]
fn every_row_once() {
    let (kills, seed) = (number("KILL_KILLS", 20), number("KILL_SEED", 1));
    let backends = job::backends();
    let share = kills.div_ceil(backends.len() as u64);
    let outcomes: Vec<run::Outcome> = thread::scope(|scope| {
        let runs = backends.iter().zip(0..).map(|(backend, at)| {
            let kills = share.min(kills.saturating_sub(share * at));
            let job = job::Job::new(*backend).with_postgres();
            let points = points::all_of(*backend);
            scope.spawn(move || run::Run::new(job, seed + at).go(kills, &points))
        });
        let runs: Vec<_> = runs.collect();
        let ended = runs.into_iter().map(|run| run.join());
        ended
            .map(|it| it.expect("a run says why it fails"))
            .collect()
    });
    let total = outcomes
        .into_iter()
        .fold(run::Outcome::default(), run::Outcome::add);
    report(&format!("kill: {total}, seed {seed}"));
    assert!(total.is_flawless(), "{total}");
}
