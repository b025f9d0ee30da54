//! Windows that lie in time whatever the rows: tumbling, sliding, cumulative.

use wasmill_core::{batch::op, watermark, window::Slices};

use super::cell::{Cell, Late};
use super::results::Of;
use super::shape::{Shape, rows};
use super::{RESULTS_MAX, Rows, WindowError, WindowOperator, id_of};
use crate::state::{BatchKeys, KeyIndex};

/// A pane, with the ends of the first and the last window that hold it.
pub(super) struct Pane {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Pane {
    pub(super) fn new(slices: &Slices, time: i64) -> Self {
        let start = slices.pane_of(time);
        Self {
            start,
            end: start.saturating_add(slices.pane),
            first: slices.first_end(start),
            last: slices.last_end(start),
        }
    }
}

impl WindowOperator {
    /// Adds rows to their panes; gives those that are too late.
    pub(super) fn add_aligned(
        &mut self,
        batch: &Rows<'_>,
        (index, keys): (&mut KeyIndex, &BatchKeys),
        slices: Slices,
    ) -> Result<Vec<u32>, WindowError> {
        let mut too_late = Vec::new();
        let lateness = self.windowing.lateness_us;
        let has_early = self.windowing.trigger.early_us.is_some();
        let mut pane: Option<Pane> = None;
        for (row, time) in batch.times.iter().enumerate() {
            let known = pane.take().filter(|it| it.start <= *time && *time < it.end);
            let of = known.unwrap_or_else(|| Pane::new(&slices, *time));
            let clock = batch.clock(row, self.watermark);
            let is_late = clock >= of.first;
            if is_late && of.last.saturating_add(lateness) <= clock {
                too_late.push(row as u32);
                pane = Some(of);
                continue;
            }
            let id = id_of(keys, row);
            let cell = self.cells.get_mut(id);
            Self::hold(cell, (id, index), Some(&mut self.roster));
            let accumulators = if is_late {
                self.corrections.entry(clock).or_default().push(id);
                cell.late((clock, of.start), &self.shape)
            } else {
                self.next_end = self.next_end.min(of.first);
                let pane = cell.panes.entry(of.start, &self.shape);
                self.kept += usize::from(rows(pane) == 0);
                pane
            };
            let place = || batch.place(row);
            let added = self.shape.add(accumulators, &batch.columns, row, place);
            added.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
            if has_early && !cell.is_dirty {
                cell.is_dirty = true;
                self.dirty.push(id);
            }
            pane = Some(of);
        }
        Ok(too_late)
    }

    /// Gives out the windows that end there, of one key after the other; goes on where it stopped
    /// if there are very many.
    pub(super) fn end_aligned(
        &mut self,
        end: i64,
        slices: Slices,
        index: &mut KeyIndex,
    ) -> Result<(), WindowError> {
        if self.next_key == 0 {
            self.roster.settle(index);
        }
        let start = slices.start_of(end);
        while self.next_key < self.roster.len() {
            if self.results.len() >= RESULTS_MAX {
                return Ok(());
            }
            let id = self.roster.id(self.next_key);
            self.next_key += 1;
            self.end_of_key(id, (start, end), slices, index)?;
        }
        self.next_key = 0;
        self.settle_aligned(end, slices, index);
        Ok(())
    }

    fn end_of_key(
        &mut self,
        id: u32,
        (start, end): (i64, i64),
        slices: Slices,
        index: &KeyIndex,
    ) -> Result<(), WindowError> {
        let cell = self.cells.get_mut(id);
        let mut merged = std::mem::take(&mut self.scratch);
        merged.clear();
        if slices.is_tumbling() {
            merged.extend_from_slice(cell.panes.get(start, &self.shape).unwrap_or_default());
        } else {
            let slide = cell.slide.get_or_insert_default();
            let done = slide.merge(&cell.panes, (start, end), &self.shape, &mut merged);
            done.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
        }
        if rows(&merged) > 0 {
            let shown = cell.take_shown(end);
            let of = at_end((start, end), end - 1);
            let shown = self.show((index, id), of, &merged, shown)?;
            let is_kept = self.windowing.lateness_us > 0;
            self.cells.get_mut(id).put_shown(shown.filter(|_| is_kept));
        }
        self.scratch = merged;
        Ok(())
    }

