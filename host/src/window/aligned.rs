//! Windows that lie in time whatever the rows: tumbling, sliding, cumulative.

use std::hint::black_box;

use wasmill_core::{batch::op, watermark, window::Slices};

use super::cell::{Cell, Late};
use super::panes::Panes;
use super::results::Of;
use super::shape::{Shape, rows};
use super::{RESULTS_MAX, Rows, WindowError, WindowOperator, id_of};
use crate::state::{BatchKeys, KeyIndex};

/// Keys whose panes are brought into the cache together.
const BLOCK: usize = 32;
/// Of so few panes a window is merged anew, where merging is cheap: what a slide would remember is
/// more memory than the panes.
const PANES_FEW: usize = 16;

/// What the walk over the keys at an end has found so far.
#[derive(Debug)]
pub(super) struct Walk {
    /// The next end of a window that has rows.
    next: i64,
    /// Places in the roster of the keys of which nothing is left.
    emptied: Vec<usize>,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self {
            next: watermark::END,
            emptied: Vec::new(),
        }
    }
}

/// A pane, with the ends of the first and the last window that hold it.
#[derive(Debug, Clone, Copy)]
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
            if row.is_multiple_of(BLOCK) {
                let rows = row..keys.row_to_key.len().min(row + BLOCK);
                self.warm(rows.map(|row| id_of(keys, row)), Panes::touch_last);
            }
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
            self.settle_roster(index);
        }
        let start = slices.start_of(end);
        let following = Following::new(end, &slices);
        while self.next_key < self.roster.len() {
            if self.results.len() >= RESULTS_MAX {
                return Ok(());
            }
            let place = self.next_key;
            if place.is_multiple_of(BLOCK) {
                let places = place..self.roster.len().min(place + BLOCK);
                self.warm(places.map(|place| self.roster.id(place)), Panes::touch);
            }
            let id = self.roster.id(place);
            self.next_key += 1;
            self.end_of_key(id, (start, end), slices, index)?;
            if self.windowing.lateness_us == 0 {
                self.settle_key((place, id), (&following, &slices), index);
            }
        }
        self.next_key = 0;
        match self.windowing.lateness_us {
            0 => self.settle_emptied(index),
            _ => self.settle_aligned(&following, &slices, index.is_spilling()),
        }
        Ok(())
    }

    /// Brings what is kept of some keys into the cache, many at once: who needs it one after the
    /// other would wait for each.
    #[inline]
    fn warm(&self, ids: impl Iterator<Item = u32> + Clone, touch: impl Fn(&Panes) -> usize) {
        let cells = || ids.clone().filter_map(|id| self.cells.get(id));
        black_box(cells().fold(0, |sum, cell| sum ^ cell.panes.count()));
        black_box(cells().fold(0, |sum, cell| sum ^ touch(&cell.panes)));
    }

    fn end_of_key(
        &mut self,
        id: u32,
        (start, end): (i64, i64),
        slices: Slices,
        index: &mut KeyIndex,
    ) -> Result<(), WindowError> {
        let cell = self.cells.get_mut(id);
        let mut merged = std::mem::take(&mut self.scratch);
        merged.clear();
        if slices.is_tumbling() {
            merged.extend_from_slice(cell.panes.get(start, &self.shape).unwrap_or_default());
        } else if self.shape.is_plain() && cell.panes.count() <= PANES_FEW {
            cell.slide = None;
            let done = cell.panes.merge((start, end), &self.shape, &mut merged);
            done.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
        } else {
            let slide = cell.slide.get_or_insert_default();
            let done = slide.merge(&cell.panes, (start, end), &self.shape, &mut merged);
            done.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
        }
        if rows(&merged) > 0 {
            let shown = cell.take_shown(end);
            let of = at_end((start, end), end - 1);
            let shown = self.show((&*index, id), of, &merged, shown)?;
            if self.windowing.has_corrections() {
                index.touch(id);
            }
            let is_kept = self.windowing.lateness_us > 0;
            self.cells.get_mut(id).put_shown(shown.filter(|_| is_kept));
        }
        self.scratch = merged;
        Ok(())
    }

    /// Forgets a key's panes that are in no window any more, and finds the next window that has
    /// rows. A key that has none stays until the following end: most come again before.
    #[inline]
    fn settle_key(
        &mut self,
        (place, id): (usize, u32),
        (following, slices): (&Following, &Slices),
        index: &mut KeyIndex,
    ) {
        let cell = self.cells.get_mut(id);
        let is_over = |pane| pane < following.start;
        let gone = cell.panes.forget(is_over, &self.shape);
        if gone > 0 {
            self.kept -= gone;
            index.touch(id);
        }
        let was_spare = cell.is_spare;
        cell.is_spare = cell.is_empty();
        if !cell.is_spare {
            self.walk.next = self.walk.next.min(following.of(cell, slices));
        } else if was_spare {
            self.walk.emptied.push(place);
        } else {
            self.walk.next = self.walk.next.min(following.end);
        }
        if index.is_spilling() {
            self.weigh(id);
        }
    }

    /// Lets go of the keys of which the walk has found nothing.
    fn settle_emptied(&mut self, index: &mut KeyIndex) {
        let walk = std::mem::replace(&mut self.walk, Walk::new());
        self.next_end = walk.next;
        for place in &walk.emptied {
            let id = self.roster.id(*place);
            let cell = self.cells.take(id);
            self.content_bytes = self.content_bytes.saturating_sub(cell.counted as usize);
            index.release(id);
        }
        self.roster.remove(&walk.emptied);
    }

    /// Finds the next window that has rows, and when panes may be forgotten, where corrections may
    /// come.
    fn settle_aligned(&mut self, following: &Following, slices: &Slices, is_spilling: bool) {
        let lateness = self.windowing.lateness_us;
        let (mut next, mut forget_at) = (watermark::END, self.forget_at);
        for place in 0..self.roster.len() {
            let id = self.roster.id(place);
            if is_spilling {
                self.weigh(id);
            }
            let Some(cell) = self.cells.get(id) else {
                continue;
            };
            if let Some(first) = cell.panes.first() {
                forget_at = forget_at.min(slices.last_end(first).saturating_add(lateness));
            }
            next = next.min(following.of(cell, slices));
        }
        (self.next_end, self.forget_at) = (next, forget_at);
    }

    /// Does for a key that has come back into memory what has been done for all others: what is
    /// due behind the watermark before, up to the one that there is.
    pub(super) fn catch_up_aligned(
        &mut self,
        id: u32,
        slices: Slices,
        index: &mut KeyIndex,
    ) -> Result<(), WindowError> {
        let (mut done, watermark) = (self.watermark_before, self.watermark);
        loop {
            let cell = self.cells.get_mut(id);
            let late = cell.first_late().filter(|clock| *clock < watermark);
            let end = Following::new(done, &slices).of(cell, &slices);
            let end = Some(end).filter(|end| *end <= watermark && *end < watermark::END);
            match (end, late) {
                (Some(end), late) if late.is_none_or(|clock| end <= clock) => {
                    self.end_of_key(id, (slices.start_of(end), end), slices, index)?;
                    done = end;
                }
                (_, Some(clock)) => {
                    self.correct_key(id, clock, index)?;
                    // Rows that came too late for a window that is over have not reopened it.
                    done = done.max(clock);
                }
                (_, None) => break,
            }
        }
        let following = Following::new(watermark, &slices);
        let (lateness, assigner) = (self.windowing.lateness_us, self.windowing.assigner);
        let cell = self.cells.get_mut(id);
        let mut gone = match lateness {
            0 => cell
                .panes
                .forget(|pane| pane < following.start, &self.shape),
            _ => 0,
        };
        let (more, has_changed) = cell.forget((assigner, lateness), watermark, &self.shape);
        gone += more;
        self.kept -= gone;
        if gone > 0 || has_changed {
            index.touch(id);
        }
        if cell.is_held && cell.is_empty() {
            self.let_go(id, index);
        }
        Ok(())
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
        let merged = if let Some(grid) = &mut self.grid {
            let put = grid.put((late.at, id), &late.accumulators);
            put.map(|is_first| self.kept += usize::from(is_first))
        } else {
            let cell = self.cells.get_mut(id);
            let pane = cell.panes.entry(late.at, &self.shape);
            self.kept += usize::from(rows(pane) == 0);
            if let Some(slide) = &mut cell.slide {
                slide.reset();
            }
            self.shape.merge(pane, &late.accumulators)
        };
        merged.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
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
    pub(super) start: i64,
    pub(super) end: i64,
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
        self.of_panes(cell.panes.starts().iter().copied(), slices)
    }

    /// The end of the next window that holds one of some panes, of which the oldest come first.
    pub(super) fn of_panes(&self, mut starts: impl Iterator<Item = i64>, slices: &Slices) -> i64 {
        match starts.find(|start| *start >= self.start) {
            None => watermark::END,
            Some(start) if start < self.end => self.end,
            Some(start) => slices.first_end(start),
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
