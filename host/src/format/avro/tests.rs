use serde_json::{Value, json};
use wasmill_core::pipeline::{
    FormatKind,
    document::{self, EncodeJson, TimestampStyle},
};

use super::*;
use crate::format::{encode::JsonEncoder, testing};

/// A decoder of records with one schema.
fn decoder(format: &Format, schema: &Value) -> Result<AvroDecoder, FormatError> {
    AvroDecoder::new(format, &testing::one_schema("AVRO", schema.to_string()))
}

/// The rows as JSON, or why they do not fit.
fn rows(decoder: &mut AvroDecoder, records: &[&[u8]]) -> Vec<Value> {
    let decoded = decoder
        .decode(&testing::chunk(records))
        .expect("good columns");
    let mut text = Vec::new();
    JsonEncoder::new(&decoded.rows.schema(), EncodeJson::default())
        .encode(&decoded.rows, &mut text)
        .expect("good columns");
    let mut found = vec![Value::Null; records.len()];
    for refused in decoded.refused {
        found[refused.row as usize] = refused.reason.into();
    }
    let text = String::from_utf8(text).expect("JSON is text");
    let free = found.iter_mut().filter(|found| found.is_null());
    for (found, line) in free.zip(text.lines()) {
        *found = serde_json::from_str(line).expect("JSON");
    }
    found
}

fn record(fields: &[(&str, Value)]) -> Value {
    let field = |(name, of): &(&str, Value)| json!({ "name": name, "type": of });
    let fields: Vec<Value> = fields.iter().map(field).collect();
    json!({ "type": "record", "name": "R", "fields": fields })
}

/// A number with all its places.
fn exact(text: &str) -> Value {
    serde_json::from_str(text).expect("a number")
}

/// One column of one field.
fn check(column: &str, of: Value, datum: &[u8], expected: Value) {
    let format = testing::format(FormatKind::Avro, &[("v", column)]);
    let schema = record(&[("v", of)]);
    let found = match decoder(&format, &schema) {
        Ok(mut decoder) => rows(&mut decoder, &[datum])[0].clone(),
        Err(error) => error.to_string().into(),
    };
    let found = found.get("v").cloned().unwrap_or(found);
    match (&found, &expected) {
        (Value::String(found), Value::String(part)) => {
            assert!(found.contains(part.as_str()), "{column}: {found}");
        }
        _ => assert_eq!(found, expected, "{column} {schema}"),
    }
}

fn logical(of: &str, name: &str) -> Value {
    json!({ "type": of, "logicalType": name })
}

#[test]
fn values_go_into_columns() {
    check("bool", json!("boolean"), &[1], json!(true));
    check(
        "bool",
        json!("boolean"),
        &[2],
        json!("neither true nor false"),
    );
    check("i64", json!("long"), &[0x80, 1], json!(64));
    check(
        "i64",
        json!("long"),
        &[0xFF; 9],
        json!("ends within a number"),
    );
    check(
        "i64",
        json!("long"),
        &[0xFF; 11],
        json!("longer than 64 bits"),
    );
    let least = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    check("i64", json!("long"), &least, json!(i64::MIN));
    check(
        "u8",
        json!("int"),
        &[0x80, 4],
        json!("`256` is beyond the range of u8"),
    );
    check(
        "u8",
        json!("int"),
        &[1],
        json!("`-1` is beyond the range of u8"),
    );
    check("f64", json!("double"), &1.5_f64.to_le_bytes(), json!(1.5));
    check(
        "f32",
        json!("double"),
        &1e300_f64.to_le_bytes(),
        json!("beyond the range"),
    );
    check("f64", json!("float"), &0.5_f32.to_le_bytes(), json!(0.5));
    check("f64", json!("long"), &[6], json!(3.0));
}

