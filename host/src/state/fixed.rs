//! Value states whose values all have one width.

use super::paged::{Frozen, Page};
use super::{BatchKeys, Clocks, KeyIndex, Meta};
use wasmill_core::{boundary::Values, descriptor::Ttl};

/// Cells of one page: few enough to copy one, which the first write after a barrier does, in a
/// moment.
const PAGE: usize = 1 << PAGE_SHIFT;
const PAGE_SHIFT: u32 = 9;

/// One value of `width` bytes for each key, in place: a cell is a word of meta data and the
/// value, padded to words. Absent values are zero.
#[derive(Debug)]
pub struct FixedColumn {
    width: usize,
    ttl: Option<Ttl>,
    pages: Vec<Page<u64>>,
    len: usize,
}

/// The values as they were when the image was taken.
#[derive(Debug)]
pub(super) struct FixedImage {
    width: usize,
    has_clock: bool,
    pages: Vec<Frozen<u64>>,
}

impl FixedColumn {
    /// A column of values of `width` bytes.
    pub fn new(width: usize, ttl: Option<Ttl>) -> Self {
        Self {
            width,
            ttl,
            pages: Vec::new(),
            len: 0,
        }
    }

    /// Width of a value in bytes.
    pub fn width(&self) -> usize {
        self.width
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
        self.pages.len() * PAGE * self.stride() * 8 + self.pages.capacity() * size_of::<Page<u64>>()
    }

    /// Writes the values of `ids` one after the other into `values` (zeros where there is none)
    /// and their presence into the bitmap `present`; gives how many there are.
    ///
    /// # Panics
    /// If `values` has not `width` bytes for each id, or `present` a bit.
    pub fn gather(
        &mut self,
        ids: &[u32],
        clocks: Clocks<'_>,
        values: &mut [u8],
        present: &mut [u8],
    ) -> usize {
        assert_eq!(values.len(), ids.len() * self.width, "a value for each id");
        self.grow_for(ids);
        if self.ttl.is_some() {
            self.gather_bytes(ids, values);
            return self.gather_presence(ids, clocks, values, present);
        }
        match self.width {
            8 => self.gather_words::<1>(ids, values, present),
            16 => self.gather_words::<2>(ids, values, present),
            24 => self.gather_words::<3>(ids, values, present),
            32 => self.gather_words::<4>(ids, values, present),
            40 => self.gather_words::<5>(ids, values, present),
            48 => self.gather_words::<6>(ids, values, present),
            64 => self.gather_words::<8>(ids, values, present),
            _ => {
                self.gather_bytes(ids, values);
                self.gather_presence(ids, clocks, values, present)
            }
        }
    }

