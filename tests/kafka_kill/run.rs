//! A whole run: everything that can go wrong with one job, then the comparison.

use std::fmt;
use std::time::{Duration, Instant};

use wasmill_tests::kafka::{Api, Broker, Settings};
use wasmill_tests::kill::report;
use wasmill_tests::postgres::Database;
use wasmill_tests::{Difference, Random, Signal};

use crate::document::{self, Backend, Form, INPUT, OUTPUT, TABLE, TRANSACTION_MS};
use crate::faults::{self, Trouble};
use crate::feed::{Feeder, Pace};
use crate::job::{Job, Running};
use crate::oracle::{self, Balance};
use crate::points::{self, Point, Way};
use crate::reader::{Reader, Seen, Twice};
use crate::{LOOK, PATIENCE, client, some_time, wait};

/// A random kill comes after half of this in the mean, in milliseconds: with few kills, and with
/// many.
const KILL_MS_MAX: (u64, u64) = (3_000, 6_000);
/// So many are many.
const MANY: u64 = 40;
/// The parallelism of a process is at most this.
const PARALLELISM_MAX: u64 = 4;
/// Records in a second.
const RATE: f64 = 1_500.0;
/// What a kill, and all the rest, take about, in seconds: so the records of a long run outlast it.
const KILL_SECONDS: f64 = 3.5;
const REST_SECONDS: f64 = 240.0;
/// How long a broker stands still or cannot be reached, in milliseconds.
const AWAY_MS: (u64, u64) = (500, 5_000);
/// A transactional id that nobody uses is forgotten after so long, in milliseconds.
const EXPIRATION_MS: u64 = 6_000;
/// So many stretches of rows that came twice are told one by one.
const TWICE_MAX: usize = 20;
/// How often a run takes over from one that is well.
const RIVALS: u64 = 3;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) form: Form,
    pub(crate) seed: u64,
    /// Random kills.
    pub(crate) kills: u64,
    /// Records, at least.
    pub(crate) records: u64,
}

/// How a run went.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Outcome {
    kills: u64,
    points: usize,
    faults: u64,
    rows: usize,
    difference: Difference,
}

impl Outcome {
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            points: self.points + other.points,
            faults: self.faults + other.faults,
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
            faults,
            rows,
            difference,
        } = self;
        write!(
            f,
            "{kills} random kills, {points} crash points hit, {faults} faults, {rows} rows: \
             {difference}"
        )
    }
}

/// A job, its broker, and the luck that they have.
pub(crate) struct Run {
    plan: Plan,
    job: Job,
    broker: Broker,
    database: Option<Database>,
    feeder: Feeder,
    reader: Reader,
    random: Random,
    faults: u64,
}

impl Run {
    pub(crate) fn new(plan: Plan) -> Self {
        let expiration = Duration::from_millis(EXPIRATION_MS);
        let broker = Broker::start(Settings {
            expiration,
            ..Settings::default()
        });
        for topic in [INPUT, OUTPUT] {
            client::create(&broker.direct(), topic);
        }
        let database = (plan.form == Form::Decides).then(Database::shared);
        if let Some(database) = &database {
            // Rows are numbered in the order in which they come, which the job knows nothing of.
            database.ask(&format!(
                "create table {TABLE} (number bigserial, account bigint, total bigint, \
                 visits bigint)"
            ));
        }
        let seconds = plan.kills as f64 * KILL_SECONDS + REST_SECONDS;
        let pace = Pace {
            rate: RATE.max(plan.records as f64 / seconds),
            records: plan.records,
        };
        Self {
            job: Job::new(),
            database,
            feeder: Feeder::start(&broker.direct(), INPUT, pace, plan.seed),
            reader: Reader::start(&broker.direct(), OUTPUT),
            random: Random(plan.seed),
            faults: 0,
            broker,
            plan,
        }
    }

    /// Everything once, and random kills before and behind it.
    pub(crate) fn go(mut self) -> Outcome {
        let points = points::of(self.plan.form);
        (0..self.plan.kills / 2).for_each(|number| self.kill(number));
        points.iter().for_each(|point| self.crash(point));
        self.mistreat_answers();
        Trouble::ALL
            .into_iter()
            .for_each(|trouble| self.trouble(trouble));
        self.long_downtime();
        self.expired_id();
        self.zombie();
        self.rival();
        (self.plan.kills / 2..self.plan.kills).for_each(|number| self.kill(number));
        self.finish(points.len())
    }

    fn tell(&self, what: &str) {
        let Plan { form, seed, .. } = self.plan;
        let (delivered, seen) = (self.feeder.delivered(), self.reader.count());
        println!(
            "{}, seed {seed}, {delivered} fed, {seen} seen: {what}",
            form.name()
        );
    }

