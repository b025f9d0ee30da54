use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field as Column, Schema as Rows};
use proptest::prelude::*;
use prost_reflect::{DynamicMessage, ReflectMessage, Value as Reflected};
use serde_json::{Value, json};
use wasmill_core::{
    data_type,
    pipeline::{ColumnSpec, Format, FormatKind},
};

use super::*;
use crate::format::{protobuf::ProtobufDecoder, testing};

const NAMES: Option<&str> = Some("shop.Row");

fn columns(types: &[(&str, &str)]) -> SchemaRef {
    let fields = types
        .iter()
        .map(|(name, of)| data_type::parse_field(name, of).expect("a type"));
    Arc::new(Rows::new(fields.collect::<Vec<_>>()))
}

/// The text of columns that follow an earlier one.
fn text(
    types: &[(&str, &str)],
    name: Option<&str>,
    earlier: Option<&str>,
) -> Result<String, String> {
    let earlier = earlier.map(|text| SchemaText {
        language: "PROTOBUF".into(),
        text: text.into(),
        references: Vec::new(),
    });
    let derived = derived(
        &columns(types),
        (name, "own".into()),
        ("s", earlier.as_ref()),
    );
    derived.map(|it| it.1).map_err(|error| error.to_string())
}

/// What rows are as messages.
fn written(rows: &RecordBatch) -> (String, Vec<Vec<u8>>) {
    let names = (NAMES, String::new());
    let (message, text) = derived(&rows.schema(), names, ("s", None)).expect("good columns");
    let encoder = ProtobufEncoder { number: 7, message };
    let mut pieces = Pieces::default();
    encoder
        .encode_each(rows, &mut pieces)
        .expect("good columns");
    let each = (0..rows.num_rows()).map(|row| {
        let piece = pieces.get(row).expect("every row has bytes");
        assert_eq!(piece[..6], [0, 0, 0, 0, 7, 0]);
        piece[6..].to_vec()
    });
    (text, each.collect())
}

/// The rows that are read of what rows are as messages.
fn around(rows: &RecordBatch) -> RecordBatch {
    let (text, records) = written(rows);
    let spec = |field: &Arc<Column>| ColumnSpec {
        field: Column::clone(field),
        path: vec![field.name().clone()],
        timestamp: None,
        default: None,
    };
    let columns = rows.schema_ref().fields().iter().map(spec).collect();
    let format = Format::plain(FormatKind::Protobuf, columns);
    let given = testing::one_schema("PROTOBUF", text);
    let mut decoder = ProtobufDecoder::new(&format, &given).expect("it fits");
    let decoded = decoder
        .decode(&testing::chunk(&records))
        .expect("good columns");
    assert_eq!(decoded.refused, []);
    decoded.rows
}

/// Columns of every type, also within each other, and whether they may be null.
const TYPES: &[(&str, bool)] = &[
    ("bool", true),
    ("i8", true),
    ("i16", true),
    ("i32", true),
    ("i64", true),
    ("u8", true),
    ("u16", true),
    ("u32", true),
    ("u64", true),
    ("f32", true),
    ("f64", true),
    ("decimal(38,4)", true),
    ("date", true),
    ("timestamp", true),
    ("string", true),
    ("bytes", true),
    ("bytes(3)", true),
    ("list<i64>", false),
    ("list<f32>", false),
    ("list<timestamp>", false),
    ("list<decimal(9,1)>", false),
    ("list<struct<a: u64, b: string?>>", false),
    (
        "struct<x: i32?, y: list<string>, z: struct<w: decimal(5,1)?>, t: timestamp?>",
        true,
    ),
];