    /// Applies changes: the value of change `i` belongs to the key at position `at[i]` of the
    /// batch; where `values` gives none, the state is cleared.
    pub fn scatter(
        &mut self,
        at: &[u32],
        values: Values<'_>,
        clocks: Clocks<'_>,
        (keys, index): (&BatchKeys, &mut KeyIndex),
    ) {
        self.grow_for(&keys.ids);
        if let (None, Some(bytes)) = (self.ttl, values.dense(self.width)) {
            let of = (at, bytes);
            match self.width {
                8 => return self.scatter_words::<1>(of, (keys, index)),
                16 => return self.scatter_words::<2>(of, (keys, index)),
                24 => return self.scatter_words::<3>(of, (keys, index)),
                32 => return self.scatter_words::<4>(of, (keys, index)),
                40 => return self.scatter_words::<5>(of, (keys, index)),
                48 => return self.scatter_words::<6>(of, (keys, index)),
                64 => return self.scatter_words::<8>(of, (keys, index)),
                _ => {}
            }
        }
        for (i, key) in at.iter().enumerate() {
            let id = keys.ids[*key as usize];
            match values.get(i) {
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

    /// Removes what has expired at `clock` among `count` ids from `from` on, and gives the id to
    /// go on from; 0 after the last.
    pub fn sweep(&mut self, from: u32, count: u32, clock: i64, index: &mut KeyIndex) -> u32 {
        let end = (from + count).min((self.pages.len() * PAGE) as u32);
        for id in from..end {
            let meta = self.meta(id);
            if meta.is_present() && !meta.is_live(self.ttl, clock) {
                self.clear(id, index);
            }
        }
        if end < from + count { 0 } else { end }
    }

    /// Words of a cell.
    fn stride(&self) -> usize {
        1 + self.width.div_ceil(8)
    }

    fn grow_for(&mut self, ids: &[u32]) {
        let Some(last) = ids.iter().max() else { return };
        while self.pages.len() <= *last as usize >> PAGE_SHIFT {
            let page = vec![0; PAGE * self.stride()];
            self.pages.push(Page::new(page.into()));
        }
    }

    #[inline]
    fn cell(&self, id: u32, stride: usize) -> &[u64] {
        let at = (id as usize & (PAGE - 1)) * stride;
        &self.pages[id as usize >> PAGE_SHIFT].get()[at..at + stride]
    }

    #[inline]
    fn cell_mut(&mut self, id: u32, stride: usize) -> &mut [u64] {
        let at = (id as usize & (PAGE - 1)) * stride;
        &mut self.pages[id as usize >> PAGE_SHIFT].get_mut()[at..at + stride]
    }

    #[inline]
    fn meta(&self, id: u32) -> Meta {
        let at = (id as usize & (PAGE - 1)) * self.stride();
        Meta(self.pages[id as usize >> PAGE_SHIFT].get()[at])
    }

    /// The common widths: a copy of a known number of words, presence in the same pass.
    #[inline]
    fn gather_words<const WORDS: usize>(
        &self,
        ids: &[u32],
        values: &mut [u8],
        present: &mut [u8],
    ) -> usize {
        let (words, _) = values.as_chunks_mut::<8>();
        let (cells, _) = words.as_chunks_mut::<WORDS>();
        let mut count = 0;
        for (byte, (out, bits)) in cells.chunks_mut(8).zip(present).enumerate() {
            let first = byte * 8;
            let mut seen = 0;
            for (bit, out) in out.iter_mut().enumerate() {
                let cell = self.cell(ids[first + bit], 1 + WORDS);
                let (meta, cell) = cell.split_first().expect("a cell begins with meta data");
                let cell: &[u64; WORDS] = cell.try_into().expect("a cell of this width");
                seen |= (*meta as u8 & 1) << bit;
                *out = cell.map(u64::to_le_bytes);
            }
            *bits = seen;
            count += seen.count_ones() as usize;
        }
        count
    }

    /// The way back of [`FixedColumn::gather_words`], where every value is present.
    #[inline]
    fn scatter_words<const WORDS: usize>(
        &mut self,
        (at, bytes): (&[u32], &[u8]),
        (keys, index): (&BatchKeys, &mut KeyIndex),
    ) {
        let (words, _) = bytes.as_chunks::<8>();
        let (values, _) = words.as_chunks::<WORDS>();
        let written = Meta::written(0).0;
        for (key, value) in at.iter().zip(values) {
            let id = keys.ids[*key as usize];
            let (meta, cell) = self
                .cell_mut(id, 1 + WORDS)
                .split_first_mut()
                .expect("a cell begins with meta data");
            let cell: &mut [u64; WORDS] = cell.try_into().expect("a cell of this width");
            *cell = value.map(u64::from_le_bytes);
            let is_new = !Meta(*meta).is_present();
            *meta = written;
            if is_new {
                self.len += 1;
                index.hold(id);
            }
        }
    }

    fn gather_bytes(&self, ids: &[u32], values: &mut [u8]) {
        let stride = self.stride();
        for (i, out) in values.chunks_exact_mut(self.width).enumerate() {
            let cell = &self.cell(ids[i], stride)[1..];
            for (to, from) in out.chunks_mut(8).zip(cell) {
                to.copy_from_slice(&from.to_le_bytes()[..to.len()]);
            }
        }
    }

    /// Second pass, over cells that the first has brought into the cache.
    fn gather_presence(
        &self,
        ids: &[u32],
        clocks: Clocks<'_>,
        values: &mut [u8],
        present: &mut [u8],
    ) -> usize {
        let mut count = 0;
        for (i, (ids, bits)) in ids.chunks(8).zip(present).enumerate() {
            *bits = 0;
            for (bit, id) in ids.iter().enumerate() {
                let meta = self.meta(*id);
                *bits |= u8::from(meta.is_present()) << bit;
                if self.ttl.is_some() && meta.is_present() {
                    let key = i * 8 + bit;
                    if !meta.is_live(self.ttl, clocks.of(self.ttl, key)) {
                        *bits &= !(1 << bit);
                        values[key * self.width..(key + 1) * self.width].fill(0);
                    }
                }
            }
            count += bits.count_ones() as usize;
        }
        count
    }

    /// Sets a value; true if there was none.
    #[inline]
    fn set(&mut self, id: u32, meta: Meta, value: &[u8]) -> bool {
        assert_eq!(value.len(), self.width, "a value of the column's width");
        let stride = self.stride();
        let cell = self.cell_mut(id, stride);
        let is_new = !Meta(cell[0]).is_present();
        cell[0] = meta.0;
        let (words, tail) = value.as_chunks::<8>();
        for (to, from) in cell[1..].iter_mut().zip(words) {
            *to = u64::from_le_bytes(*from);
        }
        if !tail.is_empty() {
            let mut word = [0; 8];
            word[..tail.len()].copy_from_slice(tail);
            cell[1 + words.len()] = u64::from_le_bytes(word);
        }
        self.len += usize::from(is_new);
        is_new
    }

    fn clear(&mut self, id: u32, index: &mut KeyIndex) {
        let stride = self.stride();
        if self.meta(id).is_present() {
            self.cell_mut(id, stride).fill(0);
            self.len -= 1;
            index.release(id);
        }
    }
}

/// Images, and the way back.
impl FixedColumn {
    /// The values as they are now. Nothing is copied before it changes.
    pub(super) fn image(&mut self) -> FixedImage {
        FixedImage {
            width: self.width,
            has_clock: self.ttl.is_some(),
            pages: self.pages.iter_mut().map(Page::freeze).collect(),
        }
    }

    /// Appends a value to `out` and gives when it was written, where that counts; none if there is
    /// no value. It may have expired.
    pub(super) fn read(&self, id: u32, out: &mut Vec<u8>) -> Option<Option<i64>> {
        if id as usize >> PAGE_SHIFT >= self.pages.len() {
            return None;
        }
        let (meta, words) = self.cell(id, self.stride()).split_first()?;
        read_cell((Meta(*meta), words), (self.width, self.ttl.is_some()), out)
    }

    /// Takes a value out of memory.
    pub(super) fn evict(&mut self, id: u32, index: &mut KeyIndex) {
        if (id as usize >> PAGE_SHIFT) < self.pages.len() {
            self.clear(id, index);
        }
    }

    /// Puts back a value; true if there was none.
    pub(super) fn restore(&mut self, id: u32, meta: Meta, value: &[u8]) -> bool {
        self.grow_for(&[id]);
        self.set(id, meta, value)
    }
}

impl FixedImage {
    /// One more than the largest id there may be.
    pub(super) fn ids_end(&self) -> usize {
        self.pages.len() << PAGE_SHIFT
    }

    pub(super) fn is_present(&self, id: u32) -> bool {
        self.cell(id).is_some_and(|cell| Meta(cell[0]).is_present())
    }

    /// Appends a value to `out` and gives when it was written, where that counts; none if there is
    /// no value.
    pub(super) fn read(&self, id: u32, out: &mut Vec<u8>) -> Option<Option<i64>> {
        let (meta, words) = self.cell(id)?.split_first()?;
        read_cell((Meta(*meta), words), (self.width, self.has_clock), out)
    }

    fn cell(&self, id: u32) -> Option<&[u64]> {
        let stride = 1 + self.width.div_ceil(8);
        let at = (id as usize & (PAGE - 1)) * stride;
        let page = self.pages.get(id as usize >> PAGE_SHIFT)?;
        Some(&page[at..at + stride])
    }
}

fn read_cell(
    (meta, words): (Meta, &[u64]),
    (width, has_clock): (usize, bool),
    out: &mut Vec<u8>,
) -> Option<Option<i64>> {
    if !meta.is_present() {
        return None;
    }
    let start = out.len();
    words
        .iter()
        .for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    out.truncate(start + width);
    Some(has_clock.then(|| meta.written_at()))
}

/// What the column holds of one key: for listings and tests.
impl FixedColumn {
    /// The value of a key at a clock.
    pub fn get(&self, id: u32, clock: i64) -> Option<Vec<u8>> {
        if id as usize >> PAGE_SHIFT >= self.pages.len() {
            return None;
        }
        let is_live = self.meta(id).is_live(self.ttl, clock);
        is_live.then(|| {
            let mut value = vec![0; self.width];
            self.gather_bytes(&[id], &mut value);
            value
        })
    }
}
