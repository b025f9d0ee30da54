//! A whole run: random kills and crash points over one job, then the comparison.

use std::fmt;
use std::sync::Arc;

use wasmill_tests::{Difference, Random};

use crate::feed::{Fed, Feeder};
use crate::job::{Backend, Job, Running};
use crate::ledger;
use crate::oracle;
use crate::points::{Point, Way};
use crate::reader::Reader;
use crate::some_time;
use crate::windows;

/// A random kill comes after half of this in the mean.
const KILL_MS_MAX: u64 = 6_000;
/// How long the older version of the plugin goes on when the newer one was killed.
const OLDER_MS: u64 = 500;
/// The parallelism of a process is at most this.
const PARALLELISM_MAX: u64 = 4;

/// How a run went.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Outcome {
    kills: u64,
    points: usize,
    rows: usize,
    difference: Difference,
}

impl Outcome {
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            points: self.points + other.points,
            rows: self.rows + other.rows,
            difference: self.difference + other.difference,
        }
    }

    pub(crate) fn is_flawless(&self) -> bool {
        self.difference == Difference::default()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            points,
            rows,
            difference,
        } = self;
        write!(
            f,
            "{kills} random kills, {points} crash points hit, {rows} rows: {difference}"
        )
    }
}

/// A job, and the luck that it has.
pub(crate) struct Run {
    job: Arc<Job>,
    backend: Backend,
    random: Random,
    seed: u64,
}

impl Run {
    pub(crate) fn new(job: Job, seed: u64) -> Self {
        Self {
            backend: job.backend(),
            job: Arc::new(job),
            random: Random(seed),
            seed,
        }
    }

    /// Kills it at random and at crash points; on the way the plugin with an older and a newer
    /// version is brought to the newer one.
    pub(crate) fn go(mut self, kills: u64, points: &[Point]) -> Outcome {
        let feeder = Feeder::start(&self.job.input(), self.seed);
        let reader = Reader::start(&self.job);
        (0..kills / 2).for_each(|number| self.kill(number));
        let of_way = |way: Way| points.iter().filter(move |point| point.way == way);
        let early = [
            Way::Run,
            Way::Start,
            Way::Drain,
            Way::Savepoint,
            Way::Migrate,
        ];
        let early = early.into_iter().flat_map(of_way);
        early.for_each(|point| self.crash(point));
        self.job.use_ledger(2);
        (kills / 2..kills).for_each(|number| self.kill(number));
        let fed = feeder.stop();
        of_way(Way::CatchUp).for_each(|point| self.crash(point));
        self.finish();
        let seen = reader.stop();
        assert!(seen.news > 0, "the reader saw the outputs grow");
        seen.check(&self.job);
        Outcome {
            kills,
            points: points.len(),
            rows: fed.sales.len() + fed.payments.len(),
            difference: compare(&self.job, &fed),
        }
    }

    fn kill(&mut self, number: u64) {
        let after = self.random.below(KILL_MS_MAX);
        self.tell(&format!("kill {number} after {after} ms"));
        let parallelism = self.parallelism();
        self.job.start(parallelism, true, None).kill_after(after);
    }

    fn parallelism(&mut self) -> u64 {
        1 + self.random.below(PARALLELISM_MAX)
    }

    fn tell(&self, what: &str) {
        println!("{}, seed {}: {what}", self.backend.0, self.seed);
    }

    /// Has a process die at a point.
    fn crash(&mut self, point: &Point) {
        let times = 1 + self.random.below(point.times_max);
        let at = format!("{}:{times}", point.name);
        self.tell(&format!("crash at {at}"));
        let parallelism = self.parallelism();
        match point.way {
            Way::Run | Way::Start => self.job.start(parallelism, true, Some(&at)).crash(&at),
            Way::Drain => {
                let process = self.job.start(parallelism, true, Some(&at));
                self.begun(&process);
                process.drain();
                process.crash(&at);
            }
            Way::Savepoint => {
                let process = self.job.start(parallelism, true, Some(&at));
                self.begun(&process);
                let mut asking = self.job.ask_for_savepoint();
                process.crash(&at);
                asking.wait().expect("a child ends");
            }
            Way::Migrate => {
                self.job.use_ledger(2);
                self.job.start(parallelism, true, Some(&at)).crash(&at);
                // The older version goes on as if nothing had been tried.
                self.job.use_ledger(1);
                self.job.start(parallelism, true, None).kill_after(OLDER_MS);
            }
            Way::CatchUp => {
                // Its input has come to its end, its last checkpoint is decided, and no sink knows.
                let decided = "final-decided:1";
                self.job
                    .start(parallelism, false, Some(decided))
                    .crash(decided);
                self.job.start(parallelism, false, Some(&at)).crash(&at);
            }
        }
    }

    /// Waits until a process has taken a checkpoint: a signal that comes before would just end it.
    fn begun(&self, process: &Running) {
        let log = self.job.log();
        let newest = || {
            let names = std::fs::read_dir(&log).into_iter().flatten().flatten();
            let names = names.filter_map(|entry| entry.file_name().into_string().ok());
            // While an object is written it has a name that is none.
            names.filter(|name| !name.contains('#')).max()
        };
        let (mut before, mut looks) = (newest(), 0);
        // The attempt's entry, then a manifest.
        for _ in 0..2 {
            while newest() == before {
                some_time(20);
                looks += 1;
                assert!(looks < 3_000, "no checkpoint is taken: {}", process.said());
            }
            before = newest();
        }
    }

    /// Lets the job come to its end, and sees that it knows that it has.
    fn finish(&mut self) {
        let parallelism = self.parallelism();
        self.job.start(parallelism, false, None).finish();
        let said = self.job.start(parallelism, false, None).finish();
        assert!(said.contains("nothing left to do"), "{said}");
    }
}

/// How all outputs of a job differ from what they should be.
pub(crate) fn compare(job: &Job, fed: &Fed) -> Difference {
    let mut all = Difference::default();
    for output in job.outputs() {
        let found = job.rows(output);
        let expected = match output.of {
            "memory" => oracle::memory(fed),
            "windows" => windows::sliding(fed),
            "sessions" => windows::sessions(fed),
            "ledger" => ledger::ledger(fed, &found),
            _ => oracle::features(fed),
        };
        let difference = oracle::compare(&found, &expected);
        println!("{output:?}, {} rows: {difference}", expected.len());
        all = all + difference;
    }
    all
}
