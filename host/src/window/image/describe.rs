//! What windows keep of a key, told by their definition as a checkpoint has it.

use arrow_array::ArrayRef;
use arrow_schema::Field;
use serde_json::Value as Json;
use wasmill_core::{
    encoding::{self, EncodingError},
    window::{Aggregate, defined},
};

use super::{GLOBAL, Input, LATE, PANE, SESSION, SHOWN, bytes};
use crate::window::{
    accumulator::Accumulator,
    draft::Ready,
    folded::Held,
    results,
    shape::{Shape, rows},
};

/// A part of what windows keep of a key.
#[derive(Debug, Clone)]
pub struct Kept {
    /// `pane`, `result`, `late`, `session` or `whole`.
    pub part: &'static str,
    /// Where the pane, the window or the session begins, in microseconds; of late rows of a session
    /// their time.
    pub start: Option<i64>,
    /// Where the window or the session ends, in microseconds.
    pub end: Option<i64>,
    /// How many rows were added; none where that is not known without the aggregates.
    pub rows: Option<u64>,
    /// What the aggregates hold, if they are known.
    accumulators: Option<Box<[Accumulator]>>,
}

/// The definition of windows as a checkpoint has it in words.
#[derive(Debug, Clone)]
pub struct Definition {
    aggregates: Vec<Aggregate>,
    /// None where the aggregates are not understood.
    shape: Option<Shape>,
}

impl Definition {
    /// Reads a definition; where its aggregates are not understood, it tells parts and bounds
    /// alone.
    pub fn new(text: &str) -> Self {
        let aggregates = defined(text);
        Self {
            shape: aggregates.as_deref().map(Shape::new),
            aggregates: aggregates.unwrap_or_default(),
        }
    }

    /// The columns of the aggregates: their results over the rows so far; of plugins what they
    /// keep.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        let aggregates = self.aggregates.iter();
        aggregates.map(|it| Field::new(&it.name, it.data_type.clone(), true))
    }

    /// Tells what an entry of the state of windows is (`docs/formats/segment.md`); none if it is
    /// none.
    ///
    /// ```
    /// use wasmill_host::window::Definition;
    ///
    /// let definition = Definition::new("tumbling 1m lateness 0us; n: count rows");
    /// let entry = [&[0][..], &(1_u64 << 63).to_be_bytes()].concat();
    /// let kept = definition.describe(&entry, &3_u64.to_le_bytes()).expect("a pane");
    /// assert_eq!((kept.part, kept.start, kept.rows), ("pane", Some(0), Some(3)));
    /// assert!(definition.describe(&entry[1..], &[]).is_none());
    /// ```
    pub fn describe(&self, entry: &[u8], value: &[u8]) -> Option<Kept> {
        match &self.shape {
            Some(shape) => whole(shape, entry, value).filter(|kept| self.are_typed(shape, kept)),
            None => outline(entry, value),
        }
    }

    /// Whether what plugins keep is of the types that they gave.
    fn are_typed(&self, shape: &Shape, kept: &Kept) -> bool {
        let all = kept.accumulators.as_deref().unwrap_or_default();
        let mut slots = self.aggregates.iter().zip(&shape.of);
        slots.all(|(aggregate, at)| {
            let bytes = all.get(*at).and_then(kept_by_plugin);
            let of = (&aggregate.data_type, aggregate.nullable);
            bytes.is_none_or(|bytes| encoding::validate(of.0, of.1, bytes).is_ok())
        })
    }

    /// The results of the aggregates over the rows of one part, by name; none if they are not
    /// known, or there are no aggregates.
    pub fn to_json(&self, kept: &Kept) -> Option<Json> {
        let columns = self.columns(std::slice::from_ref(kept)).ok()?;
        let values = self
            .aggregates
            .iter()
            .zip(columns)
            .map(|(aggregate, column)| {
                let mut bytes = Vec::new();
                let encoder = encoding::Encoder::new(&column, true, encoding::Form::State).ok()?;
                encoder.push(0, &mut bytes);
                let value = encoding::to_json(&aggregate.data_type, true, &bytes).ok()?;
                Some((aggregate.name.clone(), value))
            });
        let values = values.collect::<Option<serde_json::Map<_, _>>>()?;
        (!values.is_empty()).then(|| values.into())
    }

    /// The columns of the aggregates for some rows.
    ///
    /// # Errors
    /// If they take too much memory.
    pub fn columns(&self, kept: &[Kept]) -> Result<Vec<ArrayRef>, EncodingError> {
        let Some(shape) = &self.shape else {
            return Ok(Vec::new());
        };
        let slots = self.aggregates.iter().zip(&shape.of);
        let columns = slots.map(|(aggregate, at)| {
            let slot = &shape.slots[*at];
            let empty = slot.kind.empty();
            let held = kept.iter().map(|row| {
                let all = row.accumulators.as_deref();
                all.and_then(|all| all.get(*at)).unwrap_or(&empty)
            });
            if slot.merges.is_some() {
                let nullable = |accumulator| kept_or_null(aggregate, accumulator);
                let values: Vec<Vec<u8>> = held.map(nullable).collect();
                let spans = values.iter().map(|value| Some(&value[..]));
                return encoding::decode(&aggregate.data_type, true, spans);
            }
            let mut column = results::Column::new(&aggregate.data_type, true);
            for accumulator in held {
                // What has no result, since it does not fit its type, is shown as nothing.
                let pushed = column.push(slot, accumulator);
                pushed.or_else(|| column.push(slot, &empty));
            }
            match column.finish()? {
                Ready::Column(column) => Ok(column),
                Ready::Plugin(_) => encoding::decode(&aggregate.data_type, true, []),
            }
        });
        columns.collect()
    }
}

