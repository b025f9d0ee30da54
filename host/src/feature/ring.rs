//! The rows of one key that features may still look at.

use super::bytes::{Input, put, put_bytes, put_count};
use super::dictionary::Dictionary;
use super::image::{Form, Stored};
use super::reader::{Kind, Reader, Slot};

/// Words before a record's values: its time, and a bit for each slot that has a value.
const HEAD: usize = 2;

/// Records of a fixed number of words, oldest first; those before `head` are dead.
#[derive(Debug, Default, Clone)]
pub(super) struct Ring {
    words: Vec<u64>,
    head: usize,
    /// One for each slot; used by those kept in dictionaries.
    dictionaries: Vec<Dictionary>,
    scratch: Vec<u8>,
}

/// Some records of a ring, all of which a feature folds.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    words: &'a [u64],
    stride: usize,
    /// Where the slot's words stand in a record, and its bit.
    at: usize,
    bit: u32,
}

impl Ring {
    /// Prepares an unused ring for these slots.
    pub(super) fn prepare(&mut self, slots: &[Slot]) {
        self.dictionaries
            .resize_with(slots.len(), Dictionary::default);
    }

    /// Number of live records.
    pub(super) fn len(&self, slots: &[Slot]) -> usize {
        self.words.len() / stride(slots) - self.head
    }

