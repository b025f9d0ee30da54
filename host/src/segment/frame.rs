//! Messages of an Arrow IPC file, and the buffers in them. Nothing here trusts a byte.

use arrow_ipc::{Message, RecordBatch as Header};

use super::SegmentError;

/// What every message begins with.
const MARK: [u8; 4] = [0xff; 4];

/// A message.
pub(super) struct Frame<'a> {
    /// What it says.
    pub(super) message: Message<'a>,
    /// The buffers behind it.
    pub(super) body: &'a [u8],
    /// Where it begins in the file.
    pub(super) at: usize,
    /// Where the next one does.
    pub(super) next: usize,
}

pub(super) fn wrong(at: usize, what: impl Into<String>) -> SegmentError {
    let what = what.into();
    SegmentError::Content { at, what }
}

/// The message at a place of a file; none at the end of the messages.
pub(super) fn frame(file: &[u8], at: usize) -> Result<Option<Frame<'_>>, SegmentError> {
    let cut_off = || wrong(at, "a message is cut off");
    let rest = file.get(at..).ok_or_else(cut_off)?;
    let (mark, rest) = rest.split_first_chunk::<4>().ok_or_else(cut_off)?;
    if *mark != MARK {
        return Err(wrong(at, "no message begins here"));
    }
    let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(cut_off)?;
    let len = u32::from_le_bytes(*len) as usize;
    if len == 0 {
        return Ok(None);
    }
    let (head, rest) = rest.split_at_checked(len).ok_or_else(cut_off)?;
    let message = arrow_ipc::root_as_message(head).map_err(|error| wrong(at, error.to_string()))?;
    let body_len = usize::try_from(message.bodyLength()).map_err(|_| cut_off())?;
    let body = rest.get(..body_len).ok_or_else(cut_off)?;
    Ok(Some(Frame {
        message,
        body,
        at,
        next: at + 8 + len + body_len,
    }))
}

/// The columns of a batch, read one after the other in the schema's order.
pub(super) struct Buffers<'a> {
    body: &'a [u8],
    header: Header<'a>,
    at: usize,
    /// How many rows there are.
    pub(super) rows: usize,
    node: usize,
    buffer: usize,
}

impl<'a> Buffers<'a> {
    pub(super) fn new(frame: &Frame<'a>, header: Header<'a>) -> Result<Self, SegmentError> {
        if header.compression().is_some() {
            return Err(wrong(frame.at, "its buffers are compressed"));
        }
        let rows = usize::try_from(header.length());
        Ok(Self {
            body: frame.body,
            header,
            at: frame.at,
            rows: rows.map_err(|_| wrong(frame.at, "it has no number of rows"))?,
            node: 0,
            buffer: 0,
        })
    }

    /// A column of `width` bytes a row, none of which is null.
    pub(super) fn fixed(&mut self, width: usize) -> Result<&'a [u8], SegmentError> {
        let (values, valid) = self.nullable(width)?;
        match valid {
            None => Ok(values),
            Some(_) => Err(wrong(self.at, "a column that must not be null is")),
        }
    }

    /// A column of `width` bytes a row, and which rows are there; none if all are.
    pub(super) fn nullable(
        &mut self,
        width: usize,
    ) -> Result<(&'a [u8], Option<&'a [u8]>), SegmentError> {
        let valid = self.validity()?;
        let values = self.next()?;
        let len = self.rows.checked_mul(width);
        let values = len.and_then(|len| values.get(..len));
        Ok((values.ok_or_else(|| self.short())?, valid))
    }

    /// A column of byte strings.
    pub(super) fn strings(&mut self) -> Result<Strings<'a>, SegmentError> {
        let valid = self.validity()?;
        let (offsets, data) = (self.next()?, self.next()?);
        let strings = Strings {
            offsets: offsets.as_chunks().0,
            data,
            valid,
        };
        if self.rows == 0 {
            return Ok(strings);
        }
        let offsets = strings.offsets.get(..=self.rows);
        let offsets = offsets.ok_or_else(|| self.short())?;
        let mut before = 0;
        for offset in offsets {
            let offset = i32::from_le_bytes(*offset);
            if offset < before || offset as usize > data.len() {
                return Err(wrong(self.at, "a byte string leaves its buffer"));
            }
            before = offset;
        }
        Ok(strings)
    }

    fn validity(&mut self) -> Result<Option<&'a [u8]>, SegmentError> {
        let nodes = self.header.nodes().filter(|nodes| self.node < nodes.len());
        let node = nodes.map(|nodes| *nodes.get(self.node));
        let node = node.ok_or_else(|| self.short())?;
        self.node += 1;
        if usize::try_from(node.length()) != Ok(self.rows) {
            return Err(wrong(self.at, "a column has another length than its batch"));
        }
        let bits = self.next()?;
        if node.null_count() == 0 {
            return Ok(None);
        }
        let bits = bits.get(..self.rows.div_ceil(8));
        bits.map(Some).ok_or_else(|| self.short())
    }

    fn next(&mut self) -> Result<&'a [u8], SegmentError> {
        let buffers = self.header.buffers();
        let buffers = buffers.filter(|buffers| self.buffer < buffers.len());
        let buffer = buffers.map(|buffers| *buffers.get(self.buffer));
        self.buffer += 1;
        let slice = buffer.and_then(|buffer| {
            let start = usize::try_from(buffer.offset()).ok()?;
            let end = start.checked_add(usize::try_from(buffer.length()).ok()?)?;
            self.body.get(start..end)
        });
        slice.ok_or_else(|| wrong(self.at, "a buffer leaves its message"))
    }

    fn short(&self) -> SegmentError {
        wrong(self.at, "a column is shorter than its batch")
    }
}

/// Byte strings, each within the data.
pub(super) struct Strings<'a> {
    offsets: &'a [[u8; 4]],
    data: &'a [u8],
    valid: Option<&'a [u8]>,
}

impl<'a> Strings<'a> {
    /// One of them, below the number of rows; none if it is null.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&'a [u8]> {
        let offset = |at: usize| i32::from_le_bytes(self.offsets[at]) as usize;
        is_valid(self.valid, at).then(|| &self.data[offset(at)..offset(at + 1)])
    }

    pub(super) fn has_nulls(&self) -> bool {
        self.valid.is_some()
    }
}

/// Whether a row of a column is there.
#[inline]
pub(super) fn is_valid(bits: Option<&[u8]>, at: usize) -> bool {
    bits.is_none_or(|bits| bits[at / 8] >> (at % 8) & 1 == 1)
}
