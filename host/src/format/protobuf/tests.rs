mod oracle;

use serde_json::{Value, json};
use wasmill_core::pipeline::{
    Format, FormatKind,
    document::{self, TimestampStyle},
};

use super::*;
use crate::format::testing;

fn decoder(format: &Format, schema: &str) -> Result<ProtobufDecoder, FormatError> {
    ProtobufDecoder::new(format, &testing::one_schema("PROTOBUF", schema.into()))
}

/// The rows as JSON, or why they do not fit.
fn rows(decoder: &mut ProtobufDecoder, records: &[&[u8]]) -> Vec<Value> {
    let decoded = decoder
        .decode(&testing::chunk(records))
        .expect("good columns");
    testing::outcomes(decoded, records.len())
}

/// A schema whose message has one field `v`, declared so, and other messages.
fn schema(field: &str) -> String {
    format!(
        "syntax = \"proto3\";
         import \"google/protobuf/timestamp.proto\";
         import \"google/protobuf/wrappers.proto\";
         import \"google/type/date.proto\";
         import \"confluent/type/decimal.proto\";
         message M {{
           {field}
           enum E {{ ZERO = 0; ONE = 1; }}
           message I {{ int32 a = 1; optional string b = 2; M deeper = 3; }}
         }}"
    )
}

/// One column of one field.
fn check(column: &str, field: &str, bytes: &[u8], expected: Value) {
    let mut format = testing::format(FormatKind::Protobuf, &[("v", column)]);
    if field.contains("int64") && column.starts_with("timestamp") {
        format.timestamp = TimestampStyle::Milliseconds;
    }
    let found = match decoder(&format, &schema(field)) {
        Ok(mut decoder) => rows(&mut decoder, &[bytes])[0].clone(),
        Err(error) => error.to_string().into(),
    };
    let found = found.get("v").cloned().unwrap_or(found);
    match (&found, &expected) {
        (Value::String(found), Value::String(part)) => {
            assert!(found.contains(part.as_str()), "{field}: {found}");
        }
        _ => assert_eq!(found, expected, "{column} {field} {bytes:?}"),
    }
}

