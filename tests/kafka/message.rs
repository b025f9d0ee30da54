//! What stands beside values, and records without one.

use crate::job::Job;
use crate::topics::{Record, Topic};

fn rows(job: &Job, name: &str) -> Vec<serde_json::Value> {
    let lines = job.lines(name).into_iter();
    lines
        .map(|line| serde_json::from_str(&line).expect("JSON"))
        .collect()
}

#[test]
fn columns_show_keys_times_headers_and_places() {
    let topic = Topic::new("message", 2);
    let header = |value: &str| ("trace".to_owned(), value.as_bytes().to_vec());
    topic.write(
        1,
        [
            Record {
                key: Some(b"k1".to_vec()),
                headers: vec![header("first"), header("last")],
                time_ms: Some(1_772_323_200_123),
                ..Record::of("{\"n\": 1}")
            },
            Record::of("no JSON"),
            Record {
                time_ms: Some(1_772_323_200_000),
                ..Record::of("{\"n\": 2}")
            },
        ],
    );
    let job = Job::new(&format!(
        "name: message\n\
         sources:\n  in:\n    kafka:\n      brokers: BROKERS\n      topic: {}\n      stop: end\n\
         \x20     message: {{ k: key, kb: key-bytes, at: timestamp, t: topic, \
         p: partition, o: offset, h: {{ header: trace }} }}\n\
         \x20   format: {{ json: {{ n: u8 }} }}\n\
         \x20   on-error: skip\n\
         sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n",
        topic.name
    ));
    job.finish(2);
    let expected = [
        serde_json::json!({"n": 1, "k": "k1", "kb": "azE=", "at": "2026-03-01T00:00:00.123000Z",
            "t": topic.name, "p": 1, "o": 0, "h": "last"}),
        serde_json::json!({"n": 2, "k": null, "kb": null, "at": "2026-03-01T00:00:00.000000Z",
            "t": topic.name, "p": 1, "o": 2, "h": null}),
    ];
    assert_eq!(rows(&job, "out.jsonl"), expected);
}

#[test]
fn dead_letters_hold_the_original_key_headers_and_time() {
    let topic = Topic::new("letters", 1);
    let headers = vec![
        ("text".to_owned(), b"v".to_vec()),
        ("octets".to_owned(), b"\xFF".to_vec()),
    ];
    topic.write(
        0,
        [
            Record::of("{\"n\": 1}"),
            Record {
                key: Some(b"k".to_vec()),
                headers,
                time_ms: Some(1_772_323_200_000),
                ..Record::of("poison")
            },
            Record {
                key: Some(b"\xFF\xFE".to_vec()),
                time_ms: Some(1_772_323_200_000),
                ..Record::of(b"\xFF".to_vec())
            },
        ],
    );
    let job = Job::new(&format!(
        "name: letters\n\
         sources:\n  in:\n    kafka: {{ brokers: BROKERS, topic: {}, stop: end }}\n\
         \x20   format: {{ json: {{ n: u8 }} }}\n\
         \x20   on-error: {{ dead-letter: dead }}\n\
         sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n  dead: {{ file: {{ path: dead.jsonl }} }}\n",
        topic.name
    ));
    job.finish(1);
    let letters = rows(&job, "dead.jsonl");
    assert_eq!(letters.len(), 2);
    let split = format!("{}/0", topic.name);
    for (letter, offset) in letters.iter().zip([1, 2]) {
        assert_eq!(letter["split"], split.as_str());
        assert_eq!(letter["offset"], offset);
        assert_eq!(letter["time"], "2026-03-01T00:00:00.000000Z");
    }
    let [text, octets] = &letters[..] else {
        panic!("two letters")
    };
    assert_eq!(text["original"], "poison");
    assert_eq!(text["key"], "k");
    assert_eq!(text["key-bytes"], serde_json::Value::Null);
    let headers = text["headers"].as_str().expect("text");
    assert_eq!(
        headers,
        r#"[{"name":"text","value":"v"},{"name":"octets","value-base64":"/w=="}]"#
    );
    assert_eq!(octets["original-bytes"], "/w==");
    assert_eq!(octets["key"], serde_json::Value::Null);
    assert_eq!(octets["key-bytes"], "//4=");
    assert_eq!(octets["headers"], serde_json::Value::Null);
}

#[test]
fn records_without_a_value_are_null_or_passed_over() {
    let topic = Topic::new("tombstones", 1);
    let tombstone = Record {
        key: Some(b"k".to_vec()),
        ..Record::default()
    };
    topic.write(
        0,
        [
            Record::of("1"),
            tombstone.clone(),
            Record::of(""),
            tombstone,
        ],
    );
    let document = |format: &str| {
        format!(
            "name: tombstones\n\
             sources:\n  in:\n    kafka: {{ brokers: BROKERS, topic: {}, stop: end, \
             message: {{ o: offset }} }}\n\
             \x20   format: {{ {format} }}\n    on-error: skip\n\
             sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n",
            topic.name
        )
    };
    let job = Job::new(&document("raw: { value: \"string?\" }"));
    job.finish(1);
    let values: Vec<_> = rows(&job, "out.jsonl")
        .iter()
        .map(|row| row["value"].clone())
        .collect();
    assert_eq!(
        values,
        [
            serde_json::json!("1"),
            serde_json::Value::Null,
            "".into(),
            serde_json::Value::Null
        ]
    );
    let job = Job::new(&document("raw: { value: string }"));
    let output = job.command(1).args(["--summary", "json"]).output();
    let output = output.expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let offsets: Vec<_> = rows(&job, "out.jsonl")
        .iter()
        .map(|row| row["o"].clone())
        .collect();
    assert_eq!(offsets, [0, 2]);
    let summary = String::from_utf8_lossy(&output.stdout);
    assert!(summary.contains("\"without_value\":2"), "{summary}");
}

/// Files have a header, in whose order their fields stand; records of a topic have none.
#[test]
fn records_in_csv_follow_the_declaration_also_behind_files() {
    let topic = Topic::new("csv", 1);
    topic.values(0, ["3,c", "x,d", "\"5\",\"e,e\""]);
    let source = |file: &str| {
        format!(
            "name: csv
sources:
  in:
    {file}kafka: {{ brokers: BROKERS, topic: {}, stop: end }}
    format: {{ csv: {{ n: u64, s: string }} }}
    on-error: skip
sinks:
  out: {{ input: in, file: {{ path: out.jsonl }} }}
",
            topic.name
        )
    };
    let of_topic = [
        serde_json::json!({ "n": 3, "s": "c" }),
        serde_json::json!({ "n": 5, "s": "e,e" }),
    ];
    let job = Job::new(&source(""));
    job.finish(1);
    assert_eq!(rows(&job, "out.jsonl"), of_topic);

    let job = Job::new(&source("file: { path: history.csv }\n    "));
    std::fs::write(job.path("history.csv"), "s,n\na,1\nb,2\n").expect("writable");
    job.finish(1);
    let of_file = [
        serde_json::json!({ "n": 1, "s": "a" }),
        serde_json::json!({ "n": 2, "s": "b" }),
    ];
    assert_eq!(rows(&job, "out.jsonl"), [of_file, of_topic].concat());
}
