//! The decoder beside a library that reads messages as a whole.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage,
    Value as Reflected, prost::Message,
};

use super::*;

const SCHEMA: &str = r#"
syntax = "proto3";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message All {
  double f_double = 1;
  float f_float = 2;
  int32 f_int32 = 3;
  int64 f_int64 = 4;
  uint32 f_uint32 = 5;
  uint64 f_uint64 = 6;
  sint32 f_sint32 = 7;
  sint64 f_sint64 = 8;
  fixed32 f_fixed32 = 9;
  fixed64 f_fixed64 = 10;
  sfixed32 f_sfixed32 = 11;
  sfixed64 f_sfixed64 = 12;
  bool f_bool = 13;
  string f_string = 14;
  bytes f_bytes = 15;
  Color color = 16;
  optional int32 o_int32 = 17;
  optional string o_string = 18;
  Inner inner = 19;
  google.protobuf.Timestamp at = 20;
  google.protobuf.UInt32Value wrapped = 21;
  repeated int32 packed = 22;
  repeated sint64 loose = 23 [packed = false];
  repeated string names = 24;
  repeated Inner inners = 25;
  map<string, Inner> map = 26;
  repeated double doubles = 27;
  oneof choice {
    string c_text = 100;
    int64 c_number = 101;
    Inner c_inner = 102;
  }
  enum Color { RED = 0; GREEN = 2; BLUE = -1; }
  message Inner {
    int32 n = 1;
    optional string s = 2;
    Inner next = 3;
    repeated fixed32 r = 2000;
  }
}"#;

/// Each column, and the path of its field if it is another.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("f_double", "f64", ""),
    ("f_float", "f32", ""),
    ("f_int32", "i32", ""),
    ("f_int64", "i64", ""),
    ("f_uint32", "u32", ""),
    ("f_uint64", "u64", ""),
    ("f_sint32", "i32", ""),
    ("f_sint64", "i64", ""),
    ("f_fixed32", "u32", ""),
    ("f_fixed64", "u64", ""),
    ("f_sfixed32", "i32", ""),
    ("f_sfixed64", "i64", ""),
    ("f_bool", "bool", ""),
    ("f_string", "string", ""),
    ("f_bytes", "bytes", ""),
    ("color", "string", ""),
    ("o_int32", "i32?", ""),
    ("o_string", "string?", ""),
    ("inner_n", "i32?", "inner.n"),
    ("next_s", "string?", "inner.next.s"),
    ("next_r", "list<u32>?", "inner.next.r"),
    ("at", "timestamp?", ""),
    ("wrapped", "u32?", ""),
    ("packed", "list<i32>", ""),
    ("loose", "list<i64>", ""),
    ("names", "list<string>", ""),
    (
        "inners",
        "list<struct<r: list<u32>, n: i32, s: string?>>",
        "",
    ),
    (
        "map",
        "list<struct<key: string, value: struct<n: i32, s: string?>>>",
        "",
    ),
    ("doubles", "list<f64>", ""),
    ("c_text", "string?", ""),
    ("c_number", "i64?", ""),
    ("c_inner", "struct<n: i32, r: list<u32>>?", ""),
];

fn format() -> Format {
    let columns: Vec<(&str, &str)> = COLUMNS.iter().map(|(name, of, _)| (*name, *of)).collect();
    let mut format = testing::format(FormatKind::Protobuf, &columns);
    for (column, (_, _, path)) in format.columns.iter_mut().zip(COLUMNS) {
        if !path.is_empty() {
            column.path = path.split('.').map(str::to_owned).collect();
        }
    }
    format
}

fn all() -> MessageDescriptor {
    let schema = Schema::parse(SCHEMA, &[]).expect("it is sound");
    schema.message(None).expect("it is the only one")
}

/// Numbers from a seed (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Of any size, and often small.
    fn bits(&mut self) -> u64 {
        let shift = self.below(64);
        self.next() >> shift
    }
}

