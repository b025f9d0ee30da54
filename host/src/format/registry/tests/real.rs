//! Against a real registry: `cargo xtask test` starts one and names it in `SCHEMA_REGISTRY_URL`.

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use wasmill_core::pipeline::{EncodeSpec, FormatKind, document::EncodeRegistered};

use super::*;
use crate::format::{
    Decoder, FormatError, Schemas,
    encode::{Encoder, Pieces},
    testing,
};

fn real() -> RegistryDocument {
    let url = std::env::var("SCHEMA_REGISTRY_URL").expect(
        "run `cargo xtask test`, or set SCHEMA_REGISTRY_URL to what `cargo xtask registry up` says",
    );
    RegistryDocument {
        give_up_after: None,
        ..document(&url)
    }
}

/// A subject that no other run of the tests has.
fn subject(name: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let own = folder.path().file_name().expect("it has a name");
    format!("{name}-{}", own.to_string_lossy())
}

fn options(subject: &str, register: bool) -> EncodeSpec {
    EncodeSpec::Avro(Box::new(registered(subject, register)))
}

fn registered(subject: &str, register: bool) -> EncodeRegistered {
    EncodeRegistered {
        registry: real(),
        subject: Some(subject.into()),
        name: Some("shop.Order".into()),
        register,
    }
}

/// The records of rows, their schema registered.
fn written(rows: &RecordBatch, options: &EncodeSpec) -> Result<Vec<Vec<u8>>, FormatError> {
    let encoder = Encoder::open(&rows.schema(), options, None)?;
    let mut pieces = Pieces::default();
    encoder.encode_each(rows, &mut pieces)?;
    let each = (0..rows.num_rows()).map(|row| pieces.get(row).expect("it has bytes").to_vec());
    Ok(each.collect())
}

/// The rows of records as JSON, or why they do not fit.
fn read(kind: FormatKind, columns: &[(&str, &str)], records: &[Vec<u8>]) -> Vec<Value> {
    let registry = Registry::open(&real()).expect("it can be asked");
    let format = testing::format(kind, columns);
    let mut decoder = Decoder::with(&format, &Schemas::Registry(registry)).expect("good columns");
    let chunk = testing::chunk(records);
    wait(decoder.prepare(&chunk)).expect("the registry answers");
    let decoded = decoder.decode(&chunk).expect("good columns");
    testing::outcomes(decoded, records.len())
}

#[test]
fn records_of_several_schemas_are_read_with_the_columns_that_are_wanted() {
    let subject = subject("several");
    let options = options(&subject, true);
    let old = testing::json_rows(&[("id", "u32")], "{\"id\":1}\n{\"id\":2}");
    let new = testing::json_rows(
        &[("id", "u32"), ("note", "string?")],
        "{\"id\":3,\"note\":\"n\"}",
    );
    let mut records = written(&old, &options).expect("it is registered");
    let number = records[0][1..5].to_vec();
    let again = written(&old, &options).expect("it is there");
    assert_eq!(again[0][1..5], number, "it has one number");
    records.extend(written(&new, &options).expect("it may follow"));
    assert_ne!(records[2][1..5], number);
    records.push(vec![0, 0x7F, 0xFF, 0xFF, 0xFF, 2]);
    records.push(records[1].clone());
    let found = read(
        FormatKind::Avro,
        &[("id", "i64"), ("note", "string?")],
        &records,
    );
    assert_eq!(found[0], json!({ "id": 1, "note": null }));
    assert_eq!(found[2], json!({ "id": 3, "note": "n" }));
    let reason = found[3].as_str().expect("nobody has it");
    assert!(
        reason.contains("the schema registry has no schema 2147483647"),
        "{reason}"
    );
    assert_eq!(found[4], json!({ "id": 2, "note": null }));
    let found = read(
        FormatKind::Avro,
        &[("id", "i64"), ("note", "string")],
        &records,
    );
    let reason = found[0]
        .as_str()
        .expect("`note` is not in the first schema");
    assert!(
        reason.contains("the schema has no field `note`"),
        "{reason}"
    );
    assert_eq!(found[2], json!({ "id": 3, "note": "n" }));
}

