//! The programs to compare with: where they come from, how they are built, how a round runs.

use super::report::Sample;
use super::{Ours, kafka_peer};
use crate::workspace::root;
use crate::{kafka, setup, shell};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which peers do which scenario: mode and number of keys, as `tests/bench` has them.
const JOBS: &[Job] = &[
    Job {
        scenario: "stateless",
        mode: "stateless",
        keys: 10_000,
        timely: false,
        state: &[],
    },
    Job {
        scenario: "keyed-10k",
        mode: "keyed",
        keys: 10_000,
        timely: true,
        state: &[],
    },
    Job {
        scenario: "keyed-1m",
        mode: "keyed",
        keys: 1_000_000,
        timely: true,
        state: &[],
    },
    Job {
        scenario: "keyed-10k-checkpoint",
        mode: "keyed",
        keys: 10_000,
        timely: false,
        state: &["hashmap", "1000"],
    },
    Job {
        scenario: "keyed-10k-rocksdb",
        mode: "keyed",
        keys: 10_000,
        timely: false,
        state: &["rocksdb"],
    },
    Job {
        scenario: "keyed-1m-rocksdb-checkpoint",
        mode: "keyed",
        keys: 1_000_000,
        timely: false,
        state: &["rocksdb", "1000"],
    },
    Job {
        scenario: "json",
        mode: "json",
        keys: 10_000,
        timely: false,
        state: &[],
    },
    Job {
        scenario: "interval-join",
        mode: "interval-join",
        keys: 10_000,
        timely: false,
        state: &[],
    },
    Job {
        scenario: "tumbling",
        mode: "tumbling",
        keys: 10_000,
        timely: false,
        state: &[],
    },
    Job {
        scenario: "sliding",
        mode: "sliding",
        keys: 10_000,
        timely: false,
        state: &[],
    },
    Job {
        scenario: "session",
        mode: "session",
        keys: 10_000,
        timely: false,
        state: &[],
    },
];

/// Threads on both sides: the engine's own default is the number of cores.
fn parallelism() -> String {
    std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .to_string()
}

/// Records of a peer's first try, from which its number of records is found.
const RECORDS_FIRST: u64 = 5_000_000;
/// Completed checkpoints in a round that is long enough for them, as `tests/bench` wants of ours.
const CHECKPOINTS_MIN: u64 = 8;
/// How much longer than asked a round is planned, so that a slower one is still long enough.
const MARGIN: f64 = 1.3;

struct Job {
    scenario: &'static str,
    mode: &'static str,
    keys: u64,
    timely: bool,
    /// Flink's backend and the milliseconds between two checkpoints.
    state: &'static [&'static str],
}

/// Builds each peer once, when the first scenario asks for it.
pub(crate) struct Peers<'a> {
    ours: &'a Ours,
    /// The folder that holds everything built or fetched.
    folder: PathBuf,
    seconds: f64,
    flink: Option<PathBuf>,
    timely: Option<PathBuf>,
    kafka: Option<PathBuf>,
}

impl<'a> Peers<'a> {
    /// Peers under the target folder, whose rounds last at least `seconds`.
    pub(crate) fn new(ours: &'a Ours, seconds: f64) -> Self {
        Self {
            ours,
            folder: ours.target.join("peers"),
            seconds,
            flink: None,
            timely: None,
            kafka: None,
        }
    }

    /// The peers of a scenario, each with its number of records found; none where nothing of
    /// theirs does the same work.
    pub(crate) fn of(&mut self, scenario: &str) -> Result<Vec<Peer>> {
        if kafka_peer::is_kafka(scenario) {
            return self.kafka(scenario);
        }
        let Some(job) = JOBS.iter().find(|job| job.scenario == scenario) else {
            return Ok(Vec::new());
        };
        let mut peers = vec![self.flink(job)?];
        if job.timely {
            peers.push(self.timely(job)?);
        }
        for peer in &mut peers {
            peer.calibrate()?;
        }
        Ok(peers)
    }

    /// The programs that are started with the order of one of our scenarios.
    fn kafka(&mut self, scenario: &str) -> Result<Vec<Peer>> {
        let rivals = kafka_peer::of(scenario);
        if self.kafka.is_none() && rivals.iter().any(|rival| rival.is_java()) {
            self.kafka = Some(build_java(&self.folder.join("kafka"), "kafka")?);
        }
        let (ours, classes) = (self.ours, self.kafka.as_deref());
        let peer = |rival: &kafka_peer::Rival| {
            let words = match rival.class.zip(classes) {
                Some((class, folder)) => java(folder, class),
                None => vec![ours.program.display().to_string(), "raw".into()],
            };
            let mut command = ours.command(scenario, self.seconds);
            command.arg("--beside").args(words);
            Peer {
                name: rival.name,
                program: Program::Given(command),
                seconds: self.seconds,
            }
        };
        Ok(rivals.iter().map(peer).collect())
    }

    fn flink(&mut self, job: &Job) -> Result<Peer> {
        let folder = match &self.flink {
            Some(folder) => folder.clone(),
            None => self
                .flink
                .insert(build_java(&self.folder.join("flink"), "flink")?)
                .clone(),
        };
        let mut words = java(&folder, "Peer");
        words.push(job.mode.into());
        Ok(self.peer("flink 2.2.0", words, job))
    }

