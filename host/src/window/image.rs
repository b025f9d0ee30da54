//! Windows as of a barrier, and the way back (`docs/formats/segment.md`).

mod bytes;
mod describe;

use std::sync::Arc;

use wasmill_core::{checkpoint::Segment, key::KeyGroupRange, window::Assigner};

pub use self::describe::{Definition, Kept};

use self::bytes::Input;
use super::accumulator::Accumulator;
use super::cell::{Cell, Global, Late, Session, Shown};
use super::grid::GridImage;
use super::resident::Lives;
use super::shape::{Shape, rows};
use super::{STATE, WindowOperator};
use crate::{
    crash_point::{CrashPoint, reach},
    segment::{Address, Kind, Put, Reader, Row, SegmentError},
    state::{self, CellsImage, KeyIndex, KeyRows, KeyedImage, KeysImage, RestoreError},
};

/// What an entry's first byte says that its value is.
const PANE: u8 = 0;
const SHOWN: u8 = 1;
const LATE: u8 = 2;
const SESSION: u8 = 3;
const GLOBAL: u8 = 4;

/// The windows of one subtask as of a barrier. It was taken on the slot and is encoded elsewhere,
/// while they go on.
pub struct WindowImage {
    shape: Arc<Shape>,
    lives: Lives,
    keys: Option<KeysImage>,
    cells: CellsImage<Cell>,
    grid: Option<GridImage>,
}

impl WindowOperator {
    /// The windows as they are now. Nothing is copied before it changes; `keys` is that of the
    /// task's keys, taken at the same barrier.
    pub fn image(&mut self, keys: Option<KeysImage>) -> WindowImage {
        let image = WindowImage {
            shape: Arc::new(self.shape.clone()),
            lives: self.lives(),
            keys,
            cells: self.cells.image(),
            grid: self.grid.as_mut().map(|grid| grid.image()),
        };
        reach(CrashPoint::WindowsTaken);
        image
    }

    /// Goes on from the clock that a checkpoint has for it, before the first row.
    pub fn restore_clock(&mut self, watermark: i64) {
        (self.watermark_before, self.watermark) = (watermark, watermark);
    }

    /// Puts back the windows of some key groups, before the first row. `segments` are those of its
    /// uid in the manifest's order.
    ///
    /// # Errors
    /// If a segment is not what the format says.
    pub fn restore_keys(
        &mut self,
        from: (&[Reader], KeyGroupRange),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let is_own = |of: &Address| of.kind == Kind::Map && of.name == STATE;
        let places = state::places(from.0, |of| is_own(of).then_some(()));
        state::restore(from, index, &places, |index, id, ((), row)| {
            self.take_again((id, row), index)
        })?;
        self.all_taken(None);
        // What is over is looked for with the next watermark.
        self.forget_at = self.forget_at.min(self.watermark);
        self.account();
        reach(CrashPoint::WindowsRestored);
        Ok(())
    }

    /// Takes a row that comes back; [`WindowOperator::all_taken`] is called behind the last one.
    pub(super) fn take_again(
        &mut self,
        (id, row): (u32, &Row<'_>),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let entry = row.entry.unwrap_or_default();
        let value = row.value.unwrap_or_default();
        let taken = self.restore_entry(id, (entry, value), index);
        taken.ok_or_else(|| RestoreError::Row {
            kind: Kind::Map.name(),
            state: STATE.into(),
        })
    }

    fn restore_entry(
        &mut self,
        id: u32,
        (entry, value): (&[u8], &[u8]),
        index: &mut KeyIndex,
    ) -> Option<()> {
        let (tag, at) = entry.split_first()?;
        if self.grid.is_some() && *tag != LATE {
            return self.restore_plain(id, (*tag, at, value), index);
        }
        let is_listed = !matches!(self.windowing.assigner, Assigner::Session { .. });
        let cell = self.cells.get_mut(id);
        match &mut self.grid {
            Some(grid) => Self::hold_plain(grid, (id, index), &mut self.roster),
            None => Self::hold(cell, (id, index), is_listed.then_some(&mut self.roster)),
        }
        if self.returned.last() != Some(&id) {
            self.returned.push(id);
        }
        let mut input = Input::new(value);
        let shape = &self.shape;
        match *tag {
            PANE => {
                let start = bytes::place(at)?;
                let read = input.accumulators(shape)?;
                let pane = cell.panes.entry(start, shape);
                // Panes of one key stand in one segment.
                (rows(pane) == 0).then_some(())?;
                pane.clone_from_slice(&read);
                self.kept += 1;
            }
            SHOWN => {
                let shown = input.shown(shape)?;
                (bytes::place(at)? == shown.end).then_some(())?;
                cell.put_shown(Some(shown));
            }
            LATE => {
                let (clock, at) = at.split_at_checked(8)?;
                let (clock, at) = (bytes::place(clock)?, bytes::place(at)?);
                let accumulators = input.accumulators(shape)?;
                let late = &mut cell.rest.get_or_insert_default().late;
                late.push(Late {
                    clock,
                    at,
                    accumulators,
                });
                self.corrections.entry(clock).or_default().push(id);
            }
            SESSION => {
                let session = input.session(bytes::place(at)?, shape)?;
                let lateness = if session.is_over {
                    self.windowing.lateness_us
                } else {
                    0
                };
                let wake = session.end.saturating_add(lateness);
                self.ends.entry(wake).or_default().push(id);
                let place = cell
                    .sessions
                    .partition_point(|known| known.start < session.start);
                cell.sessions.insert(place, session);
                self.kept += 1;
            }
            GLOBAL => {
                cell.global = Some(Box::new(input.global(shape)?));
                self.kept += 1;
            }
            _ => return None,
        }
        input.is_empty().then_some(())
    }
}

impl WindowOperator {
    /// The same where panes stand in a grid.
    fn restore_plain(
        &mut self,
        id: u32,
        (tag, at, value): (u8, &[u8], &[u8]),
        index: &mut KeyIndex,
    ) -> Option<()> {
        let (grid, mut input) = (self.grid.as_mut()?, Input::new(value));
        match tag {
            PANE => {
                let (start, read) = (bytes::place(at)?, input.accumulators(&self.shape)?);
                let is_first = grid.put((start, id), &read).ok()?;
                is_first.then_some(())?;
                self.kept += 1;
                Self::hold_plain(grid, (id, index), &mut self.roster);
            }
            // What came out early of windows that no longer do so.
            SHOWN => drop(input.shown(&self.shape)?),
            _ => return None,
        }
        input.is_empty().then_some(())
    }
}

impl WindowImage {
    /// Writes down what has changed since what a checkpoint named, or all: not on a slot. Gives
    /// the earlier segments that still count.
    ///
    /// # Errors
    /// If what is kept of one window is too large.
    pub fn encode(self, earlier: &[Segment], put: Put<'_>) -> Result<Vec<Segment>, SegmentError> {
        match &self.keys {
            Some(keys) => state::encode(keys, &[&self], earlier, put),
            None => Ok(Vec::new()),
        }
    }
}

impl KeyedImage for WindowImage {
    fn addresses(&self) -> Vec<Address> {
        vec![Address {
            kind: Kind::Map,
            name: STATE.into(),
        }]
    }

