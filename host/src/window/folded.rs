//! What the plugins of aggregates keep: bytes whose meaning only the plugin knows.
//!
//! Windows add, merge and clone accumulators one by one and at once; a plugin is called for many of
//! them. So a plugin's accumulator is a handle. What a batch's rows add is computed before the rows
//! are added to windows ([`Folds`]); merges are noted ([`Merges`]) and done all together before
//! anybody looks at what they gave.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use arrow_array::{Array, NullArray};
use parking_lot::Mutex;

/// An accumulator of a plugin, which never changes once it is there.
#[derive(Debug, Default)]
pub(super) struct Folded(OnceLock<Held>);

/// What an accumulator holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// A value in the state encoding.
    Bytes(Box<[u8]>),
    /// Nothing any more: the plugin failed to merge what went into it.
    Lost(Arc<str>),
}

impl Folded {
    /// An accumulator that is there.
    pub(super) fn of(held: Held) -> Arc<Self> {
        Arc::new(Self(held.into()))
    }

    /// What it holds.
    ///
    /// # Panics
    /// If it waits for its merge: merges are done before an operator gives back control.
    pub(super) fn held(&self) -> &Held {
        self.known().expect("merges are done by then")
    }

    /// What it holds; none if it waits for its merge.
    pub(super) fn known(&self) -> Option<&Held> {
        self.0.get()
    }

    /// How many bytes it keeps behind itself; none while it waits.
    pub(super) fn weight(&self) -> usize {
        match self.known() {
            Some(Held::Bytes(bytes)) => bytes.len(),
            Some(Held::Lost(reason)) => reason.len(),
            None => 0,
        }
    }

    /// Ends the wait.
    pub(super) fn settle(&self, held: Held) {
        // A second outcome of the same merge is the same.
        let _ = self.0.set(held);
    }
}

/// Merges that wait for their plugin, in the order in which one may need what another gives.
#[derive(Debug, Clone, Default)]
pub(super) struct Merges(Arc<Mutex<Vec<Merge>>>);

/// Two accumulators that become one.
#[derive(Debug)]
pub(super) struct Merge {
    pub(super) into: Arc<Folded>,
    pub(super) left: Arc<Folded>,
    pub(super) right: Arc<Folded>,
}

impl Merges {
    /// Notes that an accumulator is merged into another one.
    pub(super) fn merge(&self, into: &mut Option<Arc<Folded>>, from: Option<&Arc<Folded>>) {
        let Some(right) = from.cloned() else { return };
        let Some(left) = into.take() else {
            *into = Some(right);
            return;
        };
        let merged = Arc::<Folded>::default();
        *into = Some(merged.clone());
        let merge = Merge {
            into: merged,
            left,
            right,
        };
        self.0.lock().push(merge);
    }

    /// Takes out all that wait.
    pub(super) fn take(&self) -> Vec<Merge> {
        std::mem::take(&mut self.0.lock())
    }
}

/// How a batch's share of an accumulator gets into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// It holds what was there before, too, and takes its place.
    Whole,
    /// It holds rows of the batch alone and is merged.
    Part,
    /// It has been merged.
    Merged,
}

/// What a plugin has made of a batch's rows, group by group.
#[derive(Debug)]
pub(super) struct Folds {
    /// Stands for the column that there is none of.
    array: NullArray,
    /// The group of each row.
    groups: Arc<[u32]>,
    values: Vec<Option<Arc<Folded>>>,
    shares: Vec<Cell<Share>>,
    merges: Merges,
}

impl Folds {
    pub(super) fn new(
        groups: Arc<[u32]>,
        values: Vec<Option<Arc<Folded>>>,
        shares: &[Share],
        merges: Merges,
    ) -> Self {
        Self {
            array: NullArray::new(0),
            groups,
            values,
            shares: shares.iter().copied().map(Cell::new).collect(),
            merges,
        }
    }

    pub(super) fn array(&self) -> &dyn Array {
        &self.array
    }

    /// Adds a row to the accumulator that it belongs to: the first of a group brings all of it.
    pub(super) fn fold(&self, row: usize, accumulator: &mut Option<Arc<Folded>>) {
        let Some(value) = self.values.get(self.groups[row] as usize) else {
            return;
        };
        let share = &self.shares[self.groups[row] as usize];
        match share.get() {
            Share::Whole => accumulator.clone_from(value),
            Share::Part => {
                self.merges.merge(accumulator, value.as_ref());
                share.set(Share::Merged);
            }
            Share::Merged => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(of: &str) -> Arc<Folded> {
        Folded::of(Held::Bytes(of.as_bytes().into()))
    }

    #[test]
    fn merges_wait_in_their_order() {
        let merges = Merges::default();
        let mut first = None;
        merges.merge(&mut first, None);
        assert!(first.is_none());
        merges.merge(&mut first, Some(&bytes("a")));
        assert!(merges.take().is_empty(), "nothing was merged");
        merges.merge(&mut first, Some(&bytes("b")));
        merges.merge(&mut first, Some(&bytes("c")));
        let waiting = merges.take();
        assert_eq!(waiting.len(), 2);
        assert!(Arc::ptr_eq(&waiting[0].into, &waiting[1].left));
        assert_eq!(first.expect("an accumulator").known(), None);
    }

    #[test]
    fn a_group_is_brought_once() {
        let merges = Merges::default();
        let values = vec![Some(bytes("a")), Some(bytes("b"))];
        let shares = [Share::Whole, Share::Part];
        let folds = Folds::new([0, 1, 1, 0].into(), values, &shares, merges.clone());
        let (mut whole, mut part) = (Some(bytes("old")), Some(bytes("old")));
        folds.fold(0, &mut whole);
        folds.fold(1, &mut part);
        folds.fold(2, &mut part);
        folds.fold(3, &mut whole);
        assert_eq!(whole.expect("a").held(), bytes("a").held());
        assert_eq!(merges.take().len(), 1);
    }
}
