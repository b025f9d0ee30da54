//! The buffers that cross the boundary between host and guest, as `docs/formats/buffers.md`
//! specifies them.
//!
//! [`Encoder`] writes a batch into one reusable arena, [`Decoder`] reads what a guest gave back. A
//! guest is hostile: the decoder panics on nothing, allocates no more than the arena's own size and
//! names what is wrong.

mod array;
mod decode;
mod directory;
mod effects;
mod encode;
mod input;
mod layout;
mod validate;
mod widen;

pub use decode::{Decoder, Question};
pub use directory::DecodeError;
pub use effects::{Effects, OutputRows, Rejects, StateChanges, TimerAction, TimerChange, Values};
pub use encode::{EncodeError, Encoder};
pub use input::{InputReader, InputRows};
pub use layout::{Layout, StateKind, StateLayout, ValueType};
pub use widen::can_widen;

/// Entries of a directory: section, column, kind, offset, length.
pub const WORDS_PER_ENTRY: usize = 5;

/// The longest directory that either side accepts.
pub const ENTRIES_MAX: usize = 65_536;

/// In a cause, marks the position of a timer change instead of a row index.
pub const CAUSE_TIMER: u32 = 0x8000_0000;

/// The group of a section: what its rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Group {
    /// Rows of an input; the ordinal is the input.
    Input = 1,
    /// The one order of the rows of several inputs.
    Order = 2,
    /// The distinct keys of the batch.
    Keys = 3,
    /// A state of these keys; the ordinal is the state.
    State = 4,
    /// The pending timers of these keys.
    Timers = 5,
    /// What there is once a batch.
    Batch = 6,
    /// Pairs of an aggregate's accumulators.
    Merges = 7,
    /// Rows that the guest emitted; the ordinal is the output.
    Output = 17,
    /// Rows that the guest refused.
    Rejects = 18,
    /// Changes of a state; the ordinal is the state.
    StateChanges = 19,
    /// Timers set, deleted and fired.
    TimerChanges = 20,
    /// Map states cleared; the ordinal is the state.
    MapClears = 21,
}

/// What the bytes of a directory entry are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Kind {
    /// The section's row count, in the place of the offset.
    Count = 0,
    /// A bitmap, 1 = present.
    Validity = 1,
    /// Fixed-width values.
    Values = 2,
    /// i32 offsets into data or into the next column.
    Offsets = 3,
    /// The bytes that offsets divide.
    Data = 4,
}

/// Numbers of the columns that the engine adds.
pub mod column {
    /// Index into the keys section.
    pub const KEY: u32 = 0xFFFF_FF00;
    /// Event time in microseconds.
    pub const TIME: u32 = 0xFFFF_FF01;
    /// The key's event-time clock in microseconds.
    pub const CLOCK: u32 = 0xFFFF_FF02;
    /// The row or timer change that caused an output row or a reject.
    pub const CAUSE: u32 = 0xFFFF_FF03;
    /// Kind of change of a row.
    pub const OP: u32 = 0xFFFF_FF04;
    /// Map entry of a row: add the state's position.
    pub const MAP_ENTRY: u32 = 0xFFFF_FF10;
}

/// The number of a section: its group and its ordinal.
pub const fn section(group: Group, ordinal: u16) -> u32 {
    (group as u32) << 16 | ordinal as u32
}

#[cfg(test)]
mod tests;
