//! Rows of a batch on their way into windows.

use wasmill_core::batch::Batch;

use super::accumulator::Place;
use super::value::Column;
use crate::state::BatchKeys;

/// A batch's rows as windows see them.
pub(super) struct Rows<'a> {
    pub(super) batch: &'a Batch,
    pub(super) columns: Vec<Column<'a>>,
    pub(super) times: &'a [i64],
    pub(super) clocks: &'a [i64],
    /// Which of the operator's inputs they come from.
    pub(super) input: u32,
    pub(super) needs_places: bool,
}

impl Rows<'_> {
    /// The clock of a row: its split's watermark, or what the operator has come to, if that is
    /// more, which only splits that were idle or unknown make it.
    #[inline]
    pub(super) fn clock(&self, row: usize, watermark: i64) -> i64 {
        self.clocks
            .get(row)
            .map_or(watermark, |clock| (*clock).max(watermark))
    }

    /// Where a row stands in the one order of all rows.
    #[inline]
    pub(super) fn place(&self, row: usize) -> Place {
        if !self.needs_places {
            return (0, 0, 0, 0);
        }
        let time = self.times.get(row).copied().unwrap_or(0);
        let (split, offset) = self
            .batch
            .lineage
            .position(row)
            .unwrap_or((u32::MAX, u64::MAX));
        (time, split, offset, self.input)
    }
}

/// The key of a row, by its id.
#[inline]
pub(super) fn id_of(keys: &BatchKeys, row: usize) -> u32 {
    keys.ids[keys.row_to_key[row] as usize]
}
