//! Where a job must not go on: what tells it what it has written is gone, old, or another's; topics
//! are gone; the broker is. Each time it ends with a clear word. When that is put right it goes on,
//! and each row has come once.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use wasmill_tests::kafka::{Broker, Settings};

use crate::client::{self, PARTITIONS, Record, Records};
use crate::document::Form;
use crate::job::{Job, Running};
use crate::produce::{New, bring_back, produce};
use crate::wait;

/// Rows that a job gets at a time.
const ROWS: usize = 400;
/// Where the topic of markers is compacted, as the sink makes it.
const MARKERS: &[(&str, &str)] = &[("cleanup.policy", "compact")];

/// A job that hands rows on, with topics of its own.
struct Case<'a> {
    broker: &'a Broker,
    form: Form,
    name: String,
    job: Job,
    fed: usize,
}

impl<'a> Case<'a> {
    fn new(broker: &'a Broker, form: Form, name: &str) -> Self {
        let case = Self {
            broker,
            form,
            name: format!("{name}-{}", form.name()),
            job: Job::new(),
            fed: 0,
        };
        println!("case {}", case.name);
        for topic in [case.input(), case.output()] {
            client::create(&case.direct(), &topic);
        }
        case.job.write(&case.document());
        case
    }

    fn document(&self) -> String {
        let (brokers, name) = (self.broker.proxy().address(), &self.name);
        let decides = self.form == Form::Decides;
        let (input, output) = (self.input(), self.output());
        let away = "give-up-after: 2s, options: { socket.timeout.ms: \"2000\" }";
        format!(
            "name: {name}
checkpoint: {{ interval: 100ms, storage: checkpoints }}
restart: none
sources:
  rows:
    kafka: {{ brokers: \"{brokers}\", topic: {input}, {away} }}
    format: {{ json: {{ n: u64 }} }}
sinks:
  out:
    input: rows
    kafka: {{ brokers: \"{brokers}\", topic: {output}, decides: {decides}, key: n, {away} }}
    delivery: exactly-once
"
        )
    }

    fn direct(&self) -> String {
        self.broker.direct()
    }

    fn input(&self) -> String {
        format!("{}-in", self.name)
    }

    fn output(&self) -> String {
        format!("{}-out", self.name)
    }

    fn markers(&self) -> String {
        format!("wasmill.markers.{}.out", self.name)
    }

    /// More rows.
    fn feed(&mut self) {
        let rows = self.fed..self.fed + ROWS;
        let new = |n: usize| New {
            partition: n as i32 % PARTITIONS,
            key: n.to_string(),
            value: format!(r#"{{"n":{n}}}"#).into_bytes(),
            at: None,
        };
        produce(&self.direct(), &self.input(), rows.map(new));
        self.fed += ROWS;
    }

    /// The numbers that have come out, in their order.
    fn out(&self) -> Vec<usize> {
        let number = |text: String| {
            let row: serde_json::Value = serde_json::from_str(&text).expect("a row");
            row["n"].as_u64().expect("a number") as usize
        };
        let texts = client::texts(&self.direct(), &self.output()).into_iter();
        let mut all: Vec<usize> = texts.map(number).collect();
        all.sort_unstable();
        all
    }

    /// Feeds, and runs until everything has come out.
    fn advance(&mut self) -> Running {
        self.feed();
        let mut process = self.job.start(&[], None);
        self.come(&mut process);
        process
    }

    /// Waits until everything has come out.
    fn come(&self, process: &mut Running) {
        wait("all rows have come out", || {
            process.check();
            self.out().len() >= self.fed
        });
    }

    /// What is wrong now is said with all these parts.
    fn refused(&self, parts: &[&str]) {
        self.refused_by(&self.job, parts);
    }

    fn refused_by(&self, job: &Job, parts: &[&str]) {
        let said = job.refuse();
        let last = said.lines().last().unwrap_or_default();
        println!("{}: {last}", self.name);
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    /// It goes on, and each row has come once.
    fn goes_on(mut self) {
        self.advance().kill();
        let all: Vec<usize> = (0..self.fed).collect();
        assert_eq!(self.out(), all, "{}", self.name);
    }

    /// The records of the topic of markers, when the job was killed: a transaction whose end is on
    /// its way comes to it first, and one that is open is aborted.
    fn noted(&self) -> Vec<Record> {
        client::end_transactions(&self.direct(), &format!("wasmill.{}.out", self.name));
        Records::of(&self.direct(), &self.markers(), 1).all()
    }

    /// The folder of checkpoints, or a copy of it.
    fn checkpoints(&self, name: &str) -> PathBuf {
        self.job.folder().join(name)
    }

    fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.checkpoints(from), self.checkpoints(to));
        let copied = Command::new("cp").arg("-r").args([from, to]).status();
        assert!(copied.expect("cp starts").success());
    }

    fn put_in_place(&self, name: &str) {
        let place = self.checkpoints("checkpoints");
        fs::remove_dir_all(&place).expect("it is there");
        fs::rename(self.checkpoints(name), place).expect("both are there");
    }
}

#[test]
fn markers_that_are_gone_or_old() {
    let broker = Broker::start(Settings::default());
    for form in Form::ALL {
        let mut case = Case::new(&broker, *form, "gone");
        case.advance().kill();
        let noted = case.noted();
        client::delete(&case.direct(), &case.markers());
        let topic = case.markers();
        match form {
            // What it says of them depends on whether the first checkpoint is still kept.
            Form::Follower => case.refused(&["`out`", &topic, "--fresh"]),
            Form::Decides => case.refused(&[&topic, "bring it back", "--from"]),
        }
        // That it was looked for has not made it.
        if client::topics(&case.direct()).contains(&topic) {
            client::delete(&case.direct(), &topic);
        }
        bring_back(&case.direct(), &topic, &noted, MARKERS);
        case.goes_on();

        let mut case = Case::new(&broker, *form, "old");
        case.advance().kill();
        let old = case.noted();
        case.advance().kill();
        case.advance().kill();
        let (topic, newest) = (case.markers(), case.noted());
        client::delete(&case.direct(), &topic);
        bring_back(&case.direct(), &topic, &old, MARKERS);
        match form {
            Form::Decides => case.refused(&[&topic, "lost their newest part", "--from"]),
            Form::Follower => case.refused(&["`out`", "rows would be", "--fresh"]),
        }
        client::delete(&case.direct(), &topic);
        bring_back(&case.direct(), &topic, &newest, MARKERS);
        case.goes_on();
    }
}

#[test]
fn checkpoints_that_are_gone_or_old() {
    let broker = Broker::start(Settings::default());
    for form in Form::ALL {
        let mut case = Case::new(&broker, *form, "folder");
        case.advance().kill();
        case.copy("checkpoints", "older");
        case.advance().kill();
        case.copy("checkpoints", "newer");
        case.put_in_place("older");
        case.refused(&["bring", "--fresh"]);
        case.put_in_place("newer");
        case.goes_on();
    }
    let mut case = Case::new(&broker, Form::Decides, "prepared");
    case.advance().kill();
    case.feed();
    case.job
        .start(&[], Some("verdict-known"))
        .crash("verdict-known");
    let prepared = prepared(&case.checkpoints("checkpoints"));
    let away = case.checkpoints("away");
    fs::rename(&prepared, &away).expect("it is there");
    case.refused(&["is not there", "objects/", "bring", "--fresh"]);
    let bytes = fs::read(&away).expect("it is there");
    let mut other = bytes.clone();
    other[bytes.len() / 2] ^= 1;
    fs::write(&prepared, other).expect("the folder is writable");
    case.refused(&["is another than was committed", "bring"]);
    fs::write(&prepared, bytes).expect("the folder is writable");
    case.goes_on();
}

/// A second job of the same name has its checkpoints elsewhere. It is refused, and the first one
/// goes on as if nothing had been: `restart: none` ends a job that is thrown out.
#[test]
fn a_second_job_of_the_name() {
    let broker = Broker::start(Settings::default());
    for form in Form::ALL {
        let mut case = Case::new(&broker, *form, "namesake");
        let mut first = case.advance();
        let second = Job::new();
        second.write(&case.document());
        match form {
            Form::Follower => case.refused_by(&second, &["`out`", "--fresh"]),
            Form::Decides => case.refused_by(&second, &["another job's", "--fresh"]),
        }
        case.feed();
        case.come(&mut first);
        let said = first.said();
        assert!(!said.contains("transactional id"), "{said}");
        first.kill();
        case.goes_on();
    }
}

/// The newest manifest that waits for its verdict.
fn prepared(folder: &std::path::Path) -> PathBuf {
    let find = Command::new("find")
        .arg(folder)
        .args(["-name", "manifest"])
        .output();
    let found = String::from_utf8(find.expect("find starts").stdout).expect("names are text");
    let mut found: Vec<PathBuf> = found.lines().map(PathBuf::from).collect();
    found.sort_by_key(|path| {
        fs::metadata(path)
            .and_then(|it| it.modified())
            .expect("a file")
    });
    found.pop().expect("a manifest is prepared")
}

#[test]
fn topics_that_are_gone() {
    let broker = Broker::start(Settings::default());
    for form in Form::ALL {
        let mut case = Case::new(&broker, *form, "output");
        case.advance().kill();
        client::delete(&case.direct(), &case.output());
        case.refused(&[&format!("no topic `{}`", case.output()), "make it"]);
        client::create(&case.direct(), &case.output());
        let before = case.fed;
        case.feed();
        let mut process = case.job.start(&[], None);
        wait("what was not out has come", || {
            process.check();
            case.out().len() >= ROWS
        });
        // The topic goes while the job writes to it.
        client::delete(&case.direct(), &case.output());
        case.feed();
        let status = process.wait("an end without its topic");
        let said = process.said();
        assert_eq!(status.code(), Some(1), "{said}");
        for part in [&case.output()[..], "make it"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        client::create(&case.direct(), &case.output());
        let mut process = case.job.start(&[], None);
        wait("what was not out has come", || {
            process.check();
            case.out().len() >= ROWS
        });
        process.kill();
        let all: Vec<usize> = (before + ROWS..case.fed).collect();
        assert_eq!(case.out(), all, "{}", case.name);

        let mut case = Case::new(&broker, *form, "input");
        case.advance().kill();
        let input = Records::of(&case.direct(), &case.input(), PARTITIONS).all();
        client::delete(&case.direct(), &case.input());
        case.refused(&[&case.input()]);
        bring_back(
            &case.direct(),
            &case.input(),
            &input,
            &[("retention.ms", "-1")],
        );
        case.goes_on();
    }
}

#[test]
fn a_broker_that_is_away() {
    let broker = Broker::start(Settings::default());
    for form in Form::ALL {
        // At the first start, when nothing is known.
        let mut case = Case::new(&broker, *form, "away");
        case.feed();
        broker.stop();
        let address = broker.proxy().address().to_string();
        case.refused(&[&address]);
        broker.up();
        let mut process = case.job.start(&[], None);
        case.come(&mut process);
        // In the middle of its work.
        broker.crash();
        let status = process.wait("an end without a broker");
        let said = process.said();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(&address), "{said}");
        // When it is to go on.
        case.refused(&[&address]);
        broker.up();
        case.goes_on();
    }
}
