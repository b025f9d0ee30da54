//! State as of a barrier: taken on the slot in a moment, written to a segment elsewhere.
//!
//! An image shares its pages with the columns. Nothing is copied while it is taken; the first
//! write to a page afterwards copies the page while the image lives, and takes it back for free
//! when it does not. A page is 512 plain values, or 64 cells that own memory (texts, lists,
//! maps): the write that comes first pays for so many. Timers and the few things that are not
//! paged are copied when the image is taken.

use wasmill_core::key::{self, KeyGroupRange};
use wasmill_core::timer::Timer;

use super::fixed::FixedImage;
use super::key_store::KeyStoreImage;
use super::keyed::{Column, KeyedStates};
use super::list::ListImage;
use super::map::MapImage;
use super::variable::VarImage;
use crate::segment::{Address, Encoded, Kind, Row, SegmentError, Writer};

/// The keys of a subtask as they were when the image was taken.
#[derive(Debug, Clone)]
pub struct KeysImage {
    pub(super) key_groups: u16,
    pub(super) range: KeyGroupRange,
    pub(super) keys: KeyStoreImage,
}

/// Something that was kept by key, as of a barrier.
pub trait KeyedImage {
    /// What its rows are about.
    fn addresses(&self) -> Vec<Address>;

    /// Tells the ids of the keys for which there is something, each at least once.
    fn ids(&self, tell: &mut dyn FnMut(u32));

    /// Writes what there is for a key: rows in the order of their addresses, which count from 0.
    ///
    /// # Errors
    /// If a row is too large.
    fn write(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError>;
}

/// Where the rows of one key go.
pub struct KeyRows<'a> {
    writer: &'a mut Writer,
    key_group: u16,
    key: &'a [u8],
    /// The number of the image's first address.
    base: usize,
}

impl KeyRows<'_> {
    /// A row about an address of the image.
    ///
    /// # Errors
    /// If it is too large.
    pub fn push(
        &mut self,
        address: usize,
        entry: Option<&[u8]>,
        value: Option<&[u8]>,
        time: Option<i64>,
    ) -> Result<(), SegmentError> {
        self.writer.push(Row {
            key_group: self.key_group,
            key: self.key,
            address: self.base + address,
            entry,
            value,
            time,
        })
    }
}

/// Writes images of one subtask's keys into a segment.
///
/// # Errors
/// If a row is too large.
pub fn encode(keys: &KeysImage, images: &[&dyn KeyedImage]) -> Result<Encoded, SegmentError> {
    let mut bases = Vec::new();
    let mut addresses = Vec::new();
    for image in images {
        bases.push(addresses.len());
        addresses.extend(image.addresses());
    }
    let mut writer = Writer::new(keys.range, &addresses)?;
    let mut word = [0; 8];
    for (key_group, id) in keys.order(&used(images)) {
        let mut rows = KeyRows {
            writer: &mut writer,
            key_group,
            key: keys.key(id, &mut word),
            base: 0,
        };
        for (image, base) in images.iter().zip(&bases) {
            rows.base = *base;
            image.write(id, &mut rows)?;
        }
    }
    writer.finish()
}

/// The ids for which an image has something, each once, ordered.
fn used(images: &[&dyn KeyedImage]) -> Vec<u32> {
    let mut bits: Vec<u64> = Vec::new();
    for image in images {
        image.ids(&mut |id| {
            let at = id as usize / 64;
            if at >= bits.len() {
                bits.resize(at + 1, 0);
            }
            bits[at] |= 1 << (id % 64);
        });
    }
    let ids = |(word, at): (u64, u32)| {
        let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
        bits.map(move |bit| at * 64 + bit)
    };
    bits.into_iter().zip(0..).flat_map(ids).collect()
}

impl KeysImage {
    /// Ids with their key groups, in the order of (key group, key).
    fn order(&self, ids: &[u32]) -> Vec<(u16, u32)> {
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
                let split = |place: u128| ((place >> 96) as u16, place as u32);
                places.into_iter().map(split).collect()
            }
            KeyStoreImage::Bytes(keys) => {
                let bytes = |id: u32| keys.get(id).map_or(&[][..], |key| &**key);
                let group = |id: u32| key::key_group(key::hash(bytes(id)), self.key_groups);
                let mut places: Vec<_> = ids.iter().map(|id| (group(*id), *id)).collect();
                places.sort_unstable_by_key(|(group, id)| (*group, bytes(*id)));
                places
            }
        }
    }

    /// A key's bytes.
    fn key<'a>(&'a self, id: u32, word: &'a mut [u8; 8]) -> &'a [u8] {
        match &self.keys {
            KeyStoreImage::Words(words) => {
                *word = words.get(id).copied().unwrap_or_default().to_le_bytes();
                word
            }
            KeyStoreImage::Bytes(keys) => keys.get(id).map_or(&[], |key| key),
        }
    }
}

