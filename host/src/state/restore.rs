//! State back from segments.

use wasmill_core::encoding::{self, EncodingError};
use wasmill_core::key::{self, Keys};

use super::keyed::{Column, KeyedStates};
use super::{BatchKeys, KeyIndex, Meta};
use crate::segment::{Kind, Reader, Row, Rows, SegmentError};
use wasmill_core::descriptor::Ttl;
use wasmill_core::timer::TimeDomain;

/// Why state could not be put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The segment cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A key that the keyed stream cannot have, or that stands under another key group.
    #[error("the segment has a key that is not of its key group {key_group}, or not of its type")]
    Key {
        /// The group.
        key_group: u16,
    },
    /// A value that is not of its state's type.
    #[error("the segment has a value of state `{state}` that is not of its type")]
    Value {
        /// The state.
        state: String,
        /// Why not.
        #[source]
        source: EncodingError,
    },
    /// A row that lacks something.
    #[error("the segment has a row of {kind} `{state}` that is not whole")]
    Row {
        /// The kind.
        kind: &'static str,
        /// The state.
        state: String,
    },
    /// Two values for one key.
    #[error("the segments hold state `{state}` of one key twice")]
    Twice {
        /// The state.
        state: String,
    },
    /// More timers for one key than it may have.
    #[error("the segment has more timers of one key than a key may have")]
    Timers,
    /// State that is not by key, of more subtasks than there are.
    #[error(
        "operator `{operator}` kept state `{state}` in subtask {subtask}, and now there are \
         {parallelism} subtasks: state that is not by key cannot be split or joined, run with at \
         least {} subtasks",
        subtask + 1
    )]
    Subtasks {
        /// The operator.
        operator: String,
        /// The state.
        state: String,
        /// The subtask that kept it.
        subtask: u16,
        /// How many there are now.
        parallelism: u16,
    },
    /// What is not by key is not what was written.
    #[error("the checkpoint's part of operator `{operator}` is not what the format says: {what}")]
    Part {
        /// The operator.
        operator: String,
        /// What is wrong.
        what: String,
    },
}

/// The clocks at the restored barrier: the age of values that had no time to live when they were
/// written counts from them. Microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Restored {
    /// The operator's watermark.
    pub watermark: i64,
    /// Processing time.
    pub now: i64,
}

