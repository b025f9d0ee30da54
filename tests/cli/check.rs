//! `wasmill check`: every mistake with its place and the nearest right word.

use std::fs;

use crate::document;
use crate::program::{Ran, component, ended, run, wasmill};

/// Checks a document.
fn check(text: &str) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    document::write(folder.path(), text);
    run(folder.path(), &["check", "pipeline.yaml"])
}

#[test]
fn a_sound_document_is_told_so() {
    let ran = check(&document::finite(10)).ended(0);
    assert_eq!(ran.out, "large: sound; 1 source, 1 operator, 1 sink\n");
    assert_eq!(ran.err, "");
}

#[test]
fn a_mistake_has_its_place_and_a_remedy() {
    // What is replaced in the document, and what the program says then.
    let cases = [
        (
            "records: 10",
            "recrds: 10",
            "4:18: sources.payments.generator.recrds: there is no field `recrds` here; did you mean `records`?",
        ),
        (
            "records: 10",
            "records: many",
            "4:27: sources.payments.generator.records: text does not fit here; write a whole number",
        ),
        (
            "input: payments",
            "input: paymets",
            "did you mean `payments`?",
        ),
        ("input: large,", "input: larg,", "did you mean `large`?"),
        (
            "min-amount: 10",
            "min-amout: 10",
            "9:15: operators.large.config.min-amout: there is no field `min-amout` here; did you mean `min-amount`?",
        ),
        (
            "min-amount: 10",
            "min-amount: ten",
            "9:27: operators.large.config.min-amount: text does not fit here; write a number",
        ),
        (
            "type: f64",
            "type: string",
            "does not give values of type string",
        ),
        ("type: f64", "type: f46", "did you mean `f64`?"),
        (
            "filter.wasm",
            "fliter.wasm",
            "fliter.wasm` cannot be read; build the plugin, or correct the path",
        ),
        ("amount: { mod", "amounts: { mod", "`amount`"),
        ("name: large", "name: Large", "1:7: name: "),
        ("sinks:", "sinks: [", "pipeline.yaml:"),
    ];
    for (right, wrong, message) in cases {
        let text = document::finite(10);
        assert!(text.contains(right), "{right}");
        let ran = check(&text.replacen(right, wrong, 1)).ended(2);
        assert!(
            ran.err.starts_with("wasmill: pipeline.yaml:"),
            "{}",
            ran.err
        );
        assert!(ran.err.contains(message), "{wrong}: {}", ran.err);
        assert_eq!(ran.out, "", "{wrong}");
    }
}

#[test]
fn brokers_that_stand_elsewhere() {
    let text = "name: copy
sources:
  rows:
    kafka: { brokers: { env: COPY_BROKERS }, topic: rows }
    format: { json: { n: u64 } }
sinks:
  out: { input: rows, discard: {} }
";
    let with = |brokers: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        document::write(folder.path(), text);
        let mut command = wasmill(folder.path(), &["check", "pipeline.yaml"]);
        let started = command.env("COPY_BROKERS", brokers).spawn();
        ended(started.expect("wasmill starts"))
    };
    with("kafka-1:9092, kafka-2:9092").ended(0);
    for wrong in [
        "kafka-1:9092,kafka-2",
        "kafka-1:9092\nkafka-2:9092",
        ":9092",
        "hunter2",
    ] {
        let ran = with(wrong).ended(2);
        let place = "sources.rows.kafka.brokers: the variable `COPY_BROKERS` does not hold addr";
        assert!(ran.err.contains(place), "{}", ran.err);
        assert!(!ran.err.contains(wrong), "{}", ran.err);
    }
    let ran = check(text).ended(0);
    let warning = "sources.rows.kafka.brokers: the variable `COPY_BROKERS` is not set";
    assert!(ran.err.contains(warning), "{}", ran.err);
}