    /// Starts a process, with either backend and any parallelism.
    fn start(&mut self, arguments: &[&str], crash_at: Option<&str>) -> Running {
        let backend = *self.random.pick(&[Backend::Memory, Backend::Rocksdb]);
        let database = self.database.as_ref();
        let text = document::text(self.plan.form, backend, &self.broker, database);
        self.job.write(&text);
        let parallelism = (1 + self.random.below(PARALLELISM_MAX)).to_string();
        let arguments = [&["--parallelism", &parallelism], arguments].concat();
        self.job.start(&arguments, crash_at)
    }

    /// Waits until the output holds rows that were fed from now on.
    fn catch_up(&self, process: &mut Running) {
        let (feeder, reader) = (&self.feeder, &self.reader);
        let goal = feeder.delivered();
        let what = fmt::from_fn(|f| {
            let (fed, seen) = (feeder.delivered(), reader.count());
            write!(
                f,
                "the output gets beyond row {goal}: {fed} fed, {seen} seen"
            )
        });
        wait(what, || {
            process.check();
            assert!(reader.is_reading(), "the reader does not like what it sees");
            reader.count() > goal
        });
    }

    /// A kill at any time; sometimes an answer is mistreated before it.
    fn kill(&mut self, number: u64) {
        let (few, many) = KILL_MS_MAX;
        let most = if self.plan.kills < MANY { few } else { many };
        let after = self.random.below(most);
        if self.random.below(3) == 0 {
            let fault = faults::any(&mut self.random);
            self.tell(&format!("kill {number} after {after} ms, with {fault:?}"));
            self.broker.proxy().arm(fault);
        } else {
            self.tell(&format!("kill {number} after {after} ms"));
        }
        self.start(&[], None).kill_after(after);
        self.broker.proxy().wait(Duration::ZERO);
    }

    /// Has a process die at a point.
    fn crash(&mut self, point: &Point) {
        let times = 1 + self.random.below(point.times_max);
        let at = format!("{}:{times}", point.name);
        self.tell(&format!("crash at {at}"));
        if point.way == Way::Behind {
            let committed = "verdict-known";
            self.start(&[], Some(committed)).crash(committed);
        }
        let mut process = self.start(&[], Some(&at));
        if point.way == Way::Drain {
            self.catch_up(&mut process);
            process.signal(Signal::TERM);
        }
        process.crash(&at);
    }

    /// Each request and each way in which it, or its answer, does not arrive.
    fn mistreat_answers(&mut self) {
        let mut process = None;
        for fault in faults::all(&mut self.random) {
            self.tell(&format!("{fault:?}"));
            if fault.api == Api::InitProducerId
                && let Some(running) = process.take()
            {
                Running::kill(running);
            }
            self.broker.proxy().arm(fault);
            let running = process.get_or_insert_with(|| self.start(&[], None));
            assert!(
                self.broker.proxy().wait(PATIENCE),
                "{fault:?} never happened: {}",
                running.said()
            );
            self.catch_up(running);
        }
        process.expect("there are faults").kill();
    }

    /// The broker is away for a while, one way or another.
    fn trouble(&mut self, trouble: Trouble) {
        let (least, more) = AWAY_MS;
        let away = least + self.random.below(more);
        self.tell(&format!("{trouble:?} of the broker, for {away} ms"));
        let mut process = self.start(&[], None);
        self.catch_up(&mut process);
        let broker = &self.broker;
        match trouble {
            Trouble::Restart => broker.stop(),
            Trouble::Crash => broker.crash(),
            Trouble::Freeze => broker.freeze(),
            Trouble::Hole => broker.proxy().close(),
        }
        some_time(away);
        match trouble {
            Trouble::Restart | Trouble::Crash => broker.up(),
            Trouble::Freeze => broker.go_on(),
            Trouble::Hole => broker.proxy().open(),
        }
        self.catch_up(&mut process);
        process.kill();
        self.faults += 1;
    }

