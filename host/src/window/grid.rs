//! Panes of plain aggregates, each as columns over all keys.
//!
//! Where all aggregates are counts and sums, a window's total follows from the one
//! before it: what enters is added for all keys at once, and what leaves is taken out. So a row
//! touches one place of one pane, and a result one place of the total, however many panes a window
//! has.

mod image;
mod layout;
mod sheet;

use std::collections::VecDeque;

use wasmill_core::{paged::Paged, window::Slices};

pub(super) use self::{image::GridImage, layout::Plain};
use self::{layout::Layout, sheet::Sheet};
use super::{
    accumulator::{Accumulator, Kind},
    aligned::Following,
    shape::{Overflown, Shape},
    value::Column,
};

/// Windows of more panes than that keep them by key: keys have rows in few of so many.
const PANES_MAX: i64 = 16;

/// The panes of all keys, oldest first, and the window that ended last.
#[derive(Debug)]
pub(super) struct Grid {
    layout: Layout,
    panes: VecDeque<(i64, Sheet)>,
    /// The panes of the window that ended last, added up, without those that are over.
    total: Sheet,
    /// From where to where these lie; none before the first window.
    span: Option<(i64, i64)>,
    /// The same pane of the row before.
    last: usize,
    keys: Paged<Known>,
    /// Keys that had no rows in any pane at the end before: most come again before the next.
    resting: Vec<u32>,
}

/// What is known of a key.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// In how many panes it has rows.
    panes: u32,
    is_held: bool,
    is_resting: bool,
}

impl Grid {
    /// A grid, where the shape and the windows are such that one serves.
    pub(super) fn new(shape: &Shape, slices: &Slices) -> Option<Self> {
        if slices.size / slices.pane > PANES_MAX {
            return None;
        }
        Some(Self {
            layout: Layout::new(shape)?,
            panes: VecDeque::new(),
            total: Sheet::total(),
            span: None,
            last: 0,
            keys: Paged::new(),
            resting: Vec::new(),
        })
    }

    /// Notes that a key has something; says whether it had nothing.
    #[inline]
    pub(super) fn hold(&mut self, id: u32) -> bool {
        !std::mem::replace(&mut self.keys.get_mut(id).is_held, true)
    }