/// The states of an operator as they were at a barrier.
#[derive(Debug)]
pub struct StatesImage {
    addresses: Vec<Address>,
    columns: Vec<ColumnImage>,
    /// What is not by key, by the state's name.
    pub unkeyed: Vec<(String, Option<Vec<u8>>)>,
}

#[derive(Debug)]
enum ColumnImage {
    Fixed(FixedImage),
    Var(VarImage),
    List(ListImage),
    Map(MapImage),
}

impl KeyedStates {
    /// The states as they are now. Nothing is copied before it changes.
    pub fn image(&mut self) -> StatesImage {
        let mut image = StatesImage {
            addresses: Vec::new(),
            columns: Vec::new(),
            unkeyed: Vec::new(),
        };
        for (state, column) in self.states.iter().zip(&mut self.columns) {
            let name = state.name.clone();
            let (kind, column) = match column {
                Column::Fixed(column, _) => (Kind::Value, ColumnImage::Fixed(column.image())),
                Column::Var(column, _) => (Kind::Value, ColumnImage::Var(column.image())),
                Column::List(column, _) => (Kind::List, ColumnImage::List(column.image())),
                Column::Map(column, ..) => (Kind::Map, ColumnImage::Map(column.image())),
                Column::Operator(value, _) => {
                    image.unkeyed.push((name, value.clone()));
                    continue;
                }
            };
            image.addresses.push(Address { kind, name });
            image.columns.push(column);
        }
        image
    }
}

impl KeyedImage for StatesImage {
    fn addresses(&self) -> Vec<Address> {
        self.addresses.clone()
    }

    fn ids(&self, tell: &mut dyn FnMut(u32)) {
        for column in &self.columns {
            let ids = 0..column.ids_end() as u32;
            ids.filter(|id| column.is_present(*id)).for_each(&mut *tell);
        }
    }

    fn write(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        let mut scratch = Vec::new();
        for (address, column) in self.columns.iter().enumerate() {
            match column {
                ColumnImage::Fixed(column) => {
                    scratch.clear();
                    if let Some(time) = column.read(id, &mut scratch) {
                        rows.push(address, None, Some(&scratch), time)?;
                    }
                }
                ColumnImage::Var(column) => {
                    if let Some((value, time)) = column.read(id) {
                        rows.push(address, None, Some(value), time)?;
                    }
                }
                ColumnImage::List(column) => {
                    for ((item, time), at) in column.items(id).zip(0_u32..) {
                        rows.push(address, Some(&at.to_be_bytes()), Some(item), time)?;
                    }
                }
                ColumnImage::Map(column) => {
                    for (entry, value, time) in column.entries(id) {
                        rows.push(address, Some(entry), Some(value), time)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl ColumnImage {
    fn ids_end(&self) -> usize {
        match self {
            Self::Fixed(column) => column.ids_end(),
            Self::Var(column) => column.ids_end(),
            Self::List(column) => column.ids_end(),
            Self::Map(column) => column.ids_end(),
        }
    }

    fn is_present(&self, id: u32) -> bool {
        match self {
            Self::Fixed(column) => column.is_present(id),
            Self::Var(column) => column.is_present(id),
            Self::List(column) => column.is_present(id),
            Self::Map(column) => column.is_present(id),
        }
    }
}

/// The pending timers of an operator as they were at a barrier.
#[derive(Debug)]
pub struct TimersImage {
    names: Vec<String>,
    /// By key id, and for each key by timer and time.
    timers: Vec<(u32, Timer)>,
}

impl TimersImage {
    /// Of these names, as in the descriptor, the timers of each key.
    pub fn new(names: Vec<String>, timers: impl Iterator<Item = (u32, Timer)>) -> Self {
        let timers = timers.collect();
        Self { names, timers }
    }

    fn of_key(&self, id: u32) -> &[(u32, Timer)] {
        let first = self.timers.partition_point(|(key, _)| *key < id);
        let count = self.timers[first..].partition_point(|(key, _)| *key == id);
        &self.timers[first..first + count]
    }
}

impl KeyedImage for TimersImage {
    fn addresses(&self) -> Vec<Address> {
        let kind = Kind::Timer;
        let names = self.names.iter().cloned();
        names.map(|name| Address { kind, name }).collect()
    }

    fn ids(&self, tell: &mut dyn FnMut(u32)) {
        self.timers.iter().for_each(|(id, _)| tell(*id));
    }

    fn write(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        let mut timers: Vec<Timer> = self.of_key(id).iter().map(|(_, timer)| *timer).collect();
        timers.sort_unstable_by_key(|timer| (timer.timer, timer.time));
        for timer in timers {
            rows.push(timer.timer as usize, None, None, Some(timer.time))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