    /// A point at which rows stand in a transaction that nobody has asked to end.
    fn open_transaction(&self) -> &'static str {
        match self.plan.form {
            Form::Follower => "kafka-written",
            Form::Decides => "manifest-prepared",
        }
    }

    /// The job dies with a transaction open, and comes back when the broker has ended that.
    fn long_downtime(&mut self) {
        self.tell(&format!("away for longer than {TRANSACTION_MS} ms"));
        let point = self.open_transaction();
        self.start(&[], Some(point)).crash(point);
        self.broker.wait_for("the transaction is ended", |known| {
            known.iter().all(|transaction| !transaction.is_open())
        });
        let mut process = self.start(&[], None);
        self.catch_up(&mut process);
        process.kill();
        self.faults += 1;
    }

    /// The job comes back when the broker has forgotten its transactional id.
    fn expired_id(&mut self) {
        self.tell("away until the transactional id has expired");
        let known = self.broker.transactions().expect("the broker is up");
        assert!(!known.is_empty(), "the job has a transactional id");
        self.broker
            .wait_for("all ids are forgotten", <[_]>::is_empty);
        let mut process = self.start(&[], None);
        self.catch_up(&mut process);
        process.kill();
        self.faults += 1;
    }

    /// A run that stood still comes back when another one has taken over.
    fn zombie(&mut self) {
        self.tell("a zombie");
        let mut old = self.start(&[], None);
        self.catch_up(&mut old);
        some_time(self.random.below(300));
        old.signal(Signal::STOP);
        let mut new = self.start(&["--take-over"], None);
        // What was fed since can be the successor's only.
        self.catch_up(&mut new);
        old.signal(Signal::CONT);
        let status = old.wait("the end of the one before");
        assert_eq!(status.code(), Some(3), "{}", old.said());
        self.catch_up(&mut new);
        new.kill();
        self.faults += 1;
    }

    /// A run takes over from one that is well: whatever that one commits meanwhile counts.
    fn rival(&mut self) {
        self.tell("a rival");
        let mut old = self.start(&[], None);
        for _ in 0..RIVALS {
            self.catch_up(&mut old);
            some_time(self.random.below(300));
            let mut new = self.start(&["--take-over"], None);
            wait("the one before ends", || {
                // If it does not, what its successor says tells why.
                new.check();
                old.ended().is_some()
            });
            let code = old.ended().and_then(|status| status.code());
            assert_eq!(code, Some(3), "{}", old.said());
            self.catch_up(&mut new);
            old = new;
            self.faults += 1;
        }
        old.kill();
    }

    /// Lets the job come to its end, and compares.
    fn finish(mut self, points: usize) -> Outcome {
        self.tell("the end");
        let mut last = self.start(&[], None);
        let fed = self.feeder.stop();
        let expected = oracle::balances(&fed);
        let (reader, total) = (&self.reader, fed.len() as u64);
        // It goes on as long as there is something new; then whatever is not there is lost.
        while reader.count() < total {
            let before = reader.count();
            last.check();
            assert!(reader.is_reading(), "the reader does not like what it sees");
            let start = Instant::now();
            while reader.count() == before && start.elapsed() < PATIENCE {
                some_time(LOOK);
            }
            if reader.count() == before {
                println!("of {total} rows {before} have come: {}", last.said());
                break;
            }
        }
        let asked = self.job.ask("drain");
        assert!(asked.status.success(), "{asked:?}");
        last.finish();
        let seen = self.reader.stop();
        let end = Seen::now(&self.broker.direct(), OUTPUT);
        seen.check(&end);
        let twice = end.twice();
        let topic = oracle::compare("topic", &end.rows(), &expected);
        let audit = audit(&self.job, self.database.as_ref());
        let audit = oracle::compare("audit table", &audit, &expected);
        let outcome = Outcome {
            kills: self.plan.kills,
            points,
            faults: self.faults + self.broker.proxy().hits(),
            rows: fed.len(),
            difference: topic + audit,
        };
        if !outcome.is_flawless() {
            let Plan { form, seed, .. } = self.plan;
            let form = form.name();
            let told = format!("{form}, seed {seed}: topic: {topic}; audit table: {audit}");
            leave_evidence(&mut self.job, &mut self.broker, &told, &twice);
        }
        outcome
    }
}

/// What went wrong is rare: whoever looks into it finds all that there was.
fn leave_evidence(job: &mut Job, broker: &mut Broker, told: &str, twice: &[Twice]) {
    let (job, broker) = (job.keep_files().display(), broker.keep_files().display());
    report(&format!("{told}; its files stand in {job} and {broker}"));
    let stretches = twice.iter().take(TWICE_MAX);
    stretches.for_each(|stretch| report(&stretch.to_string()));
}

/// The rows of the audit table, in the order in which they were written.
fn audit(job: &Job, database: Option<&Database>) -> Vec<Balance> {
    let columns = format!("select account, visits, total from {TABLE}");
    if let Some(database) = database {
        let lines = database.ask(&format!("{columns} order by number"));
        let row = |line: &String| {
            let mut numbers = line.split('|').map(|number| number.parse::<i64>());
            let mut next = || numbers.next().expect("a column").expect("a number");
            balance(next(), next(), next())
        };
        return lines.iter().map(row).collect();
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let path = job.folder().join("audit.db");
    let database = rusqlite::Connection::open_with_flags(path, flags).expect("the job made it");
    let query = database.prepare(&format!("{columns} order by rowid"));
    let mut query = query.expect("the job made its table");
    let rows = query.query_map([], |row| Ok(balance(row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

fn balance(account: i64, visits: i64, total: i64) -> Balance {
    Balance {
        account: u32::try_from(account).expect("it is small"),
        visits: u32::try_from(visits).expect("it is small"),
        total,
    }
}
