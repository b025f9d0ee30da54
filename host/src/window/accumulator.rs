//! What is kept of a pane's rows, for each aggregate.
//!
//! Accumulators do not depend on the order of rows, and two of them merge into that of all their
//! rows: floats are summed exactly, the first and the last value are told by (time, split, offset),
//! sketches count. So a result is the same however rows were cut into batches, panes and subtasks.

use std::collections::hash_set::HashSet;
use std::sync::Arc;

use datasketches::hll::{HllSketch, HllType, HllUnion};
use wasmill_core::window::Function;
use xxhash_rust::xxh3::xxh3_64;

use super::float::{FloatSum, two_product};
use super::folded::Folded;
use super::quantile::Quantiles;
use super::value::{Column, Value, join, split};

/// Registers of a sketch of distinct values, as a power of two.
pub(super) const HLL_REGISTERS: u8 = 12;

/// What is kept for one aggregate of a pane.
#[derive(Debug, Clone)]
pub(super) enum Accumulator {
    Count(u64),
    /// Sum, an i128 as words, and number of whole numbers.
    Whole([u64; 2], u64),
    /// Sum and number of floats.
    Floats(FloatSum, u64),
    Moments(Box<Moments>),
    /// The least or the greatest.
    Best(Option<Value>),
    /// The first or the last.
    Edge(Option<Box<Edge>>),
    Distinct(Option<Box<Different>>),
    Approximate(Option<Box<HllSketch>>),
    /// The greatest first.
    Top(Vec<Value>),
    Quantiles(Option<Box<Quantiles>>),
    /// What a plugin keeps; nothing before the first row.
    Plugin(Option<Arc<Folded>>),
}

/// Values that differ, each as its bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Different(pub(super) HashSet<Box<[u8]>>);

/// Of which mean and deviation are computed.
#[derive(Debug, Clone, Default)]
pub(super) struct Moments {
    pub(super) count: u64,
    pub(super) sum: FloatSum,
    pub(super) squares: FloatSum,
}

/// A value and where its row stands in the one order of all rows.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// Time, split, offset and input of a row.
pub(super) type Place = (i64, u32, u64, u32);

/// How an accumulator is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kind {
    pub(super) function: Function,
    pub(super) is_float: bool,
}

/// A sum has left 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow;

impl Kind {
    /// An accumulator of no rows.
    pub(super) fn empty(self) -> Accumulator {
        match self.function {
            Function::Count => Accumulator::Count(0),
            Function::Sum | Function::Mean if self.is_float => {
                Accumulator::Floats(FloatSum::default(), 0)
            }
            Function::Sum | Function::Mean => Accumulator::Whole([0; 2], 0),
            Function::Deviation => Accumulator::Moments(Box::default()),
            Function::Min | Function::Max => Accumulator::Best(None),
            Function::First | Function::Last => Accumulator::Edge(None),
            Function::Distinct => Accumulator::Distinct(None),
            Function::ApproxDistinct => Accumulator::Approximate(None),
            Function::Top(_) => Accumulator::Top(Vec::new()),
            Function::Quantile(_) => Accumulator::Quantiles(None),
            Function::Plugin => Accumulator::Plugin(None),
        }
    }

    /// Whether the place of each row matters.
    pub(super) fn needs_place(self) -> bool {
        matches!(self.function, Function::First | Function::Last)
    }
}

impl Accumulator {
    /// Adds a row's value, which is not null; `place` tells where the row stands.
    #[inline]
    pub(super) fn add(
        &mut self,
        kind: Kind,
        column: &Column<'_>,
        row: usize,
        place: impl FnOnce() -> Place,
    ) -> Result<(), Overflow> {
        match self {
            Self::Count(count) => *count += 1,
            Self::Whole(sum, count) => {
                let total = join(*sum).checked_add(column.whole(row)).ok_or(Overflow)?;
                (*sum, *count) = (split(total), *count + 1);
            }
            Self::Floats(sum, count) => {
                sum.add(column.float(row));
                *count += 1;
            }
            Self::Moments(moments) => moments.add(column.float(row)),
            Self::Best(best) => better(best, column.value(row), kind),
            Self::Edge(edge) => {
                let place = place();
                if edge
                    .as_ref()
                    .is_none_or(|edge| is_further(kind, place, edge.place))
                {
                    let value = column.value(row);
                    *edge = Some(Box::new(Edge { place, value }));
                }
            }
            Self::Distinct(set) => {
                let mut bytes = Vec::new();
                column.key_bytes(row, &mut bytes);
                set.get_or_insert_default().0.insert(bytes.into());
            }
            Self::Approximate(sketch) => {
                let mut bytes = Vec::new();
                column.key_bytes(row, &mut bytes);
                sketch
                    .get_or_insert_with(new_sketch)
                    .update(xxh3_64(&bytes));
            }
            Self::Top(values) => insert(values, column.value(row), kind),
            Self::Quantiles(quantiles) => quantiles.get_or_insert_default().add(column.float(row)),
            Self::Plugin(folded) => column.fold(row, folded),
        }
        Ok(())
    }

