//! `wasmill status` and `wasmill ls`, and the socket that they ask.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use std::process::Stdio;

use serde_json::Value as Json;
use wasmill_tests::root;

use crate::bench::{Bench, totals};

/// Whether a value has these fields and no others.
fn has_fields(of: &Json, wanted: &str) {
    let found = of.as_object().expect("an object").keys();
    let mut found: Vec<_> = found.map(String::as_str).collect();
    let mut wanted: Vec<_> = wanted.split_whitespace().collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

const FLOW: &str = "name records_in records_out records_in_per_second records_out_per_second busy \
    back_pressure late_rows rejected dead_letters watermark lag_seconds";

#[test]
fn two_jobs_are_listed_and_told_apart() {
    let bench = Bench::new();
    bench.totals("first", 100_000_000, 5_000);
    bench.totals("second", 100_000_000, 10_000);
    assert_eq!(bench.ask(&["ls"]), "no job of this user runs\n");
    let first = bench.start(&["first.yaml", "--parallelism", "1"]);
    bench.until_read("first", 1);
    let second = bench.start(&["second.yaml", "--parallelism", "2"]);
    bench.until_read("second", 1);

    let jobs = bench.json(&["ls", "--json"]);
    let names: Vec<_> = jobs.iter().map(|job| job["name"].as_str()).collect();
    assert_eq!(names, [Some("first"), Some("second")]);
    has_fields(
        &jobs[0],
        "name pipeline storage state parallelism attempt process program started uptime_seconds",
    );
    let path = fs::canonicalize(bench.file("first.yaml")).expect("it is there");
    assert_eq!(jobs[0]["pipeline"].as_str(), path.to_str());
    let listed = bench.ask(&["status"]);
    assert!(
        listed.contains("first") && listed.contains("second"),
        "{listed}"
    );

    // By name or by document; somebody who asks for neither is told what there is.
    let by_path = bench.until("second.yaml", |status| {
        status["checkpoints"]["decided"].as_u64() >= Some(2)
    });
    assert_eq!(by_path["job"]["name"], "second");
    assert_eq!(by_path["job"]["parallelism"], 2);
    let error = bench.refused(&["status", "third"]);
    assert!(error.contains("running are `first`, `second`"), "{error}");
    check_shape(&by_path);

    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode();
    assert_eq!(mode(&bench.sockets()) & 0o777, 0o700);
    let sockets = fs::read_dir(bench.sockets()).expect("a folder");
    let sockets = sockets.map(|entry| entry.expect("an entry"));
    let sockets: Vec<_> = sockets
        .filter(|entry| entry.file_type().expect("a type").is_socket())
        .collect();
    assert_eq!(sockets.len(), 2);
    assert!(
        sockets
            .iter()
            .all(|socket| mode(&socket.path()) & 0o777 == 0o600)
    );

    for job in ["first", "second"] {
        let said = bench.ask(&["stop", job]);
        assert!(said.contains("is stopped; checkpoint"), "{said}");
    }
    assert!(first.wait().success() && second.wait().success());
    assert_eq!(bench.json(&["ls", "--json"]), Vec::<Json>::new());
    let left = fs::read_dir(bench.sockets()).expect("a folder");
    let left = left.map(|entry| entry.expect("an entry").file_name());
    assert_eq!(
        left.collect::<Vec<_>>(),
        [".lock"],
        "sockets go with their jobs"
    );
}

/// The JSON of a status: every field of docs/api.md, and what must be true of some.
fn check_shape(status: &Json) {
    has_fields(
        status,
        "status job records_in records_out records_in_per_second records_out_per_second late_rows \
         rejected dead_letters faults lost_rows state_bytes watermark lag_seconds checkpoints \
         sources operators sinks",
    );
    let source = &status["sources"][0];
    has_fields(
        source,
        &format!("{FLOW} late_idle_rows rows_left bytes_left splits splits_ended"),
    );
    let operator = &status["operators"][0];
    let more = "task faults lost_rows plugin_cpu state_bytes checkpoint_bytes counters";
    has_fields(operator, &format!("{FLOW} {more}"));
    let sink = &status["sinks"][0];
    has_fields(sink, "name records_in records_in_per_second busy");
    let checkpoints = &status["checkpoints"];
    has_fields(
        checkpoints,
        "interval_seconds decided given_up age_seconds last pending failure restored",
    );
    let last = &checkpoints["last"];
    has_fields(
        last,
        "checkpoint reason is_finished place attempt triggered duration_seconds bytes watermark",
    );
    assert_eq!(source["splits"], 1);
    let (read, left) = (source["records_in"].as_u64(), source["rows_left"].as_u64());
    assert!(
        read.zip(left)
            .is_some_and(|(read, left)| read + left >= 100_000_000)
    );
    assert_eq!(source["bytes_left"], Json::Null);
    assert!(operator["checkpoint_bytes"].as_u64() > Some(0));
    assert!(operator["state_bytes"].as_u64() > Some(0));
    let place = last["place"].as_str().expect("a place");
    assert!(place.contains("/default/second/0-127/log/"), "{place}");
    for share in [
        &source["busy"],
        &operator["busy"],
        &operator["back_pressure"],
        &sink["busy"],
    ] {
        let share = share.as_f64().expect("a share");
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
}

/// Rows of the paced source in a second.
const RATE: f64 = 4_000.0;

/// Two streams: one whose source keeps a pace, each row a second of event time behind the last; and
/// one whose operator is slower than its source.
fn paced_and_pressing(bench: &Bench) {
    let plugins = root().join("target/plugins");
    let plugins = plugins.display();
    let document = format!(
        "name: loads
checkpoint: {{ interval: 100ms, storage: checkpoints }}
sources:
  paced:
    generator:
      rate: {RATE}
      columns:
        account: {{ mod: 50 }}
        amount: {{ sequence: true, type: f64 }}
        at: {{ time: {{ step: 1s }} }}
    event-time: {{ column: at }}
  pressing: {{ generator: {{ columns: {{ n: sequence }} }} }}
operators:
  totals: {{ input: paced, key-by: [account], plugin: {plugins}/count-by-key.wasm }}
  slow:
    input: pressing
    key-by: [n]
    plugin: {plugins}/guest-bench-spin.wasm
    config: {{ turns: 20000 }}
    batch: {{ rows-max: 256 }}
sinks:
  out: {{ input: totals, file: {{ path: out.jsonl }} }}
  found: {{ input: slow, discard: {{}} }}
"
    );
    bench.write("loads.yaml", &document);
}

/// One of the sources, operators or sinks of a status.
#[track_caller]
fn of<'a>(status: &'a Json, kind: &str, name: &str) -> &'a Json {
    let all = status[kind].as_array().expect("a list").iter();
    let mut found = all.filter(|it| it["name"] == name);
    found.next().expect("it is in the document")
}

