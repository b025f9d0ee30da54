//! From images to segments: all that there is, or what has changed.

use std::sync::Arc;

use wasmill_core::checkpoint::{Segment, SegmentKind};
use wasmill_core::key::{self, KeyGroupRange};

use super::{KeyRows, KeyedImage, KeysImage, TakeRow};
use crate::segment::{Address, Kind, Put, Row, SegmentError, Writer};
use crate::state::changes::Changes;
use crate::state::index::FREE;
use crate::state::key_store::KeyStoreImage;
use crate::state::spill::{DiskImage, Lookups, Places};

/// A segment of so many bytes ends with its key group, and the next one goes on: what is written
/// and stored at a time is bounded.
const SEGMENT_BYTES: usize = 32 << 20;
/// Keys whose values are brought into the cache together.
const BLOCK: usize = 64;
/// With so many deltas the next segment is a base, however small they are: a restore reads all.
const DELTAS_MAX: usize = 64;

/// Writes images of one subtask's keys into segments, and hands each to `put`. Gives the earlier
/// segments that still count: they and the new ones are all state of the subtask. Without any,
/// the new ones are it.
///
/// `earlier` is what the checkpoint names that this one may build on.
///
/// # Errors
/// If a row is too large, or a segment is not taken.
pub fn encode(
    keys: &KeysImage,
    images: &[&dyn KeyedImage],
    earlier: &[Segment],
    put: Put<'_>,
) -> Result<Vec<Segment>, SegmentError> {
    let (mut bases, mut addresses) = (Vec::new(), Vec::new());
    for image in images {
        bases.push(addresses.len());
        addresses.extend(image.addresses());
    }
    let images: Vec<_> = images.iter().copied().zip(bases).collect();
    let Some((ids, kept)) = keys.delta(earlier) else {
        let like = room(earlier, SegmentKind::Base);
        let mut pieces = Pieces::new((SegmentKind::Base, like), keys.range, &addresses, put)?;
        match &keys.disk {
            None => {
                for block in keys.order(&used(&images)).chunks(BLOCK) {
                    warm(block, &images);
                    for of in block {
                        keys.write(of, &images, &mut pieces)?;
                    }
                }
            }
            Some(disk) => keys.write_all((disk, &images), &mut pieces)?,
        }
        pieces.finish()?;
        return Ok(Vec::new());
    };
    let gone = addresses.len();
    addresses.push(Address {
        kind: Kind::Gone,
        name: String::new(),
    });
    let like = room(&kept, SegmentKind::Delta);
    let mut pieces = Pieces::new((SegmentKind::Delta, like), keys.range, &addresses, put)?;
    keys.write_changes(&ids, (&images, gone), &mut pieces)?;
    if pieces.rows > 0 {
        pieces.finish()?;
    }
    Ok(kept)
}

/// As many bytes as the newest segment of a kind has: the next one is much like it.
fn room(earlier: &[Segment], kind: SegmentKind) -> usize {
    let newest = earlier.iter().rev().find(|segment| segment.kind == kind);
    let bytes = newest.map_or(0, |segment| segment.object.bytes);
    usize::try_from(bytes).map_or(SEGMENT_BYTES, |bytes| bytes.min(SEGMENT_BYTES))
}

/// Images, each with the number of its first address.
type Images<'a> = Vec<(&'a dyn KeyedImage, usize)>;

/// Segments of one kind, one behind the other.
struct Pieces<'a> {
    kind: SegmentKind,
    addresses: &'a [Address],
    range: KeyGroupRange,
    writer: Writer,
    /// The key group of the last row.
    key_group: u16,
    rows: u64,
    put: Put<'a>,
}

impl<'a> Pieces<'a> {
    fn new(
        (kind, room): (SegmentKind, usize),
        range: KeyGroupRange,
        addresses: &'a [Address],
        put: Put<'a>,
    ) -> Result<Self, SegmentError> {
        Ok(Self {
            writer: Writer::new(kind, range, addresses, room)?,
            kind,
            addresses,
            range,
            key_group: range.start,
            rows: 0,
            put,
        })
    }

    fn finish(self) -> Result<(), SegmentError> {
        (self.put)(self.writer.finish()?)
    }
}

impl TakeRow for Pieces<'_> {
    fn take(&mut self, row: Row<'_>) -> Result<(), SegmentError> {
        let is_next = row.key_group != self.key_group;
        if is_next && self.writer.len() >= SEGMENT_BYTES {
            self.range.start = row.key_group;
            let next = Writer::new(self.kind, self.range, self.addresses, SEGMENT_BYTES)?;
            let full = std::mem::replace(&mut self.writer, next);
            (self.put)(full.finish_before(row.key_group)?)?;
        }
        self.key_group = row.key_group;
        self.rows += 1;
        self.writer.push(row)
    }
}

/// A key of memory on its way into a segment.
#[derive(Clone, Copy)]
struct Ordered {
    key_group: u16,
    id: u32,
    /// The key itself if keys are words.
    word: [u8; 8],
}

