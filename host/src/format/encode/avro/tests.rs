use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use proptest::prelude::*;
use wasmill_core::{
    data_type,
    pipeline::{ColumnSpec, Format, FormatKind},
};

use super::*;
use crate::format::{avro::AvroDecoder, testing};

/// What rows are as data, and the rows that are read of them.
fn around(rows: &RecordBatch) -> RecordBatch {
    let text = schema_text(rows.schema_ref(), "shop.Row").expect("good names");
    let mut pieces = Pieces::default();
    let encoder = AvroEncoder { number: 7 };
    encoder
        .encode_each(rows, &mut pieces)
        .expect("good columns");
    let spec = |field: &Arc<Field>| ColumnSpec {
        field: Field::clone(field),
        path: vec![field.name().clone()],
        timestamp: None,
        default: None,
    };
    let columns = rows.schema_ref().fields().iter().map(spec).collect();
    let format = Format::plain(FormatKind::Avro, columns);
    let given = testing::one_schema("AVRO", text);
    let mut decoder = AvroDecoder::new(&format, &given).expect("it fits");
    let data: Vec<&[u8]> = (0..rows.num_rows())
        .map(|row| {
            let piece = pieces.get(row).expect("every row has bytes");
            let (number, datum) = wire::split(piece).expect("the wire format");
            assert_eq!(number, 7);
            datum
        })
        .collect();
    let decoded = decoder
        .decode(&testing::chunk(&data))
        .expect("good columns");
    assert_eq!(decoded.refused, []);
    decoded.rows
}

/// Columns of every type, also within each other.
const TYPES: &[&str] = &[
    "bool",
    "i8",
    "i16",
    "i32",
    "i64",
    "u8",
    "u16",
    "u32",
    "u64",
    "f64",
    "decimal(38,4)",
    "date",
    "timestamp",
    "string",
    "bytes",
    "bytes(3)",
    "list<i64?>",
    "list<struct<a: u64, b: string?>>",
    "struct<x: i32?, y: list<string>, z: struct<w: decimal(5,1)?>>",
    "list<list<date>>",
];

fn base64(octets: &[u8]) -> String {
    let mut text = Vec::new();
    crate::format::base64::encode(octets, &mut text);
    String::from_utf8(text).expect("base64 is text")
}

/// A value of a type as JSON.
fn value(of: &DataType, seed: u64) -> serde_json::Value {
    use serde_json::json;
    let seed_i = seed as i64;
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
        DataType::Float64 => json!((seed_i >> 11) as f64 / 8.0),
        DataType::Decimal128(_, _) => json!(format!("{}.{}", seed_i % 1000, seed % 10)),
        DataType::Date32 => json!(format!("20{:02}-0{}-15", seed % 100, seed % 9 + 1)),
        DataType::Timestamp(..) => json!(format!(
            "20{:02}-01-31T09:30:00.{:06}Z",
            seed % 100,
            seed % 1_000_000
        )),
        DataType::Utf8 => json!("ä".repeat((seed % 70) as usize)),
        DataType::Binary => json!(base64(&seed.to_be_bytes()[..(seed % 8) as usize])),
        DataType::FixedSizeBinary(_) => json!(base64(&seed.to_be_bytes()[..3])),
        DataType::List(item) => (0..seed % 4)
            .map(|at| field_value(item, seed.rotate_left(7 + at as u32)))
            .collect(),
        DataType::Struct(fields) => {
            let each = fields
                .iter()
                .map(|it| (it.name().clone(), field_value(it, seed.rotate_left(13))));
            serde_json::Value::Object(each.collect())
        }
        other => panic!("{other}"),
    }
}

fn field_value(field: &Field, seed: u64) -> serde_json::Value {
    match field.is_nullable() && seed.is_multiple_of(3) {
        true => serde_json::Value::Null,
        false => value(field.data_type(), seed),
    }
}

use arrow_schema::DataType;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_reads_back_the_same(
        columns in proptest::collection::vec((0..TYPES.len(), any::<bool>()), 1..6),
        seeds in proptest::collection::vec(any::<u64>(), 0..8),
    ) {
        let name = |at: usize| format!("c{at}");
        let types: Vec<(String, String)> = columns.iter().enumerate().map(|(at, (of, nullable))| {
            (name(at), format!("{}{}", TYPES[*of], if *nullable { "?" } else { "" }))
        }).collect();
        let fields: Vec<Field> = types.iter()
            .map(|(name, of)| data_type::parse_field(name, of).expect("a type")).collect();
        let lines: Vec<String> = seeds.iter().map(|seed| {
            let each = fields.iter().enumerate().map(|(at, field)| {
                (name(at), field_value(field, seed.rotate_left(at as u32 * 5)))
            });
            serde_json::Value::Object(each.collect()).to_string()
        }).collect();
        let types: Vec<(&str, &str)> =
            types.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let rows = testing::json_rows(&types, &lines.join("\n"));
        prop_assert_eq!(around(&rows), rows);
    }
}

#[test]
fn numbers_take_as_few_bytes_as_hold_them() {
    let check = |value: i128, expected: &[u8]| {
        let mut out = Vec::new();
        push_unscaled(value, &mut out);
        assert_eq!(&out[1..], expected);
    };
    check(0, &[0]);
    check(-1, &[0xFF]);
    check(127, &[0x7F]);
    check(128, &[0, 0x80]);
    check(-128, &[0x80]);
    check(-129, &[0xFF, 0x7F]);
    check(i128::MIN, &i128::MIN.to_be_bytes());
}

#[test]
fn names_that_avro_does_not_have_are_refused() {
    let check = |column: &str, name: &str| {
        let schema = Schema::new(vec![Field::new(column, DataType::Int64, false)]);
        schema_text(&schema, name).map_err(|error| error.to_string())
    };
    assert!(check("a", "a.B_1").is_ok());
    let error = check("card-number", "Row").expect_err("a name with a hyphen");
    assert!(error.contains("`card-number`"), "{error}");
    assert!(check("a", "1").is_err());
    assert_eq!(name_of("2-fraud.alerts"), "__fraud_alerts");
}

#[test]
fn the_arrow_library_reads_what_is_written() {
    use arrow_avro::{
        reader::ReaderBuilder,
        schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore},
    };
    let columns = [
        ("id", "i64"),
        ("name", "string?"),
        ("tags", "list<string>"),
        ("x", "f64"),
    ];
    let text = "{\"id\":-7,\"name\":\"a\",\"tags\":[\"b\",\"\"],\"x\":0.5}\n\
                {\"id\":9223372036854775807,\"name\":null,\"tags\":[],\"x\":-1}";
    let rows = testing::json_rows(&columns, text);
    let schema = schema_text(rows.schema_ref(), "Row").expect("good names");
    let mut pieces = Pieces::default();
    let encoder = AvroEncoder { number: 7 };
    encoder
        .encode_each(&rows, &mut pieces)
        .expect("good columns");
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store
        .set(Fingerprint::Id(7), AvroSchema::new(schema))
        .expect("a schema");
    let mut other = ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(7))
        .build_decoder()
        .expect("a schema that it knows");
    for row in 0..rows.num_rows() {
        other
            .decode(pieces.get(row).expect("bytes"))
            .expect("it is Avro");
    }
    let read = other.flush().expect("it is Avro").expect("rows");
    let json = |rows: &RecordBatch| {
        let mut out = Vec::new();
        let encoder = super::super::JsonEncoder::new(&rows.schema(), Default::default());
        encoder.encode(rows, &mut out).expect("good columns");
        String::from_utf8(out).expect("JSON")
    };
    assert_eq!(json(&read), json(&rows));
}
