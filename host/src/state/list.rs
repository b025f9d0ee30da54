//! List states: appended to at the back, evicted from the front.

use super::{BatchKeys, Cells, CellsImage, Clocks, KeyIndex, Meta, clone_with_capacity};
use wasmill_core::descriptor::Ttl;

/// One list of byte strings for each key. A list lives and expires as a whole.
#[derive(Debug)]
pub struct ListColumn {
    /// The width of an item, if all have the same.
    width: Option<usize>,
    items_max: usize,
    ttl: Option<Ttl>,
    cells: Cells<Cell>,
    len: usize,
    /// Memory behind the cells.
    bytes: usize,
}

/// Items one after the other from `head` on, each behind its length unless all have one width.
#[derive(Debug, Default)]
struct Cell {
    meta: Meta,
    head: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl Clone for Cell {
    /// Memory is accounted for by capacity, so a copy has the same.
    fn clone(&self) -> Self {
        let bytes = clone_with_capacity(&self.bytes);
        Self { bytes, ..*self }
    }
}

/// The lists as they were when the image was taken.
#[derive(Debug)]
pub(super) struct ListImage {
    width: Option<usize>,
    has_clock: bool,
    cells: CellsImage<Cell>,
}

impl ListColumn {
    /// A column of lists of at most `items_max` items: longer ones drop their front.
    pub fn new(width: Option<usize>, items_max: usize, ttl: Option<Ttl>) -> Self {
        Self {
            width,
            items_max,
            ttl,
            cells: Cells::new(),
            len: 0,
            bytes: 0,
        }
    }

    /// The width of an item, if all have the same.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Number of lists that are not empty, expired ones that have not been swept included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.cells.bytes() + self.bytes
    }

    /// The items of a key's list at its clock, first to last.
    pub fn items(&self, id: u32, clock: i64) -> impl Iterator<Item = &[u8]> {
        let cell = self.cells.get(id);
        let live = cell.filter(|cell| cell.meta.is_live(self.ttl, clock));
        live.into_iter().flat_map(|cell| cell.items(self.width))
    }

    /// The items of the lists of `ids`, in order: appends where each list ends (in items), where
    /// each item ends (in bytes; nothing if all have one width) and the items themselves. The
    /// offsets start with 0.
    pub fn gather(&self, ids: &[u32], clocks: Clocks<'_>, out: &mut Lists) {
        out.clear();
        for (key, id) in ids.iter().enumerate() {
            let mut count = 0;
            for item in self.items(*id, clocks.of(self.ttl, key)) {
                count += 1;
                out.data.extend_from_slice(item);
                if self.width.is_none() {
                    out.items.push(offset(out.data.len()));
                }
            }
            let before = *out.lists.last().expect("offsets start with 0");
            out.lists.push(before + count);
        }
    }

    /// Applies changes: drops `drops[i]` items from the front of the list of the key at position
    /// `at[i]` and appends `items(i)`. A list without items is none.
    pub fn scatter<'v, I: Iterator<Item = &'v [u8]>>(
        &mut self,
        (at, drops): (&[u32], &[u32]),
        items: impl Fn(usize) -> I,
        clocks: Clocks<'_>,
        (keys, index): (&BatchKeys, &mut KeyIndex),
    ) {
        for (i, key) in at.iter().enumerate() {
            let id = keys.ids[*key as usize];
            let clock = clocks.of(self.ttl, *key as usize);
            let cell = self.cells.get_mut(id);
            let before = cell.bytes.capacity();
            let was_present = cell.meta.is_present();
            // The guest saw an expired list as empty, so that is what its changes are about.
            if was_present && !cell.meta.is_live(self.ttl, clock) {
                *cell = Cell::default();
            }
            cell.drop_front(drops[i] as usize, self.width);
            for item in items(i) {
                cell.push(item, self.width);
            }
            let surplus = (cell.count as usize).saturating_sub(self.items_max);
            cell.drop_front(surplus, self.width);
            if cell.count == 0 {
                *cell = Cell::default();
            } else {
                cell.meta = Meta::written(clock);
            }
            let is_present = cell.meta.is_present();
            self.bytes = self.bytes + cell.bytes.capacity() - before;
            match (was_present, is_present) {
                (false, true) => {
                    self.len += 1;
                    index.hold(id);
                }
                (true, false) => {
                    self.len -= 1;
                    index.release(id);
                }
                _ => {}
            }
        }
    }

    /// Removes what has expired, as [`super::FixedColumn::sweep`] does.
    pub fn sweep(&mut self, from: u32, count: u32, clock: i64, index: &mut KeyIndex) -> u32 {
        let end = (from + count).min(self.cells.capacity() as u32);
        for id in from..end {
            let meta = self.cells.get(id).map_or(Meta::default(), |cell| cell.meta);
            if meta.is_present() && !meta.is_live(self.ttl, clock) {
                self.evict(id, index);
            }
        }
        if end < from + count { 0 } else { end }
    }
}

