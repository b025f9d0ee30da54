//! Segments, a stretch of key groups at a time.

use std::ops::Range;

use bytes::Bytes;
use wasmill_core::{
    checkpoint::{KeyHash, OperatorState, Scope, Segment},
    key::KeyGroupRange,
};

use super::{InspectionError, log::Store};
use crate::segment::{Address, Reader, Row, SegmentError, for_each_row};

/// A stretch ends when it has so many bytes, over all segments.
const STRETCH_BYTES: u64 = 16 << 20;

/// A segment that is read piece by piece. A piece is a segment itself: the head with the schema and
/// the words, the batches of some key groups, and the end.
pub(super) struct Pieces<'a> {
    name: String,
    segment: &'a Segment,
    store: &'a Store,
    head: Bytes,
    tail: Bytes,
    /// Where the manifest does not tell where key groups begin: all of it.
    whole: Option<Reader>,
}

impl<'a> Pieces<'a> {
    /// A segment whose digest is checked first.
    pub(super) fn open(
        store: &'a Store,
        scope: &Scope,
        segment: &'a Segment,
    ) -> Result<Self, InspectionError> {
        let name = scope.object(&segment.object.name);
        store.check(&name, &segment.object)?;
        Self::unchecked(store, name, segment)
    }

    /// A segment whose bytes may be others than those that were written.
    pub(super) fn unchecked(
        store: &'a Store,
        name: String,
        segment: &'a Segment,
    ) -> Result<Self, InspectionError> {
        let mut pieces = Self {
            name,
            segment,
            store,
            head: Bytes::new(),
            tail: Bytes::new(),
            whole: None,
        };
        let bytes = segment.object.bytes;
        if !has_offsets(segment) {
            let all = store.range(&pieces.name, 0..bytes)?;
            let reader = Reader::parse(all).and_then(|reader| reader.expect_kind(segment.kind));
            pieces.whole = Some(reader.map_err(|source| pieces.wrong(source))?);
            return Ok(pieces);
        }
        let (first, last) = (segment.offsets[0], segment.offsets[segment.range.len()]);
        pieces.head = store.range(&pieces.name, 0..first)?;
        pieces.tail = store.range(&pieces.name, last..bytes)?;
        Ok(pieces)
    }

    /// How long the head is, which every piece begins with.
    pub(super) fn head_len(&self) -> usize {
        self.head.len()
    }

    /// Whether the manifest tells where each key group begins.
    pub(super) fn has_groups(&self) -> bool {
        self.whole.is_none()
    }

    /// What stands behind the last batch.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    fn wrong(&self, source: SegmentError) -> InspectionError {
        let name = self.name.clone();
        InspectionError::Segment { name, source }
    }

    /// Where some key groups lie in the file; none if the manifest does not tell.
    pub(super) fn span(&self, range: KeyGroupRange) -> Option<Range<u64>> {
        let own = self.segment.range;
        let (first, last) = (range.start.max(own.start), range.end.min(own.end));
        if self.whole.is_some() || first >= last {
            return None;
        }
        let at = |group: u16| self.segment.offsets[usize::from(group - own.start)];
        Some(at(first)..at(last))
    }

    /// The piece of some key groups; none if the segment has none of them.
    pub(super) fn piece(&self, range: KeyGroupRange) -> Result<Option<Reader>, InspectionError> {
        if let Some(whole) = &self.whole {
            return Ok(Some(whole.clone()));
        }
        let Some(span) = self.span(range) else {
            return Ok(None);
        };
        let body = self.store.range(&self.name, span)?;
        let piece = [&self.head[..], &body, &self.tail].concat();
        let reader = Reader::parse(piece.into());
        let reader = reader.and_then(|reader| reader.expect_kind(self.segment.kind));
        reader.map(Some).map_err(|source| self.wrong(source))
    }
}

/// Why no more rows are read.
enum Stopped {
    Segment(SegmentError),
    Taken,
}

impl From<SegmentError> for Stopped {
    fn from(error: SegmentError) -> Self {
        Self::Segment(error)
    }
}

/// Whether the manifest tells where each key group begins, and what it tells can be.
fn has_offsets(segment: &Segment) -> bool {
    let offsets = &segment.offsets;
    let rising = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    let last = offsets.last().copied().unwrap_or(u64::MAX);
    let count = segment.range.end.saturating_sub(segment.range.start);
    count > 0 && rising && offsets.len() == usize::from(count) + 1 && last <= segment.object.bytes
}

/// The keyed state of one operator, of all its segments.
pub(super) struct Stretches<'a> {
    /// What the segments are of, for messages.
    name: String,
    segments: Vec<Pieces<'a>>,
    groups: u16,
}

impl<'a> Stretches<'a> {
    /// Opens the segments of an operator, each after its digest was checked.
    pub(super) fn open(
        store: &'a Store,
        scope: &Scope,
        (uid, state): (&str, &'a OperatorState),
        key_hash: KeyHash,
    ) -> Result<Self, InspectionError> {
        let segments = state.segments.iter();
        let segments = segments.map(|segment| Pieces::open(store, scope, segment));
        Ok(Self {
            name: uid.to_owned(),
            segments: segments.collect::<Result<_, _>>()?,
            groups: key_hash.groups,
        })
    }

    /// Hands on every row of some key groups, in the order of key group and key, with what it is
    /// about.
    pub(super) fn rows(
        &self,
        range: KeyGroupRange,
        take: &mut dyn FnMut(&Address, &Row<'_>) -> Result<(), InspectionError>,
    ) -> Result<(), InspectionError> {
        let mut start = range.start;
        while start < range.end.min(self.groups) {
            let stretch = self.stretch(start, range.end.min(self.groups));
            let pieces = self.segments.iter().map(|segment| segment.piece(stretch));
            let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
            let readers: Vec<Reader> = pieces.into_iter().flatten().collect();
            self.merged(&readers, stretch, take)?;
            start = stretch.end;
        }
        Ok(())
    }

    /// The rows that count of several segments.
    fn merged(
        &self,
        readers: &[Reader],
        range: KeyGroupRange,
        take: &mut dyn FnMut(&Address, &Row<'_>) -> Result<(), InspectionError>,
    ) -> Result<(), InspectionError> {
        let mut failed = None;
        let read = for_each_row(readers, range, |address, row| {
            take(address, row).map_err(|error| {
                failed = Some(error);
                Stopped::Taken
            })
        });
        match (read, failed) {
            (_, Some(error)) => Err(error),
            (Err(Stopped::Segment(source)), None) => Err(InspectionError::Segment {
                name: self.name.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }

    /// All rows.
    pub(super) fn all(
        &self,
        take: &mut dyn FnMut(&Address, &Row<'_>) -> Result<(), InspectionError>,
    ) -> Result<(), InspectionError> {
        self.rows(KeyGroupRange::all(self.groups), take)
    }

    /// As many key groups from `start` on as are read at once.
    fn stretch(&self, start: u16, last: u16) -> KeyGroupRange {
        let mut range = KeyGroupRange {
            start,
            end: start + 1,
        };
        let bytes = |range: KeyGroupRange| {
            let spans = self.segments.iter().filter_map(|it| it.span(range));
            spans.map(|span| span.end - span.start).sum::<u64>()
        };
        while range.end < last {
            let longer = KeyGroupRange {
                start,
                end: range.end + 1,
            };
            if bytes(longer) > STRETCH_BYTES {
                break;
            }
            range = longer;
        }
        range
    }
}
