//! The windows of single keys, as they leave memory and come back.
//!
//! Outside of [`WindowOperator::advance`] all that is due has been done for every key, wherever it
//! is. A key that is not in memory when the watermark rises comes back if something of it is due,
//! and catches up alone, in the order of instants.

use wasmill_core::{timer::TimeDomain, watermark, window::Assigner};

use super::{STATE, WindowError, WindowOperator, aligned::Following, cell::Cell, image};
use crate::{
    segment::{Address, Kind, Row, SegmentError},
    state::{Kept, KeyIndex, KeyRows, Resident, RestoreError},
};

/// So many keys that have left memory are not worth looking for in lists.
const STALE_MIN: usize = 4_096;

/// How long what is kept is of use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lives {
    assigner: Assigner,
    lateness_us: i64,
}

impl Lives {
    /// When a window that ends there cannot be corrected any more.
    pub(super) fn behind(self, end: i64) -> i64 {
        end.saturating_add(self.lateness_us)
    }

    /// The same for all windows that hold a pane.
    pub(super) fn of_pane(self, start: i64) -> Option<i64> {
        match self.assigner {
            Assigner::Aligned(slices) => Some(self.behind(slices.last_end(start))),
            Assigner::Session { .. } | Assigner::Global => None,
        }
    }
}

impl Resident for WindowOperator {
    fn kept(&self) -> Vec<Kept> {
        let address = Address {
            kind: Kind::Map,
            name: STATE.into(),
        };
        vec![Kept {
            address,
            ttl: None,
            timer: None,
        }]
    }

    fn write_key(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        let Some(cell) = self.cells.get(id) else {
            return Ok(());
        };
        for time in self.wakes(cell) {
            rows.wake(TimeDomain::Event, time);
        }
        if let Some(time) = self.early_at.filter(|_| cell.is_dirty) {
            rows.wake(TimeDomain::Processing, time);
        }
        image::write(cell, (&self.shape, self.lives()), rows)
    }

    fn take_row(
        &mut self,
        (id, row): (u32, &Row<'_>),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        self.take_again((id, row), index)
    }

    fn taken(&mut self, due: Option<TimeDomain>) -> Result<(), RestoreError> {
        self.all_taken(due);
        Ok(())
    }

    fn drop_key(&mut self, id: u32, index: &mut KeyIndex) {
        if self.cells.get(id).is_some_and(|cell| cell.is_held) {
            self.kept -= self.cells.get_mut(id).kept();
            self.let_go(id, index);
            if self.stale > index.len() + STALE_MIN {
                self.purge(index);
            }
        }
    }

    fn bytes(&self) -> (usize, usize) {
        (self.cells.bytes() + self.roster.bytes(), self.content_bytes)
    }
}

impl WindowOperator {
    pub(super) fn lives(&self) -> Lives {
        Lives {
            assigner: self.windowing.assigner,
            lateness_us: self.windowing.lateness_us,
        }
    }

    /// The times behind which a key has to be in memory.
    fn wakes(&self, cell: &Cell) -> impl Iterator<Item = i64> {
        let next = match self.windowing.assigner {
            Assigner::Aligned(slices) => {
                let end = Following::new(self.watermark, &slices).of(cell, &slices);
                (end < watermark::END).then_some(end)
            }
            Assigner::Session { .. } => {
                let sessions = cell.sessions.iter().filter(|session| !session.is_over);
                sessions.map(|session| session.end).min()
            }
            Assigner::Global => {
                let ends = self.windowing.trigger.count.is_none() && cell.global.is_some();
                let is_over = self.watermark == watermark::END;
                (ends && !is_over).then_some(watermark::END)
            }
        };
        // A window is over as soon as the watermark comes to its end, late rows count behind it.
        let next = next.map(|end| end - 1);
        next.into_iter().chain(cell.first_late())
    }

    /// All rows of some keys have come back. `due` says that the watermark has risen without them,
    /// or that it is time for their early results.
    pub(super) fn all_taken(&mut self, due: Option<TimeDomain>) {
        let (assigner, lateness) = (self.windowing.assigner, self.windowing.lateness_us);
        for id in std::mem::take(&mut self.returned) {
            self.weigh(id);
            let has_early = self.windowing.trigger.early_us.is_some();
            let cell = self.cells.get_mut(id);
            if let Assigner::Aligned(slices) = assigner {
                let next = Following::new(self.watermark, &slices).of(cell, &slices);
                self.next_end = self.next_end.min(next);
            }
            if lateness > 0 {
                let forget_at = cell.forget_at(assigner, lateness);
                self.forget_at = self.forget_at.min(forget_at.unwrap_or(watermark::END));
            }
            // Nothing comes out early that has not changed since it did.
            if has_early && !cell.is_dirty {
                cell.is_dirty = true;
                self.dirty.push(id);
            }
            if due == Some(TimeDomain::Event) {
                self.woken.push(id);
            }
        }
        if due == Some(TimeDomain::Processing) && !self.dirty.is_empty() {
            // The tick that they came for is still to be done for them.
            self.early_at = Some(i64::MIN);
        }
        if let (Assigner::Aligned(slices), Some(grid)) = (assigner, &self.grid) {
            let next = grid.next_end(&Following::new(self.watermark, &slices), &slices);
            self.next_end = self.next_end.min(next);
        }
        self.plan_early();
    }