    /// Adds a row behind all records with times up to its own, and gives its position; `None` adds
    /// it behind all records.
    pub(super) fn insert(
        &mut self,
        slots: &[Slot],
        readers: &[Reader<'_>],
        row: usize,
        time: Option<i64>,
    ) -> usize {
        let stride = stride(slots);
        self.make_room(stride);
        let at = match time {
            Some(time) if self.last_time(stride).is_some_and(|last| last > time) => {
                self.count_until(stride, time)
            }
            _ => self.words.len() / stride - self.head,
        };
        let start = self.words.len();
        self.words.extend_from_slice(&[time.unwrap_or(0) as u64, 0]);
        for (bit, reader) in readers.iter().enumerate() {
            self.push_value(start, bit, reader, row);
        }
        let wanted = (self.head + at) * stride;
        if wanted < start {
            self.words[wanted..].rotate_right(stride);
        }
        at
    }

    /// Drops records with times up to `time`. Gives how many.
    pub(super) fn evict_until(&mut self, slots: &[Slot], time: i64) -> usize {
        let stride = stride(slots);
        let mut count = 0;
        while self.first_time(stride).is_some_and(|first| first <= time) {
            self.evict_first(slots, stride);
            count += 1;
        }
        self.reset_if_empty(stride);
        count
    }

    /// Keeps the newest records, at most `count`. Gives how many were dropped.
    pub(super) fn evict_to(&mut self, slots: &[Slot], count: usize) -> usize {
        let surplus = self.len(slots).saturating_sub(count);
        let stride = stride(slots);
        for _ in 0..surplus {
            self.evict_first(slots, stride);
        }
        self.reset_if_empty(stride);
        surplus
    }

    /// The number of records with times up to `time`.
    pub(super) fn count_until(&self, stride: usize, time: i64) -> usize {
        let (mut low, mut high) = (0, self.words.len() / stride - self.head);
        while low < high {
            let middle = (low + high) / 2;
            if self.words[(self.head + middle) * stride] as i64 <= time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Records of a range of positions, seen through a slot (the first, for features that count
    /// rows).
    pub(super) fn records(
        &self,
        slots: &[Slot],
        slot: usize,
        range: std::ops::Range<usize>,
    ) -> Records<'_> {
        let stride = stride(slots);
        let before: usize = slots[..slot.min(slots.len())]
            .iter()
            .map(|slot| slot.width())
            .sum();
        Records {
            words: &self.words
                [(self.head + range.start) * stride..(self.head + range.end) * stride],
            stride,
            at: HEAD + before,
            bit: slot as u32,
        }
    }

    pub(super) fn dictionary(&self, slot: usize) -> &Dictionary {
        &self.dictionaries[slot]
    }

    /// The newest record's time.
    pub(super) fn last_time(&self, stride: usize) -> Option<i64> {
        let at = self.words.len().checked_sub(stride)?;
        (at >= self.head * stride).then(|| self.words[at] as i64)
    }

    pub(super) fn bytes(&self) -> usize {
        let dictionaries = self.dictionaries.iter();
        self.words.capacity() * 8
            + self.dictionaries.capacity() * size_of::<Dictionary>()
            + dictionaries.map(Dictionary::bytes).sum::<usize>()
    }

    /// Writes the live records: their count, then for each its time, a bit for each slot that has a
    /// value, and the values.
    pub(super) fn write(&self, slots: &[Slot], out: &mut Vec<u8>) {
        let stride = stride(slots);
        put_count(out, self.len(slots));
        for record in self.words[self.head * stride..].chunks_exact(stride) {
            put(out, record[0]);
            put(out, record[1]);
            let mut at = HEAD;
            for (bit, slot) in slots.iter().enumerate() {
                let words = &record[at..at + slot.width()];
                at += slot.width();
                if record[1] >> bit & 1 == 0 {
                    continue;
                }
                match slot.is_encoded() {
                    true => put_bytes(out, self.dictionaries[bit].value(words[0] as u32)),
                    false => words.iter().for_each(|word| put(out, *word)),
                }
            }
        }
    }

    /// Takes up what was written, with `columns` as it was then: each one's form, and its slot now
    /// if there is one. A ring that has records keeps them.
    pub(super) fn restore(
        &mut self,
        slots: &[Slot],
        columns: &[(Form, Option<usize>)],
        input: &mut Input<'_>,
    ) -> Option<()> {
        let stride = stride(slots);
        let is_kept = self.len(slots) > 0;
        let mut record = vec![0; stride];
        for _ in 0..input.count()? {
            record.fill(0);
            record[0] = input.word()?;
            let present = input.word()?;
            for (bit, (form, slot)) in columns.iter().enumerate() {
                if present >> bit & 1 == 0 {
                    continue;
                }
                let words = match form.read(input)? {
                    Stored::Encoded(value) => [self.take(*slot, is_kept, value), 0],
                    Stored::Words(words) => words,
                };
                if let Some(slot) = *slot {
                    record[1] |= 1 << slot;
                    let before: usize = slots[..slot].iter().map(|slot| slot.width()).sum();
                    let width = slots[slot].width();
                    record[HEAD + before..][..width].copy_from_slice(&words[..width]);
                }
            }
            let is_ordered = self
                .last_time(stride)
                .is_none_or(|last| last <= record[0] as i64);
            if !is_kept {
                is_ordered.then(|| self.words.extend_from_slice(&record))?;
            }
        }
        Some(())
    }

    /// The number of a restored value; nothing is held where there is no slot for it.
    fn take(&mut self, slot: Option<usize>, is_kept: bool, value: &[u8]) -> u64 {
        let dictionary = slot
            .filter(|_| !is_kept)
            .map(|slot| &mut self.dictionaries[slot]);
        dictionary.map_or(0, |dictionary| u64::from(dictionary.hold(value)))
    }

    fn push_value(&mut self, start: usize, bit: usize, reader: &Reader<'_>, row: usize) {
        let mut words = [0, 0];
        if reader.is_valid(row) {
            self.words[start + 1] |= 1 << bit;
            words = reader.words(row);
            if reader.slot.kind == Kind::Dictionary {
                self.scratch.clear();
                reader.encode(row, &mut self.scratch);
                words[0] = u64::from(self.dictionaries[bit].hold(&self.scratch));
            }
        }
        self.words.extend_from_slice(&words[..reader.slot.width()]);
    }

    fn first_time(&self, stride: usize) -> Option<i64> {
        self.words.get(self.head * stride).map(|time| *time as i64)
    }

    fn evict_first(&mut self, slots: &[Slot], stride: usize) {
        let record = self.head * stride;
        let mut at = record + HEAD;
        for (bit, slot) in slots.iter().enumerate() {
            if slot.kind == Kind::Dictionary && self.words[record + 1] >> bit & 1 == 1 {
                self.dictionaries[bit].release(self.words[at] as u32);
            }
            at += slot.width();
        }
        self.head += 1;
    }

    fn reset_if_empty(&mut self, stride: usize) {
        if self.head * stride == self.words.len() {
            self.words.clear();
            self.head = 0;
        }
    }

    /// Makes room for one more record: moves the live ones to the front if a quarter are dead (so
    /// each word moves at most three times for each that dies), and grows otherwise.
    fn make_room(&mut self, stride: usize) {
        if self.words.len() + stride > self.words.capacity()
            && self.head * stride * 4 >= self.words.len()
        {
            self.words.drain(..self.head * stride);
            self.head = 0;
            // Memory of a burst that is over is given back.
            if self.words.capacity() > 64 && self.words.capacity() > self.words.len() * 8 {
                self.words.shrink_to(self.words.len() * 2);
            }
        }
    }
}

/// Words of one record.
pub(super) fn stride(slots: &[Slot]) -> usize {
    HEAD + slots.iter().map(|slot| slot.width()).sum::<usize>()
}

impl<'a> Records<'a> {
    /// Number of records, those without a value included.
    pub(super) fn len(self) -> usize {
        self.words.len() / self.stride
    }

    /// The first words of the values that are there, oldest first.
    #[inline]
    pub(super) fn words(self) -> impl DoubleEndedIterator<Item = u64> + 'a {
        let Self { at, bit, .. } = self;
        let records = self.words.chunks_exact(self.stride);
        records
            .filter(move |record| record[1] >> bit & 1 == 1)
            .map(move |record| record[at])
    }

    /// The values that are there as i128s of two words.
    #[inline]
    pub(super) fn wide(self) -> impl DoubleEndedIterator<Item = i128> + 'a {
        let Self { at, bit, .. } = self;
        let records = self.words.chunks_exact(self.stride);
        let value = move |record: &[u64]| {
            (u128::from(record[at + 1]) << 64 | u128::from(record[at])) as i128
        };
        records
            .filter(move |record| record[1] >> bit & 1 == 1)
            .map(value)
    }
}