/// Images, and the way back.
impl ListColumn {
    /// The lists as they are now. Nothing is copied before it changes.
    pub(super) fn image(&mut self) -> ListImage {
        ListImage {
            width: self.width,
            has_clock: self.ttl.is_some(),
            cells: self.cells.image(),
        }
    }

    /// The items, first to last, each with when its list was written, where that counts. It may
    /// have expired.
    pub(super) fn read(&self, id: u32) -> impl Iterator<Item = (&[u8], Option<i64>)> {
        let cell = self.cells.get(id).filter(|cell| cell.meta.is_present());
        cell.into_iter().flat_map(|cell| {
            let written = self.ttl.map(|_| cell.meta.written_at());
            cell.items(self.width).map(move |item| (item, written))
        })
    }

    /// Takes a list out of memory.
    pub(super) fn evict(&mut self, id: u32, index: &mut KeyIndex) {
        if self
            .cells
            .get(id)
            .is_some_and(|cell| cell.meta.is_present())
        {
            self.bytes -= self.cells.take(id).bytes.capacity();
            self.len -= 1;
            index.release(id);
        }
    }

    /// Memory behind the cells, in bytes.
    pub(super) fn content_bytes(&self) -> usize {
        self.bytes
    }

    /// Puts back an item behind those that were put back before; true if it is the first.
    pub(super) fn restore(&mut self, id: u32, meta: Meta, item: &[u8]) -> bool {
        let cell = self.cells.get_mut(id);
        let (is_new, before) = (!cell.meta.is_present(), cell.bytes.capacity());
        cell.meta = meta;
        cell.push(item, self.width);
        self.bytes = self.bytes + cell.bytes.capacity() - before;
        self.len += usize::from(is_new);
        is_new
    }
}

impl ListImage {
    pub(super) fn ids_end(&self) -> usize {
        self.cells.capacity()
    }

    pub(super) fn is_present(&self, id: u32) -> bool {
        self.cells
            .get(id)
            .is_some_and(|cell| cell.meta.is_present())
    }

    /// The items, first to last, each with when its list was written, where that counts.
    pub(super) fn items(&self, id: u32) -> impl Iterator<Item = (&[u8], Option<i64>)> {
        let cell = self.cells.get(id).filter(|cell| cell.meta.is_present());
        cell.into_iter().flat_map(|cell| {
            let written = self.has_clock.then(|| cell.meta.written_at());
            cell.items(self.width).map(move |item| (item, written))
        })
    }
}

/// Lists as the boundary carries them.
#[derive(Debug)]
pub struct Lists {
    /// Where each list begins and the last one ends, in items.
    pub lists: Vec<i32>,
    /// Where each item begins and the last one ends, in bytes; `[0]` if all have one width.
    pub items: Vec<i32>,
    /// The items.
    pub data: Vec<u8>,
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            lists: vec![0],
            items: vec![0],
            data: Vec::new(),
        }
    }
}

impl Lists {
    fn clear(&mut self) {
        self.lists.truncate(1);
        self.items.truncate(1);
        self.data.clear();
    }
}

impl Cell {
    /// First to last.
    fn items(&self, width: Option<usize>) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[self.head as usize..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (item, after) = split_item(rest, width);
            rest = after;
            Some(item)
        })
    }

    fn push(&mut self, item: &[u8], width: Option<usize>) {
        if width.is_none() {
            let len = u32::try_from(item.len()).expect("an item is smaller than an arena");
            self.bytes.extend_from_slice(&len.to_le_bytes());
        }
        self.bytes.extend_from_slice(item);
        self.count += 1;
    }

    /// Dropping more than there is drops all.
    fn drop_front(&mut self, count: usize, width: Option<usize>) {
        for _ in 0..count.min(self.count as usize) {
            let rest = &self.bytes[self.head as usize..];
            let left = split_item(rest, width).1.len();
            self.head = u32::try_from(self.bytes.len() - left).expect("a list is below 4 GiB");
            self.count -= 1;
        }
        // Once half is dead, the rest moves to the front: each byte moves at most once for each
        // byte dropped.
        if self.head as usize * 2 > self.bytes.len() {
            self.bytes.drain(..self.head as usize);
            self.head = 0;
        }
    }
}

/// The first item and what follows it.
fn split_item(bytes: &[u8], width: Option<usize>) -> (&[u8], &[u8]) {
    if let Some(width) = width {
        return bytes.split_at(width);
    }
    let (len, rest) = bytes.split_first_chunk().expect("an item has a length");
    rest.split_at(u32::from_le_bytes(*len) as usize)
}

/// As in [`super::VarColumn::measure`], an offset that does not fit meets an encoder that refuses.
fn offset(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}
