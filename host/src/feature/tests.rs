use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, Decimal128Array, Float64Array, Int64Array, StringArray};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, Field};
use proptest::prelude::*;
use wasmill_core::data_type;
use wasmill_core::feature::FeatureSpec;
use wasmill_core::key::{KeyGroupRange, Keys, hash_word};

use super::*;
use crate::state::Secret;

mod restore;

/// A row: key, time, and a value that each column is made of.
#[derive(Debug, Clone)]
struct Row {
    key: u64,
    time: i64,
    value: Option<i64>,
}

fn schema() -> Schema {
    let columns = [
        ("n", "i64?"),
        ("f", "f64"),
        ("d", "decimal(12,2)"),
        ("w", "decimal(30,2)"),
        ("s", "string?"),
    ];
    let field = |(name, text): &(&str, &str)| data_type::parse_field(name, text).expect("a type");
    Schema::new(columns.iter().map(field).collect::<Vec<Field>>())
}

fn batch(rows: &[Row]) -> RecordBatch {
    let values: Vec<Option<i64>> = rows.iter().map(|row| row.value).collect();
    let filled = |row: &Row| row.value.unwrap_or(0);
    let decimal = |precision: u8| {
        let values: Vec<i128> = rows
            .iter()
            .map(|row| i128::from(filled(row)) * 50)
            .collect();
        let array = Decimal128Array::from(values);
        Arc::new(
            array
                .with_precision_and_scale(precision, 2)
                .expect("few digits"),
        ) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(values.clone())),
        Arc::new(Float64Array::from_iter_values(
            rows.iter().map(|row| filled(row) as f64 / 10.0),
        )),
        decimal(12),
        decimal(30),
        Arc::new(StringArray::from_iter(
            values.iter().map(|value| value.map(text)),
        )),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns).expect("columns fit")
}

fn text(value: i64) -> String {
    "x".repeat(value.rem_euclid(4) as usize)
}

fn set(features: &[(&str, serde_json::Value)]) -> FeatureSet {
    let schema = schema();
    let bind = |(name, json): &(&str, serde_json::Value)| {
        let spec: FeatureSpec = serde_json::from_value(json.clone()).expect("a declaration");
        spec.bind(name, &schema, true)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    FeatureSet::new(features.iter().map(bind).collect(), &schema).expect("few columns")
}

struct Engine {
    set: FeatureSet,
    index: KeyIndex,
    keys: BatchKeys,
}

impl Engine {
    fn new(features: &[(&str, serde_json::Value)]) -> Self {
        let range = KeyGroupRange::all(8);
        Self {
            set: set(features),
            index: KeyIndex::new(range, 8, true, Secret::seeded(1)),
            keys: BatchKeys::default(),
        }
    }

    fn compute(&mut self, rows: &[Row], clocks: &[i64]) -> Result<Vec<ArrayRef>, FeatureFault> {
        let words: ScalarBuffer<u64> = rows.iter().map(|row| row.key).collect();
        let hashes: Vec<u64> = words.iter().map(|word| hash_word(*word)).collect();
        self.keys.clear();
        self.index
            .lookup(&Keys::Words(words), &hashes, &mut self.keys);
        let times: Vec<i64> = rows.iter().map(|row| row.time).collect();
        let columns = batch(rows);
        let view = FeatureRows {
            rows: &columns,
            times: &times,
            clocks,
            keys: &self.keys,
        };
        self.set.compute(view, &mut self.index)
    }
}

/// A result as text; floats with all their bits.
fn cell(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "null".into();
    }
    match array.data_type() {
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => array
            .as_primitive::<Decimal128Type>()
            .value(row)
            .to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let items: Vec<String> = (0..items.len()).map(|item| cell(&items, item)).collect();
            items.join(",")
        }
        other => panic!("{other} is not tested"),
    }
}

