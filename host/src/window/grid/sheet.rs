//! Plain aggregates of all keys over one stretch of time, in words.

use std::{collections::BTreeMap, sync::Arc};

use wasmill_core::paged::{Frozen, Page};

use super::layout::{Layout, PAGE, Plain, SHIFT, Slots};
use crate::window::{
    accumulator::Accumulator,
    float::FloatSum,
    shape::{Overflown, Shape},
    value::Column,
};

/// Sums of floats that two numbers do not hold, by key and slot.
pub(super) type Odd = BTreeMap<(u32, usize), FloatSum>;

/// One page after the other; those without rows need not be there.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pages: Vec<Option<Page<u64>>>,
    /// How many there are.
    count: usize,
    /// Which sums are odd, and what they are; a total only knows which.
    odd: Option<Arc<Odd>>,
}

/// A sheet as it was when an image was taken.
pub(super) struct FrozenSheet {
    pages: Vec<Option<Frozen<u64>>>,
    odd: Arc<Odd>,
}

#[inline]
fn place(id: u32) -> (usize, usize) {
    ((id >> SHIFT) as usize, id as usize & (PAGE - 1))
}

impl Sheet {
    /// A pane of no rows.
    pub(super) fn pane() -> Self {
        Self {
            odd: Some(Arc::default()),
            ..Self::default()
        }
    }

    /// A total of no panes.
    pub(super) fn total() -> Self {
        Self::default()
    }

    /// How many rows a key has.
    #[inline]
    pub(super) fn rows(&self, id: u32, layout: &Layout) -> u64 {
        let (page, at) = place(id);
        match self.pages.get(page) {
            Some(Some(page)) => layout.key(page.get(), at)[0],
            _ => 0,
        }
    }

    /// Adds a row of a key; says whether it is the key's first.
    #[inline]
    pub(super) fn add(
        &mut self,
        id: u32,
        layout: &Layout,
        of: (&Shape, &[Column<'_>]),
        row: usize,
    ) -> Result<bool, Overflown> {
        let (is_first, mut slots) = self.slots(id, layout);
        layout.add(&mut slots, of, row)?;
        Ok(is_first)
    }

    /// Adds what accumulators hold; says whether these are the key's first rows.
    pub(super) fn put(
        &mut self,
        id: u32,
        layout: &Layout,
        accumulators: &[Accumulator],
    ) -> Result<bool, Overflown> {
        let (is_first, mut slots) = self.slots(id, layout);
        layout.put(&mut slots, accumulators)?;
        Ok(is_first)
    }

    /// One slot of a key that has rows; none if it is an odd sum.
    #[inline]
    pub(super) fn plain(&self, id: u32, layout: &Layout, slot: usize) -> Option<Plain> {
        let (page, at) = place(id);
        layout.plain(slot, layout.key(self.pages.get(page)?.as_ref()?.get(), at))
    }

    /// One slot of a key that has rows in a pane.
    pub(super) fn accumulator(&self, id: u32, layout: &Layout, slot: usize) -> Option<Accumulator> {
        let (page, at) = place(id);
        let key = layout.key(self.pages.get(page)?.as_ref()?.get(), at);
        layout.accumulator((id, slot), key, self.odd.as_ref()?)
    }

    /// Adds all of another sheet to a total, or takes it out.
    pub(super) fn combine(
        &mut self,
        other: &Self,
        layout: &Layout,
        is_in: bool,
    ) -> Result<(), Overflown> {
        for (at, page) in other.pages.iter().enumerate() {
            if let Some(page) = page {
                let own = own((&mut self.pages, &mut self.count), at, layout);
                layout.combine(own, page.get(), is_in)?;
            }
        }
        Ok(())
    }

    /// The keys that have rows.
    pub(super) fn ids(&self, layout: &Layout) -> impl Iterator<Item = u32> {
        let pages = self.pages.iter().map(|page| page.as_ref().map(Page::get));
        ids(pages, layout)
    }

    /// The pane as it is now, to be read elsewhere.
    pub(super) fn freeze(&mut self) -> FrozenSheet {
        let pages = self.pages.iter_mut();
        FrozenSheet {
            pages: pages.map(|page| page.as_mut().map(Page::freeze)).collect(),
            odd: self.odd.clone().unwrap_or_default(),
        }
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self, layout: &Layout) -> usize {
        self.count * layout.page_bytes()
            + self.pages.capacity() * size_of::<Option<Page<u64>>>()
            + self.odd.as_ref().map_or(0, |odd| odd.len()) * size_of::<((u32, usize), FloatSum)>()
    }

    /// A key's slots, and whether it has no rows.
    #[inline]
    fn slots(&mut self, id: u32, layout: &Layout) -> (bool, Slots<'_>) {
        let (page, at) = place(id);
        let page = own((&mut self.pages, &mut self.count), page, layout);
        let (key, odd) = (layout.key_mut(page, at), self.odd.as_mut());
        (key[0] == 0, Slots { id, key, odd })
    }
}

impl FrozenSheet {
    /// The keys that have rows.
    pub(super) fn ids(&self, layout: &Layout) -> impl Iterator<Item = u32> {
        let pages = self.pages.iter();
        let pages = pages.map(|page| page.as_ref().map(|page| &***page));
        ids(pages, layout)
    }

    /// A key's accumulators, if it has rows.
    pub(super) fn accumulators(&self, id: u32, layout: &Layout) -> Option<Vec<Accumulator>> {
        let (page, at) = place(id);
        let key = layout.key(self.pages.get(page)?.as_ref()?, at);
        if key[0] == 0 {
            return None;
        }
        let slots = 0..layout.slots();
        slots
            .map(|slot| layout.accumulator((id, slot), key, &self.odd))
            .collect()
    }
}

/// The page, which is made if there is none.
#[inline]
fn own<'a>(
    (pages, count): (&'a mut Vec<Option<Page<u64>>>, &mut usize),
    at: usize,
    layout: &Layout,
) -> &'a mut [u64] {
    if pages.len() <= at {
        pages.resize_with(at + 1, || None);
    }
    let page = pages[at].get_or_insert_with(|| {
        *count += 1;
        Page::new(layout.page())
    });
    page.get_mut()
}

fn ids<'a>(
    pages: impl Iterator<Item = Option<&'a [u64]>>,
    layout: &Layout,
) -> impl Iterator<Item = u32> {
    let pages = pages.enumerate();
    let pages = pages.filter_map(|(at, page)| Some((at << SHIFT, page?)));
    pages.flat_map(|(first, page)| {
        let keys = layout.keys(page).enumerate();
        let keys = keys.filter(|(_, key)| key[0] > 0);
        keys.map(move |(at, _)| (first + at) as u32)
    })
}
