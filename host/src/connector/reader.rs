//! From bytes to chunks of whole rows.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use wasmill_core::lineage::{Chunk, Tail};

use super::{ConnectorError, Position, SplitReader, Waiter};
use crate::format::framing::Framing;

/// The length in bytes of the longest row that a source accepts, unless its options say otherwise.
pub const ROW_BYTES_MAX: usize = 1 << 20;

/// How much is kept of a row that is too long: enough to recognise it.
const KEPT_BYTES: usize = 1024;

/// Read to find the header row of an input that is resumed.
const HEADER_BYTES: usize = 1 << 20;

/// Passed over at once.
const SKIPPED_BYTES: usize = 1 << 20;

/// Chunks index their bytes with 32 bits.
const CHUNK_BYTES_MAX: usize = 64 << 20;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Where the bytes come from.
pub(super) trait Input: Send {
    /// Appends up to `bytes_max` bytes; zero means that there are none now.
    fn read(&mut self, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize>;

    /// Passes over `count` bytes, up to byte `to`.
    fn skip(&mut self, count: u64, to: u64) -> Result<(), ConnectorError> {
        let mut bytes = Vec::new();
        let mut left = count;
        while left > 0 {
            bytes.clear();
            let most = usize::try_from(left)
                .unwrap_or(SKIPPED_BYTES)
                .min(SKIPPED_BYTES);
            bytes.reserve(most);
            let read = self
                .read(&mut bytes, most)
                .map_err(|error| self.error(error))?;
            if read == 0 {
                return Err(self.changed(to - left, to));
            }
            left = left.saturating_sub(read as u64);
        }
        Ok(())
    }

    /// What people call it.
    fn path(&self) -> &Path;

    /// The input has `found` bytes, of which `wanted` had been read when a checkpoint was taken.
    fn changed(&self, found: u64, wanted: u64) -> ConnectorError {
        let path = self.path().into();
        ConnectorError::Changed {
            path,
            found,
            wanted,
        }
    }

    /// Checks that the input is still the one that was opened; called where nothing new was read.
    fn check(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    /// The error's words for this input.
    fn error(&self, source: io::Error) -> ConnectorError {
        let path = self.path().into();
        ConnectorError::Read { path, source }
    }
}

/// How rows are cut out of an input.
#[derive(Debug, Clone, Copy)]
pub struct RowOptions {
    /// Where rows end.
    pub framing: Framing,
    /// Rows longer than this are refused.
    pub row_bytes_max: usize,
}

impl RowOptions {
    /// Rows of the default length.
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            row_bytes_max: ROW_BYTES_MAX,
        }
    }
}

/// Reads an input row by row; only whole rows leave it.
pub(super) struct RowReader<I> {
    input: I,
    options: RowOptions,
    /// Present where the input may grow.
    waiter: Option<Box<dyn Waiter>>,
    split: u32,
    split_name: Arc<str>,
    next_offset: u64,
    /// Bytes that were read from the input.
    taken: u64,
    /// The start of a row whose end was not read yet.
    partial: Vec<u8>,
    /// How many bytes of the partial row were dropped, once it is too long.
    dropped: Option<u64>,
    header: Option<Bytes>,
    started: bool,
    /// Whether whole rows may stand in what is called partial: more than was needed has been read
    /// to find the place to go on from.
    is_ahead: bool,
    ended: bool,
}

impl<I: Input> RowReader<I> {
    pub(super) fn new(
        input: I,
        options: RowOptions,
        split: u32,
        split_name: Arc<str>,
        waiter: Option<Box<dyn Waiter>>,
    ) -> Self {
        Self {
            input,
            options,
            waiter,
            split,
            split_name,
            next_offset: 0,
            taken: 0,
            partial: Vec::new(),
            dropped: None,
            header: None,
            started: false,
            is_ahead: false,
            ended: false,
        }
    }