#[test]
fn numbers_go_into_columns() {
    check("bool", "bool v = 1;", &[8, 1], json!(true));
    check("bool", "bool v = 1;", &[8, 0x80, 1], json!(true));
    check("i64", "int64 v = 1;", &[8, 0x80, 1], json!(128));
    let minus = [8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
    check("i64", "int64 v = 1;", &minus, json!(-1));
    check("i32", "int32 v = 1;", &minus, json!(-1));
    // Some write negative numbers of 32 bits in five bytes.
    check(
        "i32",
        "int32 v = 1;",
        &minus[..6],
        json!("ends within a number"),
    );
    let short = [8, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
    check("i32", "int32 v = 1;", &short, json!(-1));
    check("u32", "uint32 v = 1;", &short, json!(u32::MAX));
    check("i64", "sint64 v = 1;", &[8, 3], json!(-2));
    check("i8", "sint32 v = 1;", &[8, 4], json!(2));
    check(
        "u8",
        "sint32 v = 1;",
        &[8, 3],
        json!("field `v`: `-2` is beyond the range of u8"),
    );
    check(
        "u64",
        "fixed64 v = 1;",
        &[9, 1, 0, 0, 0, 0, 0, 0, 0x80],
        json!((1_u64 << 63) + 1),
    );
    check(
        "i64",
        "sfixed32 v = 1;",
        &[13, 0xFE, 0xFF, 0xFF, 0xFF],
        json!(-2),
    );
    check("u32", "fixed32 v = 1;", &[13, 1, 0, 0, 0], json!(1));
}

#[test]
fn floats_and_what_numbers_become_go_into_columns() {
    check(
        "f64",
        "double v = 1;",
        &[&[9][..], &1.5_f64.to_le_bytes()].concat(),
        json!(1.5),
    );
    check(
        "f64",
        "float v = 1;",
        &[&[13][..], &0.5_f32.to_le_bytes()].concat(),
        json!(0.5),
    );
    check(
        "f32",
        "double v = 1;",
        &[&[9][..], &1e300_f64.to_le_bytes()].concat(),
        json!("beyond the range"),
    );
    check("f64", "int32 v = 1;", &[8, 3], json!(3.0));
    check("decimal(9,2)", "int32 v = 1;", &[8, 3], exact("3.00"));
    check(
        "timestamp",
        "int64 v = 1;",
        &[8, 1],
        json!("1970-01-01T00:00:00.001000Z"),
    );
    check(
        "timestamp",
        "int32 v = 1;",
        &[8, 1],
        json!("declare `timestamp: seconds`"),
    );
    check(
        "date",
        "int32 v = 1;",
        &[8, 1],
        json!("is int32 in the schema"),
    );
    check(
        "i32",
        "string v = 1;",
        &[],
        json!("is string in the schema"),
    );
}

/// A number with all its places.
fn exact(text: &str) -> Value {
    serde_json::from_str(text).expect("a number")
}

#[test]
fn texts_octets_and_symbols_go_into_columns() {
    check("string", "string v = 1;", b"\x0A\x02ab", json!("ab"));
    check(
        "string",
        "string v = 1;",
        b"\x0A\x02\xFFb",
        json!("not UTF-8 at its byte 0"),
    );
    check(
        "string",
        "bytes v = 1;",
        b"",
        json!("is bytes in the schema"),
    );
    check("bytes", "bytes v = 1;", b"\x0A\x02\xFFb", json!("/2I="));
    check("bytes", "string v = 1;", b"\x0A\x01b", json!("Yg=="));
    check(
        "bytes(2)",
        "bytes v = 1;",
        b"\x0A\x01b",
        json!("1 bytes stand where 2 belong"),
    );
    check("bytes(2)", "bytes v = 1;", b"", json!("`v` is missing"));
    check(
        "decimal(9,2)",
        "string v = 1;",
        b"\x0A\x031.5",
        exact("1.50"),
    );
    check("decimal(9,2)?", "string v = 1;", b"", json!(null));
    check(
        "decimal(9,2)",
        "double v = 1;",
        b"",
        json!("is double in the schema"),
    );
    check(
        "date",
        "string v = 1;",
        b"\x0A\x0A1970-01-02",
        json!("1970-01-02"),
    );
    check(
        "timestamp",
        "string v = 1;",
        b"\x0A\x141970-01-01T00:00:01Z",
        json!("1970-01-01T00:00:01.000000Z"),
    );
    check("string", "E v = 1;", &[8, 1], json!("ONE"));
    check("string", "E v = 1;", &[], json!("ZERO"));
    check("string", "E v = 1;", &[8, 7], json!("7"));
    check("i32", "E v = 1;", &[8, 7], json!(7));
    check(
        "f64",
        "E v = 1;",
        &[8, 7],
        json!("is the enumeration `M.E` in the schema"),
    );
}

#[test]
fn what_is_missing_is_zero_or_null() {
    check("i64", "int64 v = 1;", &[], json!(0));
    check("i64?", "int64 v = 1;", &[], json!(0));
    check("string", "string v = 1;", &[], json!(""));
    check("i64?", "optional int64 v = 1;", &[], json!(null));
    check("i64?", "optional int64 v = 1;", &[8, 0], json!(0));
    check("i64", "optional int64 v = 1;", &[], json!("`v` is missing"));
    check(
        "i64?",
        "oneof o { int64 v = 1; string w = 2; }",
        &[],
        json!(null),
    );
    check(
        "i64?",
        "oneof o { int64 v = 1; string w = 2; }",
        &[8, 0],
        json!(0),
    );
    // The last member of a choice wins, also where nobody reads it.
    check(
        "i64?",
        "oneof o { int64 v = 1; string w = 2; }",
        &[8, 1, 18, 0],
        json!(null),
    );
    check(
        "i64?",
        "oneof o { int64 v = 1; string w = 2; }",
        &[18, 0, 8, 1],
        json!(1),
    );
    check(
        "struct<a: i32>?",
        "oneof o { I v = 1; string w = 2; }",
        &[10, 2, 8, 5, 18, 0, 10, 0],
        json!({ "a": 0 }),
    );
    check("i64?", "int64 w = 1;", &[], json!(null));
    check(
        "i64",
        "int64 vv = 1;",
        &[],
        json!("no field `v` but `vv`: say the column's `path`"),
    );
    check("list<i64>", "repeated int64 v = 1;", &[], json!([]));
    let mut format = testing::format(FormatKind::Protobuf, &[("v", "i64")]);
    format.columns[0].default = Some(json!(7));
    for field in ["int64 w = 1;", "optional int64 v = 1;"] {
        let mut decoder = decoder(&format, &schema(field)).expect("it has a default");
        assert_eq!(rows(&mut decoder, &[b""]), [json!({ "v": 7 })], "{field}");
    }
    // Fields of proto2 always may be missing; what they have as a default there does not count.
    let old = "message M { optional int64 v = 1 [default = 3]; }";
    let format = testing::format(FormatKind::Protobuf, &[("v", "i64?")]);
    let mut decoder = decoder(&format, old).expect("it fits");
    assert_eq!(rows(&mut decoder, &[b""]), [json!({ "v": null })]);
}

#[test]
fn messages_that_are_plain_values_go_into_columns() {
    let time = "google.protobuf.Timestamp v = 1;";
    check("timestamp?", time, &[], json!(null));
    check(
        "timestamp",
        time,
        &[10, 0],
        json!("1970-01-01T00:00:00.000000Z"),
    );
    check(
        "timestamp",
        time,
        &[10, 5, 8, 1, 16, 0xE8, 7],
        json!("1970-01-01T00:00:01.000001Z"),
    );
    // Two pieces of one message.
    check(
        "timestamp",
        time,
        &[10, 2, 8, 1, 10, 3, 16, 0xE8, 7],
        json!("00:00:01.000001Z"),
    );
    let below = [8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
    let below = [&[10, 11][..], &below].concat();
    check(
        "timestamp",
        time,
        &below,
        json!("1969-12-31T23:59:59.000000Z"),
    );
    let nanos = [10, 6, 16, 0x80, 0x94, 0xEB, 0xDC, 3];
    check(
        "timestamp",
        time,
        &nanos,
        json!("1000000000 nanoseconds are no part"),
    );
    let far = [
        10, 10, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F,
    ];
    check(
        "timestamp",
        time,
        &far,
        json!("beyond the range of timestamps"),
    );
    check(
        "struct<seconds: i64>",
        time,
        &[10, 2, 8, 1],
        json!({ "seconds": 1 }),
    );
    check(
        "i64",
        time,
        &[],
        json!("is the message `google.protobuf.Timestamp`"),
    );
}

#[test]
fn wrappers_dates_and_decimals_go_into_columns() {
    let text = "google.protobuf.StringValue v = 1;";
    check("string?", text, &[], json!(null));
    check("string?", text, &[10, 0], json!(""));
    check("string?", text, b"\x0A\x03\x0A\x01a", json!("a"));
    check("i64?", text, &[], json!("does not go into `i64`"));
    check(
        "u8?",
        "google.protobuf.Int64Value v = 1;",
        &[10, 3, 8, 0x80, 2],
        json!("`256` is beyond"),
    );
    let date = "google.type.Date v = 1;";
    check(
        "date",
        date,
        &[10, 7, 8, 0xB2, 15, 16, 1, 24, 2],
        json!("1970-01-02"),
    );
    check(
        "date",
        date,
        &[10, 5, 8, 0xB2, 15, 16, 1],
        json!("month 1, day 0 is no date"),
    );
    let decimal = "confluent.type.Decimal v = 1;";
    check(
        "decimal(9,2)",
        decimal,
        &[10, 6, 10, 2, 0x04, 0xCE, 24, 3],
        exact("1.23"),
    );
    check(
        "decimal(9,2)",
        decimal,
        &[10, 6, 10, 2, 0x04, 0xCF, 24, 3],
        json!("more than 2 places"),
    );
    let places = [&[10, 15, 10, 2, 0x04, 0xCE, 24][..], &[0xFF; 9], &[1]].concat();
    check(
        "decimal(9,2)",
        decimal,
        &places,
        json!("-1 places, where 0 to 1000 may be"),
    );
    check(
        "list<timestamp>",
        "repeated google.protobuf.Timestamp v = 1;",
        &[10, 0, 10, 2, 8, 1],
        json!(["1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:01.000000Z"]),
    );
}

#[test]
fn lists_maps_and_messages_nest() {
    let list = "repeated int32 v = 1;";
    check("list<i32>", list, &[10, 3, 1, 2, 3], json!([1, 2, 3]));
    check(
        "list<i32>",
        list,
        &[8, 1, 10, 2, 2, 3, 8, 4],
        json!([1, 2, 3, 4]),
    );
    check(
        "list<i32>",
        list,
        &[10, 2, 1, 0x80],
        json!("ends within a number at byte 3"),
    );
    check(
        "list<f32>",
        "repeated float v = 1;",
        &[10, 3, 0, 0, 0],
        json!("3 bytes are left"),
    );
    check(
        "i32",
        list,
        &[],
        json!("is repeated: declare it as `list<T>`"),
    );
    check(
        "list<i32>",
        "int32 v = 1;",
        &[],
        json!("does not go into a list"),
    );
    check(
        "list<list<i32>>",
        list,
        &[],
        json!("does not go into another list"),
    );
}

#[test]
fn messages_nest() {
    let inner = "I v = 1;";
    check(
        "struct<a: i32, b: string?>",
        inner,
        &[10, 2, 8, 1, 10, 0],
        json!({ "a": 1, "b": null }),
    );
    check("struct<a: i32>?", inner, &[], json!(null));
    check("struct<a: i32>", inner, &[], json!("`v` is missing"));
    check("struct<c: i32?>", inner, &[10, 0], json!({ "c": null }));
    check("struct<c: i32>", inner, &[10, 0], json!("no field `v.c`"));
    check(
        "i32",
        inner,
        &[],
        json!("is the message `M.I` in the schema"),
    );
    check(
        "struct<a: i32>",
        "int32 v = 1;",
        &[],
        json!("does not go into a message"),
    );
}

#[test]
fn maps_lists_of_messages_and_groups_nest() {
    let list = "repeated I v = 1;";
    check(
        "list<struct<a: i32, b: string?>>",
        list,
        b"\x0A\x02\x08\x01\x0A\x03\x12\x01x",
        json!([{ "a": 1, "b": null }, { "a": 0, "b": "x" }]),
    );
    let map = "map<string, int32> v = 1;";
    let entries = "list<struct<key: string, value: i32>>";
    check(
        entries,
        map,
        b"\x0A\x05\x0A\x01k\x10\x01\x0A\0",
        json!([{ "key": "k", "value": 1 }, { "key": "", "value": 0 }]),
    );
    check(
        "list<i32>",
        map,
        &[],
        json!("declare it as `list<struct<key: K, value: T>>`"),
    );
    check(
        "i32",
        map,
        &[],
        json!("declare it as `list<struct<key: K, value: T>>`"),
    );
    check(
        "list<struct<value: struct<a: i32>, key: u8>>",
        "map<uint32, I> v = 1;",
        &[10, 2, 8, 9],
        json!([{ "value": { "a": 0 }, "key": 9 }]),
    );
    // A group of proto2.
    let old = "message M { optional group V = 1 { optional int32 a = 2; } }";
    let mut format = testing::format(FormatKind::Protobuf, &[("a", "i32?")]);
    format.columns[0].path = vec!["v".into(), "a".into()];
    let mut decoder = decoder(&format, old).expect("it fits");
    let records: [&[u8]; 4] = [&[11, 16, 5, 12], &[], &[11, 16, 5], &[11, 19, 12]];
    let found = rows(&mut decoder, &records);
    assert_eq!(found[..2], [json!({ "a": 5 }), json!({ "a": null })]);
    assert!(found[2].to_string().contains("does not end"), "{found:?}");
    assert!(
        found[3].to_string().contains("that did not begin"),
        "{found:?}"
    );
}

#[test]
fn hostile_bytes_are_refused() {
    let field = "int32 v = 1;";
    check(
        "i32",
        field,
        &[0],
        json!("no field has the number 0 at byte 0"),
    );
    check(
        "i32",
        field,
        &[8, 1, 14],
        json!("no wire type 6, as at byte 2"),
    );
    check("i32", field, &[15], json!("no wire type 7"));
    check(
        "i32",
        field,
        &[12],
        json!("what stands at byte 0 is the end of a group"),
    );
    check(
        "i32",
        field,
        &[20],
        json!("a group ends before byte 1 that did not begin"),
    );
    check(
        "i32",
        field,
        &[10, 0],
        json!("field `v` is a varint, and what stands at byte 0 is of bytes"),
    );
    check("i32", field, &[13, 0, 0, 0, 0], json!("is of four bytes"));
    check("i32", field, &[8], json!("ends within a number at byte 1"));
    check(
        "i32",
        field,
        &[&[8][..], &[0xFF; 10]].concat(),
        json!("longer than 64 bits"),
    );
    check(
        "i32",
        field,
        &[&[8][..], &[0x80; 9], &[2]].concat(),
        json!("longer than 64 bits"),
    );
}

#[test]
fn hostile_lengths_and_depths_are_refused() {
    let field = "int32 v = 1;";
    check("i32", field, &[0xFF; 20], json!("longer than 64 bits"));
    check(
        "i32",
        field,
        &[0xF8, 0xFF, 0xFF, 0xFF, 0x1F, 0],
        json!("no field has the number"),
    );
    check(
        "i32",
        field,
        &[18, 5, 0],
        json!("1 bytes are left at byte 2 where 5 belong"),
    );
    let long = [&[18][..], &[0xFF; 9], &[1]].concat();
    check("i32", field, &long, json!("0 bytes are left"));
    check(
        "i32",
        field,
        &[17, 0],
        json!("1 bytes are left at byte 1 where 8 belong"),
    );
    let deep = vec![0x13; 100_000];
    check("i32", field, &deep, json!("groups nest more than 100 deep"));
    let closed = [vec![0x13; 50], vec![0x14; 50], vec![8, 1]].concat();
    check("i32", field, &closed, json!(1));
    check("i32", field, &[0x13, 0x1C], json!("that did not begin"));
    // A message within itself, as deep as it likes: nobody looks there.
    let mut deep = Vec::new();
    for _ in 0..10_000 {
        let len = deep.len();
        let mut next = vec![26];
        let mut rest = len;
        while rest >= 0x80 {
            next.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        next.push(rest as u8);
        next.extend(deep);
        deep = next;
    }
    check("i32", field, &deep, json!(0));
}

#[test]
fn a_row_that_does_not_fit_leaves_no_trace() {
    let text = "syntax = \"proto3\"; message M {
        int64 id = 1; repeated string tags = 2; C card = 3;
        message C { optional string holder = 1; } }";
    let columns = [
        ("id", "u32"),
        ("tags", "list<string>"),
        ("holder", "string?"),
    ];
    let mut format = testing::format(FormatKind::Protobuf, &columns);
    format.columns[2].path = vec!["card".into(), "holder".into()];
    let mut decoder = decoder(&format, text).expect("it fits");
    let records: [&[u8]; 5] = [
        b"\x08\x01\x12\x01a\x1A\x03\x0A\x01h",
        b"\x08\x02\x12\x01b\x12\x01\xFF",
        b"\x12\x01c\x08\x03\x1A\x01\x08",
        b"\x08\x04\x1A\0",
        b"",
    ];
    let found = rows(&mut decoder, &records);
    assert_eq!(found[0], json!({ "id": 1, "tags": ["a"], "holder": "h" }));
    assert!(
        found[1]
            .to_string()
            .contains("field `tags.[]`: the text is not"),
        "{found:?}"
    );
    assert!(
        found[2].to_string().contains("field `card.holder` is"),
        "{found:?}"
    );
    assert_eq!(found[3], json!({ "id": 4, "tags": [], "holder": null }));
    assert_eq!(found[4], json!({ "id": 0, "tags": [], "holder": null }));
}

#[test]
fn changes_come_in_envelopes() {
    let text = "syntax = \"proto3\"; message Envelope {
        Value before = 1; Value after = 2; Source source = 3; optional string op = 4;
        message Source { int64 ts_ms = 1; }
        message Value { int32 id = 1; optional string name = 2; int32 day = 3; } }";
    let columns = [("id", "u32"), ("name", "string?"), ("day", "date")];
    let mut format = testing::format(FormatKind::Protobuf, &columns);
    format.envelope = Some(document::Envelope::Debezium);
    let mut decoder = decoder(&format, text).expect("an envelope");
    let records: [&[u8]; 7] = [
        b"\x12\x02\x08\x01\x22\x01c",
        b"\x0A\x05\x08\x01\x12\x01a\x12\x02\x08\x01\x12\x03\x12\x01b\x22\x01u",
        b"\x22\x01d\x0A\x02\x08\x01\x1A\x02\x08\x01",
        b"",
        b"\x12\x02\x08\x01\x22\x01u",
        b"\x0A\x02\x08\x01\x12\x06\x08\xFF\xFF\xFF\xFF\x0F\x22\x01u",
        b"\x22\x01t",
    ];
    let decoded = decoder
        .decode(&testing::chunk(&records))
        .expect("good columns");
    assert_eq!(decoded.ops, Some(vec![0, 1, 2, 3]));
    assert_eq!(decoded.kept, Some(vec![0, 1, 1, 2]));
    let reasons: Vec<(u32, String)> = decoded
        .refused
        .iter()
        .map(|it| (it.row, it.reason.clone()))
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
    let plain = "syntax = \"proto3\"; message M { int32 id = 1; }";
    let given = testing::one_schema("PROTOBUF", plain.into());
    let error = ProtobufDecoder::new(&format, &given).expect_err("no envelope");
    assert!(
        error.to_string().contains("if the connector unwraps"),
        "{error}"
    );
}