    /// Adds a row to the pane that begins there; says whether it is the key's first row in it.
    #[inline]
    pub(super) fn add(
        &mut self,
        (start, id): (i64, u32),
        of: (&Shape, &[Column<'_>]),
        row: usize,
    ) -> Result<bool, Overflown> {
        let at = self.at(start);
        let is_first = self.panes[at].1.add(id, &self.layout, of, row)?;
        if is_first {
            self.note(id);
        }
        Ok(is_first)
    }

    /// Adds what accumulators hold to the pane that begins there; says whether these are the key's
    /// first rows in it.
    pub(super) fn put(
        &mut self,
        (start, id): (i64, u32),
        accumulators: &[Accumulator],
    ) -> Result<bool, Overflown> {
        let at = self.at(start);
        let is_first = self.panes[at].1.put(id, &self.layout, accumulators)?;
        if self
            .span
            .is_some_and(|(from, to)| (from..to).contains(&start))
        {
            self.total.put(id, &self.layout, accumulators)?;
        }
        if is_first {
            self.note(id);
        }
        Ok(is_first)
    }

    fn note(&mut self, id: u32) {
        let known = self.keys.get_mut(id);
        known.panes += 1;
        known.is_resting = false;
    }

    /// Adds up a window. Windows come in the order of their ends, and those that begin later later.
    pub(super) fn open(
        &mut self,
        (start, end): (i64, i64),
        slices: &Slices,
    ) -> Result<(), Overflown> {
        if slices.is_tumbling() {
            return Ok(());
        }
        let mut to = self.span.map_or(start, |(_, to)| to);
        if start >= to {
            self.total = Sheet::total();
            to = start;
        }
        for (pane, sheet) in &self.panes {
            if (to..end).contains(pane) {
                self.total.combine(sheet, &self.layout, true)?;
            }
        }
        self.span = Some((start, to.max(end)));
        Ok(())
    }

    /// The window that was opened; none if it has no rows.
    pub(super) fn window(&self, start: i64, slices: &Slices) -> Option<Window<'_>> {
        let (from, to) = self.span.unwrap_or_default();
        let mut panes = self.panes.iter();
        let (sheet, panes) = match slices.is_tumbling() {
            true => {
                let sheet = &panes.find(|(pane, _)| *pane == start)?.1;
                (sheet, vec![sheet])
            }
            false => {
                let panes = panes.filter(|(pane, _)| (from..to).contains(pane));
                (&self.total, panes.map(|(_, sheet)| sheet).collect())
            }
        };
        Some(Window {
            layout: &self.layout,
            sheet,
            panes,
        })
    }

    /// Forgets the panes that are in no window any more, and tells whose rows they had; gives the
    /// keys that have had none since the end before.
    pub(super) fn settle(
        &mut self,
        following: &Following,
        mut tell: impl FnMut(u32),
    ) -> Result<Vec<u32>, Overflown> {
        let mut gone = std::mem::take(&mut self.resting);
        gone.retain(|id| self.keys.get(*id).is_some_and(|known| known.is_resting));
        while let Some((start, sheet)) = self.panes.pop_front() {
            if start >= following.start {
                self.panes.push_front((start, sheet));
                break;
            }
            if self
                .span
                .is_some_and(|(from, to)| (from..to).contains(&start))
            {
                self.total.combine(&sheet, &self.layout, false)?;
            }
            for id in sheet.ids(&self.layout) {
                tell(id);
                let known = self.keys.get_mut(id);
                known.panes -= 1;
                if known.panes == 0 {
                    known.is_resting = true;
                    self.resting.push(id);
                }
            }
        }
        Ok(gone)
    }

    /// A key stays one end longer.
    pub(super) fn keep(&mut self, id: u32) {
        self.resting.push(id);
    }

    /// Nothing is left of a key.
    pub(super) fn let_go(&mut self, id: u32) {
        *self.keys.get_mut(id) = Known::default();
    }

    /// Whether a key has something.
    pub(super) fn is_held(&self, id: u32) -> bool {
        self.keys.get(id).is_some_and(|known| known.is_held)
    }

    /// The end of the next window that has rows, or after which keys are let go.
    pub(super) fn next_end(&self, following: &Following, slices: &Slices) -> i64 {
        let starts = self.panes.iter().map(|(start, _)| *start);
        let next = following.of_panes(starts, slices);
        let is_needed = !self.resting.is_empty()
            || self
                .panes
                .front()
                .is_some_and(|(start, _)| *start < following.start);
        match is_needed {
            true => next.min(following.end),
            false => next,
        }
    }

    /// The grid as it is now.
    pub(super) fn image(&mut self) -> GridImage {
        let panes = self.panes.iter_mut();
        let panes = panes.map(|(start, sheet)| (*start, sheet.freeze()));
        GridImage::new(self.layout.clone(), panes.collect())
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let sheets = self.panes.iter().map(|(_, sheet)| sheet);
        let sheets = sheets.chain([&self.total]);
        let sheets: usize = sheets.map(|sheet| sheet.bytes(&self.layout)).sum();
        sheets + self.keys.bytes()
    }

    /// The place of the pane that begins there, which is made if there is none.
    #[inline]
    fn at(&mut self, start: i64) -> usize {
        if self
            .panes
            .get(self.last)
            .is_none_or(|(known, _)| *known != start)
        {
            self.last = self.find(start);
        }
        self.last
    }

    fn find(&mut self, start: i64) -> usize {
        match self.panes.binary_search_by_key(&start, |(known, _)| *known) {
            Ok(at) => at,
            Err(at) => {
                self.panes.insert(at, (start, Sheet::pane()));
                at
            }
        }
    }
}

/// A window's aggregates by key.
pub(super) struct Window<'a> {
    layout: &'a Layout,
    sheet: &'a Sheet,
    /// The panes that it is the total of; itself if it is one pane.
    panes: Vec<&'a Sheet>,
}

impl Window<'_> {
    /// Whether a key has rows in it.
    #[inline]
    pub(super) fn has(&self, id: u32) -> bool {
        self.sheet.rows(id, self.layout) > 0
    }

    /// One slot of a key that has rows in it; none if it is odd.
    #[inline]
    pub(super) fn plain(&self, id: u32, slot: usize) -> Option<Plain> {
        self.sheet.plain(id, self.layout, slot)
    }

    /// One slot of a key that has rows in it, merged from its panes.
    #[cold]
    pub(super) fn merged(&self, id: u32, (slot, kind): (usize, Kind)) -> Accumulator {
        let mut all = kind.empty();
        for pane in self
            .panes
            .iter()
            .filter(|pane| pane.rows(id, self.layout) > 0)
        {
            if let Some(more) = pane.accumulator(id, self.layout, slot) {
                all.merge(kind, &more)
                    .expect("sums of floats do not overflow");
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