    fn timely(&mut self, job: &Job) -> Result<Peer> {
        let program = match &self.timely {
            Some(program) => program.clone(),
            None => self
                .timely
                .insert(build_timely(&self.folder.join("timely"))?)
                .clone(),
        };
        Ok(self.peer("timely 0.32", vec![program.display().to_string()], job))
    }

    fn peer(&self, name: &'static str, words: Vec<String>, job: &Job) -> Peer {
        let mut tail = vec![job.keys.to_string(), parallelism()];
        tail.extend(job.state.iter().map(|word| (*word).to_owned()));
        let program = Program::Counting {
            words,
            tail,
            records: RECORDS_FIRST,
        };
        Peer {
            name,
            program,
            seconds: self.seconds,
        }
    }
}

/// The flagship's model, which its programs in Java find beside their classes.
const MODEL: &str = "plugins/fraud-scorer/model";

/// The words that start a Java program; Flink's serializers look into these packages.
fn java(folder: &Path, class: &str) -> Vec<String> {
    let model = root().join(MODEL);
    let class_path = format!(
        "{0}/classes:{0}/lib/*:{1}",
        folder.display(),
        model.display()
    );
    let mut words = vec!["java".to_owned(), "-Xmx4g".to_owned()];
    for package in ["java.lang", "java.time", "java.util"] {
        words.push(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
    }
    words.extend(["-cp".into(), class_path, class.into()]);
    words
}

/// A program to compare with.
pub(crate) struct Peer {
    name: &'static str,
    program: Program,
    seconds: f64,
}

/// How a round of it is started.
enum Program {
    /// With the number of records that makes a round long enough: program and arguments before it,
    /// and those after it.
    Counting {
        words: Vec<String>,
        tail: Vec<String>,
        records: u64,
    },
    /// As it is: it is told how long a round is.
    Given(Command),
}

impl Peer {
    /// Its name and version.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// One round in a process of its own. A round that was too short, or had too few checkpoints,
    /// is repeated with more.
    pub(crate) fn round(&mut self) -> Result<Sample> {
        let wanted = CHECKPOINTS_MIN.min((self.seconds as u64).saturating_sub(1));
        if let Program::Given(command) = &mut self.program {
            return Sample::parse(&shell::output(command)?);
        }
        loop {
            let sample = self.once()?;
            if sample.seconds < self.seconds {
                self.grow(sample.seconds / self.seconds);
                continue;
            }
            match sample.checkpoints.filter(|completed| *completed < wanted) {
                Some(completed) => self.grow(completed as f64 / wanted as f64),
                None => return Ok(sample),
            }
        }
    }

    /// Finds the number of records by runs that do not count.
    fn calibrate(&mut self) -> Result<()> {
        eprintln!("{}: looking for the number of records", self.name);
        self.round().map(drop)
    }

    fn once(&self) -> Result<Sample> {
        let Program::Counting {
            words,
            tail,
            records,
        } = &self.program
        else {
            bail!("{} has no number of records", self.name);
        };
        let (program, first) = words.split_first().context("a peer without a program")?;
        let mut command = Command::new(program);
        command.args(first).arg(records.to_string()).args(tail);
        Sample::parse(&shell::output(&mut command)?)
    }

    /// A short run says little about a long one: at most tenfold at a time. `reached` is the share
    /// of what was wanted.
    fn grow(&mut self, reached: f64) {
        let factor = (MARGIN / reached.max(1e-3)).clamp(1.1, 10.0);
        if let Program::Counting { records, .. } = &mut self.program {
            *records = (*records as f64 * factor) as u64;
        }
    }
}

/// Fetches the parts of `tests/peers/NAME` unless their list is unchanged, checks them where their
/// digests stand beside the list, and compiles the programs.
fn build_java(folder: &Path, name: &str) -> Result<PathBuf> {
    setup::peers()?;
    let source = root().join("tests/peers").join(name);
    let (list, fetched) = (source.join("pom.xml"), folder.join("fetched.xml"));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let wanted = fs::read(&list).with_context(|| format!("cannot read {}", list.display()))?;
    if fs::read(&fetched).ok() != Some(wanted.clone()) {
        let library = folder.join("lib");
        fs::remove_dir_all(&library).ok();
        let mut fetch = shell::command("mvn");
        fetch.args(["--quiet", "--batch-mode", "--file"]).arg(&list);
        fetch.arg("dependency:copy-dependencies");
        fetch.arg(format!("-DoutputDirectory={}", library.display()));
        shell::run(&mut fetch)?;
        let digests = source.join("jars.sha256");
        if digests.is_file() {
            kafka::check(&library, &digests)?;
        }
        fs::write(&fetched, wanted).context("cannot note what was fetched")?;
    }
    let mut compile = shell::command("javac");
    compile.arg("-d").arg(folder.join("classes"));
    compile
        .arg("-cp")
        .arg(format!("{}/lib/*", folder.display()));
    for entry in fs::read_dir(&source)? {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "java")
        {
            compile.arg(file);
        }
    }
    shell::run(&mut compile)?;
    Ok(folder.to_path_buf())
}

fn build_timely(folder: &Path) -> Result<PathBuf> {
    let mut build = shell::cargo();
    build.args(["build", "--release", "--locked", "--manifest-path"]);
    build
        .arg(root().join("tests/peers/timely/Cargo.toml"))
        .arg("--target-dir")
        .arg(folder);
    shell::run(&mut build)?;
    Ok(folder.join("release/wasmill-peer-timely"))
}
