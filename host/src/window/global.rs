//! One window over all of a key's rows, or one after the other of so many rows each.

use wasmill_core::{batch::op, watermark};

use super::cell::{Global, Shown};
use super::results::Of;
use super::shape::rows;
use super::{Emitted, RESULTS_MAX, Rows, WindowError, WindowOperator, id_of};
use crate::state::{BatchKeys, KeyIndex};

impl WindowOperator {
    /// Adds rows to their windows, and appends the results of those that are full.
    pub(super) fn add_global(
        &mut self,
        batch: &Rows<'_>,
        (index, keys): (&mut KeyIndex, &BatchKeys),
        emitted: &mut Emitted,
    ) -> Result<Vec<u32>, WindowError> {
        let trigger = self.windowing.trigger;
        for row in 0..batch.batch.len() {
            let id = id_of(keys, row);
            let time = batch.times.get(row).copied();
            let cell = self.cells.get_mut(id);
            Self::hold(cell, (id, index), Some(&mut self.roster));
            let kept = &mut self.kept;
            let shape = &self.shape;
            let global = cell.global.get_or_insert_with(|| {
                *kept += 1;
                Box::new(Global {
                    number: 0,
                    time: watermark::START,
                    shown: None,
                    accumulators: shape.empty().collect(),
                })
            });
            global.time = global.time.max(time.unwrap_or(watermark::START));
            let place = || batch.place(row);
            let accumulators = &mut global.accumulators;
            let added = shape.add(accumulators, &batch.columns, row, place);
            added.map_err(|slot| Self::overflow(&self.name, shape, slot))?;
            if trigger.early_us.is_some() && !cell.is_dirty {
                cell.is_dirty = true;
                self.dirty.push(id);
            }
            if trigger.count == Some(rows(&global.accumulators)) {
                let full = global.accumulators.clone();
                let of = of(global, batch.clock(row, self.watermark));
                global.number += 1;
                global.time = watermark::START;
                global.accumulators = shape.empty().collect();
                self.results.push((&*index, id), of, (shape, &full))?;
                if self.results.len() >= RESULTS_MAX {
                    self.flush(emitted)?;
                }
            }
        }
        self.flush(emitted)?;
        Ok(Vec::new())
    }

    /// Gives out every key's window: there are no more rows. One that waits for more of them gives
    /// nothing.
    pub(super) fn end_global(&mut self, index: &mut KeyIndex) -> Result<(), WindowError> {
        if self.next_key == 0 {
            self.settle_roster(index);
        }
        while self.windowing.trigger.count.is_none() && self.next_key < self.roster.len() {
            if self.results.len() >= RESULTS_MAX {
                return Ok(());
            }
            let id = self.roster.id(self.next_key);
            self.next_key += 1;
            index.touch(id);
            self.early_global(id, index)?;
        }
        self.next_key = 0;
        self.rise(watermark::END);
        Ok(())
    }

    /// Gives out what a key's window holds so far.
    pub(super) fn early_global(&mut self, id: u32, index: &KeyIndex) -> Result<(), WindowError> {
        let Some(mut global) = self.cells.get_mut(id).global.take() else {
            return Ok(());
        };
        let of = of(&global, global.time);
        let shown: Option<Shown> = global.shown.take();
        global.shown = self.show((index, id), of, &global.accumulators, shown)?;
        self.cells.get_mut(id).global = Some(global);
        Ok(())
    }
}

/// A result of a window without bounds: its number stands for them.
fn of(global: &Global, clock: i64) -> Of {
    Of {
        start: global.number,
        end: global.number,
        time: global.time,
        clock: clock.min(global.time),
        ordinal: 0,
        op: op::INSERT,
    }
}
