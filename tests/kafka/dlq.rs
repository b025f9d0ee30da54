//! Dead letters in a topic: counted, shown, and brought back once.

use serde_json::{Value, json};

use crate::job::Job;
use crate::topics::{Record, Topic};

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
