//! The golden bytes of what windows keep (docs/formats/vectors/windows.json).

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use serde_json::{Value as Json, json};
use wasmill_core::encoding::{self, Encoder, Form};
use wasmill_core::window::Function;

use super::*;
use crate::golden::{self, hex, unhex};
use crate::window::accumulator;
use crate::window::folded::{Folded, Held};
use crate::window::value::Column;

/// The one accumulator that may be written in several ways.
const SKETCH: accumulator::Kind = accumulator::Kind {
    function: Function::ApproxDistinct,
    is_float: false,
};

/// What an aggregate is in words, and the rows of which its accumulator is made.
fn aggregates() -> Vec<(&'static str, ArrayRef)> {
    let whole = || -> ArrayRef { Arc::new(Int64Array::from(vec![Some(-3), None, Some(800)])) };
    let words = || -> ArrayRef { Arc::new(StringArray::from(vec!["b", "aé", "b", ""])) };
    let floats = |all: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(all.to_vec())) };
    let counted = |count: u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(0..count)) };
    let times = TimestampMicrosecondArray::from(vec![5_000_000, -1, 1_700_000_000_000_000]);
    let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
    let decimals = Decimal128Array::from(vec![150, 10_i128.pow(37), -100]);
    let decimals = decimals.with_precision_and_scale(38, 2).expect("it fits");
    let decimals: ArrayRef = Arc::new(decimals);
    let far_apart = [1e300, 1.0, 1e-300, -0.5];
    let special = [f64::INFINITY, 2.5, f64::NEG_INFINITY, f64::NAN];
    vec![
        ("count rows", whole()),
        ("count a i64?", whole()),
        ("sum a i64?", whole()),
        ("sum a decimal(38,2)", decimals.clone()),
        ("sum a f64", floats(&far_apart)),
        ("sum a f64", floats(&special)),
        ("mean a i64?", whole()),
        ("mean a f64", floats(&[0.1, 0.2])),
        ("deviation a f64", floats(&[0.1, 0.2, 0.7])),
        ("min a i64?", whole()),
        ("min a string", words()),
        ("max a f64", floats(&far_apart)),
        ("max a decimal(38,2)", decimals),
        ("min a timestamp", times.clone()),
        ("first a i64?", whole()),
        ("last a string", words()),
        ("last a timestamp", times),
        ("distinct a string", words()),
        ("distinct a i64?", whole()),
        ("approx-distinct a u64", counted(3)),
        ("approx-distinct a u64", counted(100)),
        ("approx-distinct a u64", counted(2_000)),
        ("top 2 of a f64", floats(&far_apart)),
        ("top 3 of a string", words()),
        ("quantile 0.5 of a f64", floats(&[1.0, 1.5, -2.0, 0.0, 1.0])),
    ]
}

fn definition(aggregate: &str) -> (Definition, Shape) {
    let text = format!("global lateness 0us; it: {aggregate}");
    let aggregates = wasmill_core::window::defined(&text).expect(aggregate);
    (Definition::new(&text), Shape::new(&aggregates))
}

/// Accumulators of all rows of a column: the n-th is row 10 + n of split n of the second input, a
/// second behind the one before.
fn filled(shape: &Shape, values: &ArrayRef) -> Vec<Accumulator> {
    let mut held: Vec<Accumulator> = shape.empty().collect();
    for row in 0..values.len() {
        let place = || (row as i64 * 1_000_000, row as u32, 10 + row as u64, 1);
        let added = shape.add(&mut held, &[Column::new(values)], row, place);
        added.expect("no sum overflows");
    }
    held
}

fn written(held: &[Accumulator], shape: &Shape) -> Vec<u8> {
    let mut out = Vec::new();
    bytes::accumulators(held, shape, &mut out);
    out
}

/// A column's values as they are called in JSON; many that count from 0 by their number alone.
fn told(values: &ArrayRef) -> Json {
    if values.len() > 10 {
        return json!({ "from": 0, "below": values.len() });
    }
    let encoder = Encoder::new(values.as_ref(), true, Form::State).expect("a type");
    let value = |row: usize| {
        let mut bytes = Vec::new();
        encoder.push(row, &mut bytes);
        encoding::to_json(values.data_type(), true, &bytes).expect("what was encoded")
    };
    (0..values.len()).map(value).collect()
}

/// The result that the definition tells of an entry.
fn result(of: &Definition, entry: &[u8], value: &[u8]) -> Json {
    let kept = of.describe(entry, value).expect("what was written");
    of.to_json(&kept).expect("an aggregate")["it"].clone()
}

