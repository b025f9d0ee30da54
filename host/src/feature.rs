//! Declared features: rolling aggregates of a key's rows, computed natively as of each
//! row.
//!
//! What a feature covers, exactly. Rows of a key are taken in the operator's order. As of a row
//! with time `t`:
//! * `over: d`: the rows seen so far, itself included, whose time lies in (t - d, t]. A row that
//!   comes after younger ones does not see them. Rows are folded in the order of (time, order
//!   seen).
//! * `rows: n`: the last `n` rows seen so far, itself included, folded in the order seen; a null
//!   among them counts as a row but not as a value.
//! * `over` with `granularity: g`: whole tiles of `g`. The row's own tile (`floor(t / g)`) as far
//!   as it has been filled, and those before it that begin after `t - d`.
//! * `ewma` has no edge: every row seen so far weighs by its age, or moves the mean.
//!
//! Floats are folded row by row for each result: nothing is ever subtracted, so results depend on
//! the rows alone. Integers and decimals are summed exactly.

mod bytes;
mod compute;
mod describe;
mod dictionary;
mod fold;
mod image;
mod output;
mod reader;
mod resident;
mod ring;
mod tile;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use wasmill_core::encoding::EncodingError;
use wasmill_core::feature::{Aggregate, Feature, Window};

use crate::state::{BatchKeys, Cells, KeyIndex};
use compute::KeyFeatures;
pub use describe::describe;
pub use image::FeatureImage;
use image::{Parts, Place};
use output::Output;
use reader::{Reader, Slot};

/// The most columns that features of one operator read: a row keeps a bit for each.
const SLOTS_MAX: usize = 64;

/// Why a feature could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureFault {
    /// More rows in a window than are kept.
    #[error(
        "feature `{feature}` has more than {rows_max} rows of one key in its window at row {row}: \
         raise `rows-max`, shorten the window, or give a `granularity`"
    )]
    TooManyRows {
        /// The feature's name.
        feature: String,
        /// The row of the batch.
        row: usize,
        /// The bound.
        rows_max: u32,
    },
    /// A sum beyond its type.
    #[error("feature `{feature}` overflows at row {row}: use a decimal or a float column")]
    Overflow {
        /// The feature's name.
        feature: String,
        /// The row of the batch.
        row: usize,
    },
    /// More columns than a row's bits can tell.
    #[error(
        "the features of one operator read more than {SLOTS_MAX} columns: split them over two \
         operators"
    )]
    TooManyColumns,
    /// The window is a duration, and the rows have no event time.
    #[error("feature `{feature}` needs event time: declare `event-time` at the source")]
    NoTime {
        /// The feature's name.
        feature: String,
    },
    /// Results that do not fit into one array.
    #[error("the results of feature `{feature}` do not fit into one batch")]
    Output {
        /// The feature's name.
        feature: String,
        /// Why.
        #[source]
        source: EncodingError,
    },
}

/// A batch as the features see it.
#[derive(Debug, Clone, Copy)]
pub struct FeatureRows<'a> {
    /// The columns of the stream's schema.
    pub rows: &'a RecordBatch,
    /// Event times; empty if there are none.
    pub times: &'a [i64],
    /// The clock as of each row: no later row has a time before it. Empty means the times
    /// themselves, of rows in event-time order.
    pub clocks: &'a [i64],
    /// The rows' keys.
    pub keys: &'a BatchKeys,
}

/// The features of one operator, with all that they remember of each key.
#[derive(Debug)]
pub struct FeatureSet {
    plan: Plan,
    keys: Cells<KeyFeatures>,
    outputs: Vec<Output>,
    sweep_from: u32,
    bytes: usize,
    /// Where its own rows belong that come back into memory, with their names.
    places: Vec<(Place, String)>,
}

/// What is kept for which feature, worked out once.
#[derive(Debug, Clone)]
struct Plan {
    features: Vec<Feature>,
    /// Where each feature finds its values.
    sources: Vec<Source>,
    /// The columns kept for rows by time, and for rows by arrival.
    timed: Vec<Slot>,
    arrived: Vec<Slot>,
    /// How long rows by time are kept, and how many by arrival.
    kept_us: i64,
    kept_rows: usize,
    tiled: usize,
    ewmas: usize,
    parts: Parts,
}

/// Where a feature finds its values.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// In the ring of rows by time; none counts rows.
    Timed(Option<usize>),
    /// In the ring of rows by arrival.
    Arrived(Option<usize>),
    /// In tiles of its own; the slot says how to read its column.
    Tiles(usize, Option<Slot>),
    /// In a weighted mean of its own.
    Ewma(usize, Slot),
}

impl FeatureSet {
    /// Features bound to `schema`, without memory of any key.
    ///
    /// # Errors
    /// If they read more columns than a row's bits can tell.
    pub fn new(features: Vec<Feature>, schema: &Schema) -> Result<Self, FeatureFault> {
        let outputs = features
            .iter()
            .map(|feature| Output::new(feature, schema))
            .collect();
        let plan = Plan::new(features, schema);
        if plan.timed.len() > SLOTS_MAX || plan.arrived.len() > SLOTS_MAX {
            return Err(FeatureFault::TooManyColumns);
        }
        Ok(Self {
            plan,
            keys: Cells::new(),
            outputs,
            sweep_from: 0,
            bytes: 0,
            places: Vec::new(),
        })
    }

