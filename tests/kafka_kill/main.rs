//! Jobs that read from Kafka and write to it, exactly once, under everything that can go wrong:
//! `kill -9` of the job and of the broker, answers that never come, transactions that time out, ids
//! that expire, runs that come back when another one has taken over. In the end the topic and the
//! audit table hold what plain Rust finds, each row once and each key's rows in their order, and
//! whoever has read along has never seen anything that was taken back.
//!
//! `cargo xtask kill --kafka --kills N --seed S --records R` runs `every_row_once`, and says how it
//! went in its last line; among all tests it runs with few kills.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it tells how it went, and kills come at any time, whatever has happened by then"
)]

mod client;
mod document;
mod faults;
mod feed;
mod job;
mod oracle;
mod points;
mod poison;
mod produce;
mod reader;
mod repeats;
mod replay;
mod run;
mod stops;

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use wasmill_tests::kill::report;

use crate::document::Form;
use crate::run::{Outcome, Plan, Run};

/// What does not happen for so long does not happen.
const PATIENCE: Duration = Duration::from_secs(120);
/// Milliseconds from one look to the next.
const LOOK: u64 = 10;

/// Lets a job run for a while, however far that takes it.
fn some_time(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// Waits for something to become so; looks again until it is.
fn wait(what: impl Display, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        some_time(LOOK);
    }
}

/// A number that the command line gives.
fn number(variable: &str, usual: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(usual, |text| text.parse().expect(variable))
}

/// Random kills, a kill at each crash point of the commit, and everything that a broker and a
/// network do: where sinks follow the log of checkpoints, and where Kafka decides.
#[test]
fn every_row_once() {
    let (kills, seed) = (number("KILL_KILLS", 20), number("KILL_SEED", 1));
    let records = number("KILL_RECORDS", 0);
    let forms = Form::ALL;
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let runs = forms.iter().zip(0..).map(|(form, at)| {
            let share = |all: u64| {
                let share = all.div_ceil(forms.len() as u64);
                share.min(all.saturating_sub(share * at))
            };
            let plan = Plan {
                form: *form,
                seed: seed + at,
                kills: share(kills),
                records: share(records),
            };
            scope.spawn(move || Run::new(plan).go())
        });
        let runs: Vec<_> = runs.collect();
        let ended = runs.into_iter().map(|run| run.join());
        let ended = ended.map(|it| it.expect("a run says why it fails"));
        ended.collect()
    });
    let total = outcomes.into_iter().fold(Outcome::default(), Outcome::add);
    report(&format!("kill, kafka: {total}, seed {seed}"));
    assert!(total.is_flawless(), "{total}");
}
