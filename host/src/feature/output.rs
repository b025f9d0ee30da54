//! Results of one feature on their way to an Arrow column.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BooleanArray, ListArray, PrimitiveArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Schema};
use wasmill_core::encoding;
use wasmill_core::feature::{Aggregate, Feature};

use super::FeatureFault;
use super::reader::{Kind, Reader};

/// The results of a batch, kept as words or as encoded bytes until the type is made.
#[derive(Debug)]
pub(super) struct Output {
    words: Vec<u64>,
    is_wide: bool,
    present: Vec<bool>,
    bytes: Vec<u8>,
    /// Where each encoded result ends.
    ends: Vec<usize>,
    /// Where each list ends, in items.
    lists: Vec<i32>,
    /// What a decimal column's unscaled values are divided by.
    divisor: f64,
    /// For distinct values: which result saw a number last.
    marks: Vec<u32>,
    mark: u32,
}

impl Output {
    pub(super) fn new(feature: &Feature, schema: &Schema) -> Self {
        let input = feature
            .column
            .map(|column| schema.field(column).data_type());
        let divisor = match input {
            Some(DataType::Decimal128(_, scale)) => 10_f64.powi(i32::from(*scale)),
            _ => 1.0,
        };
        Self {
            words: Vec::new(),
            is_wide: false,
            present: Vec::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
            lists: vec![0],
            divisor,
            marks: Vec::new(),
            mark: 0,
        }
    }

    pub(super) fn divisor(&self) -> f64 {
        self.divisor
    }

    /// A value as the number that means and deviations are made of.
    #[inline]
    pub(super) fn number_of(&self, kind: Kind, word: u64) -> f64 {
        match kind {
            Kind::Float => f64::from_bits(word),
            Kind::Unsigned => word as f64,
            _ => word as i64 as f64 / self.divisor,
        }
    }

    pub(super) fn number(&self, reader: &Reader<'_>, row: usize) -> f64 {
        let [low, high] = reader.words(row);
        match reader.slot.kind {
            Kind::Wide => (u128::from(high) << 64 | u128::from(low)) as i128 as f64 / self.divisor,
            kind => self.number_of(kind, low),
        }
    }

    #[inline]
    pub(super) fn push_word(&mut self, word: u64) {
        self.words.push(word);
        self.present.push(true);
    }

    pub(super) fn push_wide(&mut self, value: i128) {
        self.is_wide = true;
        self.words
            .extend_from_slice(&[value as u64, (value as u128 >> 64) as u64]);
        self.present.push(true);
    }

    pub(super) fn push_float(&mut self, value: Option<f64>) {
        match value {
            Some(value) => self.push_word(value.to_bits()),
            None => self.push_null(),
        }
    }

    pub(super) fn push_bytes(&mut self, encoded: &[u8]) {
        self.bytes.extend_from_slice(encoded);
        self.ends.push(self.bytes.len());
        self.present.push(true);
    }

    /// A result that is missing; what stands in its place is not known before the end.
    pub(super) fn push_null(&mut self) {
        self.present.push(false);
    }

    pub(super) fn end_list(&mut self) {
        self.lists
            .push(i32::try_from(self.present.len()).unwrap_or(i32::MAX));
    }

    /// Counts the different numbers, all of which are below `end`.
    pub(super) fn push_distinct(&mut self, numbers: impl Iterator<Item = u32>, end: usize) {
        if self.mark == u32::MAX {
            self.marks.clear();
            self.mark = 0;
        }
        if self.marks.len() < end {
            self.marks.resize(end, 0);
        }
        self.mark += 1;
        let mut count = 0;
        for number in numbers {
            let mark = &mut self.marks[number as usize];
            count += u64::from(*mark != self.mark);
            *mark = self.mark;
        }
        self.push_word(count);
    }

    /// The column; the output is empty afterwards.
    pub(super) fn finish(&mut self, feature: &Feature) -> Result<ArrayRef, FeatureFault> {
        let column = match (feature.aggregate, &feature.data_type) {
            (Aggregate::Last { .. }, DataType::List(item)) => {
                let items = self.column(item.data_type());
                let offsets = OffsetBuffer::new(ScalarBuffer::from(self.lists.clone()));
                items.map(|items| {
                    Arc::new(ListArray::new(item.clone(), offsets, items, None)) as ArrayRef
                })
            }
            (_, data_type) => self.column(data_type),
        };
        self.words.clear();
        self.present.clear();
        self.bytes.clear();
        self.ends.clear();
        self.lists.truncate(1);
        column.map_err(|source| FeatureFault::Output {
            feature: feature.name.clone(),
            source,
        })
    }

