//! Where each row of a batch came from: the way back to the source's own bytes.

mod beside;
mod gather;
mod id;
pub mod trail;

use std::sync::Arc;

use arrow_buffer::ScalarBuffer;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::key::Keys;

pub use beside::{Beside, Headers};
pub use id::{key_seed, row_id, row_seed};

/// A stretch of one split as its reader gave it: the unit of decoding, and what dead letters point
/// into.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The split's number, unique within its source for the life of the job; once it has left
    /// its source, within the job: see [`split_of_job`].
    pub split: u32,
    /// What people call the split: a path, a topic's partition.
    pub split_name: Arc<str>,
    /// The offset of the first row: rows of a split are numbered from 0.
    pub first_offset: u64,
    /// The offset of each row, where they do not follow each other: rows that were held back when a
    /// checkpoint was taken. Empty otherwise.
    pub offsets: Vec<u64>,
    /// Bytes of the split before the row behind the last one, as unpacked.
    pub next_byte: u64,
    /// The last bytes before that.
    pub tail: Tail,
    /// The rows' original bytes, if there are any (a generator has none).
    pub bytes: Bytes,
    /// Row `i` is `bytes[spans[i].0 .. spans[i].1]`.
    pub spans: Vec<(u32, u32)>,
    /// The split's header row, where its format has one; it is not counted as a row.
    pub header: Bytes,
    /// Rows that are longer than their source allows, with their length in bytes: `bytes` holds
    /// only their start.
    pub oversized: Vec<(u32, u64)>,
    /// The offset to go on from behind the last row, where it is not the one that follows that
    /// row's: no rows stand in between.
    pub behind: Option<u64>,
    /// What stands beside the rows' bytes, where the source has such and somebody wants it.
    pub beside: Option<Box<Beside>>,
}

/// Bits of a split's number that count within its source.
const SPLIT_BITS: u32 = 20;

/// The number of a split among those of all of a job's sources, by the place of its source in the
/// document. Rows of one time from two sources have an order of their own by it, whichever came
/// first.
///
/// It is unique among 4,096 sources of 1,048,576 splits each; beyond that two may share one, and
/// then it is again the arrival that decides between equal offsets.
pub fn split_of_job(source: usize, split: u32) -> u32 {
    let source = u32::try_from(source).unwrap_or(u32::MAX);
    source.wrapping_shl(SPLIT_BITS) ^ split
}

/// The last bytes before a place in a split, to recognise the split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// How many; 0 where nothing is known.
    pub bytes: u32,
    /// Their 64-bit XXH3.
    pub hash: u64,
}

impl Tail {
    /// The most bytes: enough that other rows have other ones.
    pub const BYTES_MAX: usize = 1024;

    /// Of the bytes before a place, as many as there are.
    pub fn of(bytes: &[u8]) -> Self {
        let last = &bytes[bytes.len().saturating_sub(Self::BYTES_MAX)..];
        if last.is_empty() {
            return Self::default();
        }
        Self {
            bytes: small(last.len()),
            hash: xxh3_64(last),
        }
    }
}

impl Chunk {
    /// The offset of a row in its split.
    pub fn offset(&self, row: u32) -> u64 {
        let own = self.offsets.get(row as usize);
        own.map_or(self.first_offset + u64::from(row), |offset| *offset)
    }

    /// The offset to go on from behind the last row.
    pub fn next_offset(&self) -> u64 {
        let behind = || match self.spans.len().checked_sub(1) {
            Some(last) => self.offset(small(last)) + 1,
            None => self.first_offset,
        };
        self.behind.unwrap_or_else(behind)
    }

    /// Whether a row has no bytes at all, which is another thing than none.
    pub fn is_null(&self, row: u32) -> bool {
        let beside = self.beside.as_ref();
        beside.is_some_and(|beside| beside.nulls.binary_search(&row).is_ok())
    }

    /// The original bytes of a row; none where the source has no bytes.
    pub fn row(&self, row: u32) -> Option<Bytes> {
        let (start, end) = *self.spans.get(row as usize)?;
        if self.is_null(row) {
            return None;
        }
        Some(self.bytes.slice(start as usize..end as usize))
    }
}

/// Rows that an operator emitted for the rows of its input.
#[derive(Debug)]
pub struct Derived {
    /// The operator's uid: its name in the pipeline document.
    pub operator: Arc<str>,
    /// SHA-256 of the plugin that emitted the rows; empty for built-in operators.
    pub plugin: Arc<str>,
    /// The rows of the operator's input batch.
    pub parent: Lineage,
    /// What caused each row.
    pub causes: Vec<Cause>,
}

/// What made an operator emit a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The `ordinal`-th row emitted for this row of the parent.
    Row {
        /// Row of the parent batch.
        row: u32,
        /// Counts from 0 for each row and output.
        ordinal: u32,
    },
    /// A timer.
    Timer(Arc<TimerCause>),
    /// Two rows that a join brought together, or one that met none.
    Join(JoinCause),
}