/// A value of a type as JSON.
fn value(of: &DataType, seed: u64) -> Value {
    let seed_i = seed as i64;
    let base64 = |octets: &[u8]| {
        let mut text = Vec::new();
        crate::format::base64::encode(octets, &mut text);
        json!(String::from_utf8(text).expect("base64 is text"))
    };
    match of {
        DataType::Boolean => json!(seed.is_multiple_of(2)),
        DataType::Int8 => json!(seed as i8),
        DataType::Int16 => json!(seed as i16),
        DataType::Int32 => json!(seed as i32),
        DataType::Int64 => json!(seed_i),
        DataType::UInt8 => json!(seed as u8),
        DataType::UInt16 => json!(seed as u16),
        DataType::UInt32 => json!(seed as u32),
        DataType::UInt64 => json!(seed),
        DataType::Float32 => json!(f64::from((seed_i >> 52) as f32 / 8.0)),
        DataType::Float64 => json!((seed_i >> 40) as f64 / 8.0),
        DataType::Decimal128(_, _) => json!(format!("{}.{}", seed_i % 1000, seed % 10)),
        DataType::Date32 => json!(format!("20{:02}-0{}-15", seed % 100, seed % 9 + 1)),
        DataType::Timestamp(..) => {
            let year = 1900 + seed % 200;
            json!(format!("{year}-01-31T09:30:00.{:06}Z", seed % 1_000_000))
        }
        DataType::Utf8 => json!("ä".repeat((seed % 9000) as usize % 90)),
        DataType::Binary => base64(&seed.to_be_bytes()[..(seed % 8) as usize]),
        DataType::FixedSizeBinary(_) => base64(&seed.to_be_bytes()[..3]),
        DataType::List(item) => (0..seed % 40)
            .map(|at| field_value(item, seed.rotate_left(7 + at as u32)))
            .collect(),
        DataType::Struct(fields) => {
            let each = fields
                .iter()
                .map(|it| (it.name().clone(), field_value(it, seed.rotate_left(13))));
            Value::Object(each.collect())
        }
        other => panic!("{other}"),
    }
}

fn field_value(field: &Column, seed: u64) -> Value {
    // Zeros are not written, so there are many.
    let seed = if seed.is_multiple_of(5) {
        seed & 1
    } else {
        seed
    };
    match field.is_nullable() && seed.is_multiple_of(3) {
        true => Value::Null,
        false => value(field.data_type(), seed),
    }
}

fn rows(columns: &[(usize, bool)], seeds: &[u64]) -> RecordBatch {
    let types = columns.iter().enumerate().map(|(at, (of, nullable))| {
        let (of, may_be_null) = TYPES[*of];
        let end = if *nullable && may_be_null { "?" } else { "" };
        (format!("c{at}"), format!("{of}{end}"))
    });
    let types: Vec<(String, String)> = types.collect();
    let types: Vec<(&str, &str)> = types
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let schema = self::columns(&types);
    let lines = seeds.iter().map(|seed| {
        let fields = schema.fields().iter().zip(0..);
        let each = fields.map(|(field, at)| {
            (
                field.name().clone(),
                field_value(field, seed.rotate_left(at * 5)),
            )
        });
        Value::Object(each.collect()).to_string()
    });
    testing::json_rows(&types, &lines.collect::<Vec<_>>().join("\n"))
}

/// What a library that knows Protobuf reads, as the JSON of rows.
fn told(message: &DynamicMessage, fields: &arrow_schema::Fields) -> Value {
    let each = fields.iter().map(|column| {
        let field = message.descriptor().get_field_by_name(column.name());
        let field = field.expect("the schema has it");
        let found = match field.supports_presence() && !message.has_field(&field) {
            true => Value::Null,
            false => told_value(&message.get_field(&field), column.data_type()),
        };
        (column.name().clone(), found)
    });
    Value::Object(each.collect())
}