/// Brings what images have of some keys into the cache: keys that follow each other lie anywhere.
fn warm(block: &[Ordered], images: &Images<'_>) {
    for (image, _) in images {
        image.warm(&mut block.iter().map(|of| of.id));
    }
}

/// The ids for which an image has something, each once, ordered.
fn used(images: &Images<'_>) -> Vec<u32> {
    let mut bits: Vec<u64> = Vec::new();
    for (image, _) in images {
        image.ids(&mut |id| {
            let at = id as usize / 64;
            if at >= bits.len() {
                bits.resize(at + 1, 0);
            }
            bits[at] |= 1 << (id % 64);
        });
    }
    ids(&bits).collect()
}

fn ids(bits: &[u64]) -> impl Iterator<Item = u32> {
    let ids = |(word, at): (&u64, u32)| {
        let word = *word;
        let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
        bits.map(move |bit| at * 64 + bit)
    };
    bits.iter().zip(0..).flat_map(ids)
}

/// Keys that have changed and are not in memory.
struct Others<'a> {
    /// Those that were forgotten.
    forgotten: std::iter::Peekable<std::vec::IntoIter<Place<'a>>>,
    /// Those that left memory, and what is kept of them.
    evicted: Option<Places<'a>>,
    records: Option<Lookups<'a>>,
    /// The address that says that nothing is left of a key.
    gone: usize,
}

/// A key group and a key.
type Place<'a> = (u16, &'a [u8]);

impl<'a> Others<'a> {
    fn new(keys: &'a KeysImage, gone: usize) -> Self {
        let since = keys.changes.as_ref();
        let changes = since.map_or(&[][..], |since| &since.changes);
        let place = |key| (key::key_group(key::hash(key), keys.key_groups), key);
        let forgotten = changes.iter().flat_map(|changes| changes.gone());
        let mut forgotten: Vec<Place<'_>> = forgotten.map(place).collect();
        forgotten.sort_unstable();
        forgotten.dedup();
        let evicted = keys.disk.as_ref().zip(since).map(|(disk, since)| {
            let end = since.generation + since.changes.len() as u64;
            disk.changed(since.generation..end)
        });
        Self {
            forgotten: forgotten.into_iter().peekable(),
            evicted,
            records: keys.disk.as_ref().map(DiskImage::lookups),
            gone,
        }
    }

    /// Writes those that stand before a place, or all; what is in memory at the place itself is
    /// newer.
    fn write_before(
        &mut self,
        until: Option<Place<'_>>,
        pieces: &mut Pieces<'_>,
    ) -> Result<(), SegmentError> {
        loop {
            let forgotten = self.forgotten.peek().copied();
            let evicted = match &self.evicted {
                Some(places) => places.current()?.map(|(place, _)| place),
                None => None,
            };
            let Some(next) = forgotten.into_iter().chain(evicted).min() else {
                return Ok(());
            };
            if until.is_some_and(|until| next > until) {
                return Ok(());
            }
            if until != Some(next) {
                let rows = pieces.rows;
                if let Some(records) = &mut self.records {
                    records.write_key(next, pieces)?;
                }
                if pieces.rows == rows {
                    write_gone(next, self.gone, pieces)?;
                }
            }
            let is_evicted = evicted == Some(next);
            if forgotten == Some(next) {
                self.forgotten.next();
            }
            if let Some(places) = self.evicted.as_mut().filter(|_| is_evicted) {
                places.advance()?;
            }
        }
    }
}

/// Writes that nothing is left of a key; `gone` is the address that says so.
fn write_gone(
    (key_group, key): Place<'_>,
    gone: usize,
    pieces: &mut Pieces<'_>,
) -> Result<(), SegmentError> {
    pieces.take(Row {
        key_group,
        key,
        address: gone,
        entry: None,
        value: None,
        time: None,
    })
}

impl KeysImage {
    /// The ids that have changed and the segments that still count, if a delta is worth it: not if
    /// most keys have changed, or if the deltas so far are as large as their base.
    fn delta(&self, earlier: &[Segment]) -> Option<(Vec<u32>, Vec<Segment>)> {
        let changes = &self.changes.as_ref()?.changes;
        let is_own =
            |of: &&Segment| self.range.start <= of.range.start && of.range.end <= self.range.end;
        let kept: Vec<Segment> = earlier.iter().filter(is_own).cloned().collect();
        let bytes = |kind: SegmentKind| -> u64 {
            let of_kind = kept.iter().filter(|segment| segment.kind == kind);
            of_kind.map(|segment| segment.object.bytes).sum()
        };
        let is_delta = |of: &&Segment| of.kind == SegmentKind::Delta;
        let is_full = bytes(SegmentKind::Delta) >= bytes(SegmentKind::Base)
            || kept.iter().filter(is_delta).count() >= DELTAS_MAX;
        if kept.is_empty() || is_full {
            return None;
        }
        let mut bits: Vec<u64> = Vec::new();
        for changes in changes {
            bits.resize(bits.len().max(changes.bits().len()), 0);
            let both = bits.iter_mut().zip(changes.bits());
            both.for_each(|(all, some)| *all |= some);
        }
        let changed: Vec<u32> = ids(&bits).filter(|id| self.is_known(*id)).collect();
        let elsewhere = |changes: &Arc<Changes>| changes.gone().count() + changes.evicted();
        let elsewhere: usize = changes.iter().map(elsewhere).sum();
        let all = self.len + self.disk.as_ref().map_or(0, DiskImage::keys);
        let is_small = (changed.len() + elsewhere) * 2 <= all;
        is_small.then_some((changed, kept))
    }