    fn column(&self, data_type: &DataType) -> Result<ArrayRef, encoding::EncodingError> {
        if matches!(
            data_type,
            DataType::Utf8 | DataType::Binary | DataType::FixedSizeBinary(_)
        ) {
            return self.encoded(data_type);
        }
        let nulls = NullBuffer::from(self.present.clone());
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        Ok(match data_type {
            DataType::Boolean => {
                let values = self.spread(|word| word[0] == 1);
                Arc::new(BooleanArray::new(values.into(), nulls))
            }
            DataType::Int8 => self.primitive::<Int8Type>(nulls, |word| word[0] as i8),
            DataType::Int16 => self.primitive::<Int16Type>(nulls, |word| word[0] as i16),
            DataType::Int32 => self.primitive::<Int32Type>(nulls, |word| word[0] as i32),
            DataType::Int64 => self.primitive::<Int64Type>(nulls, |word| word[0] as i64),
            DataType::UInt8 => self.primitive::<UInt8Type>(nulls, |word| word[0] as u8),
            DataType::UInt16 => self.primitive::<UInt16Type>(nulls, |word| word[0] as u16),
            DataType::UInt32 => self.primitive::<UInt32Type>(nulls, |word| word[0] as u32),
            DataType::Date32 => self.primitive::<Date32Type>(nulls, |word| word[0] as i32),
            DataType::Float32 => {
                self.primitive::<Float32Type>(nulls, |word| f64::from_bits(word[0]) as f32)
            }
            DataType::Float64 => {
                self.primitive::<Float64Type>(nulls, |word| f64::from_bits(word[0]))
            }
            DataType::Timestamp(_, zone) => {
                let values = self.spread(|word| word[0] as i64);
                let array = PrimitiveArray::<TimestampMicrosecondType>::new(values.into(), nulls);
                Arc::new(array.with_timezone_opt(zone.clone()))
            }
            DataType::Decimal128(..) => {
                let values = self.spread(|word| match word {
                    [low, high] => (u128::from(*high) << 64 | u128::from(*low)) as i128,
                    _ => i128::from(word[0] as i64),
                });
                let array = PrimitiveArray::<Decimal128Type>::new(values.into(), nulls);
                Arc::new(array.with_data_type(data_type.clone()))
            }
            _ => self.primitive::<UInt64Type>(nulls, |word| word[0]),
        })
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        nulls: Option<NullBuffer>,
        value: impl Fn(&[u64]) -> T::Native,
    ) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(self.spread(value).into(), nulls))
    }

    /// One value for each result; a default where it is missing.
    fn spread<T: Default>(&self, value: impl Fn(&[u64]) -> T) -> Vec<T> {
        let mut words = self.words.chunks_exact(if self.is_wide { 2 } else { 1 });
        let present = self.present.iter();
        let each = present.map(
            |is_present| match is_present.then(|| words.next()).flatten() {
                Some(word) => value(word),
                None => T::default(),
            },
        );
        each.collect()
    }

    fn encoded(&self, data_type: &DataType) -> Result<ArrayRef, encoding::EncodingError> {
        let nullable = self.present.contains(&false);
        let (mut tagged, mut ends, mut start) = (Vec::new(), Vec::new(), 0);
        let mut known = self.ends.iter();
        for is_present in &self.present {
            if let Some(end) = is_present.then(|| known.next()).flatten() {
                if nullable {
                    tagged.push(1);
                }
                tagged.extend_from_slice(&self.bytes[start..*end]);
                start = *end;
            }
            ends.push(tagged.len());
        }
        let mut from = 0;
        let values = ends.iter().zip(&self.present).map(|(end, is_present)| {
            let value = &tagged[from..*end];
            from = *end;
            is_present.then_some(value)
        });
        encoding::decode(data_type, nullable, values)
    }
}
