//! State back from segments.

use wasmill_core::encoding::{self, EncodingError};
use wasmill_core::key::{self, KeyGroupRange, Keys};

use super::broadcast::BroadcastState;
use super::keyed::{Column, KeyedStates};
use super::{BatchKeys, KeyIndex, Meta};
use crate::segment::{Address, Kind, Merge, Reader, Row, SegmentError, Stretch};
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

/// Rows that are looked up together.
const ROWS_TOGETHER: usize = 4_096;

/// Where the rows of each segment belong, by their addresses; none where nowhere.
pub type Places<P> = Vec<Vec<Option<P>>>;

/// What `place` says of each address.
pub fn places<P>(segments: &[Reader], place: impl Fn(&Address) -> Option<P>) -> Places<P> {
    let of_segment = |segment: &Reader| segment.addresses().iter().map(&place).collect();
    segments.iter().map(of_segment).collect()
}

/// Hands each row that counts of some key groups of the index to `take`, with the id of its key,
/// which is made known, and where it belongs. `segments` are all that a manifest has of one owner,
/// in its order.
///
/// Keys that nothing holds afterwards are forgotten at the next [`KeyIndex::recycle`].
///
/// # Errors
/// If the segments are not what the format says, or `take` fails.
pub fn restore<P>(
    (segments, range): (&[Reader], KeyGroupRange),
    index: &mut KeyIndex,
    places: &Places<P>,
    mut take: impl FnMut(&mut KeyIndex, u32, (&P, &Row<'_>)) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    if places.iter().flatten().all(Option::is_none) {
        return Ok(());
    }
    let mut together = Together::default();
    for stretch in Merge::new(segments, range)? {
        together.push(stretch?);
        if together.rows >= ROWS_TOGETHER {
            together.take(index, places, &mut take)?;
        }
    }
    together.take(index, places, &mut take)
}

/// Rows that wait for others, to be looked up together.
#[derive(Default)]
struct Together<'a> {
    stretches: Vec<Stretch<'a>>,
    rows: usize,
    batch: BatchKeys,
}

impl<'a> Together<'a> {
    fn push(&mut self, stretch: Stretch<'a>) {
        self.rows += stretch.range.len();
        self.stretches.push(stretch);
    }

    fn take<P>(
        &mut self,
        index: &mut KeyIndex,
        places: &Places<P>,
        take: &mut impl FnMut(&mut KeyIndex, u32, (&P, &Row<'_>)) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        let keys = distinct(&self.stretches, index)?;
        self.batch.clear();
        index.lookup(&keys.keys, &keys.hashes, &mut self.batch);
        let mut row_to_key = keys.row_to_key.iter();
        for stretch in &self.stretches {
            let places = &places[stretch.segment];
            for (at, key) in stretch.range.clone().zip(&mut row_to_key) {
                let row = stretch.rows.get(at);
                if let Some(place) = &places[row.address] {
                    let position = self.batch.row_to_key[*key as usize];
                    let id = self.batch.ids[position as usize];
                    take(index, id, (place, &row))?;
                }
            }
        }
        self.stretches.clear();
        self.rows = 0;
        Ok(())
    }
}

/// The keys of some rows; equal ones that follow each other come once.
struct Distinct {
    keys: Keys,
    hashes: Vec<u64>,
    row_to_key: Vec<u32>,
}

fn distinct(stretches: &[Stretch<'_>], index: &KeyIndex) -> Result<Distinct, RestoreError> {
    let (mut words, mut data, mut offsets) = (Vec::new(), Vec::new(), vec![0]);
    let (mut groups, mut row_to_key) = (Vec::new(), Vec::new());
    let mut last: Option<&[u8]> = None;
    for stretch in stretches {
        let key_group = stretch.rows.key_group();
        for at in stretch.range.clone() {
            let key = stretch.rows.key(at);
            if last != Some(key) {
                last = Some(key);
                groups.push(key_group);
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
            row_to_key.push((groups.len() - 1) as u32);
        }
    }
    let keys = match index.is_word() {
        true => Keys::Words(words.into()),
        false => Keys::Bytes { offsets, data },
    };
    let hashes = keys.hashes().to_vec();
    for (hash, key_group) in hashes.iter().zip(&groups) {
        if key::key_group(*hash, index.key_groups()) != *key_group {
            let key_group = *key_group;
            return Err(RestoreError::Key { key_group });
        }
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
            Column::Operator(..) | Column::Broadcast(..) => false,
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
            Column::Operator(..) | Column::Broadcast(..) => return Err(not_whole(Kind::Value)),
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

    /// Whether all subtasks have a state alike.
    pub fn is_alike(&self, state: &str) -> bool {
        let columns = self.states.iter().zip(&self.columns);
        let mut alike = columns.filter(|(_, column)| matches!(column, Column::Broadcast(..)));
        alike.any(|(of, _)| of.name == state)
    }

    /// Puts back what all subtasks have alike.
    ///
    /// # Errors
    /// If it is not what the format says, or not of the state's types.
    pub fn restore_alike(&mut self, state: &str, bytes: &[u8]) -> Result<(), RestoreError> {
        for (of, column) in self.states.iter().zip(&mut self.columns) {
            let Column::Broadcast(known, _) = column else {
                continue;
            };
            if of.name != state {
                continue;
            }
            let check_entry = |key: &[u8], value: &[u8]| {
                of.key.as_ref().map_or(Ok(()), |of| check(of, key))?;
                check(&of.value, value)
            };
            let read = BroadcastState::from_bytes(bytes, check_entry);
            let read = read.ok_or_else(|| RestoreError::Row {
                kind: "broadcast",
                state: state.to_owned(),
            })?;
            *known = read.map_err(|source| RestoreError::Value {
                state: state.to_owned(),
                source,
            })?;
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
