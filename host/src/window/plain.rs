//! Windows of plain aggregates, whose panes stand in a grid: see [`super::grid`].

use wasmill_core::window::{Assigner, Slices, Windowing};

use super::aligned::{Following, Pane, at_end};
use super::grid::Grid;
use super::roster::Roster;
use super::shape::Shape;
use super::{RESULTS_MAX, Rows, WindowError, WindowOperator, id_of};
use crate::state::{BatchKeys, KeyIndex};

impl WindowOperator {
    /// A grid for the panes, if one serves.
    pub(super) fn grid(
        windowing: &Windowing,
        shape: &Shape,
        is_spilling: bool,
    ) -> Option<Box<Grid>> {
        let Assigner::Aligned(slices) = &windowing.assigner else {
            return None;
        };
        if is_spilling || windowing.has_corrections() || windowing.trigger.count.is_some() {
            return None;
        }
        Grid::new(shape, slices).map(Box::new)
    }

    /// Adds rows to their panes; gives those that are too late.
    pub(super) fn add_plain(
        &mut self,
        grid: &mut Grid,
        batch: &Rows<'_>,
        (index, keys): (&mut KeyIndex, &BatchKeys),
        slices: Slices,
    ) -> Result<Vec<u32>, WindowError> {
        let mut too_late = Vec::new();
        let mut pane: Option<Pane> = None;
        let of = (&self.shape, &*batch.columns);
        for (row, time) in batch.times.iter().enumerate() {
            let known = pane.filter(|it| it.start <= *time && *time < it.end);
            let at = known.unwrap_or_else(|| Pane::new(&slices, *time));
            pane = Some(at);
            let (clock, id) = (batch.clock(row, self.watermark), id_of(keys, row));
            let added = if clock < at.first {
                self.next_end = self.next_end.min(at.first);
                let added = grid.add((at.start, id), of, row);
                added.map(|is_first| {
                    self.kept += usize::from(is_first);
                    if is_first {
                        Self::hold_plain(grid, (id, index), &mut self.roster);
                    }
                })
            } else if at.last <= clock {
                too_late.push(row as u32);
                Ok(())
            } else {
                Self::hold_plain(grid, (id, index), &mut self.roster);
                self.corrections.entry(clock).or_default().push(id);
                let late = self.cells.get_mut(id).late((clock, at.start), &self.shape);
                self.shape
                    .add(late, &batch.columns, row, || batch.place(row))
            };
            added.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
        }
        Ok(too_late)
    }

    /// Gives out the windows that end there, of one key after the other; goes on where it stopped
    /// if there are very many.
    pub(super) fn end_plain(
        &mut self,
        grid: &mut Grid,
        end: i64,
        slices: Slices,
        index: &mut KeyIndex,
    ) -> Result<(), WindowError> {
        let start = slices.start_of(end);
        if self.next_key == 0 {
            self.roster.settle(index);
            let opened = grid.open((start, end), &slices);
            opened.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
        }
        if let Some(window) = grid.window(start, &slices) {
            let mut ids = std::mem::take(&mut self.scratch_ids);
            let room = RESULTS_MAX - self.results.len();
            while self.next_key < self.roster.len() && ids.len() < room {
                let id = self.roster.id(self.next_key);
                if window.has(id) {
                    ids.push(id);
                }
                self.next_key += 1;
            }
            let of = at_end((start, end), end - 1);
            self.results
                .extend((&*index, &ids), of, (&self.shape, &window))?;
            ids.clear();
            self.scratch_ids = ids;
            if self.next_key < self.roster.len() {
                return Ok(());
            }
        }
        self.next_key = 0;
        self.settle_plain(grid, &Following::new(end, &slices), index)?;
        self.next_end = grid.next_end(&Following::new(end, &slices), &slices);
        Ok(())
    }

    /// A key has rows now.
    #[inline]
    pub(super) fn hold_plain(
        grid: &mut Grid,
        (id, index): (u32, &mut KeyIndex),
        roster: &mut Roster,
    ) {
        if grid.hold(id) {
            index.hold(id);
            roster.add(id);
        }
    }

    /// Forgets the panes that are in no window any more, and lets go of the keys of which nothing
    /// is left.
    fn settle_plain(
        &mut self,
        grid: &mut Grid,
        following: &Following,
        index: &mut KeyIndex,
    ) -> Result<(), WindowError> {
        let mut count = 0;
        let settled = grid.settle(following, |id| {
            index.touch(id);
            count += 1;
        });
        let gone = settled.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
        self.kept -= count;
        if gone.is_empty() {
            return Ok(());
        }
        for id in gone {
            // Late rows may wait for the watermark.
            if self.cells.get(id).is_some_and(|cell| !cell.is_empty()) {
                grid.keep(id);
                continue;
            }
            grid.let_go(id);
            index.release(id);
        }
        self.roster.retain(|id| grid.is_held(id));
        Ok(())
    }
}