#[test]
fn an_option_that_the_kafka_client_does_not_take() {
    let cases = [
        (
            "linger.ns: \"5\"",
            "linger.ns",
            "No such configuration property",
        ),
        ("linger.ms: soon", "linger.ms", "Invalid value"),
        ("sasl.pasword: { env: NOBODY }", "sasl.pasword", "No such"),
        ("acks: \"0\"", "acks", "the engine's own"),
        ("sasl.password: hunter2", "sasl.password", "is secret"),
        (
            "sasl.oauthbearer.token: hunter2",
            "sasl.oauthbearer.token",
            "is secret",
        ),
    ];
    for (option, name, reason) in cases {
        let text = format!(
            "name: copy
sources:
  rows:
    kafka: {{ brokers: \"localhost:9092\", topic: rows, options: {{ {option} }} }}
    format: {{ json: {{ n: u64 }} }}
sinks:
  out: {{ input: rows, discard: {{}} }}
"
        );
        let ran = check(&text).ended(2);
        let place = format!("sources.rows.kafka.options.{name}: ");
        for part in [&*place, reason] {
            assert!(ran.err.contains(part), "{option}: {}", ran.err);
        }
        assert!(!ran.err.contains("hunter2"), "{option}: {}", ran.err);
    }
}

#[test]
fn a_sink_that_writes_what_is_read() {
    for (read, written) in [
        ("rows.jsonl", "rows.jsonl"),
        ("in/*.jsonl", "./in/out.jsonl"),
        ("in", "in/new.jsonl"),
        ("**/*.jsonl", "in/new.jsonl"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("in")).expect("ours");
        for file in ["rows.jsonl", "in/rows.jsonl"] {
            fs::write(folder.path().join(file), "{\"n\":1}\n").expect("ours");
        }
        let text = format!(
            "name: copy
sources:
  rows: {{ file: {{ path: \"{read}\" }}, format: {{ json: {{ n: u64 }} }} }}
sinks:
  out: {{ input: rows, file: {{ path: {written} }} }}
"
        );
        document::write(folder.path(), &text);
        for verb in ["check", "run"] {
            let ran = run(folder.path(), &[verb, "pipeline.yaml"]).ended(2);
            let wanted = "sinks.out.file.path: source `rows` reads this file";
            assert!(ran.err.contains(wanted), "{read}: {}", ran.err);
        }
        let text = text.replace(&format!("path: {written}"), "path: elsewhere.csv");
        document::write(folder.path(), &text);
        run(folder.path(), &["run", "pipeline.yaml"]).ended(0);
    }
}

#[test]
fn a_plugin_that_does_not_start() {
    let text = document::finite(10);
    let ran = check(&text.replace("    config:", "    limits: { memory: 64KiB }\n    config:"));
    let ran = ran.ended(2);
    for part in ["operators.large.limits: ", "does not start", "`memory`"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    let aggregate = format!(
        "name: gaps
sources:
  rows:
    generator:
      records: 10
      columns: {{ k: sequence, n: {{ mod: 5, type: f64 }}, t: {{ time: {{ step: 1s }} }} }}
    event-time: {{ column: t }}
operators:
  gaps:
    input: rows
    key-by: [k]
    window: {{ tumbling: {{ size: 1m }} }}
    aggregates:
      gap: {{ plugin: {}, of: [n, t], limits: {{ memory: 64KiB }} }}
sinks:
  out: {{ input: gaps, discard: {{}} }}
",
        component("median-gap").display()
    );
    let ran = check(&aggregate).ended(2);
    for part in ["operators.gaps.aggregates.gap.limits: ", "does not start"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    check(&aggregate.replace(", limits: { memory: 64KiB }", "")).ended(0);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = document::finite(10);
    let text = text
        .replace("records", "recrds")
        .replace("stdout: {}", "stdot: {}");
    let ran = check(&text).ended(2);
    let places: Vec<&str> = ran
        .err
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    assert_eq!(
        places,
        ["pipeline.yaml:4:18", "pipeline.yaml:11:24"],
        "{}",
        ran.err
    );
}

#[test]
fn mistakes_of_fields_names_settings_and_files_are_told_at_once() {
    let source = "file: { path: [pipeline.yaml, \"in/*.jsonl\"] }\n    format: { json: { \
                  account: u64, amount: f46 } }";
    let text = document::large(source, "out: { input: larg, stdot: {} }")
        .replace("min-amount: 10 }", "min-amout: 10 }\n    btach: {}");
    let places = |err: &str| -> Vec<String> {
        let place = |line: &str| line.split(": ").nth(1).map(str::to_owned);
        err.lines().filter_map(place).collect()
    };
    let ran = check(&text).ended(2);
    // The file, the type; a setting is missing and misspelt; a field; the stream, the sink.
    let wanted = ["4:35", "5:45", "10:13", "10:15", "11:5", "13:17", "13:23"];
    let wanted = wanted.map(|place| format!("pipeline.yaml:{place}"));
    assert_eq!(places(&ran.err), wanted, "{}", ran.err);
}

#[test]
fn a_file_that_is_not_there_has_its_place_and_a_remedy() {
    let json = "format: { json: { account: u64, amount: f64 } }";
    let sinks = "out: { input: large, stdout: {} }";
    let text = document::large(&format!("file: {{ path: in.jsonl }}\n    {json}"), sinks);
    let folder = tempfile::tempdir().expect("a folder");
    document::write(folder.path(), &text);
    for command in ["check", "run"] {
        let ran = run(folder.path(), &[command, "pipeline.yaml"]).ended(2);
        let place = "wasmill: pipeline.yaml:4:19: sources.payments.file.path: no file matches `";
        assert!(ran.err.starts_with(place), "{}", ran.err);
        assert!(
            ran.err.contains("check the path, or `follow`"),
            "{}",
            ran.err
        );
    }
    run(folder.path(), &["graph", "pipeline.yaml"]).ended(0);
    let source = format!("file: {{ path: in.jsonl, follow: true }}\n    {json}");
    check(&document::large(&source, sinks)).ended(0);
}

#[test]
fn a_warning_does_not_fail() {
    let sinks = "out: { input: large, stdout: {} }\n  letters: { discard: {} }";
    let source = "generator: { columns: { account: sequence, amount: { mod: 2, type: f64 } } }";
    let ran = check(&document::large(source, sinks)).ended(0);
    let warning =
        "wasmill: warning: pipeline.yaml:12:3: sinks.letters: no dead letters go to `letters`\n";
    assert_eq!(ran.err, warning);
}

#[test]
fn what_is_no_document_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(folder.path(), &["check", "nothing.yaml"]).ended(2);
    assert!(
        ran.err
            .starts_with("wasmill: nothing.yaml: cannot be read: "),
        "{}",
        ran.err
    );
    fs::write(folder.path().join("bytes.yaml"), b"name: \xff").expect("the folder is ours");
    let ran = run(folder.path(), &["check", "bytes.yaml"]).ended(2);
    assert_eq!(ran.err, "wasmill: bytes.yaml: the file is not UTF-8 text\n");
}

#[test]
fn what_is_no_plugin_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = document::finite(10);
    let (before, after) = text.split_once("plugin: ").expect("it has a plugin");
    let (_, after) = after.split_once('\n').expect("more follows");
    document::write(
        folder.path(),
        &format!("{before}plugin: here.wasm\n{after}"),
    );
    // Something else, and a core module, which has no types to hold it to.
    for bytes in [&b"name: x"[..], b"\0asm\x01\0\0\0"] {
        fs::write(folder.path().join("here.wasm"), bytes).expect("the folder is ours");
        let ran = run(folder.path(), &["check", "pipeline.yaml"]).ended(2);
        assert!(ran.err.contains("`here.wasm` is refused: "), "{}", ran.err);
        assert!(ran.err.contains("component"), "{}", ran.err);
    }
}