/// The rows of the parent that a join brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinCause {
    /// Of the left side.
    pub left: Option<u32>,
    /// Of the right side.
    pub right: Option<u32>,
    /// Counts the windows that hold both from 0.
    pub ordinal: u32,
}

/// Results of windows: each row's key and window, and its number among the window's rows.
#[derive(Debug)]
pub struct WindowRows {
    /// The operator's uid.
    pub operator: Arc<str>,
    /// The keys, encoded.
    pub keys: Keys,
    /// Where the windows begin, in microseconds; the windows' numbers where they have no bounds.
    pub starts: Vec<i64>,
    /// Where they end.
    pub ends: Vec<i64>,
    /// Counts from 0 for each key and window.
    pub ordinals: Vec<u32>,
}

/// The firing that caused a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerCause {
    /// The key, encoded.
    pub key: Bytes,
    /// The timer's name.
    pub name: Arc<str>,
    /// When it was due, in microseconds.
    pub time: i64,
    /// Counts from 0 for each firing and output.
    pub ordinal: u32,
}

/// Where a stretch of rows came from.
#[derive(Debug, Clone)]
pub enum Ancestor {
    /// From a source.
    Chunk(Arc<Chunk>),
    /// From an operator.
    Derived(Arc<Derived>),
    /// Results of windows.
    Windows(Arc<WindowRows>),
}

/// The origin of every row of a batch: positions in the concatenation of its ancestors.
///
/// A batch straight from a source costs one pointer; a selection of it four bytes a row.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    /// Each with where its rows end in the concatenation.
    ancestors: Vec<(Ancestor, u32)>,
    /// Position of each row; `None` is the identity.
    index: Option<ScalarBuffer<u32>>,
    len: usize,
}

impl Lineage {
    /// All `len` rows of one ancestor, in order.
    pub fn whole(ancestor: Ancestor, len: usize) -> Self {
        Self {
            ancestors: vec![(ancestor, small(len))],
            index: None,
            len,
        }
    }

    /// The given rows of an ancestor that has `ancestor_len` rows.
    pub fn rows_of(ancestor: Ancestor, ancestor_len: usize, rows: ScalarBuffer<u32>) -> Self {
        let len = rows.len();
        Self {
            ancestors: vec![(ancestor, small(ancestor_len))],
            index: Some(rows),
            len,
        }
    }

    /// Rows that were made of rows of `parent`, in its order; those of one row are counted.
    pub fn emitted(operator: &Arc<str>, parent: Self, rows: &[u32]) -> Self {
        let mut last = Cause::Row {
            row: u32::MAX,
            ordinal: 0,
        };
        let causes = rows.iter().map(|row| {
            let ordinal = match &last {
                Cause::Row {
                    row: known,
                    ordinal,
                } if known == row => ordinal + 1,
                _ => 0,
            };
            last = Cause::Row { row: *row, ordinal };
            last.clone()
        });
        let derived = Derived {
            operator: Arc::clone(operator),
            plugin: "".into(),
            causes: causes.collect(),
            parent,
        };
        Self::whole(Ancestor::Derived(Arc::new(derived)), rows.len())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rows at `indices`, in that order. Of all rows in order it is the indices themselves,
    /// which are then shared and not copied.
    pub fn take(&self, indices: &ScalarBuffer<u32>) -> Self {
        let index = match &self.index {
            None => indices.clone(),
            Some(index) => indices.iter().map(|i| index[*i as usize]).collect(),
        };
        Self {
            ancestors: self.ancestors.clone(),
            index: Some(index),
            len: indices.len(),
        }
    }

    /// `len` rows from `offset` on.
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        let index = match &self.index {
            None if offset == 0 => None,
            None => Some((small(offset)..small(offset + len)).collect()),
            Some(index) => Some(index.slice(offset, len)),
        };
        Self {
            ancestors: self.ancestors.clone(),
            index,
            len,
        }
    }

