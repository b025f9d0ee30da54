//! State that expires and timers that are due by the clock on the wall, from outside: in a job
//! that runs, over `kill -9` and over a stop, with either backend. Event time goes its own way
//! meanwhile, and neither clock does what is the other's to do.
//!
//! Nothing is expected of how fast the machine is: a round that came too late to show what it is
//! for is done again, with more time.

mod bench;
mod oracle;

use std::ops::Range;
use std::os::unix::process::ExitStatusExt;

use bench::{Bench, Given, Running, Seen, until_passed};

/// So long after a write the guest's states are gone, each by its clock.
const TTL_US: i64 = 4_000_000;
/// Keys of a round: far more than `SPILLING` has room for.
const KEYS: u64 = 2_000;
/// How often something is done at most until it shows what it is for.
const TRIES: u32 = 6;
/// When timers of a round are due, the first time.
const ROUND_MS: u64 = 3_000;
/// An hour, which no test takes.
const HOUR_MS: u64 = 3_600_000;
/// The time of rows before event time leaps, which is before any time on the wall.
const BEFORE: &str = "2026-01-01T00:00:00Z";
/// The signal of `kill -9`.
const KILL: i32 = 9;

/// All state in memory.
const MEMORY: &str = "{ backend: memory }";
/// So little memory that most keys of a round are on disk.
const SPILLING: &str = "{ backend: rocksdb, cache: 64KiB, directory: spill }";

/// How a process ends, and whether the next one starts only when timers and states are overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    Killed,
    KilledForLong,
    StoppedForLong,
}

/// A time that no clock on the wall will show while anybody looks.
fn ahead(hour: u32) -> String {
    format!("2126-01-01T{hour:02}:00:00Z")
}

/// A row without timers.
fn plain(key: u64) -> Given {
    Given {
        key,
        wall_in_ms: 0,
        event_in_ms: 0,
    }
}

struct Test {
    bench: Bench,
    job: Running,
    spills: bool,
    /// The time of the rows.
    at: String,
}

impl Test {
    fn new(state: &'static str) -> Self {
        let bench = Bench::new(state);
        let job = bench.start();
        Self {
            bench,
            job,
            spills: state == SPILLING,
            at: BEFORE.to_owned(),
        }
    }

    /// Gives rows and waits until they have come out, all decided; gives their numbers.
    fn send(&mut self, rows: &[Given]) -> Range<u64> {
        let numbers = self.bench.give(rows, &self.at);
        let is_out = |bench: &Bench| bench.rows(&numbers).count() == rows.len();
        self.bench.until(&mut self.job, is_out);
        numbers
    }

    /// Sends a row of a key; gives what it saw.
    fn ask(&mut self, key: u64) -> Seen {
        let number = self.send(&[plain(key)]);
        let mut rows = self.bench.rows(&number);
        rows.next().expect("it is out").clone()
    }

    /// Asks for a key until the state is gone that it had; false if it was gone at once.
    fn until_gone(&mut self, key: u64) -> bool {
        let mut first = None;
        loop {
            let seen = self.ask(key);
            if seen.by_wall == 0 {
                return first.is_some();
            }
            // Nobody writes it meanwhile.
            let end = *first.get_or_insert(seen.now) + TTL_US;
            assert!(seen.now < end, "it stays: {seen:?}");
        }
    }

    fn until_fired(&mut self, cause: &str, keys: &Range<u64>, count: usize) {
        let has_fired = |bench: &Bench| bench.fired(cause, keys) == count;
        self.bench.until(&mut self.job, has_fired);
    }

    /// A state is there for its time and gone after it, however often it is read; event time
    /// stands still, so that what counts that stays.
    fn expires(&mut self) {
        let key = self.bench.new_keys(1).start;
        let first = self.ask(key);
        assert_eq!((first.by_wall, first.by_event), (0, 0), "nothing is there");
        let is_shown = (0..TRIES).any(|_| self.until_gone(key));
        assert!(is_shown, "a row takes as long as a state lives");
        assert!(self.ask(key).by_event > 0, "event time has stood still");
    }

    /// State that counts event time is gone once that leaps, and what counts the wall's is not.
    fn leaps(&mut self) {
        let is_shown = (0..TRIES).any(|hour| {
            let keys = self.bench.new_keys(2);
            self.ask(keys.start);
            self.at = ahead(hour);
            self.ask(keys.start + 1);
            let seen = self.ask(keys.start);
            assert_eq!(seen.by_event, 0, "{seen:?}");
            seen.by_wall != 0
        });
        assert!(is_shown, "three rows take as long as a state lives");
    }