#[test]
fn a_schema_that_cannot_follow_is_refused() {
    let subject = subject("refused");
    let rows = testing::json_rows(&[("id", "u32")], "{\"id\":1}");
    let error = written(&rows, &options(&subject, false)).expect_err("it is not there");
    assert!(
        error
            .to_string()
            .contains("register it, or remove `register`"),
        "{error}"
    );
    written(&rows, &options(&subject, true)).expect("it is registered");
    written(&rows, &options(&subject, false)).expect("it is there");
    let client = reqwest::Client::new();
    let rule = client
        .put(format!("{}/config/{subject}", real().url))
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(r#"{ "compatibility": "BACKWARD" }"#);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answer = runtime
        .expect("a runtime")
        .block_on(rule.send())
        .expect("it answers");
    assert!(answer.status().is_success(), "{answer:?}");
    let other = testing::json_rows(&[("name", "string")], "{\"name\":\"x\"}");
    let error = written(&other, &options(&subject, true)).expect_err("readers would fail");
    assert!(
        matches!(
            &error,
            FormatError::Registry(RegistryError::Incompatible { .. })
        ),
        "{error}"
    );
}

fn protobuf(subject: &str, register: bool) -> EncodeSpec {
    EncodeSpec::Protobuf(Box::new(registered(subject, register)))
}

fn add(subject: &str, text: &str) -> u32 {
    let registry = Registry::open(&real()).expect("it can be asked");
    let added = wait(registry.register(Registration {
        subject: subject.into(),
        language: "PROTOBUF",
        text: text.into(),
        add: true,
    }));
    added.expect("it is registered")
}

#[test]
fn messages_of_several_schemas_are_read_with_the_columns_that_are_wanted() {
    let subject = subject("protobuf");
    let options = protobuf(&subject, true);
    let first = [("gone", "i64"), ("id", "u32"), ("at", "timestamp")];
    let second = [("note", "string?"), ("at", "timestamp"), ("id", "u32")];
    let time = "2026-01-31T09:30:00.000001Z";
    let old = format!("{{\"gone\":1,\"id\":2,\"at\":\"{time}\"}}");
    let old = testing::json_rows(&first, &old);
    let new = format!("{{\"note\":\"n\",\"id\":3,\"at\":\"{time}\"}}");
    let new = testing::json_rows(&second, &new);
    let mut records = written(&old, &options).expect("it is registered");
    let number = records[0][1..5].to_vec();
    let again = written(&old, &protobuf(&subject, false)).expect("it is there");
    assert_eq!(again[0][1..5], number, "it has one number");
    records.extend(written(&new, &options).expect("it may follow"));
    assert_ne!(records[1][1..5], number);
    let again = written(&new, &options).expect("it is there");
    assert_eq!(again[0][1..5], records[1][1..5], "it has one number");
    records.push(vec![0, 0x7F, 0xFF, 0xFF, 0xFF, 0]);
    // There is no second message.
    let mut wrong = records[0].clone();
    wrong.splice(5..6, [2, 2]);
    records.push(wrong);
    let found = read(FormatKind::Protobuf, &second, &records);
    assert_eq!(found[0], json!({ "note": null, "at": time, "id": 2 }));
    assert_eq!(found[1], json!({ "note": "n", "at": time, "id": 3 }));
    let reason = found[2].as_str().expect("nobody has it");
    assert!(reason.contains("has no schema 2147483647"), "{reason}");
    let reason = found[3].as_str().expect("nobody has it");
    assert!(reason.contains("no message at [1]"), "{reason}");
    // Avro is another language.
    let found = read(FormatKind::Avro, &second, &records);
    let reason = found[0].as_str().expect("it is not Avro");
    assert!(
        reason.contains("it is written in PROTOBUF, not in Avro"),
        "{reason}"
    );
}

#[test]
fn a_schema_that_somebody_wrote_is_followed() {
    let followed = subject("followed");
    let rows = testing::json_rows(&[("b", "i64"), ("a", "string?")], "{\"a\":\"x\",\"b\":-1}");
    let error = written(&rows, &protobuf(&followed, false)).expect_err("it is not there");
    let text = error.to_string();
    assert!(text.contains("register it, or remove `register`"), "{text}");
    let text = "syntax = \"proto3\"; package shop;
        message Order { reserved 2; int64 b = 7; optional string a = 3; }";
    add(&followed, text);
    let records = written(&rows, &protobuf(&followed, true)).expect("it may follow");
    let minus_one = [56, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
    assert_eq!(
        records[0][5..],
        [&[0, 26, 1, b'x'][..], &minus_one].concat()
    );
    let avro = subject("language");
    written(&rows, &options(&avro, true)).expect("it is registered");
    let error = written(&rows, &protobuf(&avro, true)).expect_err("it is in Avro");
    let text = error.to_string();
    assert!(
        text.contains("the registry says that it is in AVRO"),
        "{text}"
    );
}
