//! Keyed state in memory, for one subtask.
//!
//! [`KeyIndex`] gives each key a dense id, once a batch and for all operators of a task; every
//! state is then a column addressed by id: [`FixedColumn`], [`VarColumn`], [`ListColumn`] and
//! [`MapColumn`]. [`KeyedStates`] bundles the columns of one operator and moves them in and out
//! of the buffers that cross the boundary. Nothing here allocates per record once a key is known.
//!
//! At a barrier a column gives its pages to an image, which another thread writes down. Which keys
//! have changed since the checkpoint before is known by their ids ([`KeyIndex::touch`]).

pub mod bench;
mod broadcast;
mod changes;
mod fixed;
mod image;
mod index;
mod key_store;
mod keyed;
mod list;
mod map;
mod map_entries;
mod restore;
mod rocksdb;
mod spill;
mod variable;

pub use broadcast::broadcast_entries;
pub use changes::Cut;
pub use fixed::FixedColumn;
pub use image::{KeyRows, KeyedImage, KeysImage, StatesImage, TimersImage, encode};
pub use index::{BatchKeys, KeyIndex, Secret};
pub use keyed::KeyedStates;
pub use list::{ListColumn, Lists};
pub use map::MapColumn;
pub use map_entries::MapEntries;
pub use paged::{Cells, CellsImage, PLAIN, Paged, PagedImage, RICH};
pub use restore::{Places, RestoreError, Restored, places, restore};
pub use spill::{DiskImage, Kept, Resident, Residents, Scratch, Spill, SpillError, scratch};
pub use variable::VarColumn;

use wasmill_core::descriptor::Ttl;
use wasmill_core::paged;
use wasmill_core::timer::TimeDomain;

/// The clocks of a batch's keys, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Clocks<'a> {
    /// Event time of each key of the batch; may be empty if no state lives in event time.
    pub event: &'a [i64],
    /// Processing time, one for the batch.
    pub processing: i64,
}

impl Clocks<'_> {
    /// The clock that a TTL counts by, of the key at a position of the batch.
    #[inline]
    fn of(&self, ttl: Option<Ttl>, key: usize) -> i64 {
        match ttl.map(|ttl| ttl.time) {
            None => 0,
            Some(TimeDomain::Event) => self.event[key],
            Some(TimeDomain::Processing) => self.processing,
        }
    }
}

/// Whether a value is there and when it was written last, in one word: 0 is absent, so that
/// fresh memory holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Meta(u64);

impl Meta {
    /// Present, and written at `clock`. One bit of the clock is given up: 146,000 years are left
    /// on either side of 1970.
    #[inline]
    fn written(clock: i64) -> Self {
        Self((clock.clamp(i64::MIN / 2, i64::MAX / 2) as u64) << 1 | 1)
    }

    #[inline]
    fn is_present(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether the value is present and has not expired at `clock`.
    #[inline]
    fn is_live(self, ttl: Option<Ttl>, clock: i64) -> bool {
        let is_young = |ttl: Ttl| clock < self.written_at().saturating_add(ttl.after_us);
        self.is_present() && ttl.is_none_or(is_young)
    }

    /// When the value was written last.
    #[inline]
    fn written_at(self) -> i64 {
        self.0 as i64 >> 1
    }
}

/// A copy with the same capacity, by which memory is accounted for.
fn clone_with_capacity(bytes: &Vec<u8>) -> Vec<u8> {
    let mut copy = Vec::with_capacity(bytes.capacity());
    copy.extend_from_slice(bytes);
    copy
}

/// Sets or clears a bit of a bitmap, least significant first.
#[inline]
fn put_bit(bits: &mut [u8], at: usize, value: bool) {
    let mask = 1 << (at % 8);
    if value {
        bits[at / 8] |= mask;
    } else {
        bits[at / 8] &= !mask;
    }
}

#[cfg(test)]
mod tests;
