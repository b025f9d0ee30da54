//! Results on their way to a batch.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{ArrayRef, PrimitiveArray, TimestampMicrosecondArray, UInt32Array};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields, SchemaRef};
use wasmill_core::encoding;
use wasmill_core::key::Keys;
use wasmill_core::lineage::{Ancestor, Lineage, WindowRows};
use wasmill_core::window::{Corrections, Function, Windowing};

use super::WindowError;
use super::accumulator::{Accumulator, estimate};
use super::draft::{Draft, Ready};
use super::folded::Folded;
use super::grid::{Plain, Window};
use super::shape::{Shape, Slot};
use super::value::join;
use crate::state::KeyIndex;

/// A batch of results that grows.
#[derive(Debug)]
pub(super) struct Results {
    operator: Arc<str>,
    schema: SchemaRef,
    key_fields: Fields,
    has_bounds: bool,
    has_times: bool,
    is_changelog: bool,
    has_revisions: bool,
    keys: Vec<u8>,
    key_ends: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    times: Vec<i64>,
    clocks: Vec<i64>,
    ordinals: Vec<u32>,
    ops: Vec<u8>,
    columns: Vec<Column>,
}

/// A key, by its id.
pub(super) type Key<'a> = (&'a KeyIndex, u32);

/// The window of a result, and when it is given out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of {
    pub(super) start: i64,
    pub(super) end: i64,
    /// The event time of the row.
    pub(super) time: i64,
    /// The clock as of the row.
    pub(super) clock: i64,
    /// The number among the rows of the key and the window.
    pub(super) ordinal: u32,
    /// The kind of change.
    pub(super) op: u8,
}

/// A column of aggregates.
#[derive(Debug)]
pub(super) struct Column {
    data_type: DataType,
    nullable: bool,
    present: Vec<bool>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Unsigned(Vec<u64>),
    Signed(Vec<i64>),
    Decimals(Vec<i128>),
    Floats(Vec<f64>),
    /// Values in the state encoding, and where each ends.
    Encoded(Vec<u8>, Vec<usize>),
    /// What plugins compute later.
    Plugin(Vec<Option<Arc<Folded>>>),
}