#[test]
fn texts_and_octets_go_into_columns() {
    check("string", json!("string"), b"\x04ab", json!("ab"));
    check("string", json!("string"), b"\x04\xFFb", json!("not UTF-8"));
    check(
        "string",
        json!("string"),
        b"\x06ab",
        json!("2 bytes are left at byte 1 where 3 belong"),
    );
    check("string", json!("string"), b"\x03ab", json!("is negative"));
    check("bytes", json!("bytes"), b"\x04\xFFb", json!("/2I="));
    check(
        "bytes(2)",
        json!("bytes"),
        b"\x02a",
        json!("1 bytes stand where 2 belong"),
    );
    check(
        "string",
        json!("bytes"),
        b"\x02a",
        json!("is bytes in the schema"),
    );
    let fixed = json!({ "type": "fixed", "name": "F", "size": 2 });
    check("bytes(2)", fixed.clone(), b"ab", json!("YWI="));
    check(
        "bytes(3)",
        fixed,
        b"ab",
        json!("does not go into `bytes(3)`"),
    );
    let symbols = json!({ "type": "enum", "name": "E", "symbols": ["A", "B"] });
    check("string", symbols.clone(), &[2], json!("B"));
    check(
        "string",
        symbols,
        &[4],
        json!("number 2 at byte 0 names none of 2 choices"),
    );
    check(
        "i64",
        json!("null"),
        &[],
        json!("`v` is null, but its column is not nullable"),
    );
    check("i64?", json!("null"), &[], json!(null));
    check("i64", json!("long"), &[2, 2], json!("1 bytes follow"));
}

