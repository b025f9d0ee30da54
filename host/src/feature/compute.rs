//! What is remembered of one key, and what follows from it for a row.

use wasmill_core::feature::{Aggregate, Feature, Window};

use super::fold::{self, Ewma};
use super::output::Output;
use super::reader::{Reader, Slot};
use super::ring::{Ring, stride};
use super::tile::Tiles;
use super::{FeatureFault, Plan, Source};

/// The features' memory of one key.
#[derive(Debug, Default, Clone)]
pub(super) struct KeyFeatures {
    is_used: bool,
    /// What has been counted of its memory.
    counted: usize,
    pub(super) timed: Ring,
    pub(super) arrived: Ring,
    pub(super) tiles: Box<[Tiles]>,
    pub(super) ewmas: Box<[Ewma]>,
}

impl KeyFeatures {
    /// Makes room for a key that is new; true if it is.
    pub(super) fn prepare(&mut self, plan: &Plan) -> bool {
        if self.is_used {
            return false;
        }
        self.is_used = true;
        self.timed.prepare(&plan.timed);
        self.arrived.prepare(&plan.arrived);
        self.tiles = (0..plan.tiled).map(|_| Tiles::default()).collect();
        self.ewmas = (0..plan.ewmas).map(|_| Ewma::default()).collect();
        true
    }

    /// Whether anything is remembered.
    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    /// Remembers a row of this time and clock, and gives its position among the rows by time.
    pub(super) fn push(
        &mut self,
        plan: &Plan,
        (timed, arrived): (&[Reader<'_>], &[Reader<'_>]),
        row: usize,
        (time, clock): (i64, i64),
    ) -> usize {
        if plan.kept_rows > 0 {
            self.arrived.insert(&plan.arrived, arrived, row, None);
            self.arrived.evict_to(&plan.arrived, plan.kept_rows);
        }
        if plan.kept_us == 0 {
            return 0;
        }
        // Rows to come have times from the clock on, so their windows begin behind this.
        let oldest = clock.min(time).saturating_sub(plan.kept_us);
        self.timed.evict_until(&plan.timed, oldest);
        self.timed.insert(&plan.timed, timed, row, Some(time))
    }

