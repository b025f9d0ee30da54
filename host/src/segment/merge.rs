//! Segments of one owner, read as one: for each key, what the newest segment says of it.
//!
//! A delta says all that there is of a key that has changed, or that nothing is left. So of the
//! segments that have a key the last one counts, whole. All are sorted alike: one pass over them
//! side by side is enough, and nothing has to be remembered.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, rc::Rc};

use wasmill_core::checkpoint::SegmentKind;
use wasmill_core::key::KeyGroupRange;

use super::{Reader, Rows, SegmentError};

/// Rows of one segment that count: of one key group, and of as many keys as nothing else is said
/// about.
#[derive(Clone)]
pub struct Stretch<'a> {
    /// Which segment.
    pub segment: usize,
    /// The batch.
    pub rows: Rc<Rows<'a>>,
    /// Which of its rows.
    pub range: Range<usize>,
}

/// The rows of several segments that count, in the order of (key group, key).
pub struct Merge<'a> {
    segments: &'a [Reader],
    cursors: Vec<Cursor<'a>>,
    /// Where each cursor stands that is not at its end.
    heads: BinaryHeap<Reverse<Head<'a>>>,
    /// The key that was given out last, and by which segment.
    told: Option<(Place<'a>, usize)>,
}

type Place<'a> = (u16, &'a [u8]);
/// The least place comes first, and of equal ones the last segment.
type Head<'a> = (Place<'a>, Reverse<usize>);

struct Cursor<'a> {
    batches: Box<dyn Iterator<Item = Result<Rows<'a>, SegmentError>> + 'a>,
    rows: Option<Rc<Rows<'a>>>,
    at: usize,
}

impl<'a> Merge<'a> {
    /// Of these segments, in the order in which a manifest has them, the rows of a range of key
    /// groups.
    ///
    /// # Errors
    /// If one is not what the format says, or its base is missing.
    pub fn new(segments: &'a [Reader], range: KeyGroupRange) -> Result<Self, SegmentError> {
        for key_group in range.start..range.end {
            let mut covering = segments.iter().filter(|of| of.covers(key_group));
            let first = covering.next().map(Reader::kind);
            if first == Some(SegmentKind::Delta) {
                return Err(SegmentError::NoBase { key_group });
            }
        }
        let cursor = |segment: &'a Reader| Cursor {
            batches: Box::new(segment.rows(range)),
            rows: None,
            at: 0,
        };
        let mut merge = Self {
            segments,
            cursors: segments.iter().map(cursor).collect(),
            heads: BinaryHeap::with_capacity(segments.len()),
            told: None,
        };
        for segment in 0..segments.len() {
            merge.enter(segment)?;
        }
        Ok(merge)
    }

    /// Notes where a segment's cursor stands.
    fn enter(&mut self, segment: usize) -> Result<(), SegmentError> {
        if let Some(place) = self.cursors[segment].place()? {
            self.heads.push(Reverse((place, Reverse(segment))));
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Stretch<'a>>, SegmentError> {
        while let Some(Reverse((place, Reverse(segment)))) = self.heads.pop() {
            if let Some((told, by)) = self.told
                && told == place
                && by != segment
            {
                let is_base = |of: usize| self.segments[of].kind() == SegmentKind::Base;
                if is_base(by) && is_base(segment) {
                    let key_group = place.0;
                    return Err(SegmentError::Twice { key_group });
                }
                // A later segment has told all of this key.
                self.cursors[segment].advance(Some(place));
                self.enter(segment)?;
                continue;
            }
            let until = self.heads.peek().map(|Reverse((place, _))| *place);
            if let Some((rows, range)) = self.cursors[segment].advance(until) {
                let last = rows.key(range.end - 1);
                self.told = Some(((rows.key_group(), last), segment));
                self.enter(segment)?;
                return Ok(Some(Stretch {
                    segment,
                    rows,
                    range,
                }));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = Result<Stretch<'a>, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step();
        if next.is_err() {
            self.heads.clear();
        }
        next.transpose()
    }
}

impl<'a> Cursor<'a> {
    /// The next key; none at the end.
    fn place(&mut self) -> Result<Option<Place<'a>>, SegmentError> {
        loop {
            if let Some(rows) = &self.rows
                && self.at < rows.len()
            {
                return Ok(Some((rows.key_group(), rows.key(self.at))));
            }
            match self.batches.next().transpose()? {
                Some(rows) => (self.rows, self.at) = (Some(Rc::new(rows)), 0),
                None => return Ok(None),
            }
        }
    }

    /// Goes over the rows of the batch that stand before a place, and over those of the first key
    /// wherever that stands.
    fn advance(&mut self, until: Option<Place<'a>>) -> Option<(Rc<Rows<'a>>, Range<usize>)> {
        let rows = self.rows.clone().filter(|rows| self.at < rows.len())?;
        let (start, group) = (self.at, rows.key_group());
        let first = rows.key(start);
        let is_over = |key: &'a [u8]| key != first && until.is_some_and(|it| (group, key) >= it);
        self.at = match until {
            None => rows.len(),
            Some(_) => (start..rows.len())
                .find(|at| is_over(rows.key(*at)))
                .unwrap_or(rows.len()),
        };
        Some((rows, start..self.at))
    }
}