#[test]
fn logical_types_say_what_values_mean() {
    check("date", logical("int", "date"), &[2], json!("1970-01-02"));
    check("date", json!("int"), &[2], json!("is int in the schema"));
    let millis = logical("long", "timestamp-millis");
    check(
        "timestamp",
        millis,
        &[2],
        json!("1970-01-01T00:00:00.001000Z"),
    );
    let micros = logical("long", "timestamp-micros");
    check(
        "timestamp",
        micros,
        &[2],
        json!("1970-01-01T00:00:00.000001Z"),
    );
    check(
        "timestamp",
        json!("long"),
        &[2],
        json!("declare `timestamp: seconds`"),
    );
    check(
        "timestamp",
        json!("string"),
        b"\x281970-01-01T00:00:01Z",
        json!("1970-01-01T00:00:01.000000Z"),
    );
    check("i64", logical("long", "timestamp-millis"), &[2], json!(1));
    let decimal = json!({ "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3 });
    check(
        "decimal(9,2)",
        decimal.clone(),
        &[4, 0x04, 0xCE],
        json!(1.23),
    );
    check(
        "decimal(9,2)",
        decimal,
        &[4, 0x04, 0xCF],
        json!("has more than 2 places"),
    );
    check(
        "decimal(9,2)",
        json!("double"),
        &[0; 8],
        json!("is double in the schema"),
    );
    check("decimal(9,2)", json!("int"), &[3], exact("-2.00"));
    check("decimal(9,2)", json!("string"), b"\x081.50", exact("1.50"));
    let connect = json!({ "type": "long", "connect.name": "io.debezium.time.MicroTimestamp" });
    check(
        "timestamp",
        connect,
        &[2],
        json!("1970-01-01T00:00:00.000001Z"),
    );
}

#[test]
fn unions_and_lists_nest() {
    let union = json!(["null", "long", "string"]);
    check("i64?", union.clone(), &[0], json!(null));
    check("i64?", union.clone(), &[2, 2], json!(1));
    check(
        "i64?",
        union.clone(),
        &[4, 2, b'a'],
        json!("is string in the schema"),
    );
    check(
        "i64?",
        union.clone(),
        &[6],
        json!("names none of 3 choices"),
    );
    check("i64?", union.clone(), &[1], json!("number -1 at byte 0"));
    check("bool?", union, &[0], json!("does not go into `bool`"));
    let list = json!({ "type": "array", "items": "int" });
    check(
        "list<i32>",
        list.clone(),
        &[4, 2, 4, 2, 6, 0],
        json!([1, 2, 3]),
    );
    check("list<i32>", list.clone(), &[3, 4, 2, 4, 0], json!([1, 2]));
    check(
        "list<i32>",
        list.clone(),
        &[3, 6, 2, 4, 0],
        json!("another length"),
    );
    check(
        "list<i32>",
        list,
        &[4, 2],
        json!("the value ends within a number"),
    );
}

#[test]
fn maps_and_records_nest() {
    let map = json!({ "type": "map", "values": "int" });
    let entries = "list<struct<key: string, value: i32>>";
    check(
        entries,
        map.clone(),
        b"\x02\x02k\x02\0",
        json!([{ "key": "k", "value": 1 }]),
    );
    check(
        "list<i32>",
        map,
        &[0],
        json!("declare it as `list<struct<key: string, value: T>>`"),
    );
    let inner = json!({ "type": "record", "name": "I", "fields": [
        { "name": "b", "type": "string" }, { "name": "skipped", "type": "double" },
        { "name": "a", "type": ["null", "int"] }] });
    let datum = b"\x02x........\x02\x04";
    check(
        "struct<a: i32?, b: string>",
        inner.clone(),
        datum,
        json!({ "a": 2, "b": "x" }),
    );
    check(
        "struct<a: i32?, c: i32?>",
        inner.clone(),
        datum,
        json!({ "a": 2, "c": null }),
    );
    check(
        "struct<a: i32?, bb: i32>",
        inner,
        datum,
        json!("no field `v.bb` but `b`"),
    );
    check(
        "list<i32>",
        json!("string"),
        b"\0",
        json!("does not go into a list"),
    );
}

#[test]
fn hostile_bytes_are_refused() {
    let nulls = json!({ "type": "array", "items": "null" });
    // 2^62 items that take no bytes.
    let many = [
        0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0,
    ];
    check(
        "list<i64?>",
        nulls.clone(),
        &many,
        json!("values without bytes"),
    );
    let wide = record(&[("v", json!("int")), ("skipped", nulls)]);
    let format = testing::format(FormatKind::Avro, &[("v", "i32")]);
    let mut skipping = decoder(&format, &wide).expect("it fits");
    let datum = [&[2][..], &many].concat();
    let found = rows(&mut skipping, &[&datum, &[2, 0]]);
    assert!(
        found[0].to_string().contains("values without bytes"),
        "{found:?}"
    );
    assert_eq!(found[1], json!({ "v": 1 }));
    // A list of itself, as deep as it likes.
    let node = json!({ "type": "record", "name": "Node", "fields": [
        { "name": "next", "type": ["null", "Node"] }] });
    let mut skipping =
        decoder(&format, &record(&[("v", json!("int")), ("next", node)])).expect("it fits");
    let deep = [vec![2], vec![2; 100_000], vec![0]].concat();
    let found = rows(&mut skipping, &[&deep, &[2, 2, 2, 0]]);
    assert!(
        found[0].to_string().contains("nest more than 128 deep"),
        "{found:?}"
    );
    assert_eq!(found[1], json!({ "v": 1 }));
    // A record that contains itself without end and bytes.
    let endless = json!({ "type": "record", "name": "E", "fields": [
        { "name": "e", "type": "E" }, { "name": "f", "type": "E" }] });
    let mut skipping =
        decoder(&format, &record(&[("v", json!("int")), ("e", endless)])).expect("it fits");
    assert!(rows(&mut skipping, &[&[2]])[0].is_string());
    let skipped = json!({ "type": "array", "items": "string" });
    let mut skipping =
        decoder(&format, &record(&[("v", json!("int")), ("s", skipped)])).expect("it fits");
    // A block of 2^62 bytes, and one of a negative length.
    let long = [&[2, 1][..], &many[..10]].concat();
    let found = rows(&mut skipping, &[&long, &[2, 1, 1], &[2, 3, 2, b'x', 0]]);
    assert!(found[0].to_string().contains("are left"), "{found:?}");
    assert!(found[1].to_string().contains("negative"), "{found:?}");
    assert!(found[2].is_object() || found[2].is_string());
}

#[test]
fn a_row_that_does_not_fit_leaves_no_trace() {
    let of = record(&[
        ("id", json!("long")),
        ("tags", json!({ "type": "array", "items": "string" })),
        (
            "card",
            json!(["null", { "type": "record", "name": "C", "fields": [
            { "name": "holder", "type": "string" }] }]),
        ),
    ]);
    let columns = [
        ("id", "u32"),
        ("tags", "list<string>"),
        ("holder", "string?"),
    ];
    let mut format = testing::format(FormatKind::Avro, &columns);
    format.columns[2].path = vec!["card".into(), "holder".into()];
    let mut decoder = decoder(&format, &of).expect("it fits");
    let found = rows(
        &mut decoder,
        &[
            b"\x02\x02\x02a\0\x02\x02h",
            b"\x04\x02\x02b\0\x04",
            b"\x01\x02\x02c\0\0",
            b"\x06\0\0",
            b"",
        ],
    );
    assert_eq!(found[0], json!({ "id": 1, "tags": ["a"], "holder": "h" }));
    assert!(found[1].to_string().contains("names none"), "{found:?}");
    assert!(found[2].to_string().contains("field `id`"), "{found:?}");
    assert_eq!(found[3], json!({ "id": 3, "tags": [], "holder": null }));
    assert!(found[4].to_string().contains("field `id`"), "{found:?}");
}

#[test]
fn what_the_writer_lacks_has_a_default() {
    let schema = record(&[("id", json!("long"))]);
    let columns = [("id", "i64"), ("note", "string?"), ("rate", "decimal(4,2)")];
    let mut format = testing::format(FormatKind::Avro, &columns);
    let error = decoder(&format, &schema)
        .expect_err("`rate` has no value")
        .to_string();
    assert!(
        error.contains("no field `rate`: say the column's `path`"),
        "{error}"
    );
    format.columns[2].default = Some(json!("1.50"));
    let mut both = decoder(&format, &schema).expect("it has a default");
    assert_eq!(
        rows(&mut both, &[&[2]]),
        [json!({ "id": 1, "note": null, "rate": exact("1.50") })]
    );
    format.columns[2].default = Some(json!("x"));
    assert!(decoder(&format, &schema).is_err());
    format.columns = format.columns[..1].to_vec();
    format.timestamp = TimestampStyle::Milliseconds;
    assert!(decoder(&format, &json!("long")).is_err());
}

#[test]
fn changes_come_in_envelopes() {
    let value = json!({ "type": "record", "name": "Value", "fields": [
        { "name": "id", "type": "int" }, { "name": "name", "type": ["null", "string"] }] });
    let of = record(&[
        ("before", json!(["null", value])),
        ("after", json!(["null", "Value"])),
        (
            "source",
            json!({ "type": "record", "name": "S", "fields": [
            { "name": "ts_ms", "type": "long" }] }),
        ),
        ("op", json!("string")),
    ]);
    let mut format = testing::format(FormatKind::Avro, &[("id", "u32"), ("name", "string?")]);
    format.envelope = Some(document::Envelope::Debezium);
    let mut decoder = decoder(&format, &of).expect("an envelope");
    let records: [&[u8]; 7] = [
        b"\0\x02\x02\x02\x02a\x0A\x02c",
        b"\x02\x02\x02\x02a\x02\x02\x02\x02b\x0A\x02u",
        b"\x02\x02\0\0\x0A\x02d",
        b"",
        b"\0\x02\x02\x02\x02a\x0A\x02u",
        b"\x02\x02\0\x02\x01\0\x0A\x02u",
        b"\0\0\x0A\x02t",
    ];
    let decoded = decoder
        .decode(&testing::chunk(&records))
        .expect("good columns");
    assert_eq!(decoded.ops, Some(vec![0, 1, 2, 3]));
    assert_eq!(decoded.kept, Some(vec![0, 1, 1, 2]));
    assert_eq!(decoded.rows.num_rows(), 4);
    let reasons: Vec<(u32, String)> = decoded
        .refused
        .into_iter()
        .map(|it| (it.row, it.reason))
        .collect();
    assert_eq!(reasons.iter().map(|it| it.0).collect::<Vec<_>>(), [4, 5, 6]);
    assert!(
        reasons[0].1.contains("REPLICA IDENTITY FULL"),
        "{reasons:?}"
    );
    assert!(
        reasons[1].1.starts_with("in `after`: field `id`: `-1`"),
        "{reasons:?}"
    );
    assert!(reasons[2].1.contains("emptied"), "{reasons:?}");
    let plain = record(&[("id", json!("int"))]);
    let given = testing::one_schema("AVRO", plain.to_string());
    let error = AvroDecoder::new(&format, &given).expect_err("no envelope");
    assert!(
        error.to_string().contains("if the connector unwraps"),
        "{error}"
    );
}