    /// Does what is due of the keys that have come back for it.
    pub(super) fn catch_up(&mut self, index: &mut KeyIndex) -> Result<(), WindowError> {
        if self.woken.is_empty() {
            return Ok(());
        }
        // Ends that are behind the watermark for all others are for these keys alone.
        let mut next_end = self.next_end;
        for id in std::mem::take(&mut self.woken) {
            match self.windowing.assigner {
                Assigner::Aligned(slices) => {
                    self.catch_up_aligned(id, slices, index)?;
                    let next = Following::new(self.watermark, &slices);
                    next_end = next_end.min(next.of(self.cells.get_mut(id), &slices));
                }
                // They are listed by instants, so they come in their turn.
                Assigner::Session { .. } => {}
                Assigner::Global => {
                    let ends = self.windowing.trigger.count.is_none();
                    if ends && self.watermark == watermark::END {
                        index.touch(id);
                        self.early_global(id, index)?;
                    }
                }
            }
            self.weigh(id);
        }
        self.next_end = next_end;
        Ok(())
    }

    /// Nothing is left of a key.
    pub(super) fn let_go(&mut self, id: u32, index: &mut KeyIndex) {
        let cell = self.cells.take(id);
        self.content_bytes = self.content_bytes.saturating_sub(cell.counted as usize);
        self.stale += 1;
        self.roster.leave();
        index.release(id);
    }

    /// Counts the memory behind a cell.
    pub(super) fn weigh(&mut self, id: u32) {
        let cell = self.cells.get_mut(id);
        let change = cell.reweigh(&self.shape);
        self.content_bytes = self.content_bytes.saturating_add_signed(change as isize);
        // What waits for its merge weighs nothing yet.
        if self.shape.has_plugins() && !std::mem::replace(&mut cell.is_reweighed, true) {
            self.reweighed.push(id);
        }
    }

    /// Counts the same again where plugins have merged meanwhile.
    pub(super) fn weigh_merged(&mut self) {
        for id in std::mem::take(&mut self.reweighed) {
            let cell = self.cells.get_mut(id);
            cell.is_reweighed = false;
            let change = cell.reweigh(&self.shape);
            self.content_bytes = self.content_bytes.saturating_add_signed(change as isize);
        }
    }

    /// Puts keys that came into the roster, and drops those that have left memory.
    pub(super) fn settle_roster(&mut self, index: &KeyIndex) {
        let cells = &self.cells;
        let is_there = |id: u32| cells.get(id).is_some_and(|cell| cell.is_held);
        self.roster.purge(index, is_there);
        self.roster.settle(index);
    }

    /// Drops keys that have left memory from all lists: these must not grow with them.
    fn purge(&mut self, index: &KeyIndex) {
        self.settle_roster(index);
        self.stale = 0;
        let cells = &self.cells;
        let is_late = |id: &u32, clock: i64| {
            let rest = cells.get(*id).and_then(|cell| cell.rest.as_deref());
            rest.is_some_and(|rest| rest.late.iter().any(|late| late.clock == clock))
        };
        let lateness = self.windowing.lateness_us;
        let ends = |id: &u32, end: i64| {
            let sessions = cells.get(*id).map_or(&[][..], |cell| &cell.sessions);
            sessions.iter().any(|session| match session.is_over {
                true => session.end.saturating_add(lateness) == end,
                false => session.wake == end,
            })
        };
        for (clock, ids) in &mut self.corrections {
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| is_late(id, *clock));
        }
        for (end, ids) in &mut self.ends {
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| ends(id, *end));
        }
        self.corrections.retain(|_, ids| !ids.is_empty());
        self.ends.retain(|_, ids| !ids.is_empty());
        self.dirty.sort_unstable();
        self.dirty.dedup();
        self.dirty
            .retain(|id| cells.get(*id).is_some_and(|cell| cell.is_dirty));
    }
}
