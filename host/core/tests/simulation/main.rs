//! Checkpoints under every kind of bad luck, by seed: processes that crash, freeze and come back
//! when others have taken over; a store that is slow, fails, and does what it said it had not;
//! messages that are lost and overtake each other. After each step the world is compared with what
//! the input alone says must be so ([`model`]).
//!
//! `SIM_SEEDS=N` runs so many seeds, `SIM_SEED=S` one, telling what happens; `cargo sim` does both.

mod job;
mod model;
mod process;
mod rng;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Counters, World};

/// Seeds of an ordinary run of the tests.
const SEEDS: u64 = 1_000;
/// Steps in which things go wrong.
const ROUGH_STEPS: u64 = 5_000;
/// Steps within which a job comes to its end once nothing goes wrong any more.
const CALM_STEPS: u64 = 60_000;
/// Steps after the end, in which those that do not know of it may still do harm.
const LAST_STEPS: u64 = 500;

/// What a run came to: counts and a digest of all that happened, or what was wrong.
struct Run {
    result: Result<Counters, String>,
    trace: u64,
    told: Vec<String>,
}

fn run(seed: u64, is_told: bool) -> Run {
    let mut world = World::new(seed);
    world.told = is_told.then(Vec::new);
    let live = AssertUnwindSafe(|| live(&mut world));
    let result = catch_unwind(live).unwrap_or_else(|_| Err("a panic".into()));
    Run {
        result,
        trace: world.trace,
        told: world.told.unwrap_or_default(),
    }
}

fn live(world: &mut World) -> Result<Counters, String> {
    for _ in 0..ROUGH_STEPS {
        if world.is_finished {
            break;
        }
        world.step()?;
    }
    world.calm();
    for _ in 0..CALM_STEPS {
        if world.is_finished {
            break;
        }
        world.step()?;
    }
    if !world.is_finished {
        return Err(format!(
            "nothing fails, and the job does not end: {:?}",
            world.counts
        ));
    }
    for _ in 0..LAST_STEPS {
        world.step()?;
    }
    world.check_end()?;
    let counts = world.counts;
    // In fair weather nothing but the interval decides how often.
    if world.weather().is_fair() && (counts.decided < 3 || counts.attempts != 1) {
        return Err(format!("fair weather, and {counts:?}"));
    }
    Ok(counts)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

/// Runs seeds on as many threads as there are processors; gives the sums, or the first failure.
fn run_all(seeds: u64) -> Result<Vec<Counters>, (u64, String)> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let run_some = |thread: u64| -> Result<Vec<Counters>, (u64, String)> {
        let mine = (thread..seeds).step_by(threads as usize);
        mine.map(|seed| run(seed, false).result.map_err(|error| (seed, error)))
            .collect()
    };
    std::thread::scope(|scope| {
        let run_some = &run_some;
        let all = (0..threads).map(|thread| scope.spawn(move || run_some(thread)));
        let all: Vec<_> = all.collect();
        let results = all
            .into_iter()
            .map(|thread| thread.join().expect("runs catch panics"));
        let counts: Result<Vec<Vec<Counters>>, _> = results.collect();
        counts.map(|counts| counts.concat())
    })
}

#[test]
fn every_seed_holds() {
    if let Some(seed) = number("SIM_SEED") {
        let run = run(seed, true);
        run.told.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}: {:?}, trace {:016x}", run.result, run.trace);
        assert_eq!(run.result.err(), None, "seed {seed}");
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let all = run_all(seeds).unwrap_or_else(|(seed, error)| {
        panic!("seed {seed}: {error}\nsee it happen: cargo sim --seed {seed}")
    });
    let sum = Counters::sum(&all);
    println!("{seeds} seeds hold: {sum:?}");
    if seeds >= SEEDS {
        assert_eq!(
            sum.absent(),
            [""; 0],
            "these never happened, so nothing was shown for them"
        );
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 3, 5, 8, 13] {
        let (first, second) = (run(seed, true), run(seed, true));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.told, second.told, "seed {seed}");
        assert_ne!(first.trace, run(seed + 100, false).trace, "seeds differ");
    }
}
