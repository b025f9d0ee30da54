//! Keys: their bytes, their hash, their key group, and the subtask that owns it
//! (`docs/formats/state.md`).

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, Schema, TimeUnit};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::{Encoder, EncodingError, Form};

/// Key groups of a job unless it says otherwise: the most subtasks that its keyed state can ever be
/// split into.
pub const KEY_GROUPS_DEFAULT: u16 = 128;

/// Why columns cannot be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No such column.
    #[error("there is no column `{name}`, the columns are {columns}")]
    UnknownColumn {
        /// The column asked for.
        name: String,
        /// The columns there are.
        columns: String,
    },
    /// A key of no columns.
    #[error("a key needs at least one column")]
    Empty,
    /// A column whose type has no encoding.
    #[error("column `{name}` cannot be part of a key")]
    Type {
        /// The column.
        name: String,
        /// Why not.
        #[source]
        source: EncodingError,
    },
}

/// The key columns of a stream.
#[derive(Debug, Clone)]
pub struct KeyCodec {
    /// Position and nullability of each column.
    columns: Vec<(usize, bool)>,
    is_word: bool,
}

/// The keys of a batch's rows.
#[derive(Debug, Clone)]
pub enum Keys {
    /// A single column of 8-byte integers without nulls: each key's eight bytes as a little-endian
    /// word.
    Words(ScalarBuffer<u64>),
    /// Key `i` is `data[offsets[i]..offsets[i + 1]]`.
    Bytes {
        /// One more than there are keys.
        offsets: Vec<u32>,
        /// The keys, one after the other.
        data: Vec<u8>,
    },
}

impl KeyCodec {
    /// The columns of `schema` that `names` lists, in that order.
    pub fn new<S: AsRef<str>>(schema: &Schema, names: &[S]) -> Result<Self, KeyError> {
        if names.is_empty() {
            return Err(KeyError::Empty);
        }
        let columns = names.iter().map(|name| column(schema, name.as_ref()));
        let columns: Vec<(usize, bool)> = columns.collect::<Result<_, _>>()?;
        let is_word = match columns[..] {
            [(at, false)] => is_word(schema.field(at).data_type()),
            _ => false,
        };
        Ok(Self { columns, is_word })
    }

    /// One key for all rows: no bytes.
    pub fn whole() -> Self {
        Self {
            columns: Vec::new(),
            is_word: false,
        }
    }

    /// Whether the keys are [`Keys::Words`].
    pub fn is_word(&self) -> bool {
        self.is_word
    }

    /// The keys of a batch. Words share the column's memory; bytes are written into one new buffer.
    ///
    /// # Panics
    /// If the batch has another schema than the codec.
    pub fn keys(&self, rows: &RecordBatch) -> Keys {
        if self.is_word {
            return Keys::Words(words(rows.column(self.columns[0].0)));
        }
        let encoders: Vec<Encoder<'_>> = self
            .columns
            .iter()
            .map(|&(at, nullable)| {
                Encoder::new(rows.column(at), nullable, Form::Key)
                    .expect("the codec has seen the column's type")
            })
            .collect();
        let mut data = Vec::with_capacity(rows.num_rows() * 12);
        let mut offsets = Vec::with_capacity(rows.num_rows() + 1);
        offsets.push(0);
        for row in 0..rows.num_rows() {
            encoders
                .iter()
                .for_each(|encoder| encoder.push(row, &mut data));
            offsets.push(u32::try_from(data.len()).expect("a batch's keys take less than 4 GiB"));
        }
        Keys::Bytes { offsets, data }
    }
}