/// Hands each row of the index's key groups to `take`, with the id of its key, which is made known.
/// Keys that nothing holds afterwards are forgotten at the next [`KeyIndex::recycle`].
///
/// # Errors
/// If the segment is not what the format says, or `take` fails.
pub fn restore(
    reader: &Reader,
    index: &mut KeyIndex,
    mut take: impl FnMut(&mut KeyIndex, u32, &Row<'_>) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let mut batch = BatchKeys::default();
    for rows in reader.rows(index.range()) {
        let rows = rows?;
        let keys = distinct(&rows, index)?;
        batch.clear();
        index.lookup(&keys.keys, &keys.hashes, &mut batch);
        for (at, key) in keys.row_to_key.iter().enumerate() {
            let position = batch.row_to_key[*key as usize];
            take(index, batch.ids[position as usize], &rows.get(at))?;
        }
    }
    Ok(())
}

/// The keys of some rows; equal ones that follow each other come once.
struct Distinct {
    keys: Keys,
    hashes: Vec<u64>,
    row_to_key: Vec<u32>,
}

fn distinct(rows: &Rows<'_>, index: &KeyIndex) -> Result<Distinct, RestoreError> {
    let (mut words, mut data, mut offsets) = (Vec::new(), Vec::new(), vec![0]);
    let mut row_to_key = Vec::with_capacity(rows.len());
    let mut last: Option<&[u8]> = None;
    let key_group = rows.key_group();
    for at in 0..rows.len() {
        let key = rows.get(at).key;
        if last != Some(key) {
            last = Some(key);
            if index.is_word() {
                let word = key
                    .try_into()
                    .map_err(|_| RestoreError::Key { key_group })?;
                words.push(u64::from_le_bytes(word));
            } else {
                data.extend_from_slice(key);
                offsets.push(data.len() as u32);
            }
        }
        row_to_key.push((words.len() + offsets.len() - 2) as u32);
    }
    let keys = match index.is_word() {
        true => Keys::Words(words.into()),
        false => Keys::Bytes { offsets, data },
    };
    let hashes = keys.hashes().to_vec();
    let is_here = |hash: &u64| key::key_group(*hash, index.key_groups()) == key_group;
    if !hashes.iter().all(is_here) {
        return Err(RestoreError::Key { key_group });
    }
    Ok(Distinct {
        keys,
        hashes,
        row_to_key,
    })
}

impl KeyedStates {
    /// The state that rows of a kind and name belong to, if there is one.
    pub fn state_of(&self, kind: Kind, name: &str) -> Option<usize> {
        let at = self.states.iter().position(|state| state.name == name)?;
        let is_it = match &self.columns[at] {
            Column::Fixed(..) | Column::Var(..) => kind == Kind::Value,
            Column::List(..) => kind == Kind::List,
            Column::Map(..) => kind == Kind::Map,
            Column::Operator(..) => false,
        };
        is_it.then_some(at)
    }

    /// Puts back a row of a state.
    ///
    /// # Errors
    /// If it is not whole, not of the state's type, or is there already.
    pub fn restore(
        &mut self,
        state: usize,
        (id, row): (u32, &Row<'_>),
        clocks: Restored,
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let of = &self.states[state];
        let name = || of.name.clone();
        let not_whole = |kind: Kind| RestoreError::Row {
            kind: kind.name(),
            state: name(),
        };
        let wrong = |source| RestoreError::Value {
            state: name(),
            source,
        };
        let value = row.value.ok_or_else(|| not_whole(Kind::Value))?;
        check(&of.value, value).map_err(wrong)?;
        let meta = |ttl: &Option<Ttl>| Meta::written(written_at(row, *ttl, clocks));
        let is_first = match &mut self.columns[state] {
            Column::Fixed(column, ttl) => {
                let is_new = column.restore(id, meta(ttl), value);
                is_new
                    .then_some(true)
                    .ok_or_else(|| RestoreError::Twice { state: name() })?
            }
            Column::Var(column, ttl) => {
                let is_new = column.restore(id, meta(ttl), value);
                is_new
                    .then_some(true)
                    .ok_or_else(|| RestoreError::Twice { state: name() })?
            }
            Column::List(column, ttl) => column.restore(id, meta(ttl), value),
            Column::Map(column, ttl, _) => {
                let entry = row.entry.ok_or_else(|| not_whole(Kind::Map))?;
                let key = of.key.as_ref().ok_or_else(|| not_whole(Kind::Map))?;
                check(key, entry).map_err(wrong)?;
                column.restore(id, meta(ttl), (entry, value))
            }
            Column::Operator(..) => return Err(not_whole(Kind::Value)),
        };
        if is_first {
            index.hold(id);
        }
        Ok(())
    }

    /// Puts back what is not by key.
    ///
    /// # Errors
    /// If it is not of the state's type.
    pub fn restore_unkeyed(&mut self, state: &str, value: Vec<u8>) -> Result<(), RestoreError> {
        for (of, column) in self.states.iter().zip(&mut self.columns) {
            if let Column::Operator(known, _) = column
                && of.name == state
            {
                check(&of.value, &value).map_err(|source| RestoreError::Value {
                    state: state.to_owned(),
                    source,
                })?;
                *known = Some(value);
                break;
            }
        }
        Ok(())
    }
}

/// Whether bytes are a value of a field's type.
fn check(field: &arrow_schema::Field, bytes: &[u8]) -> Result<(), EncodingError> {
    let (of, nullable) = (field.data_type(), field.is_nullable());
    if encoding::width_if_any_bytes(of, nullable) == Some(bytes.len()) {
        return Ok(());
    }
    encoding::validate(of, nullable, bytes)
}

/// By which clock a restored value is as old as it was.
fn written_at(row: &Row<'_>, ttl: Option<Ttl>, clocks: Restored) -> i64 {
    let now = match ttl.map(|ttl| ttl.time) {
        None => return 0,
        Some(TimeDomain::Event) => clocks.watermark,
        Some(TimeDomain::Processing) => clocks.now,
    };
    row.time.unwrap_or(now)
}
