//! State as of a barrier: taken on the slot in a moment, written to a segment elsewhere.
//!
//! An image shares its pages with the columns. Nothing is copied while it is taken; the first
//! write to a page afterwards copies the page while the image lives, and takes it back for free
//! when it does not. A page is 512 plain values, or 64 cells that own memory (texts, lists,
//! maps): the write that comes first pays for so many. Timers and the few things that are not
//! paged are copied when the image is taken.

mod encode;

use wasmill_core::key::KeyGroupRange;
use wasmill_core::timer::{TimeDomain, Timer};

use super::changes::Since;
use super::fixed::FixedImage;
use super::key_store::KeyStoreImage;
use super::keyed::{Column, KeyedStates};
use super::list::ListImage;
use super::map::MapImage;
use super::paged::PagedImage;
use super::spill::DiskImage;
use super::variable::VarImage;
use crate::segment::{Address, Kind, Row, SegmentError};

pub use encode::encode;

/// The keys of a subtask as they were when the image was taken.
#[derive(Debug, Clone)]
pub struct KeysImage {
    pub(super) key_groups: u16,
    pub(super) range: KeyGroupRange,
    /// How many keys there were.
    pub(super) len: usize,
    /// One more than the largest id there was.
    pub(super) ids: u32,
    /// All that had changed since the checkpoint that this one may build on, if that is known.
    pub(super) changes: Option<Since>,
    /// The keys that were not in memory.
    pub(super) disk: Option<DiskImage>,
    /// Which ids are keys'.
    pub(super) holds: PagedImage<u32>,
    pub(super) keys: KeyStoreImage,
}

impl KeysImage {
    /// With the keys that were not in memory.
    pub fn set_disk(&mut self, disk: Option<DiskImage>) {
        self.disk = disk;
    }

    /// As one of those sees it that share the keys, by its number among the task's residents.
    pub fn of_owner(&self, owner: usize) -> Self {
        let disk = self.disk.as_ref();
        Self {
            disk: disk.map(|disk| disk.of_owner(owner)),
            ..self.clone()
        }
    }
}

/// Something that was kept by key, as of a barrier.
pub trait KeyedImage {
    /// What its rows are about.
    fn addresses(&self) -> Vec<Address>;

    /// Tells the ids of the keys for which there is something, each at least once.
    fn ids(&self, tell: &mut dyn FnMut(u32));

    /// Reads a little of what there is for each of these ids, so that it is in the processor's
    /// cache when they are written.
    fn warm(&self, _ids: &mut dyn Iterator<Item = u32>) {}

    /// Writes what there is for a key: rows in the order of their addresses, which count from 0.
    ///
    /// # Errors
    /// If a row is too large.
    fn write(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError>;
}

/// Takes rows.
pub(super) trait TakeRow {
    /// Takes one.
    ///
    /// # Errors
    /// If it is too large.
    fn take(&mut self, row: Row<'_>) -> Result<(), SegmentError>;

    /// From this event-time clock on the next row is of no use.
    fn until(&mut self, _clock: i64) {}

    /// The key is to be brought back at a time.
    fn wake(&mut self, _domain: TimeDomain, _time: i64) {}
}

/// Where the rows of one key go.
pub struct KeyRows<'a> {
    to: &'a mut dyn TakeRow,
    key_group: u16,
    key: &'a [u8],
    /// The number of the image's first address.
    base: usize,
}

impl<'a> KeyRows<'a> {
    /// The rows of a key, whose first address has this number.
    pub(super) fn new(
        to: &'a mut dyn TakeRow,
        (key_group, key): (u16, &'a [u8]),
        base: usize,
    ) -> Self {
        Self {
            to,
            key_group,
            key,
            base,
        }
    }

    /// From this event-time clock on the next row is of no use: there is no need to keep it then.
    pub fn until(&mut self, clock: i64) {
        self.to.until(clock);
    }

    /// The key is to be brought back when a timer of this time would be due.
    pub fn wake(&mut self, domain: TimeDomain, time: i64) {
        self.to.wake(domain, time);
    }

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
        self.to.take(Row {
            key_group: self.key_group,
            key: self.key,
            address: self.base + address,
            entry,
            value,
            time,
        })
    }
}

/// The states of an operator as they were at a barrier.
#[derive(Debug)]
pub struct StatesImage {
    addresses: Vec<Address>,
    columns: Vec<ColumnImage>,
    /// What is not by key, by the state's name.
    pub unkeyed: Vec<(String, Option<Vec<u8>>)>,
    /// What all subtasks have alike, by the state's name.
    pub alike: Vec<(String, Option<Vec<u8>>)>,
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
            alike: Vec::new(),
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
                Column::Broadcast(entries, _) => {
                    image.alike.push((name, entries.to_bytes()));
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

    fn warm(&self, ids: &mut dyn Iterator<Item = u32>) {
        for id in ids {
            for column in &self.columns {
                std::hint::black_box(column.is_present(id));
            }
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
pub(super) mod tests;
