//! Dead letters in a topic: counted, shown, and brought back once.
#![allow(
    clippy::print_stdout,
    reason = "what a command says is shown where a test fails"
)]

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wasmill_tests::kafka::{Action, Api, Broker, Fault, Settings};
use wasmill_tests::root;

use crate::job::Job;
use crate::topics::{Record, Topic, name};

/// What a command about dead letters prints.
fn dlq(job: &Job, words: &[&str]) -> String {
    let mut command = job.program();
    command.arg("dlq").args(words);
    let output = command.output().expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).expect("it prints text")
}

fn parsed(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("a list")
}

/// All records of a topic, with what stands beside them.
fn records(topic: &Topic) -> Vec<Value> {
    let job = Job::new(&format!(
        "name: look\ncheckpoint: off\n\
         sources:\n  in:\n    kafka:\n      brokers: BROKERS\n      topic: {}\n      stop: end\n\
         \x20     message: {{ key: key, at: timestamp, text: {{ header: text }}, from: {{ header: \
         wasmill-redriven }} }}\n\
         \x20   format: {{ raw: {{ value: string }} }}\n\
         sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n",
        topic.name
    ));
    job.finish(1);
    let lines = job.lines("out.jsonl");
    let parse = |line: &String| serde_json::from_str(line).expect("JSON");
    lines.iter().map(parse).collect()
}

/// Through a topic of letters that are written as `format` says, with `more` fields of the sink.
fn brought_back_once(format: &str, more: &str) {
    let (topic, letters) = (Topic::new("dlq", 1), Topic::new("dlq-letters", 1));
    let poison = Record {
        key: Some(b"k".to_vec()),
        headers: vec![("text".to_owned(), b"v".to_vec())],
        time_ms: Some(1_772_323_200_000),
        ..Record::of("poison")
    };
    topic.write(
        0,
        [Record::of("{\"n\": 1}"), poison, Record::of("{\"n\": 2}")],
    );
    let job = Job::new(&format!(
        "name: {}\n\
         sources:\n  in:\n    kafka: {{ brokers: BROKERS, topic: {}, stop: end }}\n\
         \x20   format: {{ json: {{ n: u8 }} }}\n\
         \x20   on-error: {{ dead-letter: dead }}\n\
         sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n  dead:\n\
         \x20   kafka: {{ brokers: BROKERS, topic: {}{more} }}\n\x20   format: {format}\n",
        topic.name, topic.name, letters.name
    ));
    job.finish(1);
    let counted = parsed(&dlq(&job, &["ls", "pipeline.yaml", "--json"]));
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert_eq!(counted[0]["kind"], "decode");
    assert_eq!(counted[0]["letters"], 1);
    let none = dlq(&job, &["ls", "pipeline.yaml", "--json", "--kind", "fault"]);
    assert_eq!(parsed(&none), Vec::<Value>::new());
    let shown = parsed(&dlq(&job, &["show", "pipeline.yaml", "dead"]));
    assert_eq!(shown[0]["original"], "poison");
    assert_eq!(shown[0]["key"], "k");
    assert_eq!(shown[0]["split"], format!("{}/0", topic.name));
    assert_eq!(shown[0]["offset"], 1);
    assert_eq!(
        shown[0]["headers"],
        json!([{ "name": "text", "value": "v" }])
    );
    let tried = dlq(&job, &["redrive", "pipeline.yaml", "--dry-run"]);
    assert!(
        tried.contains("1 would be brought back, 0 had been before"),
        "{tried}"
    );
    assert_eq!(records(&topic).len(), 3, "nothing was done");
    let first = dlq(&job, &["redrive", "pipeline.yaml"]);
    assert!(
        first.contains("1 brought back, 0 had been before"),
        "{first}"
    );
    let again = dlq(&job, &["redrive", "pipeline.yaml"]);
    assert!(
        again.contains("0 brought back, 1 had been before"),
        "{again}"
    );
    let tried = dlq(&job, &["redrive", "pipeline.yaml", "--dry-run"]);
    assert!(
        tried.contains("0 would be brought back, 1 had been before"),
        "{tried}"
    );
    let all = records(&topic);
    assert_eq!(all.len(), 4, "{all:?}");
    let back = json!({
        "value": "poison",
        "key": "k",
        "at": "2026-03-01T00:00:00.000000Z",
        "text": "v",
        "from": format!("{}/0@1", topic.name),
    });
    assert_eq!(all[3], back);
}

#[test]
fn letters_as_rows_are_brought_back_once() {
    brought_back_once("json", "");
}

#[test]
fn letters_as_the_original_bytes_are_brought_back_once() {
    brought_back_once(
        "{ raw: { column: [original, original-bytes] } }",
        ", key: key, timestamp: time, headers: { at: at, kind: kind, reason: reason, split: split, \
         offset: offset, headers: headers }",
    );
}