    /// Takes the rows of a batch, in their order, and gives each feature's column.
    ///
    /// The rows are remembered: a batch must pass once, however often the operator's call is
    /// repeated.
    ///
    /// # Errors
    /// If a window holds more rows than it may, or a sum overflows. The job cannot go on then.
    pub fn compute(
        &mut self,
        batch: FeatureRows<'_>,
        index: &mut KeyIndex,
    ) -> Result<Vec<ArrayRef>, FeatureFault> {
        self.check_time(batch.times)?;
        index.touch_all(batch.keys.ids.iter().copied());
        let timed = Reader::all(&self.plan.timed, batch.rows);
        let arrived = Reader::all(&self.plan.arrived, batch.rows);
        let own: Vec<Option<Reader<'_>>> = self
            .plan
            .sources
            .iter()
            .map(|source| match source {
                Source::Tiles(_, slot) => slot.map(|slot| Reader::new(slot, batch.rows)),
                Source::Ewma(_, slot) => Some(Reader::new(*slot, batch.rows)),
                _ => None,
            })
            .collect();
        for (row, key) in batch.keys.row_to_key.iter().enumerate() {
            let id = batch.keys.ids[*key as usize];
            let state = self.keys.get_mut(id);
            if state.prepare(&self.plan) {
                index.hold(id);
            }
            let time = batch.times.get(row).copied().unwrap_or(0);
            let clock = batch.clocks.get(row).copied().unwrap_or(time);
            let at = state.push(&self.plan, (&timed, &arrived), row, (time, clock));
            state.evaluate(&self.plan, &own, (row, time, clock, at), &mut self.outputs)?;
            self.bytes = self.bytes.wrapping_add_signed(state.growth());
        }
        let features = self.plan.features.iter().zip(&mut self.outputs);
        features
            .map(|(feature, output)| output.finish(feature))
            .collect()
    }

    /// Forgets keys whose rows have left all windows: looks at `count` ids and goes on from there
    /// the next time. Keys with a window of rows or a weighted mean are never forgotten.
    pub fn sweep(&mut self, count: u32, clock: i64, index: &mut KeyIndex) {
        if self.plan.kept_rows > 0 || self.plan.ewmas > 0 {
            return;
        }
        let end = (self.sweep_from + count).min(self.keys.capacity() as u32);
        for id in self.sweep_from..end {
            let is_stale = |state: &KeyFeatures| state.is_stale(&self.plan, clock);
            if self.keys.get(id).is_some_and(is_stale) {
                self.bytes -= self.keys.take(id).counted();
                index.release(id);
            }
        }
        let is_round = end < self.sweep_from + count;
        self.sweep_from = if is_round { 0 } else { end };
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.bytes
    }

    fn check_time(&self, times: &[i64]) -> Result<(), FeatureFault> {
        let needs_time = |feature: &&Feature| matches!(feature.window, Window::Over { .. });
        match self.plan.features.iter().find(needs_time) {
            Some(feature) if times.is_empty() => Err(FeatureFault::NoTime {
                feature: feature.name.clone(),
            }),
            _ => Ok(()),
        }
    }
}

impl Plan {
    fn new(features: Vec<Feature>, schema: &Schema) -> Self {
        let mut plan = Self {
            features: Vec::new(),
            sources: Vec::new(),
            timed: Vec::new(),
            arrived: Vec::new(),
            kept_us: 0,
            kept_rows: 0,
            tiled: 0,
            ewmas: 0,
            parts: Parts::default(),
        };
        for feature in &features {
            let slot = Slot::of(feature, schema);
            let source = plan.source(feature, slot);
            plan.sources.push(source);
        }
        plan.features = features;
        plan.parts = Parts::new(&plan, schema);
        plan
    }

    fn source(&mut self, feature: &Feature, slot: Option<Slot>) -> Source {
        match (
            feature.aggregate,
            feature.granularity_us,
            feature.window,
            slot,
        ) {
            (Aggregate::Ewma, _, _, Some(slot)) => {
                self.ewmas += 1;
                Source::Ewma(self.ewmas - 1, slot)
            }
            (_, Some(_), Window::Over { .. }, slot) => {
                self.tiled += 1;
                Source::Tiles(self.tiled - 1, slot)
            }
            (_, _, Window::Over { us }, slot) => {
                self.kept_us = self.kept_us.max(us);
                Source::Timed(slot.map(|slot| share(&mut self.timed, slot)))
            }
            (_, _, Window::Rows(rows), slot) => {
                self.kept_rows = self.kept_rows.max(rows as usize);
                Source::Arrived(slot.map(|slot| share(&mut self.arrived, slot)))
            }
        }
    }
}

/// The position of a slot among those kept; features of one column share it.
fn share(slots: &mut Vec<Slot>, slot: Slot) -> usize {
    slots
        .iter()
        .position(|known| *known == slot)
        .unwrap_or_else(|| {
            slots.push(slot);
            slots.len() - 1
        })
}

#[cfg(test)]
mod tests;