#[track_caller]
fn number(of: &Json, field: &str) -> f64 {
    of[field].as_f64().expect("a number")
}

/// What is told is about what is: of a pace, a clock, and who waits for whom.
#[test]
fn rates_watermarks_and_back_pressure_are_what_they_are() {
    let bench = Bench::new();
    paced_and_pressing(&bench);
    let job = bench.start(&["loads.yaml", "--parallelism", "1"]);
    let after = |rows: f64, decided: u64| {
        bench.until("loads", |status| {
            let is_decided = status["checkpoints"]["decided"].as_u64() >= Some(decided);
            is_decided && number(of(status, "operators", "totals"), "records_in") >= rows
        })
    };
    let status = after(RATE * 2.0, 2);
    // A machine that is busy with other things may be late, and catches up.
    let is_about = |rate: f64| (RATE / 5.0..RATE * 5.0).contains(&rate);
    for (kind, name, fields) in [
        (
            "sources",
            "paced",
            &["records_in_per_second", "records_out_per_second"][..],
        ),
        (
            "operators",
            "totals",
            &["records_in_per_second", "records_out_per_second"],
        ),
        ("sinks", "out", &["records_in_per_second"]),
    ] {
        for field in fields {
            let rate = number(of(&status, kind, name), field);
            assert!(is_about(rate), "{name}, {field}: {rate}");
        }
    }
    let (paced, pressing) = (
        of(&status, "sources", "paced"),
        of(&status, "sources", "pressing"),
    );
    let (held_back, free) = (
        number(pressing, "back_pressure"),
        number(paced, "back_pressure"),
    );
    assert!(
        held_back > 0.05 && held_back > free,
        "{held_back}, and {free}"
    );
    let slow = of(&status, "operators", "slow");
    assert!(
        number(slow, "busy") > 0.05 && number(slow, "plugin_cpu") > 0.05,
        "{slow}"
    );
    assert_eq!(
        (&pressing["watermark"], &slow["lag_seconds"]),
        (&Json::Null, &Json::Null)
    );

    let checkpoints = &status["checkpoints"];
    assert_eq!(checkpoints["interval_seconds"], 0.1);
    let age = number(checkpoints, "age_seconds");
    assert!((0.0..60.0).contains(&age), "{age}");
    let took = number(&checkpoints["last"], "duration_seconds");
    assert!((0.0..=60.0).contains(&took), "{took}");

    let decided = checkpoints["decided"].as_u64().expect("a number");
    let later = after(RATE * 3.0, decided + 1);
    for (kind, name) in [("sources", "paced"), ("operators", "totals")] {
        let looks = [&status, &later].map(|it| of(it, kind, name));
        let [before, after] = looks.map(|it| number(it, "records_in") as i64);
        let [was, is] = looks.map(watermark_seconds);
        assert!(0 < was && was < is, "{name}: {was}, then {is}");
        // The rows of one look are passed by the next, and those of the next not by this one.
        assert!(was < after && before <= is + 1, "{name}: {looks:?}");
    }
    watched(&bench);
    assert!(job.wait().success());
}

