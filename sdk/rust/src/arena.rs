//! Writing what crosses the boundary. Everything is laid out twice: once to learn its size, then
//! into one allocation of exactly that size.
//!
//! Each buffer begins at a whole word, so that the host reads values in place. Inside a component
//! an allocation that grows is copied, and the memory it had is not given back: hence the two
//! passes.

use crate::buffer::kind;

/// Takes sections and their buffers, in order.
pub trait Put {
    /// Begins a section of `rows` rows.
    fn section(&mut self, group: u32, ordinal: u32, rows: usize);

    /// Adds a buffer of `len` bytes to the section; `fill` gets them zeroed.
    fn buffer(&mut self, column: u32, kind: u32, len: usize, fill: impl FnOnce(&mut [u8]));

    /// Adds a copy of these bytes to the section.
    fn copy(&mut self, column: u32, kind: u32, bytes: &[u8]) {
        self.buffer(column, kind, bytes.len(), |out| out.copy_from_slice(bytes));
    }
}

/// Counts what a layout will need.
#[derive(Default)]
pub(crate) struct Measure {
    entries: usize,
    words: usize,
}

impl Put for Measure {
    fn section(&mut self, _group: u32, _ordinal: u32, _rows: usize) {
        self.entries += 1;
    }

    fn buffer(&mut self, _column: u32, _kind: u32, len: usize, _fill: impl FnOnce(&mut [u8])) {
        self.entries += 1;
        self.words += len.div_ceil(8);
    }
}

/// Writes a layout whose size is known.
pub(crate) struct Write {
    section: u32,
    directory: Vec<u32>,
    arena: Vec<u64>,
    used: usize,
}

impl Write {
    pub(crate) fn new(measure: &Measure) -> Self {
        Self {
            section: 0,
            directory: Vec::with_capacity(measure.entries * 5),
            arena: vec![0; measure.words],
            used: 0,
        }
    }

    /// The directory and the arena.
    pub(crate) fn finish(self) -> (Vec<u32>, Vec<u64>) {
        (self.directory, self.arena)
    }
}

impl Put for Write {
    fn section(&mut self, group: u32, ordinal: u32, rows: usize) {
        self.section = group << 16 | ordinal;
        let entry = [self.section, 0, kind::COUNT, rows as u32, 0];
        self.directory.extend_from_slice(&entry);
    }

    fn buffer(&mut self, column: u32, kind: u32, len: usize, fill: impl FnOnce(&mut [u8])) {
        let words = len.div_ceil(8);
        let offset = self.used * 8;
        let bytes: &mut [u8] =
            bytemuck::cast_slice_mut(&mut self.arena[self.used..self.used + words]);
        fill(&mut bytes[..len]);
        self.used += words;
        let entry = [self.section, column, kind, offset as u32, len as u32];
        self.directory.extend_from_slice(&entry);
    }
}

/// Something that can be laid out.
pub(crate) trait Layout {
    fn put(&self, put: &mut impl Put);

    /// The directory and the arena of it.
    fn lay_out(&self) -> (Vec<u32>, Vec<u64>) {
        let mut measure = Measure::default();
        self.put(&mut measure);
        let mut write = Write::new(&measure);
        self.put(&mut write);
        write.finish()
    }
}