    /// A timer of the wall's clock fires without any row, and one of event time that lies in the
    /// past of that clock does not. That one fires when event time leaps. Then the clock on the
    /// wall is behind it, and a timer that is due there in an hour does not fire by the leap: gives
    /// its key, and one with a timer of event time that only the input's end brings.
    fn fires(&mut self) -> (u64, Range<u64>) {
        let keys = self.bench.new_keys(2);
        let (both, in_an_hour) = (keys.start..keys.start + 1, keys.start + 1);
        let soon = Given {
            key: both.start,
            wall_in_ms: 300,
            event_in_ms: 300,
        };
        let late = Given {
            wall_in_ms: HOUR_MS,
            ..plain(in_an_hour)
        };
        self.send(&[soon, late]);
        self.until_fired("wall", &both, 1);
        assert_eq!(
            self.bench.fired("event", &keys),
            0,
            "event time stands still"
        );
        self.leaps();
        self.until_fired("event", &both, 1);
        let at_the_end = self.bench.new_keys(1);
        let never = Given {
            event_in_ms: HOUR_MS,
            ..plain(at_the_end.start)
        };
        self.send(&[never]);
        (in_an_hour, at_the_end)
    }

    /// The process ends between the setting of timers and their time.
    fn survives(&mut self, gap: Gap) {
        let is_shown = (0..TRIES).any(|again| self.is_survived(gap, ROUND_MS << again));
        assert!(is_shown, "{gap:?}: it comes too late each time");
    }

    /// As [`Self::survives`]; false if it came too late to show that.
    fn is_survived(&mut self, gap: Gap, wall_in_ms: u64) -> bool {
        let keys = self.bench.new_keys(KEYS);
        let row = |key| Given {
            wall_in_ms,
            ..plain(key)
        };
        let rows: Vec<Given> = keys.clone().map(row).collect();
        let numbers = self.send(&rows);
        match gap {
            Gap::Killed | Gap::KilledForLong => self.job.kill(),
            Gap::StoppedForLong => self.job.stop(),
        }
        self.bench.look();
        let has_fired = self.bench.fired("wall", &keys) > 0;
        let set: Vec<i64> = self.bench.rows(&numbers).map(|seen| seen.now).collect();
        let (first, last) = (set.iter().min(), set.iter().max());
        let (first, last) = first.copied().zip(last.copied()).expect("there are rows");
        let wall_in_us = wall_in_ms as i64 * 1_000;
        if gap == Gap::Killed {
            self.job = self.bench.start();
            let seen = self.ask(keys.start);
            let is_early = seen.by_wall != 0 && seen.now < first + wall_in_us;
            // Its age goes on, too.
            let is_shown = is_early && self.until_gone(keys.start);
            self.until_fired("wall", &keys, rows.len());
            return is_shown && !has_fired;
        }
        until_passed(last + wall_in_us.max(TTL_US));
        if self.spills && !has_fired {
            self.dies_waking(&keys);
        }
        self.job = self.bench.start();
        self.until_fired("wall", &keys, rows.len());
        let rows: Vec<Given> = keys.map(plain).collect();
        let numbers = self.send(&rows);
        let mut seen = self.bench.rows(&numbers);
        assert!(seen.all(|seen| seen.by_wall == 0), "its time has passed");
        !has_fired
    }

    /// Some of these keys are on disk when their timers are due: the job dies as it fetches them.
    fn dies_waking(&mut self, keys: &Range<u64>) {
        let all = |bench: &Bench| bench.fired("wall", keys) as u64 == KEYS;
        let ended = self.bench.dies_at("keys-woken", all);
        let signal = ended.and_then(|ended| ended.signal());
        assert_eq!(signal, Some(KILL), "no key is on disk");
    }
}

fn check(state: &'static str) {
    let mut test = Test::new(state);
    test.expires();
    let (in_an_hour, at_the_end) = test.fires();
    for gap in [Gap::Killed, Gap::KilledForLong, Gap::StoppedForLong] {
        test.survives(gap);
    }
    test.job.stop();
    let bench = &mut test.bench;
    bench.look();
    assert_eq!(bench.fired("event", &at_the_end), 0, "the input has no end");
    bench.write_pipeline(false);
    bench.finish();
    assert_eq!(bench.fired("event", &at_the_end), 1, "all input has come");
    let [wall, event] = oracle::check(bench);
    assert_eq!(
        wall,
        [in_an_hour],
        "the end of an input is no time on the wall"
    );
    assert_eq!(event, [0; 0]);
}

#[test]
fn the_clock_on_the_wall_goes_on_for_state_in_memory() {
    check(MEMORY);
}

#[test]
fn the_clock_on_the_wall_goes_on_for_state_on_disk() {
    check(SPILLING);
}