    fn ids(&self, tell: &mut dyn FnMut(u32)) {
        let ids = 0..self.cells.capacity() as u32;
        let is_used = |id: &u32| self.cells.get(*id).is_some_and(|cell| !cell.is_empty());
        let in_grid = self.grid.iter().flat_map(|grid| grid.ids());
        ids.filter(is_used).chain(in_grid).for_each(tell);
    }

    fn write(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        let mut out = Vec::new();
        for (start, pane) in self.grid.iter().flat_map(|grid| grid.panes(id)) {
            let of = (&*self.shape, self.lives);
            write_pane((start, &pane), of, (rows, &mut out))?;
        }
        match self.cells.get(id) {
            Some(cell) => write(cell, (&self.shape, self.lives), rows),
            None => Ok(()),
        }
    }
}

/// Writes all that is kept of a key, and until when it is of use.
pub(super) fn write(
    cell: &Cell,
    (shape, lives): (&Shape, Lives),
    rows: &mut KeyRows<'_>,
) -> Result<(), SegmentError> {
    let mut out = Vec::new();
    for (start, pane) in cell.panes.between(i64::MIN, i64::MAX, shape) {
        write_pane((start, pane), (shape, lives), (rows, &mut out))?;
    }
    let mut push = |entry: &[u8], until: Option<i64>, out: &mut Vec<u8>| {
        if let Some(clock) = until {
            rows.until(clock);
        }
        let pushed = rows.push(0, Some(entry), Some(out), None);
        out.clear();
        pushed
    };
    let rest = cell.rest.as_deref();
    for shown in rest.map_or(&[][..], |rest| &rest.shown) {
        bytes::shown(shown, shape, &mut out);
        let until = Some(lives.behind(shown.end));
        push(&bytes::entry(SHOWN, &[shown.end]), until, &mut out)?;
    }
    let mut late: Vec<&Late> = rest.iter().flat_map(|rest| &rest.late).collect();
    late.sort_unstable_by_key(|late| (late.clock, late.at));
    for late in late {
        bytes::accumulators(&late.accumulators, shape, &mut out);
        let entry = bytes::entry(LATE, &[late.clock, late.at]);
        push(&entry, None, &mut out)?;
    }
    for session in &cell.sessions {
        bytes::session(session, shape, &mut out);
        let until = session.is_over.then(|| lives.behind(session.end));
        push(&bytes::entry(SESSION, &[session.start]), until, &mut out)?;
    }
    if let Some(global) = &cell.global {
        bytes::global(global, shape, &mut out);
        push(&bytes::entry(GLOBAL, &[]), None, &mut out)?;
    }
    Ok(())
}

fn write_pane(
    (start, pane): (i64, &[Accumulator]),
    (shape, lives): (&Shape, Lives),
    (rows, out): (&mut KeyRows<'_>, &mut Vec<u8>),
) -> Result<(), SegmentError> {
    bytes::accumulators(pane, shape, out);
    if let Some(clock) = lives.of_pane(start) {
        rows.until(clock);
    }
    let pushed = rows.push(0, Some(&bytes::entry(PANE, &[start])), Some(out), None);
    out.clear();
    pushed
}

#[cfg(test)]
mod tests;