/// What a plugin keeps, in the state encoding; none before the first row, and where it is lost.
fn kept_by_plugin(accumulator: &Accumulator) -> Option<&[u8]> {
    match accumulator {
        Accumulator::Plugin(Some(folded)) => match folded.held() {
            Held::Bytes(bytes) => Some(bytes),
            Held::Lost(_) => None,
        },
        _ => None,
    }
}

/// The same as a value of a type that may be null.
fn kept_or_null(aggregate: &Aggregate, accumulator: &Accumulator) -> Vec<u8> {
    match kept_by_plugin(accumulator) {
        Some(bytes) if aggregate.nullable => bytes.to_vec(),
        Some(bytes) => [&[1], bytes].concat(),
        None => vec![0],
    }
}

/// All that an entry says.
fn whole(shape: &Shape, entry: &[u8], value: &[u8]) -> Option<Kept> {
    let (tag, numbers) = entry.split_first()?;
    let mut input = Input::new(value);
    let (part, start, end, accumulators) = match *tag {
        PANE => {
            let start = bytes::place(numbers)?;
            ("pane", Some(start), None, input.accumulators(shape)?)
        }
        SHOWN => {
            let shown = input.shown(shape)?;
            (bytes::place(numbers)? == shown.end).then_some(())?;
            let (start, end) = (Some(shown.start), Some(shown.end));
            ("result", start, end, shown.accumulators)
        }
        LATE => {
            let (clock, at) = numbers.split_at_checked(8)?;
            bytes::place(clock)?;
            let at = bytes::place(at)?;
            ("late", Some(at), None, input.accumulators(shape)?)
        }
        SESSION => {
            let session = input.session(bytes::place(numbers)?, shape)?;
            let (start, end) = (Some(session.start), Some(session.end));
            ("session", start, end, session.accumulators)
        }
        GLOBAL if numbers.is_empty() => {
            let global = input.global(shape)?;
            ("whole", None, None, global.accumulators)
        }
        _ => return None,
    };
    input.is_empty().then(|| Kept {
        part,
        start,
        end,
        rows: Some(rows(&accumulators)),
        accumulators: Some(accumulators),
    })
}