/// The watermark as seconds since 1970; each row is one behind the last.
#[track_caller]
fn watermark_seconds(of: &Json) -> i64 {
    let text = of["watermark"].as_str().expect("it has event time");
    let parts: Vec<i64> = text
        .split(['-', 'T', ':', 'Z', '.'])
        .take(6)
        .map(|part| part.parse().expect("a time in UTC"))
        .collect();
    let [1970, 1, day, hours, minutes, seconds] = parts[..] else {
        panic!("{text}: it is some hours of event time");
    };
    (((day - 1) * 24 + hours) * 60 + minutes) * 60 + seconds
}

/// Whoever watches is told again and again, until the job is stopped.
fn watched(bench: &Bench) {
    let mut command = bench.command(&["status", "loads", "--watch", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watcher = command.spawn().expect("wasmill starts");
    let said = BufReader::new(watcher.stdout.take().expect("it is piped"));
    let mut lines = said.lines().map(|line| line.expect("answers are text"));
    let mut rows = Vec::new();
    for _ in 0..3 {
        let line = lines.next().expect("the job runs");
        let status: Json = serde_json::from_str(&line).expect("JSON");
        rows.push(number(of(&status, "sources", "paced"), "records_in"));
    }
    assert!(
        rows.is_sorted_by(|was, is| was < is),
        "each look is a new one: {rows:?}"
    );
    bench.ask(&["stop", "loads"]);
    for line in lines {
        let status: Json = serde_json::from_str(&line).expect("JSON");
        assert_eq!(status["job"]["name"], "loads");
    }
    assert!(
        watcher.wait().expect("it ends").success(),
        "it ends with the job"
    );
}

/// A slow sink holds its source back, and a file tells how much is left of it.
#[test]
fn what_is_left_of_a_file_is_told() {
    let bench = Bench::new();
    let rows: String = (0..1_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    bench.write("in.jsonl", &rows);
    let document = "name: rows\ncheckpoint: { storage: checkpoints }\nsources:\n  n:\n    \
        file: { path: in.jsonl, follow: true }\n    format: { json: { n: u64 } }\n\
        sinks:\n  out: { input: n, file: { path: out.jsonl } }\n";
    bench.write("rows.yaml", document);
    let job = bench.start(&["rows.yaml", "--parallelism", "1"]);
    let status = bench.until("rows", |status| {
        let source = &status["sources"][0];
        source["records_in"] == 1_000 && source["bytes_left"] == 0
    });
    assert_eq!(status["sources"][0]["rows_left"], Json::Null);
    // What is behind the last line end cannot be read yet.
    let more = rows.clone() + "{\"n\":";
    bench.write("in.jsonl", &more);
    bench.until("rows", |status| status["sources"][0]["bytes_left"] == 5);
    let table = bench.ask(&["status", "rows"]);
    assert!(table.contains("5 B") && table.contains("1000"), "{table}");
    bench.ask(&["stop", "rows"]);
    assert!(job.wait().success());
}

#[test]
fn a_socket_that_a_killed_job_has_left_is_in_nobodys_way() {
    let bench = Bench::new();
    bench.totals("job", 6_000, 2_000);
    let job = bench.start(&["job.yaml", "--parallelism", "1"]);
    bench.until_read("job", 1);
    job.kill();
    let sockets = || {
        let found = fs::read_dir(bench.sockets()).expect("a folder");
        let names = found.map(|entry| entry.expect("an entry").path());
        names.filter(|path| path.extension().is_some()).count()
    };
    assert_eq!(sockets(), 1, "it could not take its socket along");
    let again = bench.start(&["job.yaml", "--parallelism", "2"]);
    bench.until_read("job", 1);
    assert_eq!((sockets(), bench.json(&["ls", "--json"]).len()), (1, 1));
    again.kill();
    assert_eq!(bench.ask(&["ls"]), "no job of this user runs\n");
    assert_eq!(sockets(), 0, "whoever lists jobs clears away what is left");
    let error = bench.refused(&["stop", "job"]);
    assert!(error.contains("no job `job` runs"), "{error}");
    assert!(bench.start(&["job.yaml"]).wait().success());
    assert_eq!(bench.lines("job.jsonl"), totals(0, 6_000));
}