fn accumulator_cases() -> Vec<Json> {
    let pane = bytes::entry(PANE, &[0]);
    let cases = aggregates().into_iter().map(|(aggregate, values)| {
        let (definition, shape) = definition(aggregate);
        let bytes = written(&filled(&shape, &values), &shape);
        json!({
            "aggregate": aggregate,
            "values": told(&values),
            "empty": hex(&written(&shape.empty().collect::<Vec<_>>(), &shape)),
            "result": result(&definition, &pane, &bytes),
            "bytes": hex(&bytes),
        })
    });
    let plugin = "plugin gaps of a f64 keeping i64";
    let (definition, shape) = definition(plugin);
    let kept = [
        Held::Bytes(9_i64.to_le_bytes().into()),
        Held::Lost("why".into()),
    ];
    let kept = kept.map(|held| {
        let held = [
            Accumulator::Count(2),
            Accumulator::Plugin(Some(Folded::of(held))),
        ];
        let bytes = written(&held, &shape);
        json!({
            "aggregate": plugin,
            "empty": hex(&written(&shape.empty().collect::<Vec<_>>(), &shape)),
            "result": result(&definition, &pane, &bytes),
            "bytes": hex(&bytes),
        })
    });
    cases.chain(kept).collect()
}

/// The aggregate of entries.
const ENTRIES: &str = "max a i64?";

/// Each kind of entry: its bytes and those of its value.
fn entries(shape: &Shape) -> Vec<(Vec<u8>, Vec<u8>)> {
    let column = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let held = |values| -> Box<[Accumulator]> { filled(shape, &column(values)).into() };
    let shown = |end: i64, ordinal| Shown {
        start: end - 60_000_000,
        end,
        ordinal,
        accumulators: held(vec![Some(7)]),
    };
    let session = Session {
        start: -5,
        end: 70_000_000,
        is_over: true,
        wake: 70_000_000,
        shown: vec![shown(60_000_000, 0), shown(70_000_000, 2)],
        accumulators: held(vec![Some(7), Some(8), None]),
    };
    let global = Global {
        number: 3,
        time: 1_700_000_000_000_000,
        shown: Some(shown(60_000_000, 1)),
        accumulators: held(vec![Some(-1)]),
    };
    let unseen = Global {
        shown: None,
        ..global.clone()
    };
    let mut values = [const { Vec::new() }; 6];
    values[0] = written(&held(vec![Some(1), None]), shape);
    bytes::shown(&shown(120_000_000, 4), shape, &mut values[1]);
    values[2] = written(&held(vec![Some(2)]), shape);
    bytes::session(&session, shape, &mut values[3]);
    bytes::global(&global, shape, &mut values[4]);
    bytes::global(&unseen, shape, &mut values[5]);
    let entries = [
        bytes::entry(PANE, &[-60_000_000]),
        bytes::entry(SHOWN, &[120_000_000]),
        bytes::entry(LATE, &[130_000_000, 60_000_000]),
        bytes::entry(SESSION, &[session.start]),
        bytes::entry(GLOBAL, &[]),
        bytes::entry(GLOBAL, &[]),
    ];
    entries.into_iter().zip(values).collect()
}

fn entry_cases() -> Vec<Json> {
    let (definition, shape) = definition(ENTRIES);
    let case = |(entry, value): (Vec<u8>, Vec<u8>)| {
        let kept = definition.describe(&entry, &value).expect("an entry");
        json!({
            "part": kept.part,
            "start": kept.start,
            "end": kept.end,
            "rows": kept.rows,
            "result": result(&definition, &entry, &value),
            "entry": hex(&entry),
            "value": hex(&value),
        })
    };
    entries(&shape).into_iter().map(case).collect()
}

fn vectors() -> Json {
    json!({
        "doc": "What windows keep (docs/formats/segment.md), in hexadecimal. `accumulators`: that of \
                one aggregate behind the number of rows, before the first row (`empty`) and after \
                rows of these values, the n-th of which is row 10 + n of split n of the second \
                input, n seconds after 1970; `result` is what it gives. `entries`: each kind of \
                entry with its value, of windows with the aggregate `entries-of`.",
        "accumulators": accumulator_cases(),
        "entries-of": ENTRIES,
        "entries": entry_cases(),
    })
}

#[test]
fn windows_have_golden_bytes() {
    let golden = golden::check("windows.json", &vectors());
    let pane = bytes::entry(PANE, &[0]);
    // What is written is not all: the golden bytes are read to the same values.
    for case in golden["accumulators"].as_array().expect("cases") {
        let (definition, shape) = definition(case["aggregate"].as_str().expect("words"));
        let is_sketch = shape.slots.iter().any(|slot| slot.kind == SKETCH);
        for name in ["empty", "bytes"] {
            let bytes = unhex(&case[name]);
            let mut input = Input::new(&bytes);
            let read = input.accumulators(&shape).expect("golden bytes");
            assert!(input.is_empty(), "{case}");
            let again = written(&read, &shape);
            // A sketch tells what it has seen in the order of its own table.
            if again.len() != bytes.len() || !is_sketch {
                assert_eq!(again, bytes, "{case}");
            }
            assert_eq!(
                result(&definition, &pane, &again),
                result(&definition, &pane, &bytes),
                "{case}"
            );
            for cut in 0..bytes.len().min(200) {
                let is_read = definition.describe(&pane, &bytes[..cut]).is_some();
                assert!(!is_read, "{case} is read without its end, from {cut} bytes");
            }
        }
        assert_eq!(
            result(&definition, &pane, &unhex(&case["bytes"])),
            case["result"]
        );
    }
}