/// What an entry says before its accumulators.
fn outline(entry: &[u8], value: &[u8]) -> Option<Kept> {
    let (tag, numbers) = entry.split_first()?;
    let mut input = Input::new(value);
    let kept = |part, (start, end), rows| {
        Some(Kept {
            part,
            start,
            end,
            rows,
            accumulators: None,
        })
    };
    match *tag {
        PANE => {
            let start = bytes::place(numbers)?;
            kept("pane", (Some(start), None), Some(input.word()?))
        }
        SHOWN => {
            let (start, end) = (input.word()? as i64, input.word()? as i64);
            let is_its_own = bytes::place(numbers)? == end;
            input.count().filter(|_| is_its_own)?;
            kept("result", (Some(start), Some(end)), Some(input.word()?))
        }
        LATE => {
            let (clock, at) = numbers.split_at_checked(8)?;
            bytes::place(clock)?;
            kept("late", (Some(bytes::place(at)?), None), Some(input.word()?))
        }
        SESSION => {
            let (start, end) = (bytes::place(numbers)?, input.word()? as i64);
            input.flag()?;
            let rows = match input.count()? {
                0 => Some(input.word()?),
                _ => None,
            };
            kept("session", (Some(start), Some(end)), rows)
        }
        GLOBAL if numbers.is_empty() => {
            input.word().and_then(|_| input.word())?;
            let rows = match input.flag()? {
                false => Some(input.word()?),
                true => None,
            };
            kept("whole", (None, None), rows)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use serde_json::json;

    use super::*;
    use crate::window::value::Column;

    const TEXT: &str = "tumbling 1m lateness 0us; most: max amount i64; gap: plugin gaps of null \
                        keeping i64";

    /// The entry and the value of a pane of two rows, with what stands of a plugin.
    fn pane(plugin: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let value = [
            &2_u64.to_le_bytes()[..],
            &[1, 0],
            &(-5_i128).to_le_bytes(),
            plugin,
        ];
        (bytes::entry(PANE, &[7]), value.concat())
    }

    /// What stands of a plugin that keeps these bytes.
    fn keeping(kept: &[u8]) -> Vec<u8> {
        [&[1], &(kept.len() as u32).to_le_bytes()[..], kept].concat()
    }

    #[test]
    fn what_a_plugin_keeps_is_told() {
        let definition = Definition::new(TEXT);
        let lost = [&[2], &3_u32.to_le_bytes()[..], b"why"].concat();
        let cases = [
            (keeping(&9_i64.to_le_bytes()), json!(9)),
            (vec![0], Json::Null),
            (lost, Json::Null),
        ];
        for (plugin, gap) in cases {
            let (entry, value) = pane(&plugin);
            let kept = definition.describe(&entry, &value).expect("a pane");
            assert_eq!(
                (kept.part, kept.start, kept.rows),
                ("pane", Some(7), Some(2))
            );
            let told = definition.to_json(&kept).expect("aggregates");
            assert_eq!(told, json!({ "most": -5, "gap": gap }));
        }
    }

    #[test]
    fn each_aggregate_is_told() {
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None, Some(8)]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 1.0, 5.0, 5.0]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["b", "a", "b"]));
        let times = TimestampMicrosecondArray::from(vec![0, 1_000_000, 2_000_000]);
        let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
        let decimals = arrow_array::Decimal128Array::from(vec![150, 250, -100]);
        let decimals = decimals.with_precision_and_scale(12, 2).expect("it fits");
        let decimals: ArrayRef = Arc::new(decimals);
        let cases = [
            ("count rows", &whole, json!(3)),
            ("count a i64?", &whole, json!(2)),
            ("sum a i64?", &whole, json!(11)),
            ("sum a decimal(12,2)", &decimals, json!("3.00")),
            ("sum a f64", &floats, json!(12.0)),
            ("mean a i64?", &whole, json!(5.5)),
            ("mean a f64", &floats, json!(3.0)),
            ("deviation a f64", &floats, json!(2.0)),
            ("min a string", &text, json!("a")),
            ("max a decimal(12,2)", &decimals, json!("2.50")),
            ("first a i64?", &whole, json!(3)),
            ("last a timestamp", &times, json!("1970-01-01T00:00:02Z")),
            ("distinct a string", &text, json!(2)),
            ("approx-distinct a i64?", &whole, json!(2)),
            ("top 2 of a f64", &floats, json!([5.0, 5.0])),
            ("top 1 of a string", &text, json!(["b"])),
            ("quantile 0.5 of a f64", &floats, json!(1.0)),
        ];
        for (aggregate, values, expected) in cases {
            let definition = Definition::new(&format!("global lateness 0us; it: {aggregate}"));
            let shape = definition.shape.clone().expect(aggregate);
            for rows in [0, values.len()] {
                let mut held: Vec<Accumulator> = shape.empty().collect();
                let columns = [Column::new(values)];
                for row in 0..rows {
                    let place = || (row as i64, 0, row as u64, 0);
                    let added = shape.add(&mut held, &columns, row, place);
                    added.expect("no sum overflows");
                }
                let mut out = Vec::new();
                bytes::accumulators(&held, &shape, &mut out);
                let kept = definition.describe(&bytes::entry(PANE, &[0]), &out);
                let kept = kept.expect(aggregate);
                let told = definition.to_json(&kept).expect(aggregate);
                if rows > 0 {
                    assert_eq!(told, json!({ "it": expected }), "{aggregate}");
                }
                for (column, field) in definition
                    .columns(&[kept])
                    .iter()
                    .flatten()
                    .zip(definition.fields())
                {
                    assert_eq!(column.data_type(), field.data_type(), "{aggregate}");
                }
            }
        }
    }

    #[test]
    fn a_sum_that_is_more_than_a_float_is_read_again() {
        let definition = Definition::new("global lateness 0us; it: sum a f64");
        let shape = definition.shape.as_ref().expect("it is a definition");
        let most: ArrayRef = Arc::new(Float64Array::from(vec![f64::MAX; 2]));
        let mut held: Vec<Accumulator> = shape.empty().collect();
        for row in 0..2 {
            let added = shape.add(&mut held, &[Column::new(&most)], row, || (0, 0, 0, 0));
            added.expect("floats do not overflow");
        }
        let mut out = Vec::new();
        bytes::accumulators(&held, shape, &mut out);
        let kept = definition.describe(&bytes::entry(PANE, &[0]), &out);
        assert_eq!(kept.expect("a pane").rows, Some(2));
    }

    #[test]
    fn what_windows_do_not_keep_is_none() {
        let definition = Definition::new(TEXT);
        let (entry, value) = pane(&keeping(&[1, 2]));
        assert!(definition.describe(&entry, &value).is_none(), "no i64");
        let (entry, mut value) = pane(&keeping(&9_i64.to_le_bytes()));
        value.push(0);
        assert!(definition.describe(&entry, &value).is_none(), "a byte more");
        let unknown = Definition::new("tumbling 1m lateness 0us; most: greatest amount i64");
        let kept = unknown
            .describe(&entry, &value)
            .expect("a pane of something");
        assert_eq!((kept.part, kept.rows), ("pane", Some(2)));
        assert_eq!(unknown.to_json(&kept), None);
    }

    #[test]
    fn what_aggregates_do_not_keep_is_none() {
        let int = |value: i128| [&[0][..], &value.to_le_bytes()].concat();
        let octets = |bytes: &[u8]| [&[2], &(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
        let bucket = |count: u64| [&7_i64.to_le_bytes()[..], &count.to_le_bytes()].concat();
        let max = |value: Vec<u8>| [vec![1], value].concat();
        let last = |value: Vec<u8>| [vec![1], vec![0; 24], value].concat();
        let float = [&[1][..], &1.0_f64.to_le_bytes()].concat();
        let many = [bucket(u64::MAX), bucket(1)].concat();
        let cases = [
            ("max a u8", max(int(255)), true),
            ("max a u8", max(int(256)), false),
            ("max a i8", max(int(-128)), true),
            ("max a i8", max(int(-129)), false),
            ("max a decimal(2,0)", max(int(100)), false),
            ("max a i64", max(float.clone()), false),
            ("max a f64", max(float), true),
            ("max a f64", max(int(1)), false),
            ("max a string", max(octets(b"\xff")), false),
            ("last a bytes(20)", last(octets(&[0; 20])), true),
            ("last a bytes(20)", last(octets(&[0; 3])), false),
            ("last a bytes(20)", last(int(1)), false),
            (
                "quantile 0.5 of a f64",
                [1_u32.to_le_bytes().to_vec(), bucket(3)].concat(),
                true,
            ),
            (
                "quantile 0.5 of a f64",
                [2_u32.to_le_bytes().to_vec(), many].concat(),
                false,
            ),
        ];
        for (aggregate, held, is_sound) in cases {
            let definition = Definition::new(&format!("global lateness 0us; it: {aggregate}"));
            assert!(definition.shape.is_some(), "{aggregate}");
            let value = [1_u64.to_le_bytes().to_vec(), held].concat();
            let kept = definition.describe(&bytes::entry(PANE, &[0]), &value);
            assert_eq!(kept.is_some(), is_sound, "{aggregate}: {value:?}");
            if let Some(kept) = kept {
                assert!(definition.to_json(&kept).is_some(), "{aggregate}");
            }
        }
    }
}
