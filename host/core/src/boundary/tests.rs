use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, StringArray, UInt64Array};
use arrow_schema::{Field, Schema};

use super::*;
use crate::data_type;

mod fuzz;
mod random;
mod refusals;

/// A layout with a bit of everything.
fn layout() -> Layout {
    let schema = |columns: &[(&str, &str)]| {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, text)| data_type::parse_field(name, text).expect("a type"))
            .collect();
        Arc::new(Schema::new(fields))
    };
    let value = |text: &str| {
        let (data_type, nullable) = data_type::parse(text).expect("a type");
        ValueType::new(data_type, nullable)
    };
    let state = |kind, map_key: Option<&str>, text: &str| StateLayout {
        kind,
        map_key: map_key.map(value),
        value: value(text),
    };
    Layout {
        inputs: vec![schema(&[("id", "u64"), ("name", "string?")])],
        states: vec![
            state(
                StateKind::Value,
                None,
                "struct<n: u64, sum: f64, last: i64>",
            ),
            state(StateKind::List, None, "i64"),
            state(
                StateKind::Map,
                Some("string"),
                "struct<a: bool, s: string?>",
            ),
            state(StateKind::Operator, None, "decimal(4,2)"),
        ],
        timers: 2,
        outputs: vec![
            schema(&[("id", "u64"), ("name", "string?"), ("parts", "list<i16?>?")]),
            schema(&[]),
        ],
    }
}

fn question() -> Question<'static> {
    Question {
        rows: 10,
        keys: 4,
        timers: &[(1, 0, 50), (3, 1, 60)],
        is_broadcast: false,
        output_rows_max: 100,
    }
}

/// What a well-behaved guest answers.
fn answer() -> Encoder {
    let layout = layout();
    let mut encoder = Encoder::new();
    encoder.begin(Group::Output, 0, 3);
    let parts = random::array(&layout.outputs[0].field(2).clone(), 3, &mut 7);
    let columns: [ArrayRef; 3] = [
        Arc::new(UInt64Array::from(vec![1, 2, 3])),
        Arc::new(StringArray::from(vec![Some("ä"), None, Some("")])),
        parts,
    ];
    let mut number = 0;
    for (field, column) in layout.outputs[0].fields().iter().zip(&columns) {
        encoder.array(&mut number, field, column).expect("fits");
    }
    encoder.copy(column::CAUSE, Kind::Values, &[9u32, 0, CAUSE_TIMER | 1]);
    encoder.begin(Group::Rejects, 0, 1);
    encoder.copy(0, Kind::Offsets, &[0i32, 3]);
    encoder.copy(0, Kind::Data, b"bad");
    encoder.copy(column::CAUSE, Kind::Values, &[4u32]);
    encoder.begin(Group::StateChanges, 0, 2);
    encoder.copy(0, Kind::Values, &[0u32, 3]);
    encoder.copy(1, Kind::Validity, &[0b10u8]);
    encoder.reserve(1, Kind::Values, 48).fill(1);
    encoder.begin(Group::StateChanges, 1, 1);
    encoder.copy(0, Kind::Values, &[2u32]);
    encoder.copy(1, Kind::Values, &[1u32]);
    encoder.copy(2, Kind::Offsets, &[0i32, 2]);
    encoder.copy(3, Kind::Values, &[5i64, 6]);
    encoder.begin(Group::MapClears, 2, 1);
    encoder.copy(0, Kind::Values, &[1u32]);
    encoder.begin(Group::StateChanges, 2, 1);
    encoder.copy(0, Kind::Values, &[1u32]);
    encoder.copy(1, Kind::Offsets, &[0i32, 5]);
    encoder.copy(1, Kind::Data, b"\x01\0\0\0k");
    encoder.copy(2, Kind::Offsets, &[0i32, 2]);
    encoder.copy(2, Kind::Data, &[1u8, 0]);
    encoder.begin(Group::StateChanges, 3, 1);
    encoder.copy(0, Kind::Values, &9_999i128.to_le_bytes());
    encoder.begin(Group::TimerChanges, 0, 2);
    encoder.copy(0, Kind::Values, &[0u32, 1]);
    encoder.copy(1, Kind::Values, &[1u32, 0]);
    encoder.copy(2, Kind::Values, &[70i64, 50]);
    encoder.copy(3, Kind::Values, &[0u8, 2]);
    encoder
}

