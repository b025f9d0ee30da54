//! What must be so of all that has come out, from its own times alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::TTL_US;
use crate::bench::{Bench, Seen};

/// What a key has, by the times that its rows tell.
#[derive(Default)]
struct Memory {
    by_wall: Option<Written>,
    by_event: Option<Written>,
    /// When timers are due.
    wall: BTreeSet<i64>,
    event: BTreeSet<i64>,
}

/// A state: when it was written, and by which row.
#[derive(Clone, Copy)]
struct Written {
    at: i64,
    number: u64,
}

/// The row that wrote a state that is not older than it may be.
fn alive(state: Option<Written>, clock: i64) -> Option<u64> {
    let is_young = |state: &Written| clock < state.at.saturating_add(TTL_US);
    state.filter(is_young).map(|state| state.number)
}

impl Memory {
    fn check(&mut self, seen: &Seen, bench: &Bench) {
        let by_wall = alive(self.by_wall, seen.now);
        let by_event = alive(self.by_event, seen.clock);
        let expected = (by_wall.unwrap_or(0), by_event.unwrap_or(0));
        assert_eq!((seen.by_wall, seen.by_event), expected, "{seen:?}");
        match &*seen.cause {
            "row" => self.take_row(seen, bench),
            "wall" => {
                assert!(self.wall.remove(&seen.at), "set once, fired once: {seen:?}");
                assert!(seen.at <= seen.now, "not before its time: {seen:?}");
            }
            "event" => {
                assert!(
                    self.event.remove(&seen.at),
                    "set once, fired once: {seen:?}"
                );
                assert!(seen.at < seen.clock, "not before its time: {seen:?}");
            }
            cause => panic!("{cause} is no cause"),
        }
    }

    fn take_row(&mut self, seen: &Seen, bench: &Bench) {
        let given = bench.given[seen.number as usize - 1];
        assert_eq!(given.key, seen.key);
        let write = |state: &mut Option<Written>, clock: i64| {
            if alive(*state, clock).is_none() {
                let number = seen.number;
                *state = Some(Written { at: clock, number });
            }
        };
        write(&mut self.by_wall, seen.now);
        write(&mut self.by_event, seen.clock);
        if given.wall_in_ms > 0 {
            self.wall.insert(seen.now + given.wall_in_ms as i64 * 1_000);
        }
        if given.event_in_ms > 0 {
            self.event
                .insert(seen.at + given.event_in_ms as i64 * 1_000);
        }
    }
}

/// Each row came out once, with the states that were young enough by their own clocks; each timer
/// fired once, not before its time by its own clock. Gives the keys whose timers have not fired:
/// those of the wall's clock, and those of event time.
pub(crate) fn check(bench: &Bench) -> [Vec<u64>; 2] {
    let rows = bench.seen.iter().filter(|seen| seen.cause == "row");
    let mut numbers: Vec<u64> = rows.map(|seen| seen.number).collect();
    numbers.sort_unstable();
    let all: Vec<u64> = (1..=bench.given.len() as u64).collect();
    assert!(
        numbers == all,
        "each row once: {} of {}",
        numbers.len(),
        all.len()
    );
    let mut memories: BTreeMap<u64, Memory> = BTreeMap::new();
    for seen in &bench.seen {
        memories.entry(seen.key).or_default().check(seen, bench);
    }
    let pending = |timers: fn(&Memory) -> &BTreeSet<i64>| {
        let pending = memories.iter().filter(|(_, it)| !timers(it).is_empty());
        pending.map(|(key, _)| *key).collect()
    };
    [pending(|it| &it.wall), pending(|it| &it.event)]
}