impl Keys {
    /// Number of keys.
    pub fn len(&self) -> usize {
        match self {
            Self::Words(words) => words.len(),
            Self::Bytes { offsets, .. } => offsets.len() - 1,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of each key.
    pub fn hashes(&self) -> ScalarBuffer<u64> {
        match self {
            Self::Words(words) => words.iter().map(|word| hash_word(*word)).collect(),
            Self::Bytes { offsets, data } => {
                let spans = offsets.windows(2);
                spans
                    .map(|span| hash(&data[span[0] as usize..span[1] as usize]))
                    .collect()
            }
        }
    }

    /// A key's bytes.
    pub fn to_bytes(&self, row: usize) -> Vec<u8> {
        match self {
            Self::Words(words) => words[row].to_le_bytes().to_vec(),
            Self::Bytes { offsets, data } => {
                data[offsets[row] as usize..offsets[row + 1] as usize].to_vec()
            }
        }
    }
}

/// The position of a key column, and whether it may be null.
fn column(schema: &Schema, name: &str) -> Result<(usize, bool), KeyError> {
    let Some((at, field)) = schema.column_with_name(name) else {
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        return Err(KeyError::UnknownColumn {
            name: name.into(),
            columns: columns.join(", "),
        });
    };
    let empty = arrow_array::new_empty_array(field.data_type());
    Encoder::new(&empty, field.is_nullable(), Form::Key).map_err(|source| KeyError::Type {
        name: name.into(),
        source,
    })?;
    Ok((at, field.is_nullable()))
}

/// Whether a key of this type alone is hashed as a word of eight bytes.
fn is_word(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int64 | DataType::UInt64 | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

/// The column's own buffer, seen as words.
fn words(column: &dyn Array) -> ScalarBuffer<u64> {
    let buffer = match column.data_type() {
        DataType::UInt64 => column.as_primitive::<UInt64Type>().values().inner(),
        DataType::Int64 => column.as_primitive::<Int64Type>().values().inner(),
        _ => column
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .inner(),
    };
    ScalarBuffer::from(buffer.clone())
}

/// The hash of a key's bytes: XXH3 with 64 bits and seed 0.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The hash of a key of eight bytes: what XXH3 does for that length, written out so that a column
/// of them needs no call a row.
#[inline]
pub fn hash_word(word: u64) -> u64 {
    // Bytes 8..16 and 16..24 of XXH3's default secret, combined as its 4-to-8-byte branch does with
    // seed 0.
    const FLIP: u64 = 0x1cad_21f7_2c81_017c ^ 0xdb97_9083_e96d_d4de;
    const PRIME: u64 = 0x9fb2_1c65_1e98_df25;
    let mut hash = word.rotate_left(32) ^ FLIP;
    hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
    hash = hash.wrapping_mul(PRIME);
    hash ^= (hash >> 35).wrapping_add(8);
    hash = hash.wrapping_mul(PRIME);
    hash ^ (hash >> 28)
}

/// The key group of a hash: `(hash >> 32) * groups >> 32`, below `groups`.
///
/// ```
/// use wasmill_core::key::{hash_word, key_group};
///
/// let group = key_group(hash_word(7), 128);
/// assert!(group < 128);
/// assert_eq!(group, key_group(hash_word(7), 128), "the same on every machine, in every run");
/// ```
#[inline]
pub fn key_group(hash: u64, groups: u16) -> u16 {
    (((hash >> 32) * u64::from(groups)) >> 32) as u16
}

/// The subtask that owns a key group, of `parallelism` subtasks and `groups` key groups.
///
/// # Panics
/// If there are no groups.
///
/// ```
/// use wasmill_core::key::{KeyGroupRange, subtask_of};
///
/// for group in 0..128 {
///     let owner = subtask_of(group, 3, 128);
///     assert!(KeyGroupRange::of_subtask(owner, 3, 128).contains(group));
/// }
/// ```
#[inline]
pub fn subtask_of(key_group: u16, parallelism: u16, groups: u16) -> u16 {
    (u32::from(key_group) * u32::from(parallelism) / u32::from(groups)) as u16
}

/// The key groups of one subtask: from `start` up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyGroupRange {
    /// The first.
    pub start: u16,
    /// One more than the last.
    pub end: u16,
}

impl KeyGroupRange {
    /// The range of a subtask: exactly the groups for which [`subtask_of`] names it. It is empty
    /// only if there are more subtasks than groups.
    pub fn of_subtask(subtask: u16, parallelism: u16, groups: u16) -> Self {
        let first =
            |subtask: u32| (subtask * u32::from(groups)).div_ceil(u32::from(parallelism)) as u16;
        Self {
            start: first(u32::from(subtask)),
            end: first(u32::from(subtask) + 1),
        }
    }

    /// Every key group.
    pub fn all(groups: u16) -> Self {
        Self {
            start: 0,
            end: groups,
        }
    }

    /// Whether a group lies inside.
    pub fn contains(self, key_group: u16) -> bool {
        (self.start..self.end).contains(&key_group)
    }

    /// Number of groups.
    pub fn len(self) -> usize {
        usize::from(self.end - self.start)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Deals the rows of batches to subtasks.
#[derive(Debug, Clone)]
pub struct Partitioner {
    /// The subtask of each key group: a load instead of a division a row.
    subtasks: Vec<u16>,
    parallelism: u16,
}

impl Partitioner {
    /// For a job of `key_groups` groups, with `parallelism` subtasks behind the exchange.
    pub fn new(key_groups: u16, parallelism: u16) -> Self {
        let groups = 0..key_groups;
        Self {
            subtasks: groups
                .map(|group| subtask_of(group, parallelism, key_groups))
                .collect(),
            parallelism,
        }
    }

    /// Number of subtasks.
    pub fn parallelism(&self) -> usize {
        usize::from(self.parallelism)
    }

    /// Writes the rows of each subtask, in order, into its list; what the lists held is dropped.
    ///
    /// # Panics
    /// If `out` has another length than there are subtasks.
    pub fn partition(&self, hashes: &[u64], out: &mut [Vec<u32>]) {
        assert_eq!(out.len(), self.parallelism(), "one list for each subtask");
        let rows = u32::try_from(hashes.len()).expect("a batch has fewer than 2^32 rows");
        if let [all] = out {
            all.clear();
            all.extend(0..rows);
            return;
        }
        for list in out.iter_mut() {
            list.clear();
            list.reserve(hashes.len());
        }
        let groups = self.subtasks.len() as u16;
        for (row, hash) in (0..rows).zip(hashes) {
            let subtask = self.subtasks[usize::from(key_group(*hash, groups))];
            out[usize::from(subtask)].push(row);
        }
    }
}

#[cfg(test)]
mod tests;