/// The declared features, each with what a plain loop over the window's rows gives.
fn declared() -> Vec<(&'static str, serde_json::Value)> {
    let json = |text: &str| serde_json::from_str(text).expect("JSON");
    [
        ("count", r#"{"count": "rows", "over": "20us"}"#),
        ("count-n", r#"{"count": "n", "over": "7us"}"#),
        ("sum-n", r#"{"sum": "n", "over": "20us"}"#),
        ("sum-f", r#"{"sum": "f", "over": "20us"}"#),
        ("sum-d", r#"{"sum": "d", "over": "11us"}"#),
        ("sum-w", r#"{"sum": "w", "rows": 4}"#),
        ("mean-n", r#"{"mean": "n", "rows": 5}"#),
        ("mean-d", r#"{"mean": "d", "over": "20us"}"#),
        ("deviation-f", r#"{"deviation": "f", "over": "13us"}"#),
        ("min-n", r#"{"min": "n", "over": "20us"}"#),
        ("max-w", r#"{"max": "w", "over": "20us"}"#),
        ("max-s", r#"{"max": "s", "rows": 3}"#),
        (
            "last-n",
            r#"{"last": {"column": "n", "n": 3}, "over": "20us"}"#,
        ),
        ("last-s", r#"{"last": {"column": "s", "n": 3}}"#),
        ("distinct-s", r#"{"distinct": "s", "over": "20us"}"#),
        ("distinct-f", r#"{"distinct": "f", "rows": 6}"#),
    ]
    .map(|(name, text)| (name, json(text)))
    .into()
}

/// The rows of a key's window, in the order in which they are folded.
fn window(name: &str, seen: &[Row]) -> Vec<Row> {
    let row = seen.last().expect("the row itself");
    let over = |us: i64| {
        let inside = |other: &&Row| other.time > row.time - us && other.time <= row.time;
        let mut rows: Vec<Row> = seen.iter().filter(inside).cloned().collect();
        rows.sort_by_key(|row| row.time);
        rows
    };
    let rows = |n: usize| seen[seen.len().saturating_sub(n)..].to_vec();
    match name {
        "count-n" => over(7),
        "sum-d" => over(11),
        "deviation-f" => over(13),
        "sum-w" => rows(4),
        "mean-n" => rows(5),
        "max-s" | "last-s" => rows(3),
        "distinct-f" => rows(6),
        _ => over(20),
    }
}

fn expected(name: &str, seen: &[Row]) -> String {
    let rows = window(name, seen);
    let values: Vec<i64> = rows.iter().filter_map(|row| row.value).collect();
    let filled: Vec<i64> = rows.iter().map(|row| row.value.unwrap_or(0)).collect();
    let floats: Vec<f64> = filled.iter().map(|value| *value as f64 / 10.0).collect();
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".into());
    match name {
        "count" => rows.len().to_string(),
        "count-n" => values.len().to_string(),
        "sum-n" => or_null(
            values
                .first()
                .map(|_| values.iter().sum::<i64>().to_string()),
        ),
        "sum-f" => format!("{:?}", floats.iter().fold(0.0, |sum, value| sum + value)),
        "sum-d" | "sum-w" => (filled.iter().sum::<i64>() * 50).to_string(),
        "mean-n" => {
            let mean = || values.iter().sum::<i64>() as f64 / values.len() as f64;
            or_null(values.first().map(|_| format!("{:?}", mean())))
        }
        "mean-d" => {
            let sum = (filled.iter().sum::<i64>() * 50) as f64 / 100.0;
            format!("{:?}", sum / filled.len() as f64)
        }
        "deviation-f" => {
            let mean = floats.iter().fold(0.0, |sum, value| sum + value) / floats.len() as f64;
            let squares: f64 = floats
                .iter()
                .map(|value| (value - mean) * (value - mean))
                .sum();
            format!("{:?}", (squares / floats.len() as f64).sqrt())
        }
        "min-n" => or_null(values.iter().min().map(i64::to_string)),
        "max-w" => (filled.iter().max().expect("itself") * 50).to_string(),
        "max-s" => or_null(values.iter().map(|value| text(*value)).max()),
        "last-n" | "last-s" => {
            let last = &values[values.len().saturating_sub(3)..];
            let print = |value: &i64| {
                if name == "last-n" {
                    value.to_string()
                } else {
                    text(*value)
                }
            };
            last.iter().map(print).collect::<Vec<_>>().join(",")
        }
        "distinct-s" => values
            .iter()
            .map(|v| text(*v))
            .collect::<BTreeSet<_>>()
            .len()
            .to_string(),
        "distinct-f" => filled.iter().collect::<BTreeSet<_>>().len().to_string(),
        other => panic!("{other} has no oracle"),
    }
}

/// Rows out of order by up to `bound`, with their clocks; late ones are left out.
fn in_time(rows: Vec<Row>, bound: i64) -> (Vec<Row>, Vec<i64>) {
    let (mut kept, mut clocks, mut newest) = (Vec::new(), Vec::new(), i64::MIN);
    for row in rows {
        newest = newest.max(row.time);
        if row.time >= newest - bound {
            kept.push(row);
            clocks.push(newest - bound);
        }
    }
    (kept, clocks)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0..3_u64,
        -8..12_i64,
        prop::option::weighted(0.8, -20..20_i64),
    );
    prop::collection::vec(row, 1..120).prop_map(|rows| {
        let mut time = 0;
        let place = |(key, step, value)| {
            time += step;
            Row { key, time, value }
        };
        rows.into_iter().map(place).collect()
    })
}

proptest! {
    #[test]
    fn features_equal_a_plain_loop_however_rows_are_cut(
        rows in rows(),
        bound in 0..30_i64,
        cut in 1..50_usize,
    ) {
        let (rows, clocks) = in_time(rows, bound);
        let declared = declared();
        let mut engine = Engine::new(&declared);
        let mut seen: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
        for (rows, clocks) in rows.chunks(cut).zip(clocks.chunks(cut)) {
            let columns = engine.compute(rows, clocks).expect("few rows");
            for (at, row) in rows.iter().enumerate() {
                let seen = seen.entry(row.key).or_default();
                seen.push(row.clone());
                for ((name, _), column) in declared.iter().zip(&columns) {
                    prop_assert_eq!(cell(column, at), expected(name, seen), "{} {:?}", name, seen);
                }
            }
        }
    }

    #[test]
    fn tiles_cover_whole_stretches(rows in rows(), bound in 0..30_i64, cut in 1..50_usize) {
        let (rows, clocks) = in_time(rows, bound);
        let tiled = |text: &str| {
            let text = text.replace('}', r#", "over": "20us", "granularity": "6us"}"#);
            serde_json::from_str(&text).expect("JSON")
        };
        let declared = [
            ("count", tiled(r#"{"count": "rows"}"#)),
            ("sum-n", tiled(r#"{"sum": "n"}"#)),
            ("mean-d", tiled(r#"{"mean": "d"}"#)),
            ("min-n", tiled(r#"{"min": "n"}"#)),
            ("max-w", tiled(r#"{"max": "w"}"#)),
            ("max-s", tiled(r#"{"max": "s"}"#)),
            ("distinct-s", tiled(r#"{"distinct": "s"}"#)),
            ("deviation-f", tiled(r#"{"deviation": "f"}"#)),
        ];
        let mut engine = Engine::new(&declared);
        let mut seen: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
        for (rows, clocks) in rows.chunks(cut).zip(clocks.chunks(cut)) {
            let columns = engine.compute(rows, clocks).expect("few rows");
            for (at, row) in rows.iter().enumerate() {
                let seen = seen.entry(row.key).or_default();
                seen.push(row.clone());
                let tile = |row: &Row| row.time.div_euclid(6);
                let inside = |other: &&Row| {
                    tile(other) == tile(row)
                        || tile(other) < tile(row) && tile(other) * 6 > row.time - 20
                };
                // The oracle's own windows see all of these rows as one.
                let mut rows: Vec<Row> = seen.iter().filter(inside).cloned().collect();
                rows.iter_mut().for_each(|row| row.time = 0);
                for ((name, _), column) in declared.iter().zip(&columns) {
                    let found = cell(column, at);
                    if *name == "deviation-f" {
                        let wanted: f64 = expected(name, &rows).parse().expect("a number");
                        let found: f64 = found.parse().expect("a number");
                        prop_assert!((found - wanted).abs() < 1e-9);
                    } else {
                        let name = if *name == "max-s" { "max-s-all" } else { name };
                        prop_assert_eq!(found, expected_all(name, &rows), "{} {:?}", name, seen);
                    }
                }
            }
        }
    }
}

/// As [`expected`], over all rows given.
fn expected_all(name: &str, rows: &[Row]) -> String {
    if name == "max-s-all" {
        let texts = rows.iter().filter_map(|row| row.value).map(text);
        return texts.max().unwrap_or_else(|| "null".into());
    }
    expected(name, rows)
}

fn row(time: i64, value: i64) -> Row {
    Row {
        key: 1,
        time,
        value: Some(value),
    }
}

#[test]
fn weighted_means_fade_by_age_or_by_row() {
    let declared = [
        ("by-age", serde_json::json!({ "ewma": "n", "over": "10us" })),
        ("by-row", serde_json::json!({ "ewma": "n", "rows": 3 })),
    ];
    let rows = [row(0, 10), row(10, 20), row(5, 40)];
    let columns = Engine::new(&declared)
        .compute(&rows, &[])
        .expect("few rows");
    let age = |us: f64| (-us / 10.0).exp();
    let by_age = [
        10.0,
        (10.0 * age(10.0) + 20.0) / (age(10.0) + 1.0),
        (10.0 * age(10.0) + 20.0 + 40.0 * age(5.0)) / (age(10.0) + 1.0 + age(5.0)),
    ];
    for (at, wanted) in by_age.iter().enumerate() {
        let found = columns[0].as_primitive::<Float64Type>().value(at);
        assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
    }
    assert_eq!(
        columns[1].as_primitive::<Float64Type>().values(),
        &[10.0, 15.0, 27.5]
    );
}

#[test]
fn too_many_rows_are_an_error_that_says_what_helps() {
    let declared = [(
        "c",
        serde_json::json!({ "count": "rows", "over": "1s", "rows-max": 3 }),
    )];
    let rows: Vec<Row> = (0..4).map(|time| row(time, 0)).collect();
    let fault = Engine::new(&declared)
        .compute(&rows, &[])
        .expect_err("one too many");
    let message = fault.to_string();
    assert!(
        message.contains("feature `c` has more than 3 rows"),
        "{message}"
    );
    assert!(message.contains("`rows-max`"), "{message}");
}

#[test]
fn sums_that_overflow_are_an_error() {
    let declared = [("s", serde_json::json!({ "sum": "n", "rows": 2 }))];
    let rows = [row(0, i64::MAX), row(1, 1)];
    let mut engine = Engine::new(&declared);
    let fault = engine.compute(&rows, &[]).expect_err("too large");
    assert_eq!(
        fault,
        FeatureFault::Overflow {
            feature: "s".into(),
            row: 1
        }
    );
}

#[test]
fn keys_whose_rows_are_out_of_sight_are_forgotten() {
    let declared = [("d", serde_json::json!({ "distinct": "s", "over": "10us" }))];
    let mut engine = Engine::new(&declared);
    let empty = engine.set.bytes();
    engine
        .compute(&[row(0, 1), row(5, 2)], &[])
        .expect("few rows");
    engine.index.recycle();
    engine.set.sweep(10_000, 14, &mut engine.index);
    engine.index.recycle();
    assert_eq!(engine.index.len(), 1, "the row at 5 can still be seen");
    engine.set.sweep(10_000, 15, &mut engine.index);
    engine.index.recycle();
    assert_eq!(engine.index.len(), 0);
    assert!(engine.set.bytes() >= empty);
}
