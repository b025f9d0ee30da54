//! The programs to compare with: where they come from, how they are built, how a round runs.

use super::report::Sample;
use crate::workspace::root;
use crate::{setup, shell};
use anyhow::{Context, Result};
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
pub(crate) struct Peers {
    /// The folder that holds everything built or fetched.
    folder: PathBuf,
    seconds: f64,
    flink: Option<PathBuf>,
    timely: Option<PathBuf>,
}

impl Peers {
    /// Peers under the target folder, whose rounds last at least `seconds`.
    pub(crate) fn new(target: &Path, seconds: f64) -> Self {
        Self {
            folder: target.join("peers"),
            seconds,
            flink: None,
            timely: None,
        }
    }

    /// The peers of a scenario, each with its number of records found; none where nothing of
    /// theirs does the same work.
    pub(crate) fn of(&mut self, scenario: &str) -> Result<Vec<Peer>> {
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

    fn flink(&mut self, job: &Job) -> Result<Peer> {
        let folder = match &self.flink {
            Some(folder) => folder.clone(),
            None => self
                .flink
                .insert(build_flink(&self.folder.join("flink"))?)
                .clone(),
        };
        let class_path = format!("{0}/classes:{0}/lib/*", folder.display());
        let mut words = vec!["java".to_owned(), "-Xmx4g".to_owned()];
        // Flink's serializers look into these packages.
        for package in ["java.lang", "java.time", "java.util"] {
            words.push(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
        }
        words.extend(["-cp".into(), class_path, "Peer".into(), job.mode.into()]);
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
        Peer {
            name,
            words,
            tail,
            records: RECORDS_FIRST,
            seconds: self.seconds,
        }
    }
}

/// A program with the number of records that makes a round long enough.
pub(crate) struct Peer {
    name: &'static str,
    /// Program and arguments before the number of records, and those after it.
    words: Vec<String>,
    tail: Vec<String>,
    records: u64,
    seconds: f64,
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
        let (program, first) = self
            .words
            .split_first()
            .context("a peer without a program")?;
        let mut command = Command::new(program);
        command
            .args(first)
            .arg(self.records.to_string())
            .args(&self.tail);
        Sample::parse(&shell::output(&mut command)?)
    }

    /// A short run says little about a long one: at most tenfold at a time. `reached` is the share
    /// of what was wanted.
    fn grow(&mut self, reached: f64) {
        let factor = (MARGIN / reached.max(1e-3)).clamp(1.1, 10.0);
        self.records = (self.records as f64 * factor) as u64;
    }
}

/// Fetches Flink unless its list of parts is unchanged, and compiles the jobs.
fn build_flink(folder: &Path) -> Result<PathBuf> {
    setup::peers()?;
    let source = root().join("tests/peers/flink");
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
        fs::write(&fetched, wanted).context("cannot note what was fetched")?;
    }
    let mut compile = shell::command("javac");
    compile.arg("-d").arg(folder.join("classes"));
    compile
        .arg("-cp")
        .arg(format!("{}/lib/*", folder.display()))
        .arg(source.join("Peer.java"));
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