#[test]
fn an_answer_is_read_as_it_was_written() {
    let encoder = answer();
    let (directory, arena) = encoder.finish().expect("small");
    let mut decoder = Decoder::new();
    let effects = decoder
        .decode(&layout(), &question(), directory, arena)
        .unwrap_or_else(|e| panic!("{e}"));
    let [output] = &effects.outputs[..] else {
        panic!("one output has rows")
    };
    assert_eq!(output.output, 0);
    assert_eq!(&output.causes[..], &[9, 0, CAUSE_TIMER | 1]);
    let names = output.rows.column(1);
    let names: &StringArray = names.as_any().downcast_ref().expect("text");
    assert_eq!(
        names.iter().collect::<Vec<_>>(),
        [Some("ä"), None, Some("")]
    );
    assert_eq!(effects.rejects.rows, [4]);
    assert_eq!(effects.rejects.reason(0), "bad");
    let [value, list, map, operator] = &effects.states[..] else {
        panic!("four states changed")
    };
    let StateChanges::Value { keys, values, .. } = value else {
        panic!("the first is a value state")
    };
    assert_eq!((*keys, values.get(0)), (&[0u32, 3][..], None));
    assert_eq!(values.get(1), Some(&[1; 24][..]));
    let StateChanges::List { drops, items, .. } = list else {
        panic!("the second is a list state")
    };
    assert_eq!(
        (*drops, items.get(1)),
        (&[1u32][..], Some(&6i64.to_le_bytes()[..]))
    );
    let StateChanges::Map {
        cleared,
        entries,
        values,
        ..
    } = map
    else {
        panic!("the third is a map state")
    };
    assert_eq!(*cleared, [1]);
    assert_eq!(entries.get(0), Some(&b"\x01\0\0\0k"[..]));
    assert_eq!(values.get(0), Some(&[1u8, 0][..]));
    let StateChanges::Operator { value, .. } = operator else {
        panic!("the fourth is an operator state")
    };
    assert_eq!(*value, Some(&9_999i128.to_le_bytes()[..]));
    assert_eq!(effects.timers[1].action, TimerAction::Fired);
}

#[test]
fn nothing_is_an_answer() {
    let effects = Decoder::new()
        .decode(&layout(), &question(), &[], &[])
        .map(|effects| effects.outputs.len());
    assert_eq!(effects, Ok(0));
}

#[test]
fn padding_does_not_remember_earlier_calls() {
    let mut encoder = Encoder::new();
    encoder.begin(Group::Keys, 0, 2);
    encoder.copy(0, Kind::Values, &[u64::MAX; 2]);
    encoder.clear();
    encoder.begin(Group::Keys, 0, 1);
    encoder.copy(0, Kind::Values, &[1u8]);
    assert_eq!(encoder.finish().map(|(_, arena)| arena), Ok(&[1u64][..]));
}

#[test]
fn integers_widen_and_nulls_fill() {
    let field = data_type::parse_field("n", "f64").expect("a type");
    let mut encoder = Encoder::new();
    encoder.begin(Group::Input, 0, 2);
    let narrow = arrow_array::Int32Array::from(vec![7, -1]);
    encoder.array(&mut 0, &field, &narrow).expect("widens");
    let (_, arena) = encoder.finish().expect("small");
    assert_eq!(arena, [7.0f64.to_bits(), (-1.0f64).to_bits()]);

    encoder.clear();
    encoder.begin(Group::Output, 0, 3);
    let schema = layout().outputs[0].clone();
    let mut number = 0;
    for field in schema.fields() {
        let field = field.as_ref().clone().with_nullable(true);
        encoder.nulls(&mut number, &field, 3);
    }
    encoder.copy(column::CAUSE, Kind::Values, &[0u32; 3]);
    let mut layout = layout();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|f| f.as_ref().clone().with_nullable(true))
        .collect();
    layout.outputs[0] = Arc::new(Schema::new(fields));
    let (directory, arena) = encoder.finish().expect("small");
    let mut decoder = Decoder::new();
    let effects = decoder
        .decode(&layout, &question(), directory, arena)
        .unwrap_or_else(|e| panic!("{e}"));
    for column in effects.outputs[0].rows.columns() {
        assert_eq!(column.null_count(), 3);
    }
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    let field = data_type::parse_field("n", "i32").expect("a type");
    let mut encoder = Encoder::new();
    encoder.begin(Group::Input, 0, 1);
    let wide = Int64Array::from(vec![7]);
    let error = encoder.array(&mut 0, &field, &wide).expect_err("too wide");
    assert_eq!(
        error.to_string(),
        "column `n` is Int64, which cannot stand for i32"
    );
    let holes = arrow_array::Int32Array::from(vec![None]);
    let error = encoder.array(&mut 0, &field, &holes).expect_err("null");
    assert!(
        error.to_string().contains("declared without `?`"),
        "{error}"
    );
}
