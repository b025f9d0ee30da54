//! A grid as of a barrier.

use super::{layout::Layout, sheet::FrozenSheet};
use crate::window::accumulator::Accumulator;

/// The panes of all keys as they were when it was taken.
pub(in crate::window) struct GridImage {
    layout: Layout,
    panes: Vec<(i64, FrozenSheet)>,
}

impl GridImage {
    pub(super) fn new(layout: Layout, panes: Vec<(i64, FrozenSheet)>) -> Self {
        Self { layout, panes }
    }

    /// The keys that have rows, each as often as it has panes.
    pub(in crate::window) fn ids(&self) -> impl Iterator<Item = u32> {
        let sheets = self.panes.iter().map(|(_, sheet)| sheet);
        sheets.flat_map(|sheet| sheet.ids(&self.layout))
    }

    /// The panes of a key, oldest first.
    pub(in crate::window) fn panes(
        &self,
        id: u32,
    ) -> impl Iterator<Item = (i64, Vec<Accumulator>)> {
        let panes = self.panes.iter();
        panes
            .filter_map(move |(start, sheet)| Some((*start, sheet.accumulators(id, &self.layout)?)))
    }
}