    /// Adds what another one holds.
    #[inline]
    pub(super) fn merge(&mut self, kind: Kind, other: &Self) -> Result<(), Overflow> {
        match (self, other) {
            (Self::Count(count), Self::Count(more)) => *count += more,
            (Self::Whole(sum, count), Self::Whole(more, rows)) => {
                let total = join(*sum).checked_add(join(*more)).ok_or(Overflow)?;
                (*sum, *count) = (split(total), *count + rows);
            }
            (Self::Floats(sum, count), Self::Floats(more, rows)) => {
                sum.merge(more);
                *count += rows;
            }
            (Self::Moments(moments), Self::Moments(more)) => moments.merge(more),
            (Self::Best(best), Self::Best(Some(more))) => better(best, more.clone(), kind),
            (Self::Edge(edge), Self::Edge(Some(more)))
                if edge
                    .as_ref()
                    .is_none_or(|edge| is_further(kind, more.place, edge.place)) =>
            {
                *edge = Some(more.clone());
            }
            (Self::Distinct(set), Self::Distinct(Some(more))) => {
                let Different(set) = &mut **set.get_or_insert_default();
                for value in &more.0 {
                    if !set.contains(value) {
                        set.insert(value.clone());
                    }
                }
            }
            (Self::Approximate(sketch), Self::Approximate(Some(more))) => match sketch {
                None => *sketch = Some(more.clone()),
                Some(sketch) => **sketch = union(sketch, more),
            },
            (Self::Top(values), Self::Top(more)) => {
                more.iter()
                    .for_each(|value| insert(values, value.clone(), kind));
            }
            (Self::Quantiles(quantiles), Self::Quantiles(Some(more))) => {
                quantiles.get_or_insert_default().merge(more);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum.add(value);
        let (square, error) = two_product(value, value);
        self.squares.add(square);
        self.squares.add(error);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    /// The population standard deviation.
    pub(super) fn deviation(&self) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        // The sum of squares less the square of the sum over n, with the rounding errors of both:
        // where the spread is small against the values nearly all of it cancels.
        let n = self.count as f64;
        let (sum, sum_error) = self.sum.value_and_error();
        let (squares, squares_error) = self.squares.value_and_error();
        let (square, square_error) = two_product(sum, sum);
        let of_sum = square_error + 2.0 * sum * sum_error;
        let (scaled, scaled_error) = two_product(squares, n);
        let spread = (scaled - square) + (scaled_error + squares_error * n - of_sum);
        Some((spread.max(0.0)).sqrt() / n)
    }
}

fn better(best: &mut Option<Value>, value: Value, kind: Kind) {
    let is_better = match (&*best, kind.function) {
        (None, _) => true,
        (Some(best), Function::Min) => value < *best,
        (Some(best), _) => value > *best,
    };
    if is_better {
        *best = Some(value);
    }
}

fn is_further(kind: Kind, place: Place, than: Place) -> bool {
    match kind.function {
        Function::First => place < than,
        _ => place > than,
    }
}

/// Keeps the greatest values, the greatest first.
fn insert(values: &mut Vec<Value>, value: Value, kind: Kind) {
    let Function::Top(n) = kind.function else {
        return;
    };
    let at = values.partition_point(|known| *known >= value);
    if at < n as usize {
        values.truncate(n as usize - 1);
        values.insert(at.min(values.len()), value);
    }
}

fn new_sketch() -> Box<HllSketch> {
    let sketch = HllSketch::new(HLL_REGISTERS, HllType::Hll8);
    Box::new(sketch.expect("the number of registers is within its bounds"))
}

fn union(a: &HllSketch, b: &HllSketch) -> HllSketch {
    let mut union = HllUnion::new(HLL_REGISTERS).expect("the number of registers is within bounds");
    union.update(a);
    union.update(b);
    union.to_sketch(HllType::Hll8)
}

/// About how many different values a sketch has seen.
pub(super) fn estimate(sketch: Option<&HllSketch>) -> u64 {
    sketch.map_or(0, |sketch| sketch.composite_estimate().round() as u64)
}

#[cfg(test)]
mod tests;