    /// Computes every feature as of the row that was pushed last.
    pub(super) fn evaluate(
        &mut self,
        plan: &Plan,
        own: &[Option<Reader<'_>>],
        (row, time, clock, at): (usize, i64, i64, usize),
        outputs: &mut [Output],
    ) -> Result<(), FeatureFault> {
        let each = plan
            .features
            .iter()
            .zip(&plan.sources)
            .zip(own)
            .zip(outputs);
        for (((feature, source), reader), output) in each {
            match *source {
                Source::Timed(slot) => {
                    self.timed(plan, (feature, slot), (row, time, at), output)?
                }
                Source::Arrived(slot) => self.arrived(plan, (feature, slot), row, output)?,
                Source::Tiles(tiles, _) => {
                    let tiles = &mut self.tiles[tiles];
                    tiles.push(feature, reader.as_ref(), row, time);
                    check_rows(feature, tiles.len(), row)?;
                    tiles
                        .evaluate(feature, reader.as_ref(), (time, clock), output)
                        .map_err(|_| overflow(feature, row))?;
                }
                Source::Ewma(ewma, _) => {
                    let reader = reader.as_ref().expect("a weighted mean has a column");
                    let value = reader.is_valid(row).then(|| output.number(reader, row));
                    let mean = self.ewmas[ewma].update(feature.window, value, time);
                    output.push_float(mean);
                }
            }
        }
        Ok(())
    }

    /// A feature over the rows of a stretch of time, as of the row at position `at`.
    fn timed(
        &self,
        plan: &Plan,
        (feature, slot): (&Feature, Option<usize>),
        (row, time, at): (usize, i64, usize),
        output: &mut Output,
    ) -> Result<(), FeatureFault> {
        let Window::Over { us } = feature.window else {
            unreachable!("rows by time serve windows of time");
        };
        let ring = &self.timed;
        let start = ring.count_until(stride(&plan.timed), time.saturating_sub(us));
        let range = start.min(at)..at + 1;
        check_rows(feature, range.len(), row)?;
        fold_ring(ring, (&plan.timed, slot), range, (feature, row), output)
    }

    /// A feature over a key's last rows.
    fn arrived(
        &self,
        plan: &Plan,
        (feature, slot): (&Feature, Option<usize>),
        row: usize,
        output: &mut Output,
    ) -> Result<(), FeatureFault> {
        let Window::Rows(rows) = feature.window else {
            unreachable!("rows by arrival serve row windows");
        };
        let end = self.arrived.len(&plan.arrived);
        let range = end.saturating_sub(rows as usize)..end;
        fold_ring(
            &self.arrived,
            (&plan.arrived, slot),
            range,
            (feature, row),
            output,
        )
    }

    /// Whether no row to come can see anything of this key.
    pub(super) fn is_stale(&self, plan: &Plan, clock: i64) -> bool {
        let newest = self.timed.last_time(stride(&plan.timed));
        let is_old = |newest: i64| newest <= clock.saturating_sub(plan.kept_us);
        let tiled = plan.features.iter().filter(|feature| {
            feature.granularity_us.is_some() && feature.aggregate != Aggregate::Ewma
        });
        self.is_used
            && newest.is_none_or(is_old)
            && self
                .tiles
                .iter()
                .zip(tiled)
                .all(|(tiles, feature)| tiles.is_stale(feature, clock))
    }

    /// The clock from which on no row to come can see anything of this key; none if one always can.
    pub(super) fn until(&self, plan: &Plan) -> Option<i64> {
        if plan.kept_rows > 0 || plan.ewmas > 0 {
            return None;
        }
        let newest = self.timed.last_time(stride(&plan.timed));
        let rows = newest.map_or(i64::MIN, |newest| newest.saturating_add(plan.kept_us));
        let tiled = plan
            .features
            .iter()
            .filter(|feature| feature.granularity_us.is_some());
        let tiles = self.tiles.iter().zip(tiled);
        let tiles = tiles.map(|(tiles, feature)| tiles.until(feature));
        Some(tiles.fold(rows, i64::max))
    }

    /// By how many bytes the key's memory has grown since this was asked the last time.
    pub(super) fn growth(&mut self) -> isize {
        let bytes = self.bytes();
        let before = std::mem::replace(&mut self.counted, bytes);
        bytes as isize - before as isize
    }

    /// What [`KeyFeatures::growth`] has told so far.
    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    /// Memory behind the key's cell, in bytes.
    fn bytes(&self) -> usize {
        self.timed.bytes()
            + self.arrived.bytes()
            + self.tiles.iter().map(Tiles::bytes).sum::<usize>()
            + size_of_val(&*self.ewmas)
    }
}

/// Folds a range of a ring's rows; without a slot they are counted.
fn fold_ring(
    ring: &Ring,
    (slots, slot): (&[Slot], Option<usize>),
    range: std::ops::Range<usize>,
    (feature, row): (&Feature, usize),
    output: &mut Output,
) -> Result<(), FeatureFault> {
    let records = ring.records(slots, slot.unwrap_or(0), range);
    let Some(slot) = slot else {
        output.push_word(records.len() as u64);
        return Ok(());
    };
    let kept = (slots[slot].kind, ring.dictionary(slot));
    fold::fold(feature, records, kept, output).map_err(|_| overflow(feature, row))
}

fn check_rows(feature: &Feature, rows: usize, row: usize) -> Result<(), FeatureFault> {
    if rows <= feature.rows_max as usize {
        return Ok(());
    }
    Err(FeatureFault::TooManyRows {
        feature: feature.name.clone(),
        row,
        rows_max: feature.rows_max,
    })
}

fn overflow(feature: &Feature, row: usize) -> FeatureFault {
    FeatureFault::Overflow {
        feature: feature.name.clone(),
        row,
    }
}