    /// Forgets panes that are in no window any more, and finds the next window that has rows.
    fn settle_aligned(&mut self, end: i64, slices: Slices, index: &mut KeyIndex) {
        let (cells, shape) = (&mut self.cells, &self.shape);
        let (lateness, mut gone) = (self.windowing.lateness_us, 0);
        let (mut next, mut forget_at) = (watermark::END, self.forget_at);
        let following = Following::new(end, &slices);
        self.roster.retain(|id| {
            let cell = cells.get_mut(id);
            if lateness == 0 {
                gone += cell.panes.forget(|pane| pane < following.start, shape);
                if cell.is_empty() {
                    *cell = Cell::default();
                    index.release(id);
                    return false;
                }
            } else if let Some(first) = cell.panes.first() {
                forget_at = forget_at.min(slices.last_end(first).saturating_add(lateness));
            }
            next = next.min(following.of(cell, &slices));
            true
        });
        self.kept -= gone;
        (self.next_end, self.forget_at) = (next, forget_at);
    }

    /// Adds late rows to their pane, and gives out anew the windows that were over when they came.
    pub(super) fn correct_aligned(
        &mut self,
        id: u32,
        late: Late,
        slices: Slices,
        index: &KeyIndex,
    ) -> Result<(), WindowError> {
        let (lateness, clock) = (self.windowing.lateness_us, late.clock);
        let cell = self.cells.get_mut(id);
        let pane = cell.panes.entry(late.at, &self.shape);
        self.kept += usize::from(rows(pane) == 0);
        let merged = self.shape.merge(pane, &late.accumulators);
        merged.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
        if let Some(slide) = &mut cell.slide {
            slide.reset();
        }
        let last = slices.last_end(late.at);
        self.forget_at = self.forget_at.min(last.saturating_add(lateness));
        let mut end = slices.first_end(late.at);
        while end <= last {
            if end > clock {
                self.next_end = self.next_end.min(end);
                break;
            }
            if end.saturating_add(lateness) > clock {
                self.correct_window(id, (end, clock), slices, index)?;
            }
            end = slices.end_from(end.saturating_add(1));
        }
        Ok(())
    }

    fn correct_window(
        &mut self,
        id: u32,
        (end, clock): (i64, i64),
        slices: Slices,
        index: &KeyIndex,
    ) -> Result<(), WindowError> {
        let start = slices.start_of(end);
        let merged = self.merged(id, (start, end))?;
        let shown = self.cells.get_mut(id).take_shown(end);
        let of = at_end((start, end), clock);
        let shown = self.show((index, id), of, &merged, shown)?;
        self.cells.get_mut(id).put_shown(shown);
        self.scratch = merged;
        Ok(())
    }

    /// A window merged from all of its panes.
    fn merged(
        &mut self,
        id: u32,
        (start, end): (i64, i64),
    ) -> Result<Vec<super::Accumulator>, WindowError> {
        let mut merged = std::mem::take(&mut self.scratch);
        merged.clear();
        merged.extend(self.shape.empty());
        let shape: &Shape = &self.shape;
        if let Some(cell) = self.cells.get(id) {
            for (_, pane) in cell.panes.between(start, end, shape) {
                let done = shape.merge(&mut merged, pane);
                done.map_err(|slot| Self::overflow(&self.name, shape, slot))?;
            }
        }
        Ok(merged)
    }

    /// Gives out what the windows that are not over hold so far.
    pub(super) fn early_aligned(
        &mut self,
        id: u32,
        slices: Slices,
        index: &KeyIndex,
    ) -> Result<(), WindowError> {
        let starts: Vec<i64> = match self.cells.get(id) {
            Some(cell) => cell.panes.starts().to_vec(),
            None => return Ok(()),
        };
        let mut done = self.watermark;
        for pane in starts {
            let last = slices.last_end(pane);
            let mut end = slices
                .first_end(pane)
                .max(slices.end_from(done.saturating_add(1)));
            while end <= last {
                let clock = self.watermark.min(end - 1);
                self.correct_window(id, (end, clock), slices, index)?;
                done = end;
                end = slices.end_from(end.saturating_add(1));
            }
        }
        Ok(())
    }
}

/// The first window that ends behind an instant.
pub(super) struct Following {
    start: i64,
    end: i64,
}

impl Following {
    pub(super) fn new(instant: i64, slices: &Slices) -> Self {
        let end = slices.end_from(instant.saturating_add(1));
        let start = slices.start_of(end);
        Self { start, end }
    }

    /// The end of a key's next window that has rows. A pane before this window is in none that is
    /// still to come.
    pub(super) fn of(&self, cell: &Cell, slices: &Slices) -> i64 {
        let mut panes = cell.panes.starts().iter();
        match panes.find(|pane| **pane >= self.start) {
            None => watermark::END,
            Some(pane) if *pane < self.end => self.end,
            Some(pane) => slices.first_end(*pane),
        }
    }
}

/// A result of a window that lies in time.
pub(super) fn at_end((start, end): (i64, i64), clock: i64) -> Of {
    Of {
        start,
        end,
        time: end - 1,
        clock,
        ordinal: 0,
        op: op::INSERT,
    }
}
