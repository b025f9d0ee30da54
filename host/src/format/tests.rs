//! The golden cases: every documented default and option, as data.

use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_core::pipeline::{self, EncodeSpec, Pipeline, SinkKind, SourceKind};

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The `format` of a source in a pipeline document.
    format: Value,
    #[serde(default)]
    header: String,
    rows: Vec<String>,
    /// For each row the row as JSON, or why it is refused.
    expected: Vec<Value>,
}

fn format(document: &Value) -> Format {
    source_format(&pipeline(document, &json!({ "discard": {} })))
}

/// The document with this format of its source, and a sink of it.
fn pipeline(format: &Value, sink: &Value) -> Pipeline {
    let mut document = json!({
        "name": "golden",
        "sources": { "in": { "stdin": {}, "format": format } },
        "sinks": { "out": sink },
    });
    document["sinks"]["out"]["input"] = "in".into();
    let written = pipeline::parse(&document.to_string()).expect("a good document");
    written
        .validate(&|_| panic!("there is no plugin"))
        .expect("a good pipeline")
}

fn source_format(pipeline: &Pipeline) -> Format {
    match &pipeline.sources[0].kind {
        SourceKind::Stdin(format) => format.clone(),
        other => panic!("{other:?} is not the source of the document"),
    }
}

fn sink_format(pipeline: &Pipeline) -> EncodeSpec {
    match &pipeline.sinks[0].kind {
        SinkKind::Stdout(format) => format.clone(),
        other => panic!("{other:?} is not the sink of the document"),
    }
}

fn check(cases: &str) {
    let cases: Vec<Case> = serde_json::from_str(cases).expect("good cases");
    for case in cases {
        let mut decoder = Decoder::new(&format(&case.format)).expect(&case.name);
        let chunk = Arc::into_inner(testing::chunk(&case.rows)).expect("nobody else has it");
        let chunk = Chunk {
            header: case.header.clone().into(),
            ..chunk
        };
        let decoded = decoder.decode(&Arc::new(chunk)).expect(&case.name);
        let mut found = vec![Value::Null; case.rows.len()];
        for refused in decoded.refused {
            found[refused.row as usize] = refused.reason.into();
        }
        let mut text = Vec::new();
        encode::Encoder::new(
            &decoded.rows.schema(),
            &EncodeSpec::Json(Default::default()),
        )
        .encode(&decoded.rows, &mut text)
        .expect(&case.name);
        let text = String::from_utf8(text).expect("JSON is text");
        let free = found.iter_mut().filter(|found| found.is_null());
        for (found, line) in free.zip(text.lines()) {
            *found = serde_json::from_str(line).expect(&case.name);
        }
        assert_eq!(found, case.expected, "{}", case.name);
    }
}

#[test]
fn the_golden_cases_of_json_hold() {
    check(include_str!("golden/json.json"));
}

#[test]
fn the_golden_cases_of_csv_hold() {
    check(include_str!("golden/csv.json"));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    name: String,
    columns: Value,
    rows: Vec<String>,
    /// The `format` of a sink in a pipeline document.
    format: Value,
    /// The lines of the file.
    written: Vec<String>,
}

#[test]
fn the_golden_cases_of_what_is_written_hold() {
    let cases = include_str!("golden/written.json");
    let cases: Vec<WrittenCase> = serde_json::from_str(cases).expect("good cases");
    for case in cases {
        let source = json!({ "json": case.columns });
        let pipeline = pipeline(&source, &json!({ "stdout": {}, "format": case.format }));
        let mut decoder = Decoder::new(&source_format(&pipeline)).expect(&case.name);
        let decoded = decoder.decode(&testing::chunk(&case.rows));
        let decoded = decoded.expect(&case.name);
        assert_eq!(decoded.refused, [], "{}", case.name);
        let encoder = encode::Encoder::new(&decoded.rows.schema(), &sink_format(&pipeline));
        let mut text = Vec::new();
        encoder.start(&mut text);
        encoder.encode(&decoded.rows, &mut text).expect(&case.name);
        let text = String::from_utf8(text).expect("text is written");
        let written: String = case
            .written
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(text, written, "{}", case.name);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeCase {
    name: String,
    format: Value,
    rows: Vec<String>,
    /// Each the kind of change, the row that it comes from, and the row as JSON.
    changes: Vec<(String, u32, Value)>,
    /// Each the row, and a part of the reason.
    refused: Vec<(u32, String)>,
}

#[test]
fn the_golden_cases_of_changes_hold() {
    let cases = include_str!("golden/debezium.json");
    let cases: Vec<ChangeCase> = serde_json::from_str(cases).expect("good cases");
    for case in cases {
        let mut decoder = Decoder::new(&format(&case.format)).expect(&case.name);
        let chunk = testing::chunk(&case.rows);
        let decoded = decoder.decode(&chunk).expect(&case.name);
        let mut text = Vec::new();
        let spec = EncodeSpec::Json(Default::default());
        encode::Encoder::new(&decoded.rows.schema(), &spec)
            .encode(&decoded.rows, &mut text)
            .expect(&case.name);
        let text = String::from_utf8(text).expect("JSON is text");
        let ops = decoded.ops.expect("a changelog");
        let kept = decoded.kept.expect("a changelog");
        let found: Vec<(String, u32, Value)> = text
            .lines()
            .enumerate()
            .map(|(at, line)| {
                let row = serde_json::from_str(line).expect("JSON");
                (op::name(ops[at]).to_string(), kept[at], row)
            })
            .collect();
        assert_eq!(found, case.changes, "{}", case.name);
        let rows: Vec<u32> = decoded.refused.iter().map(|it| it.row).collect();
        let expected: Vec<u32> = case.refused.iter().map(|it| it.0).collect();
        assert_eq!(rows, expected, "{}", case.name);
        for (refused, (_, part)) in decoded.refused.iter().zip(&case.refused) {
            assert!(refused.reason.contains(part), "{}", refused.reason);
        }
    }
}