    /// The rows of several batches, one after the other.
    pub fn concat<'a>(parts: impl IntoIterator<Item = &'a Lineage>) -> Self {
        let (mut ancestors, mut index, mut base) = (Vec::new(), Vec::new(), 0);
        for part in parts {
            match &part.index {
                None => index.extend(base..base + small(part.len)),
                Some(rows) => index.extend(rows.iter().map(|row| base + row)),
            }
            base = part.append_ancestors(base, &mut ancestors);
        }
        let len = index.len();
        Self {
            ancestors,
            index: Some(index.into()),
            len,
        }
    }

    /// The ancestor of a row, and the row's position in it.
    pub fn origin(&self, row: usize) -> Option<(&Ancestor, u32)> {
        let position = self.index.as_ref().map_or(small(row), |index| index[row]);
        let at = self.ancestors.partition_point(|(_, end)| *end <= position);
        let (ancestor, _) = self.ancestors.get(at)?;
        let start = at
            .checked_sub(1)
            .map_or(0, |before| self.ancestors[before].1);
        Some((ancestor, position - start))
    }

    /// Puts the ancestors behind others, whose rows end at `base`; tells where they end then.
    fn append_ancestors(&self, base: u32, ancestors: &mut Vec<(Ancestor, u32)>) -> u32 {
        let own = self.ancestors.iter();
        ancestors.extend(own.map(|(ancestor, end)| (ancestor.clone(), base + end)));
        base + self.ancestors.last().map_or(0, |(_, end)| *end)
    }

    /// The source row that a row goes back to, through any number of operators: of two that were
    /// joined the left one; none for rows of timers and of windows.
    pub fn source(&self, row: usize) -> Option<(&Arc<Chunk>, u32)> {
        match self.origin(row)? {
            (Ancestor::Chunk(chunk), position) => Some((chunk, position)),
            (Ancestor::Derived(derived), position) => match &derived.causes[position as usize] {
                Cause::Row { row, .. } => derived.parent.source(*row as usize),
                Cause::Join(join) => {
                    let row = join.left.or(join.right)?;
                    derived.parent.source(row as usize)
                }
                Cause::Timer(_) => None,
            },
            (Ancestor::Windows(_), _) => None,
        }
    }

    /// The row's place in the one order of its source: (split, offset).
    pub fn position(&self, row: usize) -> Option<(u32, u64)> {
        self.source(row)
            .map(|(chunk, at)| (chunk.split, chunk.offset(at)))
    }
}

/// Batches are bounded far below this.
fn small(len: usize) -> u32 {
    u32::try_from(len).expect("a batch has fewer than 2^32 rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(split: u32, first_offset: u64) -> Ancestor {
        Ancestor::Chunk(Arc::new(Chunk {
            split,
            first_offset,
            ..Chunk::default()
        }))
    }

    #[test]
    fn selections_and_concatenations_lead_back_to_the_source() {
        let a = Lineage::whole(chunk(1, 100), 10);
        let b = Lineage::whole(chunk(2, 0), 5);
        let both = Lineage::concat([&a.take(&vec![9, 0].into()), &b.slice(3, 2)]);
        let positions: Vec<_> = (0..both.len()).map(|row| both.position(row)).collect();
        assert_eq!(
            positions,
            [Some((1, 109)), Some((1, 100)), Some((2, 3)), Some((2, 4))]
        );
        assert_eq!(both.take(&vec![3, 1].into()).position(0), Some((2, 4)));
        assert_eq!(both.slice(1, 2).position(1), Some((2, 3)));
    }

    #[test]
    fn emitted_rows_lead_back_through_their_operator() {
        let parent = Lineage::whole(chunk(0, 50), 4);
        let causes = vec![
            Cause::Row { row: 3, ordinal: 0 },
            Cause::Row { row: 3, ordinal: 1 },
        ];
        let derived = Derived {
            operator: "op".into(),
            plugin: "".into(),
            parent,
            causes,
        };
        let rows = Lineage::whole(Ancestor::Derived(Arc::new(derived)), 2);
        assert_eq!(rows.position(1), Some((0, 53)));
    }

    #[test]
    fn rows_of_one_row_are_counted() {
        let parent = Lineage::whole(chunk(0, 50), 4);
        let rows = Lineage::emitted(&"in".into(), parent, &[0, 2, 2, 3]);
        let Some((Ancestor::Derived(derived), 2)) = rows.origin(2) else {
            panic!("{rows:?}");
        };
        assert_eq!(derived.causes[2], Cause::Row { row: 2, ordinal: 1 });
        assert_eq!(rows.position(2), Some((0, 52)));
        assert_eq!(rows.position(3), Some((0, 53)));
    }

    #[test]
    fn a_chunk_gives_back_a_rows_bytes() {
        let chunk = Chunk {
            bytes: "ab\ncd\n".into(),
            spans: vec![(0, 2), (3, 5)],
            ..Chunk::default()
        };
        assert_eq!(chunk.row(1).as_deref(), Some(&b"cd"[..]));
        assert_eq!(chunk.row(2), None);
        assert_eq!(chunk.next_offset(), 2);
    }

    #[test]
    fn a_chunk_with_gaps_goes_on_behind_its_last_row_or_further() {
        let mut chunk = Chunk {
            first_offset: 7,
            offsets: vec![7, 9, 12],
            spans: vec![(0, 0); 3],
            ..Chunk::default()
        };
        assert_eq!(chunk.next_offset(), 13);
        chunk.behind = Some(20);
        assert_eq!(chunk.next_offset(), 20);
    }

    #[test]
    fn a_null_has_no_bytes() {
        let chunk = Chunk {
            spans: vec![(0, 0), (0, 0)],
            beside: Some(Box::new(Beside {
                nulls: vec![1],
                ..Beside::default()
            })),
            ..Chunk::default()
        };
        assert_eq!(chunk.row(0).as_deref(), Some(&b""[..]));
        assert_eq!(chunk.row(1), None);
    }
}
