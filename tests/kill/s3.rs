//! Checkpoints in a bucket of a real S3 server: the same promises, and clear words where the bucket
//! or its store is not as it should be.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output};

use wasmill_tests::s3::{BUCKET, KEY, S3Server, SECRET};
use wasmill_tests::{Difference, Random, kill::report, programs};

use crate::feed::Feeder;
use crate::job::{self, Backend, Job, Running};
use crate::number;
use crate::points;
use crate::run::{Run, compare};
use crate::some_time;

/// How often two attempts race for one job.
const RACES: u64 = 4;

#[test]
fn every_row_once_in_a_bucket() {
    let (kills, seed) = (number("KILL_KILLS", 20).div_ceil(5), number("KILL_SEED", 1));
    let mut points = points::all();
    // Each of them has been reached over a folder; here is what has to do with the store.
    points.retain(|point| point.is_of_the_store());
    let outcome = Run::new(Job::in_bucket(Backend("memory")), seed).go(kills, &points);
    report(&format!("kill, in a bucket: {outcome}, seed {seed}"));
    assert!(outcome.is_flawless(), "{outcome}");
}

/// Two attempts at one job, from two machines as it were: one goes on, and the output is as if
/// there had been no other.
#[test]
fn of_two_attempts_one_goes_on() {
    let seed = number("KILL_SEED", 1);
    let mut random = Random(seed);
    let job = Job::in_bucket(Backend("memory"));
    let feeder = Feeder::start(&job.input(), seed);
    for race in 0..RACES {
        let (data, log) = (format!("data-{race}"), format!("log-{race}.txt"));
        let first = job.start(1 + random.below(3), true, None);
        // Sometimes the first one has begun by then, and sometimes both are at the same point.
        some_time(random.below(1_200));
        let second = job.start_elsewhere((&data, &log), 1 + random.below(3));
        let (said, survivor) = loser(first, second);
        let is_told = ["another run", "taken over", "overtaken", "is over", "holds"];
        assert!(
            is_told.iter().any(|part| said.contains(part)),
            "race {race}: {said}"
        );
        survivor.kill_after(random.below(600));
    }
    let fed = feeder.stop();
    job.use_ledger(2);
    job.start(2, false, None).finish();
    let all = compare(&job, &fed);
    assert_eq!(all, Difference::default(), "seed {seed}: {all}");
}

/// Waits for one of two to give up; gives what it said, and the other.
fn loser(mut first: Running, mut second: Running) -> (String, Running) {
    for _ in 0..6_000 {
        if let Some(status) = first.ended() {
            // 3 says that another run has taken over, 1 that it was there already.
            assert!(matches!(status.code(), Some(1 | 3)), "{}", first.said());
            return (first.said(), second);
        }
        std::mem::swap(&mut first, &mut second);
        some_time(5);
    }
    panic!("both go on: {} {}", first.said(), second.said());
}

/// Runs a job with nothing to read.
fn run(storage: &str, key: &str, secret: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let document = format!(
        "name: nothing\ncheckpoint:\n{storage}sources:\n  n: {{ generator: {{ records: 10, \
         columns: {{ n: {{ sequence: true, type: u64 }} }} }} }}\n\
         sinks:\n  out: {{ input: n, file: {{ path: out.jsonl }} }}\n"
    );
    fs::write(folder.path().join("pipeline.yaml"), document).expect("the folder is writable");
    fs::write(folder.path().join("secret.txt"), secret).expect("the folder is writable");
    let mut command = Command::new(programs().join("wasmill"));
    command
        .args(["run", "pipeline.yaml"])
        .current_dir(folder.path());
    command
        .env("XDG_DATA_HOME", folder.path())
        .env("S3_KEY", key);
    // As much as it ever says.
    command.env("WASMILL_LOG", "trace").env("RUST_LOG", "trace");
    let output = command.output().expect("wasmill starts");
    let mut grep = Command::new("grep");
    grep.args(["-r", SECRET, "--exclude", "secret.txt"])
        .arg(folder.path());
    let left = grep.output().expect("grep starts").stdout;
    assert!(left.is_empty(), "{}", String::from_utf8_lossy(&left));
    output
}

/// What it says if it fails.
fn refused(storage: &str, key: &str, secret: &str) -> String {
    let output = run(storage, key, secret);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains(SECRET), "a secret is shown: {said}");
    said
}

#[test]
fn what_is_wrong_with_a_bucket_is_said() {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let server = S3Server::start(folder.path());
    let bucket = |name: &str| job::bucket(&server.endpoint(), name);
    let good = run(&bucket(BUCKET), KEY, SECRET);
    let said = String::from_utf8_lossy(&good.stderr).into_owned();
    assert!(good.status.success() && !said.contains(SECRET), "{said}");
    let said = refused(&bucket("elsewhere"), KEY, SECRET);
    assert!(said.contains("there is no bucket `elsewhere`"), "{said}");
    let said = refused(&bucket(BUCKET), KEY, "another-secret");
    assert!(said.contains("refuses the credentials"), "{said}");
    assert!(!said.contains("another-secret"), "{said}");
    let said = refused(&bucket(BUCKET), "nobody", SECRET);
    assert!(said.contains("refuses the credentials"), "{said}");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
    let nobody = format!("http://{}", free.expect("a free port"));
    let said = refused(&job::bucket(&nobody, BUCKET), KEY, SECRET);
    assert!(
        said.contains(&nobody) && said.contains("`endpoint`"),
        "{said}"
    );
}

/// A store that says yes to everything would let two runs decide.
#[test]
fn a_store_without_create_if_absent_is_refused_by_name() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = agree(stream);
        }
    });
    let said = refused(
        &job::bucket(&format!("http://{address}"), BUCKET),
        KEY,
        SECRET,
    );
    for part in ["If-None-Match", &address.to_string(), "s3://bucket"] {
        assert!(said.contains(part), "{said}");
    }
}

/// Answers a request as if it had been done.
fn agree(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer)?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if read == 0 {
                return Ok(());
            }
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
        if body.len() >= length || read == 0 {
            break;
        }
    }
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
}