fn value(random: &mut Random, kind: &Kind, depth: usize) -> Reflected {
    let bits = random.bits();
    match kind {
        Kind::Double => Reflected::F64((bits as i64 >> 40) as f64 / 8.0),
        Kind::Float => Reflected::F32((bits as i32 >> 20) as f32 / 8.0),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Reflected::I32(bits as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Reflected::I64(bits as i64),
        Kind::Uint32 | Kind::Fixed32 => Reflected::U32(bits as u32),
        Kind::Uint64 | Kind::Fixed64 => Reflected::U64(bits),
        Kind::Bool => Reflected::Bool(bits.is_multiple_of(2)),
        Kind::String => Reflected::String("ä".repeat((bits % 100) as usize)),
        Kind::Bytes => Reflected::Bytes(bits.to_le_bytes()[..(bits % 8) as usize].to_vec().into()),
        Kind::Enum(_) => Reflected::EnumNumber([0, 2, -1, 5][(bits % 4) as usize]),
        Kind::Message(of) if of.full_name() == "google.protobuf.Timestamp" => {
            let mut time = DynamicMessage::new(of.clone());
            time.set_field_by_name("seconds", Reflected::I64(bits as i64 % 100_000_000_000));
            let nanos = (random.next() % 1_000_000_000) as i32;
            time.set_field_by_name("nanos", Reflected::I32(nanos));
            Reflected::Message(time)
        }
        Kind::Message(of) => {
            let mut message = DynamicMessage::new(of.clone());
            for field in of.fields() {
                if depth < 3 && random.below(2) == 0 {
                    set(random, &mut message, &field, depth + 1);
                }
            }
            Reflected::Message(message)
        }
    }
}

fn set(random: &mut Random, message: &mut DynamicMessage, field: &FieldDescriptor, depth: usize) {
    let kind = field.kind();
    let count = random.below(4);
    let value = match (field.is_map(), field.is_list()) {
        (true, _) => {
            let entry = kind.as_message().expect("an entry").clone();
            let of = entry.map_entry_value_field().kind();
            let entries = (0..count).map(|_| {
                let key = format!("k{}", random.below(3));
                (MapKey::String(key), value(random, &of, depth))
            });
            Reflected::Map(entries.collect())
        }
        (_, true) => Reflected::List((0..count).map(|_| value(random, &kind, depth)).collect()),
        _ => value(random, &kind, depth),
    };
    message.set_field(field, value);
}

fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field that nobody knows.
fn push_unknown(random: &mut Random, out: &mut Vec<u8>, depth: usize) {
    let number = [40, 5_000, 536_870_911][random.below(3) as usize];
    let wire = [0, 1, 2, 5, 3][random.below(if depth < 3 { 5 } else { 4 }) as usize];
    push_varint(number << 3 | wire, out);
    match wire {
        0 => push_varint(random.bits(), out),
        1 => out.extend(random.next().to_le_bytes()),
        2 => {
            let len = random.below(20);
            push_varint(len, out);
            out.extend((0..len).map(|_| random.next() as u8));
        }
        5 => out.extend((random.next() as u32).to_le_bytes()),
        _ => {
            for _ in 0..random.below(3) {
                push_unknown(random, out, depth + 1);
            }
            push_varint(number << 3 | 4, out);
        }
    }
}

/// A message in pieces: fields in any order, some several times, others among them.
fn message(seed: u64) -> Vec<u8> {
    let of = all();
    let fields: Vec<FieldDescriptor> = of.fields().collect();
    let (mut random, mut bytes) = (Random(seed), Vec::new());
    for _ in 0..random.below(60) {
        let mut piece = DynamicMessage::new(of.clone());
        let field = &fields[random.below(fields.len() as u64) as usize];
        set(&mut random, &mut piece, field, 0);
        bytes.extend(piece.encode_to_vec());
        // The zero that others would not have written.
        if random.below(8) == 0 {
            bytes.extend([24, 0]);
        }
        if random.below(4) == 0 {
            push_unknown(&mut random, &mut bytes, 0);
        }
    }
    bytes
}

/// A value as the decoder's JSON has it.
fn told(value: &Reflected, kind: &Kind) -> Value {
    match value {
        Reflected::Bool(value) => json!(value),
        Reflected::I32(value) => json!(value),
        Reflected::I64(value) => json!(value),
        Reflected::U32(value) => json!(value),
        Reflected::U64(value) => json!(value),
        // As few digits as tell it from other numbers of its own width.
        Reflected::F32(value) => json!(value.to_string().parse::<f64>().expect("digits")),
        Reflected::F64(value) => json!(value),
        Reflected::String(text) => json!(text),
        Reflected::Bytes(bytes) => {
            let mut text = Vec::new();
            crate::format::base64::encode(bytes, &mut text);
            json!(String::from_utf8(text).expect("base64 is text"))
        }
        Reflected::EnumNumber(number) => {
            let of = kind.as_enum().expect("an enumeration");
            let name = of.get_value(*number).map(|it| it.name().to_owned());
            json!(name.unwrap_or_else(|| number.to_string()))
        }
        Reflected::List(items) => items.iter().map(|item| told(item, kind)).collect(),
        Reflected::Message(of) if of.descriptor().name() == "Timestamp" => {
            let part = |name: &str| of.get_field_by_name(name).expect("it has it").into_owned();
            let seconds = part("seconds").as_i64().expect("a number");
            let nanos = part("nanos").as_i32().expect("a number");
            let mut text = Vec::new();
            let micros = seconds * 1_000_000 + i64::from(nanos / 1000);
            crate::format::time::print_timestamp(micros, &mut text);
            json!(String::from_utf8(text).expect("ASCII"))
        }
        Reflected::Message(of) if of.descriptor().name() == "UInt32Value" => {
            told(&of.get_field_by_name("value").expect("it has it"), kind)
        }
        Reflected::Message(_) | Reflected::Map(_) => panic!("the columns say how"),
    }
}

/// A field of a message, of which some fields are wanted if it is a message itself.
fn field(of: &DynamicMessage, name: &str, wanted: &[&str]) -> Value {
    let field = of.descriptor().get_field_by_name(name).expect("it has it");
    if field.supports_presence() && !of.has_field(&field) {
        return Value::Null;
    }
    let object = |value: &Reflected| -> Value {
        let message = value.as_message().expect("a message");
        let each = wanted
            .iter()
            .map(|name| ((*name).to_owned(), self::field(message, name, &[])));
        Value::Object(each.collect())
    };
    match &*of.get_field(&field) {
        Reflected::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.as_str().expect("a text").to_owned(), object(value)));
            json!(entries.collect::<BTreeMap<String, Value>>())
        }
        Reflected::List(items) if !wanted.is_empty() => items.iter().map(object).collect(),
        value if !wanted.is_empty() => object(value),
        value => told(value, &field.kind()),
    }
}

