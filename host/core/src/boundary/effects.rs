//! What a call did, as views of the guest's arena that the decoder has checked.

use arrow_array::RecordBatch;
use arrow_buffer::ScalarBuffer;

/// The effects of one call.
#[derive(Debug, Default)]
pub struct Effects<'a> {
    /// Rows emitted, at most one entry an output; outputs without rows are absent.
    pub outputs: Vec<OutputRows>,
    /// Rows refused.
    pub rejects: Rejects<'a>,
    /// Changes of states, at most one entry a state.
    pub states: Vec<StateChanges<'a>>,
    /// Timers set, deleted and fired, in the order in which it happened.
    pub timers: Vec<TimerChange>,
}

/// Rows of one output, copied out of the arena.
#[derive(Debug)]
pub struct OutputRows {
    /// Position of the output in the descriptor.
    pub output: usize,
    /// The rows, in the order in which they were emitted.
    pub rows: RecordBatch,
    /// What caused each row: a row index, or [`super::CAUSE_TIMER`] and a position in
    /// [`Effects::timers`].
    pub causes: ScalarBuffer<u32>,
    /// Event times in microseconds where the guest gave them.
    pub times: Option<ScalarBuffer<i64>>,
    /// Kinds of change where the guest gave them.
    pub ops: Option<ScalarBuffer<u8>>,
}

/// Rows that the guest refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rejects<'a> {
    /// The row indexes.
    pub rows: &'a [u32],
    pub(super) offsets: &'a [i32],
    pub(super) data: &'a [u8],
}

impl<'a> Rejects<'a> {
    /// Number of rows refused.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row was refused.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The reason of the `i`-th reject.
    pub fn reason(&self, i: usize) -> &'a str {
        let bytes = &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize];
        // The decoder refused everything that is not UTF-8.
        str::from_utf8(bytes).unwrap_or_default()
    }
}

/// A column of encoded values.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Values of one width, one after the other.
    Fixed {
        /// Bytes of one value.
        width: usize,
        /// All values; those that are absent hold anything.
        bytes: &'a [u8],
        /// Bitmap, 1 = present; none if all are.
        validity: Option<&'a [u8]>,
    },
    /// Values of several widths.
    Variable {
        /// Where each value begins and the last one ends.
        offsets: &'a [i32],
        /// All values.
        data: &'a [u8],
        /// Bitmap, 1 = present; none if all are.
        validity: Option<&'a [u8]>,
    },
}

impl<'a> Values<'a> {
    /// All values one after the other, if each has this width and none is absent.
    pub fn dense(&self, width: usize) -> Option<&'a [u8]> {
        match *self {
            Self::Fixed {
                width: found,
                bytes,
                validity: None,
            } if found == width => Some(bytes),
            _ => None,
        }
    }

    /// The `i`-th value; none if it is absent.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        match *self {
            Self::Fixed {
                width,
                bytes,
                validity,
            } => is_set(validity, i).then(|| &bytes[i * width..(i + 1) * width]),
            Self::Variable {
                offsets,
                data,
                validity,
            } => is_set(validity, i).then(|| &data[offsets[i] as usize..offsets[i + 1] as usize]),
        }
    }
}

#[inline]
pub(super) fn is_set(bits: Option<&[u8]>, i: usize) -> bool {
    bits.is_none_or(|bits| bits[i / 8] >> (i % 8) & 1 == 1)
}

/// Changes of one state.
#[derive(Debug, Clone, Copy)]
pub enum StateChanges<'a> {
    /// Of a value state: each key at most once.
    Value {
        /// Position of the state in the descriptor.
        state: usize,
        /// Key indexes.
        keys: &'a [u32],
        /// The new values; absent where the state was cleared.
        values: Values<'a>,
    },
    /// Of a list state: each key at most once.
    List {
        /// Position of the state in the descriptor.
        state: usize,
        /// Key indexes.
        keys: &'a [u32],
        /// Items to drop from the front of each list, before the new ones are appended.
        drops: &'a [u32],
        /// The new items of key `i` are `offsets[i]..offsets[i + 1]`.
        offsets: &'a [i32],
        /// The new items of all keys.
        items: Values<'a>,
    },
    /// Of a map state: each entry at most once.
    Map {
        /// Position of the state in the descriptor.
        state: usize,
        /// Keys whose maps are cleared before the changes are applied.
        cleared: &'a [u32],
        /// Key index of each entry.
        keys: &'a [u32],
        /// The entries' own keys, encoded; always present.
        entries: Values<'a>,
        /// The new values; absent where the entry was removed.
        values: Values<'a>,
    },
    /// Of a broadcast state: each entry at most once.
    Broadcast {
        /// Position of the state in the descriptor.
        state: usize,
        /// How many entries change.
        count: usize,
        /// The entries' keys, encoded; always present.
        entries: Values<'a>,
        /// The new values; absent where the entry was removed.
        values: Values<'a>,
    },
    /// Of an operator state.
    Operator {
        /// Position of the state in the descriptor.
        state: usize,
        /// The new value; none if the state was cleared.
        value: Option<&'a [u8]>,
    },
}

/// What happened to a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerAction {
    /// It was set.
    Set,
    /// It was deleted.
    Deleted,
    /// It fired.
    Fired,
}

/// One change of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerChange {
    /// Key index.
    pub key: u32,
    /// Position of the timer in the descriptor.
    pub timer: u32,
    /// When it is due, in microseconds.
    pub time: i64,
    /// What happened.
    pub action: TimerAction,
}
