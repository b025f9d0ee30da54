//! Value states whose values have several widths.

use super::paged::{PagedImage, RICH};
use super::{BatchKeys, Clocks, KeyIndex, Meta, Paged, clone_with_capacity, put_bit};
use wasmill_core::descriptor::Ttl;

/// One byte string for each key. A value that changes keeps its memory if it fits.
#[derive(Debug)]
pub struct VarColumn {
    ttl: Option<Ttl>,
    cells: Paged<Cell, RICH>,
    len: usize,
    /// Memory behind the cells.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Cell {
    meta: Meta,
    value: Vec<u8>,
}

impl Clone for Cell {
    /// Memory is accounted for by capacity, so a copy has the same.
    fn clone(&self) -> Self {
        let (meta, value) = (self.meta, clone_with_capacity(&self.value));
        Self { meta, value }
    }
}

/// The values as they were when the image was taken.
#[derive(Debug)]
pub(super) struct VarImage {
    has_clock: bool,
    cells: PagedImage<Cell, RICH>,
}

impl VarColumn {
    /// A column without values.
    pub fn new(ttl: Option<Ttl>) -> Self {
        Self {
            ttl,
            cells: Paged::new(),
            len: 0,
            bytes: 0,
        }
    }

    /// Number of values, expired ones that have not been swept included.
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

    /// The value of a key, unless it has expired at its clock.
    #[inline]
    pub fn get(&self, id: u32, clock: i64) -> Option<&[u8]> {
        let cell = self.cells.get(id)?;
        cell.meta
            .is_live(self.ttl, clock)
            .then_some(&cell.value[..])
    }

    /// Measures the values of `ids`: their offsets into `offsets`, their presence into `present`.
    /// Gives how many bytes and how many values [`VarColumn::gather`] will write.
    pub fn measure(
        &self,
        ids: &[u32],
        clocks: Clocks<'_>,
        offsets: &mut Vec<i32>,
        present: &mut [u8],
    ) -> (usize, usize) {
        let (mut end, mut count) = (0, 0);
        offsets.push(0);
        for (key, id) in ids.iter().enumerate() {
            let value = self.get(*id, clocks.of(self.ttl, key));
            put_bit(present, key, value.is_some());
            count += usize::from(value.is_some());
            end += value.map_or(0, <[u8]>::len);
            // An arena is smaller than 4 GiB: the encoder refuses more, so the offset's own
            // value does not matter then.
            offsets.push(i32::try_from(end).unwrap_or(i32::MAX));
        }
        (end, count)
    }

    /// Writes the values of `ids`, one after the other, into `out`, which has the measured size.
    pub fn gather(&self, ids: &[u32], clocks: Clocks<'_>, mut out: &mut [u8]) {
        for (key, id) in ids.iter().enumerate() {
            if let Some(value) = self.get(*id, clocks.of(self.ttl, key)) {
                let (to, rest) = out.split_at_mut(value.len());
                to.copy_from_slice(value);
                out = rest;
            }
        }
    }

    /// Applies changes, as [`super::FixedColumn::scatter`] does.
    pub fn scatter<'v>(
        &mut self,
        at: &[u32],
        values: impl Fn(usize) -> Option<&'v [u8]>,
        clocks: Clocks<'_>,
        (keys, index): (&BatchKeys, &mut KeyIndex),
    ) {
        for (i, key) in at.iter().enumerate() {
            let id = keys.ids[*key as usize];
            match values(i) {
                Some(value) => {
                    let meta = Meta::written(clocks.of(self.ttl, *key as usize));
                    if self.set(id, meta, value) {
                        index.hold(id);
                    }
                }
                None => self.clear(id, index),
            }
        }
    }

    /// Removes what has expired, as [`super::FixedColumn::sweep`] does.
    pub fn sweep(&mut self, from: u32, count: u32, clock: i64, index: &mut KeyIndex) -> u32 {
        let end = (from + count).min(self.cells.capacity() as u32);
        for id in from..end {
            let meta = self.meta(id);
            if meta.is_present() && !meta.is_live(self.ttl, clock) {
                self.clear(id, index);
            }
        }
        if end < from + count { 0 } else { end }
    }

    fn set(&mut self, id: u32, meta: Meta, value: &[u8]) -> bool {
        let cell = self.cells.get_mut(id);
        let is_new = !cell.meta.is_present();
        cell.meta = meta;
        let before = cell.value.capacity();
        cell.value.clear();
        // A value that has become much smaller gives its memory back.
        if before > 64 && before > value.len() * 4 {
            cell.value = Vec::new();
        }
        cell.value.extend_from_slice(value);
        self.bytes = self.bytes + cell.value.capacity() - before;
        self.len += usize::from(is_new);
        is_new
    }

    fn clear(&mut self, id: u32, index: &mut KeyIndex) {
        if self.meta(id).is_present() {
            let cell = self.cells.get_mut(id);
            self.bytes -= cell.value.capacity();
            *cell = Cell::default();
            self.len -= 1;
            index.release(id);
        }
    }

    fn meta(&self, id: u32) -> Meta {
        self.cells.get(id).map_or(Meta::default(), |cell| cell.meta)
    }
}

/// Images, and the way back.
impl VarColumn {
    /// The values as they are now. Nothing is copied before it changes.
    pub(super) fn image(&mut self) -> VarImage {
        VarImage {
            has_clock: self.ttl.is_some(),
            cells: self.cells.image(),
        }
    }

    /// The value and when it was written, where that counts; none if there is none. It may have
    /// expired.
    pub(super) fn read(&self, id: u32) -> Option<(&[u8], Option<i64>)> {
        let cell = self.cells.get(id).filter(|cell| cell.meta.is_present())?;
        let written = self.ttl.map(|_| cell.meta.written_at());
        Some((&cell.value, written))
    }

    /// Takes a value out of memory.
    pub(super) fn evict(&mut self, id: u32, index: &mut KeyIndex) {
        self.clear(id, index);
    }

    /// Memory behind the cells, in bytes.
    pub(super) fn content_bytes(&self) -> usize {
        self.bytes
    }

    /// Puts back a value; true if there was none.
    pub(super) fn restore(&mut self, id: u32, meta: Meta, value: &[u8]) -> bool {
        self.set(id, meta, value)
    }
}

impl VarImage {
    pub(super) fn ids_end(&self) -> usize {
        self.cells.capacity()
    }

    pub(super) fn is_present(&self, id: u32) -> bool {
        self.cells
            .get(id)
            .is_some_and(|cell| cell.meta.is_present())
    }

    /// The value and when it was written, where that counts; none if there is none.
    pub(super) fn read(&self, id: u32) -> Option<(&[u8], Option<i64>)> {
        let cell = self.cells.get(id).filter(|cell| cell.meta.is_present())?;
        let written = self.has_clock.then(|| cell.meta.written_at());
        Some((&cell.value, written))
    }
}