fn expected(message: &DynamicMessage) -> Value {
    let at = |path: &str| {
        let mut names: Vec<&str> = path.split('.').collect();
        let last = names.pop().expect("a name");
        let mut within = message.clone();
        for name in names {
            if !within.has_field_by_name(name) {
                return Value::Null;
            }
            let next = within
                .get_field_by_name(name)
                .expect("it has it")
                .into_owned();
            within = next.as_message().expect("a message").clone();
        }
        let wanted: &[&str] = match last {
            "inners" => &["r", "n", "s"],
            "map" => &["n", "s"],
            "c_inner" => &["n", "r"],
            _ => &[],
        };
        field(&within, last, wanted)
    };
    let each = COLUMNS.iter().map(|(name, _, path)| {
        let path = if path.is_empty() { name } else { path };
        ((*name).to_owned(), at(path))
    });
    Value::Object(each.collect())
}

/// Entries of a map in no order, the last one of a key.
fn settled(mut row: Value) -> Value {
    let entries = row["map"].take();
    let entries = entries.as_array().into_iter().flatten().map(|entry| {
        let key = entry["key"].as_str().expect("a text").to_owned();
        (key, entry["value"].clone())
    });
    row["map"] = json!(entries.collect::<BTreeMap<String, Value>>());
    row
}

fn decoded(records: &[&[u8]]) -> Vec<Value> {
    let mut decoder = decoder(&format(), SCHEMA).expect("it fits");
    rows(&mut decoder, records)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_oracle_agrees_on_messages(seeds in prop::collection::vec(any::<u64>(), 1..4)) {
        let records: Vec<Vec<u8>> = seeds.iter().map(|seed| message(*seed)).collect();
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        for (row, record) in decoded(&slices).into_iter().zip(&records) {
            prop_assert!(row.is_object(), "{row}");
            let oracle = DynamicMessage::decode(all(), record.as_slice()).expect("it is sound");
            prop_assert_eq!(settled(row), expected(&oracle));
        }
    }

    #[test]
    fn the_oracle_agrees_on_damaged_messages(
        seed in any::<u64>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut record = message(seed);
        prop_assume!(!record.is_empty());
        for (at, byte) in damage {
            let at = at.index(record.len());
            record[at] = byte;
        }
        let row = decoded(&[&record])[0].clone();
        // It reads on where nobody wants to know, and knows no times out of range.
        if let (true, Ok(oracle)) = (row.is_object(), DynamicMessage::decode(all(), &record[..])) {
            prop_assert_eq!(settled(row), expected(&oracle));
        }
    }
}

#[test]
fn a_message_that_ends_too_early_is_refused() {
    for seed in 0..8 {
        let record = message(seed);
        let ends: Vec<&[u8]> = (0..record.len()).map(|end| &record[..end]).collect();
        for (row, record) in decoded(&ends).into_iter().zip(ends) {
            match DynamicMessage::decode(all(), record) {
                Ok(oracle) => assert_eq!(settled(row), expected(&oracle), "seed {seed}"),
                Err(_) => assert!(
                    row.is_string(),
                    "seed {seed}, {} bytes: {row}",
                    record.len()
                ),
            }
        }
    }
}