fn told_value(value: &Reflected, of: &DataType) -> Value {
    match (value, of) {
        (Reflected::List(items), DataType::List(item)) => {
            let items = items.iter();
            items
                .map(|value| told_value(value, item.data_type()))
                .collect()
        }
        (Reflected::Message(message), DataType::Struct(fields)) => told(message, fields),
        (Reflected::Message(message), _) => {
            let part = |name: &str| {
                message
                    .get_field_by_name(name)
                    .expect("a time")
                    .into_owned()
            };
            let seconds = part("seconds").as_i64().expect("a number");
            let nanos = part("nanos").as_i32().expect("a number");
            assert!((0..1_000_000_000).contains(&nanos));
            let mut text = Vec::new();
            time::print_timestamp(seconds * MICROS + i64::from(nanos / 1000), &mut text);
            json!(String::from_utf8(text).expect("ASCII"))
        }
        (Reflected::String(text), DataType::Decimal128(..)) => {
            serde_json::from_str(text).expect("a number")
        }
        (Reflected::String(text), _) => json!(text),
        (Reflected::Bytes(bytes), _) => {
            let mut text = Vec::new();
            crate::format::base64::encode(bytes, &mut text);
            json!(String::from_utf8(text).expect("base64 is text"))
        }
        (Reflected::Bool(value), _) => json!(value),
        (Reflected::I32(value), _) => json!(value),
        (Reflected::I64(value), _) => json!(value),
        (Reflected::U32(value), _) => json!(value),
        (Reflected::U64(value), _) => json!(value),
        (Reflected::F32(value), _) => json!(f64::from(*value)),
        (Reflected::F64(value), _) => json!(value),
        other => panic!("{other:?}"),
    }
}

fn json_of(rows: &RecordBatch) -> Vec<Value> {
    let mut text = Vec::new();
    let encoder = super::super::JsonEncoder::new(&rows.schema(), Default::default());
    encoder.encode(rows, &mut text).expect("good columns");
    let text = String::from_utf8(text).expect("JSON is text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_reads_back_the_same(
        columns in proptest::collection::vec((0..TYPES.len(), any::<bool>()), 1..7),
        seeds in proptest::collection::vec(any::<u64>(), 0..8),
    ) {
        let rows = rows(&columns, &seeds);
        prop_assert_eq!(around(&rows), rows);
    }

    #[test]
    fn the_oracle_reads_what_is_written(
        columns in proptest::collection::vec((0..TYPES.len(), any::<bool>()), 1..7),
        seeds in proptest::collection::vec(any::<u64>(), 1..4),
    ) {
        let rows = rows(&columns, &seeds);
        let (text, records) = written(&rows);
        let message = Schema::parse(&text, &[]).expect("it is sound").message(None);
        let message = message.expect("it is the only one");
        for (record, expected) in records.iter().zip(json_of(&rows)) {
            let read = DynamicMessage::decode(message.clone(), &record[..]).expect("it is one");
            prop_assert_eq!(read.unknown_fields().count(), 0);
            prop_assert_eq!(told(&read, rows.schema_ref().fields()), expected);
        }
    }
}

#[test]
fn rows_are_messages_byte_by_byte() {
    let types = [
        ("id", "i64"),
        ("note", "string?"),
        ("at", "timestamp"),
        ("price", "decimal(9,2)"),
        ("tags", "list<u8>"),
        ("card", "struct<no: string, day: date?>?"),
    ];
    let rows = testing::json_rows(
        &types,
        &[
            r#"{"id":-1,"note":"","at":"1969-12-31T23:59:59.5Z","price":1.5,"tags":[1,200],"#,
            r#""card":null}"#,
            "\n",
            r#"{"id":0,"note":null,"at":"1970-01-01T00:00:00Z","price":0,"tags":[],"#,
            r#""card":{"no":"","day":"1970-01-01"}}"#,
        ]
        .concat(),
    );
    let (text, records) = written(&rows);
    let expected = "syntax = \"proto3\";
package shop;
import \"google/protobuf/timestamp.proto\";
message Row {
  int64 id = 1;
  optional string note = 2;
  .google.protobuf.Timestamp at = 3;
  string price = 4;
  repeated uint32 tags = 5;
  Card card = 6;
  message Card {
    string no = 1;
    optional string day = 2;
  }
}
";
    assert_eq!(text, expected);
    let minus_one = b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01";
    let first: &[&[u8]] = &[
        b"\x08",
        minus_one,
        b"\x12\x00\x1A\x11\x08",
        minus_one,
        b"\x10\x80\xCA\xB5\xEE\x01\x22\x041.50\x2A\x03\x01\xC8\x01",
    ];
    assert_eq!(records[0], first.concat());
    assert_eq!(
        records[1],
        b"\x1A\x00\x22\x040.00\x32\x0C\x12\x0A1970-01-01"
    );
}

