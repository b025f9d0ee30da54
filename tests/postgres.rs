//! A real PostgreSQL behind the real program: each row stands in the table once, whoever is killed,
//! and no secret shows.
#![allow(
    clippy::print_stdout,
    reason = "which seed it was, for whoever repeats a failure"
)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use wasmill_tests::postgres::{Database, Server};
use wasmill_tests::{Signal, programs, signal};

/// Rows of a job.
const ROWS: u64 = 40_000;
/// Starts that are ended by force.
const KILLS: u64 = 8;

/// Numbers that a seed decides (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// Lets the job run for a while, however far that takes it.
#[expect(
    clippy::disallowed_methods,
    reason = "a kill comes at any time; nothing is expected to have happened"
)]
fn some_time(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// A folder with a job that writes numbers into two tables: all of them, and of each remainder the
/// last.
struct Job {
    folder: tempfile::TempDir,
}

impl Job {
    /// `fields` go into both sinks.
    fn new(database: &Database, interval: &str, rate: u64, fields: &str) -> Self {
        let job = Self {
            folder: tempfile::tempdir().expect("a folder for the test's files"),
        };
        job.write(database, interval, rate, fields);
        job
    }

    fn write(&self, database: &Database, interval: &str, rate: u64, fields: &str) {
        let schema = &database.schema;
        let document = format!(
            "name: numbers\n\
             restart: none\n\
             checkpoint: {{ interval: {interval}, storage: checkpoints }}\n\
             sources:\n  n: {{ generator: {{ rate: {rate}, records: {ROWS}, columns: \
             {{ n: {{ sequence: true, type: u64 }}, k: {{ mod: 10, type: u64 }} }} }} }}\n\
             sinks:\n\
             \x20 all: {{ input: n, postgres: {{ {fields}, schema: {schema}, table: numbers }} }}\n\
             \x20 last: {{ input: n, postgres: {{ {fields}, schema: {schema}, table: lasts, upsert: [k] }} }}\n"
        );
        fs::write(self.path("pipeline.yaml"), document).expect("the folder is writable");
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.args(arguments).current_dir(self.folder.path());
        command.env_remove("WASMILL_LOG");
        command
    }

    fn start(&self) -> Child {
        let mut command = self.command(&["run", "pipeline.yaml", "--parallelism", "2"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("wasmill starts")
    }

    fn run(&self) -> Output {
        self.start().wait_with_output().expect("wasmill ends")
    }

    fn finish(&self) {
        let output = self.run();
        assert!(output.status.success(), "{}", said(&output));
    }

    /// Runs for a while and asks it to stop, which takes a last checkpoint.
    fn run_a_while(&self, until: impl Fn() -> bool) {
        let running = self.start();
        while !until() {
            thread::yield_now();
        }
        signal(&running, Signal::TERM);
        let output = running.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(143), "{}", said(&output));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn literal(database: &Database) -> String {
    format!("url: \"{}\"", database.url)
}

fn rows(database: &Database) -> u64 {
    database.number("select count(*) from numbers").unwrap_or(0)
}

/// Every number stands once, and of each remainder the last.
fn check(database: &Database) {
    let found = database.ask("select count(*), count(distinct n), min(n), max(n) from numbers");
    assert_eq!(found, [format!("{ROWS}|{ROWS}|0|{}", ROWS - 1)]);
    let lasts = database.ask("select k, n from lasts order by k");
    let expected: Vec<String> = (0..10).map(|k| format!("{k}|{}", ROWS - 10 + k)).collect();
    assert_eq!(lasts, expected);
}

#[test]
fn each_row_stands_once_however_often_the_job_is_killed() {
    let database = Database::shared();
    let job = Job::new(&database, "20ms", 10_000, &literal(&database));
    let (seed, mut killed) = (3, 0);
    let mut random = Random(seed);
    for _ in 0..KILLS {
        let mut running = job.start();
        some_time(100 + random.below(500));
        killed += u64::from(running.try_wait().expect("a child can be asked").is_none());
        running.kill().expect("a child can be killed");
        running.wait().expect("a killed child ends");
        let seen = "select count(*) - count(distinct n) from numbers";
        assert_eq!(database.number(seen).unwrap_or(0), 0, "rows stand twice");
    }
    println!("seed {seed}: {killed} kills");
    assert!(killed > 0, "the job is slower than the first kill");
    job.finish();
    check(&database);
    let again = job.run();
    assert!(
        said(&again).contains("nothing left to do"),
        "{}",
        said(&again)
    );
    check(&database);
}

#[test]
fn a_database_that_crashes_loses_and_doubles_nothing() {
    let server = Server::start(None);
    let database = server.database(None);
    let job = Job::new(&database, "50ms", 10_000, &literal(&database));
    let running = job.start();
    for part in [1, 2, 3] {
        while rows(&database) < part * ROWS / 5 {
            thread::yield_now();
        }
        server.crash();
        // Rows and checkpoints go on without it.
        some_time(200);
        server.up();
    }
    let output = running.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", said(&output));
    check(&database);
}

#[test]
fn a_database_that_is_not_there_at_the_start_is_waited_for() {
    let server = Server::start(None);
    let database = server.database(None);
    let job = Job::new(&database, "50ms", 20_000, &literal(&database));
    server.crash();
    let running = job.start();
    while !job.path("checkpoints/default/numbers").exists() {
        thread::yield_now();
    }
    some_time(300);
    server.up();
    let output = running.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", said(&output));
    check(&database);
}

#[test]
fn a_database_that_stays_away_fails_the_job_which_goes_on_later() {
    let server = Server::start(None);
    let database = server.database(None);
    let fields = format!("{}, give-up-after: 500ms", literal(&database));
    let job = Job::new(&database, "50ms", 10_000, &fields);
    let running = job.start();
    while rows(&database) < ROWS / 5 {
        thread::yield_now();
    }
    server.crash();
    let output = running.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    for part in ["has been away for", "nothing is lost", "`give-up-after`"] {
        assert!(said(&output).contains(part), "{}", said(&output));
    }
    server.up();
    job.finish();
    check(&database);
}

/// Two runs that know nothing of each other: the second has the first one's checkpoints from a
/// copy, so only the database tells the first that it has been overtaken.
#[test]
fn a_stopped_process_that_wakes_up_writes_nothing() {
    let database = Database::shared();
    let old = Job::new(&database, "20ms", 10_000, &literal(&database));
    let running = old.start();
    while rows(&database) < ROWS / 5 {
        thread::yield_now();
    }
    signal(&running, Signal::STOP);
    let new = Job::new(&database, "20ms", 20_000, &literal(&database));
    copy(&old.path("checkpoints"), &new.path("checkpoints"));
    let taken_over = new.start();
    let before = rows(&database);
    while rows(&database) <= before {
        thread::yield_now();
    }
    signal(&running, Signal::CONT);
    let output = running.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(
        said(&output).contains("has taken over"),
        "{}",
        said(&output)
    );
    let output = taken_over.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", said(&output));
    check(&database);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(copied.expect("cp starts").success());
}

/// A database that was brought back from a copy gets what it lacks, if the checkpoints are kept.
#[test]
fn what_a_copy_of_the_database_lacks_is_brought_out_again() {
    let database = Database::shared();
    let job = Job::new(&database, "1h", 10_000, &literal(&database));
    let tables = ["numbers", "lasts", "wasmill_commits"];
    let stop_later = || {
        let attempt = || database.number("select max(attempt) from wasmill_commits");
        let before = attempt();
        job.run_a_while(|| {
            let has_begun = attempt() > before;
            if has_begun {
                some_time(200);
            }
            has_begun
        });
    };
    stop_later();
    for table in tables {
        database.ask(&format!("create table copy_of_{table} as table {table}"));
    }
    let bring_back = || {
        for table in tables {
            database.ask(&format!(
                "delete from {table}; insert into {table} select * from copy_of_{table}"
            ));
        }
    };
    let brought_out = rows(&database);
    assert!(brought_out > 0, "the last checkpoint brings rows out");
    stop_later();
    assert!(rows(&database) > brought_out);
    bring_back();
    for _ in 0..4 {
        stop_later();
    }
    let all_so_far = rows(&database);
    let distinct = database.number("select count(distinct n) from numbers");
    assert_eq!(distinct, Some(all_so_far));
    assert_eq!(
        database.number("select max(n) + 1 from numbers"),
        Some(all_so_far)
    );
    bring_back();
    let refused = job.run();
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(
        said(&refused).contains("rows would be missing"),
        "{}",
        said(&refused)
    );
}

#[test]
fn a_table_of_other_columns_is_refused_with_all_that_is_wrong() {
    let database = Database::shared();
    database.ask("create table numbers (n integer, by_whom text not null)");
    let job = Job::new(&database, "1s", 10_000, &literal(&database));
    let output = job.run();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    for part in [
        "the column `n` is integer, and the rows' is u64",
        "the column `k` is missing",
        "its column `by_whom` is `not null` without a default",
        "change it, or write to another table",
    ] {
        assert!(said(&output).contains(part), "{}", said(&output));
    }
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
}

const PLANTED: &str = "planted-secret-71c9";

/// Everything that a run says and leaves, and what other commands say of it: none has the secret.
#[test]
fn a_secret_shows_nowhere() {
    let server = Server::start(Some(PLANTED));
    let database = server.database(Some(PLANTED));
    let by_file = format!("url: \"{}\", password: {{ file: password }}", server.url());
    let job = Job::new(&database, "20ms", 40_000, &by_file);
    fs::write(job.path("password"), format!("{PLANTED}\n")).expect("the folder is writable");
    let run = [
        "run",
        "pipeline.yaml",
        "--log",
        "trace",
        "--summary",
        "json",
        "--summary-file",
        "summary",
    ];
    let mut outputs = vec![job.command(&run).output().expect("wasmill starts")];
    assert!(outputs[0].status.success(), "{}", said(&outputs[0]));
    check(&database);
    let by_variable = "url: { env: PLANTED_URL }, give-up-after: 1s";
    job.write(&database, "20ms", 40_000, by_variable);
    let with = |url: &str, arguments: &[&str]| {
        let mut command = job.command(arguments);
        command
            .env("PLANTED_URL", url)
            .output()
            .expect("wasmill starts")
    };
    let fresh = ["run", "pipeline.yaml", "--fresh", "--log", "trace"];
    outputs.push(with(&database.url, &["check", "pipeline.yaml"]));
    outputs.push(with(&database.url, &["graph", "pipeline.yaml"]));
    outputs.push(with(&database.url, &fresh));
    assert!(outputs.iter().all(|output| output.status.success()));
    // A password that is wrong, a server that is not there, and no URL at all.
    let wrong = database.url.replace(PLANTED, &format!("{PLANTED}-wrong"));
    let refused = with(&wrong, &fresh);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(
        said(&refused).contains("check `user` and `password`"),
        "{}",
        said(&refused)
    );
    let nowhere = format!("postgres://u:{PLANTED}@127.0.0.1:1/none");
    let no_url = format!("postgres://u:{PLANTED}@host:{PLANTED}/none?{PLANTED}=1");
    outputs.extend([refused, with(&nowhere, &fresh), with(&no_url, &fresh)]);
    for output in &outputs {
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        assert!(!has(&text, PLANTED), "{}", String::from_utf8_lossy(&text));
    }
    fs::remove_file(job.path("password")).expect("it is ours");
    let mut seen = 0;
    assert_none_has(job.folder.path(), &mut seen);
    assert!(seen > 3, "a summary, a document, and checkpoints");
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn assert_none_has(folder: &Path, seen: &mut usize) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            assert_none_has(&path, seen);
        } else {
            let bytes = fs::read(&path).expect("a file");
            assert!(!has(&bytes, PLANTED), "{}", path.display());
            *seen += 1;
        }
    }
}

#[test]
fn a_secret_that_is_missing_is_told_before_anything_runs() {
    let database = Database::shared();
    let job = Job::new(&database, "1s", 10_000, "url: { env: NO_SUCH_URL }");
    let run = job.run();
    assert_eq!(run.status.code(), Some(2), "{}", said(&run));
    assert!(
        said(&run).contains("the variable `NO_SUCH_URL` is not set"),
        "{}",
        said(&run)
    );
    let check = job
        .command(&["check", "pipeline.yaml"])
        .output()
        .expect("wasmill starts");
    assert!(check.status.success(), "{}", said(&check));
    assert!(said(&check).contains("warning"), "{}", said(&check));
    assert!(!job.path("checkpoints").exists(), "nothing was begun");
}
