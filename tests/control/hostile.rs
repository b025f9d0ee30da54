//! Those who send rubbish, too much, too slowly, or are somebody else.
#![allow(
    clippy::print_stdout,
    reason = "which seed it was, for whoever repeats a failure"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;

use crate::bench::{Bench, place, totals};

/// More than it gets to.
const RECORDS: u64 = 100_000_000;
const SEED: u64 = 7;
/// Connections that send bytes of a seed.
const RANDOM: usize = 200;
/// Connections that begin a request and do not end it.
const SLOW: usize = 40;

/// Numbers that a seed decides (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

struct Socket(PathBuf);

impl Socket {
    fn of(bench: &Bench) -> Self {
        let entries = fs::read_dir(bench.sockets()).expect("a folder");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        let socket = paths.find(|path| path.extension().is_some_and(|end| end == "sock"));
        Self(socket.expect("a job listens"))
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.0).expect("it listens");
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).expect("a limit");
        stream
    }

    /// What comes back for some bytes. Whoever is cut off while sending reads what there is.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, Json) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = self.send((head + body).as_bytes());
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let json = serde_json::from_str(body).unwrap_or(Json::Null);
        (
            status.unwrap_or_else(|| panic!("no answer: {answer}")),
            json,
        )
    }

    /// A request is refused with one clear error.
    fn refuses(&self, request: (&str, &str, &str), status: u16, code: &str) {
        let (found, answer) = self.request(request.0, request.1, request.2);
        assert_eq!(
            (found, answer["error"]["code"].as_str()),
            (status, Some(code)),
            "{answer}"
        );
        for field in ["message", "remedy"] {
            let text = answer["error"][field].as_str().unwrap_or_default();
            assert!(!text.is_empty() && text.len() < 500, "{answer}");
        }
    }
}

#[test]
fn bad_requests_get_one_clear_error_and_leave_the_job_alone() {
    let bench = Bench::new();
    bench.totals("job", RECORDS, 8_000);
    let job = bench.start(&["job.yaml", "--parallelism", "2"]);
    bench.until_read("job", 1);
    let socket = Socket::of(&bench);
    ask_for_nonsense(&socket);
    send_rubbish(&socket);
    be_slow(&socket);
    let said = bench.ask(&["stop", "job"]);
    assert!(job.wait().success(), "{}", bench.said());
    let rows = bench.rows_at(&place(&said));
    assert_eq!(bench.lines("job.jsonl"), totals(0, rows));
}

fn ask_for_nonsense(socket: &Socket) {
    socket.refuses(("GET", "/", ""), 404, "not-found");
    socket.refuses(("GET", "/v1/job/../../etc/passwd", ""), 404, "not-found");
    socket.refuses(("DELETE", "/v1/job", ""), 405, "method-not-allowed");
    socket.refuses(("GET", "/v1/job/stop", ""), 405, "method-not-allowed");
    socket.refuses(("POST", "/v1/job/stop", "{"), 400, "invalid-body");
    socket.refuses(("POST", "/v1/job/stop", "[]"), 400, "invalid-body");
    socket.refuses(
        ("POST", "/v1/job/stop", r#"{"savepoints":true}"#),
        400,
        "invalid-body",
    );
    socket.refuses(
        ("POST", "/v1/job/drain", r#"{"now":1}"#),
        400,
        "invalid-body",
    );
    let deep = "[".repeat(60_000);
    socket.refuses(("POST", "/v1/job/savepoints", &deep), 400, "invalid-body");
    let large = format!("\"{}\"", "a".repeat(100_000));
    socket.refuses(
        ("POST", "/v1/job/savepoints", &large),
        413,
        "body-too-large",
    );
    for number in ["0", "-1", "x", "99999999999999999999", "%00"] {
        let path = format!("/v1/job/savepoints/{number}");
        socket.refuses(("DELETE", &path, ""), 404, "no-such-savepoint");
    }
}

/// What is no HTTP, or too much of it, is answered by HTTP's own word or not at all.
fn send_rubbish(socket: &Socket) {
    let long = format!("GET /v1/job HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET /v1/job HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for bytes in [
        "\r\n\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        &long,
        &many,
    ] {
        let answer = socket.send(bytes.as_bytes());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    let mut random = Random(SEED);
    println!("seed {SEED}");
    for _ in 0..RANDOM {
        let len = random.next() % 2_000;
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        if random.next().is_multiple_of(2) {
            bytes.splice(0..0, *b"POST /v1/job/savepoints HTTP/1.1\r\n");
        }
        bytes.extend(b"\r\n\r\n");
        socket.send(&bytes);
    }
}

/// Those who are slow do not keep others waiting.
fn be_slow(socket: &Socket) {
    let slow: Vec<UnixStream> = (0..SLOW)
        .map(|at| {
            let mut stream = socket.connect();
            let begun: &[u8] = match at % 3 {
                0 => b"",
                1 => b"GET /v1/job/status HT",
                _ => b"POST /v1/job/stop HTTP/1.1\r\ncontent-length: 100\r\n\r\n{",
            };
            stream.write_all(begun).expect("it listens");
            stream
        })
        .collect();
    let (status, answer) = socket.request("GET", "/v1/job/status", "");
    assert_eq!(
        (status, answer["job"]["state"].as_str()),
        (200, Some("running"))
    );
    for mut stream in slow {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let is_told = answer.is_empty() || answer.starts_with("HTTP/1.1 408");
        assert!(is_told, "it was cut off: {answer}");
    }
}

/// Another user is not served, even where the way to the socket is open.
#[test]
fn another_user_is_not_served() {
    let bench = Bench::new();
    bench.totals("job", RECORDS, 2_000);
    let job = bench.start(&["job.yaml", "--parallelism", "1"]);
    bench.until_read("job", 1);
    let socket = Socket::of(&bench);
    let is_root = fs::metadata("/proc/self/root/proc/1/environ").is_ok()
        && fs::File::open("/proc/1/environ").is_ok();
    if !is_root {
        println!("only root can become another user: not tried");
        return;
    }
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    for folder in [bench.file(""), bench.file("run"), bench.sockets()] {
        open(&folder, 0o777);
    }
    open(&socket.0, 0o666);
    let program = bench.file("wasmill");
    fs::copy(wasmill_tests::programs().join("wasmill"), &program).expect("a copy");
    open(&program, 0o755);
    let as_nobody = |args: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(args).current_dir("/");
        command
            .env("XDG_RUNTIME_DIR", bench.file("run"))
            .uid(65_534)
            .gid(65_534);
        command.output().expect("it starts")
    };
    let listed = as_nobody(&["ls"]);
    let said = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(said, "no job of this user runs\n");
    assert!(!as_nobody(&["stop", "job"]).status.success());
    assert_eq!(
        bench.json(&["ls", "--json"]).len(),
        1,
        "its own user is served as before"
    );
    bench.ask(&["stop", "job"]);
    assert!(job.wait().success());
}