impl Results {
    pub(super) fn new(operator: &Arc<str>, windowing: &Windowing, has_times: bool) -> Self {
        let fields = windowing.schema.fields();
        Self {
            operator: operator.clone(),
            schema: windowing.schema.clone(),
            key_fields: fields[..windowing.keys].iter().cloned().collect(),
            has_bounds: windowing.has_bounds(),
            has_times,
            is_changelog: windowing.is_changelog(),
            has_revisions: windowing.has_corrections()
                && windowing.corrections == Corrections::Revisions,
            keys: Vec::new(),
            key_ends: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
            times: Vec::new(),
            clocks: Vec::new(),
            ordinals: Vec::new(),
            ops: Vec::new(),
            columns: windowing
                .aggregates
                .iter()
                .map(|aggregate| Column::new(&aggregate.data_type, aggregate.nullable))
                .collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.key_ends.len()
    }

    /// Adds a result.
    pub(super) fn push(
        &mut self,
        (index, id): Key<'_>,
        of: Of,
        (shape, accumulators): (&Shape, &[Accumulator]),
    ) -> Result<(), WindowError> {
        index.append_key(id, &mut self.keys);
        self.key_ends.push(self.keys.len() as u32);
        self.starts.push(of.start);
        self.ends.push(of.end);
        self.times.push(of.time);
        self.clocks.push(of.clock);
        self.ordinals.push(of.ordinal);
        self.ops.push(of.op);
        for (column, slot) in self.columns.iter_mut().zip(&shape.of) {
            let (slot, accumulator) = (&shape.slots[*slot], &accumulators[*slot]);
            let pushed = column.push(slot, accumulator);
            pushed.ok_or_else(|| overflow(&self.operator, slot))?;
        }
        Ok(())
    }

    /// Adds the results of a window of keys that have rows in it.
    pub(super) fn extend(
        &mut self,
        (index, ids): (&KeyIndex, &[u32]),
        of: Of,
        (shape, window): (&Shape, &Window<'_>),
    ) -> Result<(), WindowError> {
        index.append_keys(ids, &mut self.keys, &mut self.key_ends);
        let len = self.len();
        self.starts.resize(len, of.start);
        self.ends.resize(len, of.end);
        self.times.resize(len, of.time);
        self.clocks.resize(len, of.clock);
        self.ordinals.resize(len, of.ordinal);
        self.ops.resize(len, of.op);
        for (column, at) in self.columns.iter_mut().zip(&shape.of) {
            let slot = &shape.slots[*at];
            let extended = column.extend((*at, slot), window, ids);
            extended.ok_or_else(|| overflow(&self.operator, slot))?;
        }
        Ok(())
    }

    /// The results, of which plugins have to compute some columns; nothing is left.
    pub(super) fn finish(&mut self) -> Result<Draft, WindowError> {
        let operator = self.operator.clone();
        let wrong = |source| WindowError::Results {
            operator: operator.clone(),
            source,
        };
        let len = self.len();
        let mut offsets = vec![0];
        offsets.append(&mut self.key_ends);
        let data = std::mem::take(&mut self.keys);
        let keys = self.key_columns(&offsets, &data).map_err(wrong)?;
        let mut columns: Vec<Ready> = keys.into_iter().map(Ready::Column).collect();
        let (starts, ends) = (
            std::mem::take(&mut self.starts),
            std::mem::take(&mut self.ends),
        );
        if self.has_bounds {
            for bounds in [&starts, &ends] {
                let times = TimestampMicrosecondArray::from(bounds.clone()).with_timezone("UTC");
                columns.push(Ready::Column(Arc::new(times)));
            }
        }
        for column in &mut self.columns {
            columns.push(column.finish().map_err(wrong)?);
        }
        let ordinals = std::mem::take(&mut self.ordinals);
        if self.has_revisions {
            columns.push(Ready::Column(Arc::new(UInt32Array::from(ordinals.clone()))));
        }
        let windows = WindowRows {
            operator: self.operator.clone(),
            keys: Keys::Bytes { offsets, data },
            starts,
            ends,
            ordinals,
        };
        let lineage = Lineage::whole(Ancestor::Windows(Arc::new(windows)), len);
        let (times, clocks) = (
            std::mem::take(&mut self.times),
            std::mem::take(&mut self.clocks),
        );
        let ops = std::mem::take(&mut self.ops);
        Ok(Draft {
            schema: self.schema.clone(),
            columns,
            lineage,
            times: self.has_times.then(|| times.into()),
            clocks: self.has_times.then(|| clocks.into()),
            ops: self.is_changelog.then(|| ops.into()),
        })
    }

    fn key_columns(
        &self,
        offsets: &[u32],
        data: &[u8],
    ) -> Result<Vec<ArrayRef>, encoding::EncodingError> {
        if self.key_fields.is_empty() {
            return Ok(Vec::new());
        }
        if let [field] = &self.key_fields[..]
            && is_word(field)
        {
            return Ok(vec![words(field.data_type(), data)]);
        }
        let key = |span: &[u32]| Some(&data[span[0] as usize..span[1] as usize]);
        // A key of several columns reads like a struct of them.
        let keys = DataType::Struct(self.key_fields.clone());
        let columns = encoding::decode(&keys, false, offsets.windows(2).map(key))?;
        Ok(columns.as_struct().columns().to_vec())
    }
}

impl Column {
    pub(super) fn new(data_type: &DataType, nullable: bool) -> Self {
        Self {
            data_type: data_type.clone(),
            nullable,
            present: Vec::new(),
            values: Values::Encoded(Vec::new(), Vec::new()),
        }
    }

    /// Adds a window's results for some keys; none if one does not fit into its type.
    fn extend(
        &mut self,
        (at, slot): (usize, &Slot),
        window: &Window<'_>,
        ids: &[u32],
    ) -> Option<()> {
        for id in ids {
            match window.plain(*id, at) {
                Some(plain) => {
                    let is_present = self.plain(slot, plain)?;
                    self.note(is_present);
                }
                None => self.push(slot, &window.merged(*id, (at, slot.kind)))?,
            }
        }
        Some(())
    }

    /// Adds a count or a sum, and says whether it is one of values.
    #[inline]
    fn plain(&mut self, slot: &Slot, plain: Plain) -> Option<bool> {
        let is_sum = slot.kind.function == Function::Sum;
        Some(match plain {
            Plain::Count(count) => {
                self.unsigned(count);
                true
            }
            Plain::Whole(sum, count) => {
                match is_sum {
                    true => self.whole(sum)?,
                    false => self.float(sum as f64 / slot.divisor / count.max(1) as f64),
                }
                count > 0
            }
            Plain::Float(sum, count) => {
                match is_sum {
                    true => self.float(sum),
                    false => self.float(sum / count.max(1) as f64),
                }
                count > 0
            }
        })
    }

    /// Notes whether there is a value, where there need not be one.
    #[inline]
    fn note(&mut self, is_present: bool) {
        if self.nullable {
            self.present.push(is_present);
        }
    }

    /// Adds a result; none if it does not fit into its type.
    pub(super) fn push(&mut self, slot: &Slot, accumulator: &Accumulator) -> Option<()> {
        let is_present = match accumulator {
            Accumulator::Count(count) => self.plain(slot, Plain::Count(*count))?,
            Accumulator::Whole(sum, count) => self.plain(slot, Plain::Whole(join(*sum), *count))?,
            Accumulator::Floats(sum, count) => {
                self.plain(slot, Plain::Float(sum.value(), *count))?
            }
            Accumulator::Moments(moments) => {
                let deviation = moments.deviation();
                self.float(deviation.unwrap_or_default());
                deviation.is_some()
            }
            Accumulator::Distinct(set) => {
                self.unsigned(set.as_ref().map_or(0, |set| set.0.len() as u64));
                true
            }
            Accumulator::Approximate(sketch) => {
                self.unsigned(estimate(sketch.as_deref()));
                true
            }
            Accumulator::Quantiles(quantiles) => {
                let share = match slot.kind.function {
                    Function::Quantile(share) => share,
                    _ => 0.5,
                };
                let found = quantiles.as_ref().and_then(|it| it.at(share));
                self.float(found.unwrap_or_default());
                found.is_some()
            }
            Accumulator::Plugin(folded) => {
                match &mut self.values {
                    Values::Plugin(all) => all.push(folded.clone()),
                    values => *values = Values::Plugin(vec![folded.clone()]),
                }
                true
            }
            Accumulator::Best(value) => self.encoded(slot, value.as_ref()),
            Accumulator::Edge(edge) => self.encoded(slot, edge.as_ref().map(|edge| &edge.value)),
            Accumulator::Top(values) => {
                let of = slot.data_type.as_ref()?;
                let nullable = self.nullable;
                let (bytes, ends) = self.bytes();
                bytes.extend(nullable.then_some(1));
                bytes.extend_from_slice(&(values.len() as u32).to_le_bytes());
                values.iter().for_each(|value| value.encode(of, bytes));
                ends.push(bytes.len());
                true
            }
        };
        self.note(is_present);
        Some(())
    }

    fn unsigned(&mut self, value: u64) {
        if !matches!(self.values, Values::Unsigned(_)) {
            self.values = Values::Unsigned(Vec::new());
        }
        if let Values::Unsigned(values) = &mut self.values {
            values.push(value);
        }
    }

    fn float(&mut self, value: f64) {
        if !matches!(self.values, Values::Floats(_)) {
            self.values = Values::Floats(Vec::new());
        }
        if let Values::Floats(values) = &mut self.values {
            values.push(value);
        }
    }

    fn whole(&mut self, value: i128) -> Option<()> {
        if let Values::Encoded(..) = self.values {
            self.values = match self.data_type {
                DataType::UInt64 => Values::Unsigned(Vec::new()),
                DataType::Int64 => Values::Signed(Vec::new()),
                _ => Values::Decimals(Vec::new()),
            };
        }
        match &mut self.values {
            Values::Unsigned(values) => values.push(value.try_into().ok()?),
            Values::Signed(values) => values.push(value.try_into().ok()?),
            Values::Decimals(values) => {
                const LIMIT: u128 = 10_u128.pow(38);
                if value.unsigned_abs() >= LIMIT {
                    return None;
                }
                values.push(value);
            }
            Values::Floats(_) | Values::Encoded(..) | Values::Plugin(_) => {}
        }
        Some(())
    }

    fn bytes(&mut self) -> (&mut Vec<u8>, &mut Vec<usize>) {
        if !matches!(self.values, Values::Encoded(..)) {
            self.values = Values::Encoded(Vec::new(), Vec::new());
        }
        match &mut self.values {
            Values::Encoded(bytes, ends) => (bytes, ends),
            _ => unreachable!("it has been made so"),
        }
    }

    /// A value of the column's own type; says whether there is one.
    fn encoded(&mut self, slot: &Slot, value: Option<&super::value::Value>) -> bool {
        let nullable = self.nullable;
        let (bytes, ends) = self.bytes();
        if nullable {
            bytes.push(u8::from(value.is_some()));
        }
        if let (Some(value), Some(of)) = (value, &slot.data_type) {
            value.encode(of, bytes);
        }
        ends.push(bytes.len());
        value.is_some()
    }

    /// All results; nothing is left.
    pub(super) fn finish(&mut self) -> Result<Ready, encoding::EncodingError> {
        let present = std::mem::take(&mut self.present);
        let nulls = self.nullable.then(|| NullBuffer::from(present));
        let values = std::mem::replace(&mut self.values, Values::Encoded(Vec::new(), Vec::new()));
        Ok(Ready::Column(match values {
            Values::Plugin(all) => return Ok(Ready::Plugin(all)),
            Values::Unsigned(values) => primitive::<UInt64Type>(values.into(), nulls),
            Values::Signed(values) => primitive::<Int64Type>(values.into(), nulls),
            Values::Floats(values) => primitive::<Float64Type>(values.into(), nulls),
            Values::Decimals(values) => {
                let values = ScalarBuffer::from(values);
                let array = PrimitiveArray::<Decimal128Type>::new(values, nulls);
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            Values::Encoded(bytes, ends) => {
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let spans = starts
                    .zip(&ends)
                    .map(|(start, end)| Some(&bytes[start..*end]));
                encoding::decode(&self.data_type, self.nullable, spans)?
            }
        }))
    }
}

fn overflow(operator: &Arc<str>, slot: &Slot) -> WindowError {
    WindowError::Overflow {
        operator: operator.clone(),
        aggregate: slot.name.clone(),
    }
}

/// Whether keys of this one column are words of eight bytes as columns have them.
fn is_word(field: &Field) -> bool {
    let is_of_words = matches!(
        field.data_type(),
        DataType::UInt64 | DataType::Int64 | DataType::Timestamp(..)
    );
    is_of_words && !field.is_nullable()
}

/// A column of words.
fn words(data_type: &DataType, data: &[u8]) -> ArrayRef {
    let words = data.as_chunks::<8>().0.iter();
    let words: Vec<u64> = words.map(|word| u64::from_le_bytes(*word)).collect();
    let signed = || words.iter().map(|word| *word as i64).collect();
    match data_type {
        DataType::UInt64 => primitive::<UInt64Type>(words.into(), None),
        DataType::Int64 => primitive::<Int64Type>(signed(), None),
        _ => {
            let times = TimestampMicrosecondArray::new(signed(), None);
            Arc::new(times.with_data_type(data_type.clone()))
        }
    }
}

fn primitive<T: arrow_array::ArrowPrimitiveType>(
    values: ScalarBuffer<T::Native>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values, nulls))
}