    /// Writes all keys of memory and disk.
    fn write_all(
        &self,
        (disk, images): (&DiskImage, &Images<'_>),
        pieces: &mut Pieces<'_>,
    ) -> Result<(), SegmentError> {
        let known: Vec<u32> = (0..self.ids).filter(|id| self.is_known(*id)).collect();
        let mut records = disk.records();
        for block in self.order(&known).chunks(BLOCK) {
            warm(block, images);
            for of in block {
                let place = self.place(of);
                while let Some((before, record)) = records.current()?
                    && before <= place
                {
                    // What is in memory is newer than its record.
                    if before < place {
                        disk.write(before, record, pieces)?;
                    }
                    records.advance()?;
                }
                self.write(of, images, pieces)?;
            }
        }
        while let Some((place, record)) = records.current()? {
            disk.write(place, record, pieces)?;
            records.advance()?;
        }
        Ok(())
    }

    /// Writes the rows of the keys that have changed, and of those that have none any more that
    /// they are gone: those in memory, those that were forgotten, and those that left memory.
    fn write_changes(
        &self,
        ids: &[u32],
        (images, gone): (&Images<'_>, usize),
        pieces: &mut Pieces<'_>,
    ) -> Result<(), SegmentError> {
        let mut others = Others::new(self, gone);
        for block in self.order(ids).chunks(BLOCK) {
            warm(block, images);
            for of in block {
                let place = self.place(of);
                others.write_before(Some(place), pieces)?;
                let rows = pieces.rows;
                self.write(of, images, pieces)?;
                if pieces.rows == rows {
                    write_gone(place, gone, pieces)?;
                }
            }
        }
        others.write_before(None, pieces)
    }

    /// Whether an id is a key's.
    fn is_known(&self, id: u32) -> bool {
        id < self.ids && self.holds.get(id).is_some_and(|holds| *holds != FREE)
    }

    /// Writes all rows of a key.
    fn write(
        &self,
        of: &Ordered,
        images: &Images<'_>,
        pieces: &mut Pieces<'_>,
    ) -> Result<(), SegmentError> {
        let place = self.place(of);
        for (image, base) in images {
            image.write(of.id, &mut KeyRows::new(pieces, place, *base))?;
        }
        Ok(())
    }

    /// Ids with their key groups, in the order of (key group, key).
    fn order(&self, ids: &[u32]) -> Vec<Ordered> {
        match &self.keys {
            KeyStoreImage::Words(words) => {
                let place = |id: &u32| {
                    let word = words.get(*id).copied().unwrap_or_default();
                    let group = key::key_group(key::hash_word(word), self.key_groups);
                    // Keys are ordered by their bytes, the lowest of which stands first.
                    let ordered = u128::from(word.swap_bytes()) << 32 | u128::from(*id);
                    u128::from(group) << 96 | ordered
                };
                let mut places: Vec<u128> = ids.iter().map(place).collect();
                places.sort_unstable();
                let split = |place: u128| Ordered {
                    key_group: (place >> 96) as u16,
                    id: place as u32,
                    word: ((place >> 32) as u64).to_be_bytes(),
                };
                places.into_iter().map(split).collect()
            }
            KeyStoreImage::Bytes(keys) => {
                let bytes = |id: u32| keys.get(id).map_or(&[][..], |key| &**key);
                let group = |id: u32| key::key_group(key::hash(bytes(id)), self.key_groups);
                let mut places: Vec<_> = ids.iter().map(|id| (group(*id), *id)).collect();
                places.sort_unstable_by_key(|(group, id)| (*group, bytes(*id)));
                let ordered = |(key_group, id)| Ordered {
                    key_group,
                    id,
                    word: [0; 8],
                };
                places.into_iter().map(ordered).collect()
            }
        }
    }

    /// A key's group and its bytes.
    fn place<'a>(&'a self, of: &'a Ordered) -> Place<'a> {
        let key = match &self.keys {
            KeyStoreImage::Words(_) => &of.word[..],
            KeyStoreImage::Bytes(keys) => keys.get(of.id).map_or(&[][..], |key| key),
        };
        (of.key_group, key)
    }
}

/// All of a subtask's segments, for tests: those kept and those written.
#[cfg(test)]
pub(in crate::state) fn collect(
    keys: &KeysImage,
    images: &[&dyn KeyedImage],
    earlier: &[Segment],
) -> (Vec<Segment>, Vec<crate::segment::Encoded>) {
    let mut written = Vec::new();
    let kept = encode(keys, images, earlier, &mut |encoded| {
        written.push(encoded);
        Ok(())
    });
    (kept.expect("small rows"), written)
}