    /// Reads once; the bytes are the partial row and what was read behind it.
    fn fill(&mut self, bytes_max: usize) -> Result<Vec<u8>, ConnectorError> {
        let mut bytes = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.is_ahead) {
            return Ok(bytes);
        }
        loop {
            bytes.reserve(bytes_max);
            let read = self.input.read(&mut bytes, bytes_max);
            let read = read.map_err(|error| self.input.error(error))?;
            self.taken += read as u64;
            if read > 0 {
                // The start of a byte order mark says nothing yet.
                if self.started || bytes.len() >= BOM.len() || !BOM.starts_with(&bytes) {
                    break;
                }
                continue;
            }
            self.input.check()?;
            if !self.waiter.as_mut().is_some_and(|waiter| waiter.wait()) {
                self.ended = true;
                break;
            }
        }
        if !std::mem::replace(&mut self.started, true) && bytes.starts_with(BOM) {
            bytes.drain(..BOM.len());
        }
        Ok(bytes)
    }

    /// Cuts the bytes into rows; what is left over waits for more.
    fn chunk(&mut self, bytes: Vec<u8>) -> Chunk {
        let mut chunk = Chunk {
            split: self.split,
            split_name: Arc::clone(&self.split_name),
            ..Chunk::default()
        };
        // A followed file that is stopped may end within a row: that row is not complete.
        let last = self.ended && self.waiter.is_none();
        let start = self.resume(&bytes, last, &mut chunk);
        let skipped = chunk.spans.len();
        let consumed = self
            .options
            .framing
            .cut(&bytes[start..], last, &mut chunk.spans);
        for (begin, end) in &mut chunk.spans[skipped..] {
            (*begin, *end) = (*begin + start as u32, *end + start as u32);
        }
        self.shorten(skipped, &mut chunk);
        self.keep(&bytes[start + consumed..]);
        if self.dropped.is_none() {
            // What was dropped of a row that was too long stands before `start`.
            chunk.tail = Tail::of(&bytes[start..bytes.len() - self.partial.len()]);
        }
        chunk.bytes = bytes.into();
        self.take_header(&mut chunk);
        chunk.first_offset = self.next_offset;
        self.next_offset += chunk.spans.len() as u64;
        // A row that is not complete begins before what is kept of it.
        chunk.next_byte = self.taken - self.partial.len() as u64 - self.dropped.unwrap_or(0);
        chunk
    }

    /// Goes on behind the rows before `position`, of which this input has given none yet.
    ///
    /// # Errors
    /// If the input cannot be read, or is shorter than it was.
    pub(super) fn resume_at(mut self, position: Position) -> Result<Self, ConnectorError> {
        let mut first = Vec::new();
        if self.options.framing.has_header() && position.bytes > 0 {
            first = self.fill(HEADER_BYTES)?;
            self.chunk(first.clone());
        }
        self.partial.clear();
        self.dropped = None;
        self.started = position.bytes > 0;
        self.next_offset = position.rows;
        let tail = u64::from(position.tail.bytes);
        let begin = position.bytes.saturating_sub(tail);
        if self.taken < begin {
            let skipped = self.input.skip(begin - self.taken, begin);
            skipped.map_err(|error| error.wanting(position.bytes))?;
            self.taken = begin;
            first.clear();
        }
        // From here on `first` ends with the bytes from `begin` to what was taken.
        while self.taken < position.bytes {
            let missing = usize::try_from(position.bytes - self.taken).unwrap_or(SKIPPED_BYTES);
            first.reserve(missing);
            let read = self.input.read(&mut first, missing);
            let read = read.map_err(|error| self.input.error(error))?;
            if read == 0 {
                return Err(self.input.changed(self.taken, position.bytes));
            }
            self.taken += read as u64;
        }
        let known = usize::try_from(self.taken - position.bytes).unwrap_or(usize::MAX);
        self.partial = first.split_off(first.len().saturating_sub(known));
        self.is_ahead = !self.partial.is_empty();
        let last = &first[first.len().saturating_sub(tail as usize)..];
        if tail > 0 && Tail::of(last) != position.tail {
            let path = self.input.path().into();
            let before = position.bytes;
            return Err(ConnectorError::Rewritten { path, before });
        }
        Ok(self)
    }

    /// Ends the row that is too long, if there is one; returns where the next row starts.
    fn resume(&mut self, bytes: &[u8], last: bool, chunk: &mut Chunk) -> usize {
        let Some(dropped) = self.dropped else {
            return 0;
        };
        let kept = KEPT_BYTES.min(bytes.len());
        let rest = &bytes[kept..];
        let end = memchr::memchr(b'\n', rest);
        if end.is_none() && !last {
            return bytes.len();
        }
        let len = end.unwrap_or(rest.len());
        chunk.spans.push((0, kept as u32));
        chunk.oversized.push((0, dropped + (kept + len) as u64));
        self.dropped = None;
        kept + len + usize::from(end.is_some())
    }

    /// Cuts complete rows that are too long to what is kept of them.
    fn shorten(&self, from: usize, chunk: &mut Chunk) {
        for (row, (start, end)) in chunk.spans.iter_mut().enumerate().skip(from) {
            let len = *end - *start;
            if len as usize > self.options.row_bytes_max {
                chunk.oversized.push((row as u32, u64::from(len)));
                *end = *start + len.min(KEPT_BYTES as u32);
            }
        }
    }

    /// Keeps the start of a row for the next read.
    fn keep(&mut self, rest: &[u8]) {
        match &mut self.dropped {
            // Still within the row that is too long: `resume` left nothing.
            Some(_) => (),
            None if rest.len() > self.options.row_bytes_max.max(KEPT_BYTES) => {
                self.dropped = Some((rest.len() - KEPT_BYTES) as u64);
                self.partial = rest[..KEPT_BYTES].to_vec();
            }
            None => self.partial = rest.to_vec(),
        }
    }

    fn take_header(&mut self, chunk: &mut Chunk) {
        if !self.options.framing.has_header() {
            return;
        }
        if self.header.is_none() && !chunk.spans.is_empty() {
            let (start, end) = chunk.spans.remove(0);
            self.header = Some(Bytes::copy_from_slice(
                &chunk.bytes[start as usize..end as usize],
            ));
            chunk.oversized.retain(|(row, _)| *row > 0);
            chunk.oversized.iter_mut().for_each(|(row, _)| *row -= 1);
        }
        chunk.header = self.header.clone().unwrap_or_default();
    }
}

impl<I: Input> SplitReader for RowReader<I> {
    fn next_chunk(&mut self, bytes_max: usize) -> Result<Option<Chunk>, ConnectorError> {
        let bytes_max = bytes_max.clamp(1, CHUNK_BYTES_MAX);
        while !self.ended {
            let bytes = self.fill(bytes_max)?;
            if let Some(dropped) = &mut self.dropped
                && !self.ended
                && memchr::memchr(b'\n', &bytes[KEPT_BYTES..]).is_none()
            {
                *dropped += (bytes.len() - KEPT_BYTES) as u64;
                self.partial = bytes;
                self.partial.truncate(KEPT_BYTES);
                continue;
            }
            let chunk = self.chunk(bytes);
            if !chunk.spans.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