#[test]
fn lengths_take_as_many_bytes_as_they_need() {
    for len in [0, 1, 127, 128, 129, 16_383, 16_384, 100_000] {
        let (mut found, mut expected) = (b"x".to_vec(), b"x".to_vec());
        let body: Vec<u8> = (0..len).map(|at| at as u8).collect();
        delimited(&mut found, |out| out.extend_from_slice(&body));
        push_octets(&body, &mut expected);
        assert_eq!(found, expected, "{len}");
    }
}

/// What follows the first line with a brace.
fn body(text: &str) -> String {
    let (_, body) = text.split_once("{\n").expect("a message");
    let lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

fn check_following(types: &[(&str, &str)], earlier: &str, expected: &str) {
    let earlier = format!("syntax = \"proto3\"; message Row {{ {earlier} }}");
    let found = text(types, NAMES, Some(&earlier)).expect("it may follow");
    assert_eq!(body(&found), format!("{expected} }}"), "{earlier}");
    // The same columns once more are the same schema.
    assert_eq!(
        text(types, NAMES, Some(&found)).as_deref(),
        Ok(found.as_str())
    );
}

#[test]
fn fields_keep_their_numbers() {
    let ab = [("a", "i64"), ("b", "string")];
    check_following(&ab, "", "int64 a = 1; string b = 2;");
    check_following(
        &ab,
        "string b = 4; int64 a = 9;",
        "string b = 4; int64 a = 9;",
    );
    check_following(&ab, "int64 a = 3;", "int64 a = 3; string b = 4;");
    // What is gone is not given away, nor what was reserved before.
    check_following(
        &ab,
        "int64 a = 1; bool x = 2; bool y = 5; string z = 3;",
        "reserved 2 to 3, 5; reserved \"x\", \"y\", \"z\"; int64 a = 1; string b = 6;",
    );
    check_following(
        &ab,
        "reserved 7 to 9, 3; reserved \"b\", \"c\"; int64 a = 1;",
        "reserved 3, 7 to 9; reserved \"c\"; int64 a = 1; string b = 10;",
    );
    check_following(
        &ab,
        "reserved 1000 to max; int64 a = 1;",
        "reserved 1000 to max; int64 a = 1; string b = 2;",
    );
    check_following(
        &ab,
        "int64 a = 18999;",
        "int64 a = 18999; string b = 20000;",
    );
    let full = "syntax = \"proto3\"; message Row { reserved 2 to max; int64 a = 1; }";
    let error = text(&ab, NAMES, Some(full)).expect_err("there is no room");
    assert!(
        error.contains("column `b`") && error.contains("no number is left"),
        "{error}"
    );
}

#[test]
fn types_that_readers_would_mistake_get_new_numbers() {
    let a = [("a", "i64")];
    check_following(&a, "int32 a = 3;", "int64 a = 3;");
    check_following(&a, "bool a = 3;", "int64 a = 3;");
    check_following(&a, "optional uint64 a = 3;", "optional int64 a = 3;");
    check_following(&a, "oneof o { int64 a = 3; }", "optional int64 a = 3;");
    check_following(
        &a,
        "oneof o { int64 a = 3; string b = 4; }",
        "reserved 3 to 4; reserved \"b\"; int64 a = 5;",
    );
    let required = "syntax = \"proto2\"; message Row { required int64 a = 1; }";
    let found = text(&a, NAMES, Some(required)).expect("it may follow");
    assert_eq!(body(&found), "optional int64 a = 1; }");
    let found = text(&[("a", "i64?")], NAMES, Some(required)).expect("it may follow");
    assert_eq!(body(&found), "reserved 1; optional int64 a = 2; }");
    check_following(&a, "sint64 a = 3;", "reserved 3; int64 a = 4;");
    check_following(&a, "string a = 3;", "reserved 3; int64 a = 4;");
    check_following(&a, "repeated int64 a = 3;", "reserved 3; int64 a = 4;");
    check_following(&a, "map<int64, int64> a = 3;", "reserved 3; int64 a = 4;");
    check_following(&a, "A a = 3; message A {}", "reserved 3; int64 a = 4;");
    check_following(
        &[("a", "list<i64>")],
        "repeated int64 a = 3;",
        "repeated int64 a = 3;",
    );
    check_following(&[("a", "bytes?")], "string a = 3;", "optional bytes a = 3;");
    // Within messages it is the same, and they keep their names.
    let nested = [("a", "struct<x: i64, y: struct<z: i64>>")];
    check_following(
        &nested,
        "Own a = 3; message Own { bool w = 1; string x = 2; }",
        "Own a = 3; message Own { reserved 1 to 2; reserved \"w\"; int64 x = 3; Y y = 4; \
         message Y { int64 z = 1; } }",
    );
    check_following(
        &nested[..1],
        "Other.Deep a = 3; message Other { message Deep { int64 x = 7; } }",
        "A a = 3; message A { int64 x = 7; Y y = 8; message Y { int64 z = 1; } }",
    );
}

#[test]
fn names_follow_the_options_the_subject_or_the_topic() {
    let a = [("a", "i64")];
    let earlier = "syntax = \"proto3\"; package p; message Old { int64 a = 4; } message B {}";
    let found = text(&a, None, Some(earlier)).expect("it may follow");
    assert!(
        found.contains("package p;\nmessage Old {\n  int64 a = 4;\n}"),
        "{found}"
    );
    let found = text(&a, Some("q.r.New"), Some(earlier)).expect("it may follow");
    assert!(
        found.contains("package q.r;\nmessage New {\n  int64 a = 4;\n}"),
        "{found}"
    );
    let found = text(&a, None, None).expect("good columns");
    assert!(found.contains("message own {\n  int64 a = 1;"), "{found}");
    let error = text(&a, Some("a-b"), None).expect_err("no name");
    assert!(
        error.contains("`a-b` is no name of a message in Protobuf"),
        "{error}"
    );
    let words = [
        "message",
        "optional",
        "repeated",
        "reserved",
        "option",
        "string",
        "map",
        "oneof",
        "enum",
        "true",
        "inf",
        "syntax",
        "import",
        "package",
        "extensions",
        "google",
        "group",
        "to",
        "max",
        "rpc",
        "stream",
        "public",
        "weak",
    ];
    let types: Vec<(&str, &str)> = words.iter().map(|word| (*word, "i64?")).collect();
    text(&types, NAMES, None).expect("words of the language are names too");
    let found = text(&[("card-no", "i64"), ("2x", "timestamp")], NAMES, None);
    let found = found.expect("names are made to fit");
    assert!(
        found.contains("int64 card_no = 1") && found.contains("Timestamp _x = 2"),
        "{found}"
    );
}

#[test]
fn what_protobuf_does_not_have_is_refused() {
    let check = |types: &[(&str, &str)], part: &str| {
        let error = text(types, NAMES, None).expect_err(part);
        assert!(error.contains(part), "{error}");
    };
    check(
        &[("a-b", "i64"), ("a_b", "i64")],
        "column `a_b` cannot be written as Protobuf: the name `a_b` is that of the column `a-b`",
    );
    check(&[("a_b", "i64"), ("aB", "i64")], "too; rename one");
    check(
        &[("card", "struct<x: i64>"), ("Card", "i64")],
        "the name `Card` is that",
    );
    check(&[("a", "list<list<i64>>")], "no lists of lists");
    check(&[("a", "list<i64>?")], "declare it without `?`");
    check(&[("a", "list<i64?>")], "no nulls in it");
    check(&[("a", "struct<b: list<i64>?>")], "column `b` cannot");
    let avro = SchemaText {
        language: "AVRO".into(),
        text: String::new(),
        references: Vec::new(),
    };
    let names = (NAMES, String::new());
    let error = derived(&columns(&[("a", "i64")]), names, ("t-value", Some(&avro)));
    let error = error.expect_err("another language").to_string();
    assert!(
        error.contains("that `t-value` has: the registry says that it is in AVRO"),
        "{error}"
    );
}