#[test]
fn a_row_on_which_a_plugin_fails_is_brought_back_with_all_that_stood_beside_it() {
    let (topic, letters) = (Topic::new("fault", 1), Topic::new("fault-letters", 1));
    let row = |id: u64| Record {
        key: Some(format!("k{id}").into_bytes()),
        headers: vec![("text".to_owned(), b"v".to_vec())],
        time_ms: Some(1_772_323_200_000),
        ..Record::of(format!("{{\"id\": {id}, \"more\": true}}"))
    };
    topic.write(0, (12..15).map(row));
    let plugin = root().join("target/plugins/guest-hostile.wasm");
    let job = Job::new(&format!(
        "name: {}
sources:
  in:
    kafka: {{ brokers: BROKERS, topic: {}, stop: end }}
    format: {{ json: {{ id: u64 }} }}
operators:
  rule:
    input: in
    plugin: {}
    config: {{ misbehave: trap-at-13 }}
    on-error: {{ dead-letter: dead }}
sinks:
  out: {{ input: rule, file: {{ path: out.jsonl }} }}
  dead: {{ kafka: {{ brokers: BROKERS, topic: {} }} }}
",
        topic.name,
        topic.name,
        plugin.display(),
        letters.name
    ));
    job.finish(1);
    assert_eq!(job.lines("out.jsonl"), ["{\"id\":12}", "{\"id\":14}"]);
    let shown = parsed(&dlq(&job, &["show", "pipeline.yaml"]));
    assert_eq!(shown.len(), 1, "{shown:?}");
    let letter = &shown[0];
    let code = std::fs::read(&plugin).expect("`cargo xtask plugins` has built it");
    let digest: String = Sha256::digest(code)
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    for (field, value) in [
        ("kind", json!("fault")),
        ("plugin", json!(digest)),
        ("key", json!("k13")),
        ("original", json!("{\"id\": 13, \"more\": true}")),
        ("split", json!(format!("{}/0", topic.name))),
        ("offset", json!(1)),
        ("headers", json!([{ "name": "text", "value": "v" }])),
    ] {
        assert_eq!(letter[field], value, "{field}: {letter}");
    }
    let reason = letter["reason"].as_str().expect("text");
    assert!(reason.contains("unreachable"), "{reason}");
    let done = dlq(&job, &["redrive", "pipeline.yaml"]);
    assert!(done.contains("1 brought back, 0 had been before"), "{done}");
    let all = records(&topic);
    let back = json!({
        "value": "{\"id\": 13, \"more\": true}",
        "key": "k13",
        "at": "2026-03-01T00:00:00.000000Z",
        "text": "v",
        "from": format!("{}/0@1", topic.name),
    });
    assert_eq!((all.len(), all.last()), (4, Some(&back)));
}

/// More letters than go into one transaction, of which the first ends so slowly that it is perhaps
/// asked for twice.
#[test]
fn many_letters_are_brought_back_once_also_where_a_transaction_ends_late() {
    const LETTERS: usize = 2_500;
    let broker = Broker::start(Settings::default());
    let topic = |stem: &str| Topic::at(broker.direct(), name(stem), 1);
    let (rows, letters) = (topic("late"), topic("late-letters"));
    rows.values(0, (0..LETTERS).map(|n| format!("poison {n}")));
    let job = Job::new(&format!(
        "name: {}
sources:
  in:
    kafka: {{ brokers: \"{}\", topic: {}, stop: end }}
    format: {{ json: {{ n: u8 }} }}
    on-error: {{ dead-letter: dead }}
sinks:
  out: {{ input: in, file: {{ path: out.jsonl }} }}
  dead: {{ kafka: {{ brokers: \"{}\", topic: {} }} }}
",
        rows.name,
        broker.proxy().address(),
        rows.name,
        broker.proxy().address(),
        letters.name
    ));
    job.finish(1);
    let actions = [
        Action::LateRequest(Duration::from_secs(3)),
        Action::LateAnswer(Duration::from_secs(3)),
        Action::CutRequest,
        Action::Cut,
    ];
    for action in actions {
        let (api, nth) = (Api::EndTxn, 1);
        broker.proxy().arm(Fault { api, nth, action });
        let output = job
            .program()
            .args(["dlq", "redrive", "pipeline.yaml"])
            .output();
        let said = output.expect("wasmill starts");
        println!("{action:?}: {}", String::from_utf8_lossy(&said.stderr));
    }
    let done = dlq(&job, &["redrive", "pipeline.yaml"]);
    let all_before = format!("0 brought back, {LETTERS} had been before");
    assert!(done.contains(&all_before), "{done}");
    assert_eq!(rows.count(), 2 * LETTERS, "each once");
}

#[test]
fn without_letters_in_a_topic_there_is_nothing_to_look_at() {
    let job = Job::new(
        "name: none\ncheckpoint: off\n\
         sources:\n  in: { kafka: { brokers: BROKERS, topic: in } }\n\
         sinks:\n  out: { input: in, file: { path: out.jsonl } }\n",
    );
    let output = job.program().args(["dlq", "ls", "pipeline.yaml"]).output();
    let output = output.expect("wasmill starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("no sink takes dead letters into a topic"),
        "{said}"
    );
}
