//! Texts of generated rows.

use wasmill_core::pipeline::TextPart;

use super::counter::Counting;

/// Literals are copied in blocks of so many bytes, of which the tail is overwritten by what
/// follows: a copy whose length is known needs no call.
const BLOCK: usize = 32;
/// The longest number.
const NUMBER_BYTES: usize = 20;

/// A text's pieces, ready to be written for many rows.
pub(super) struct Text {
    pieces: Vec<Piece>,
    /// The longest that a row's text can be, with what the last block copies too much.
    bytes_max: usize,
}

enum Piece {
    Literal {
        blocks: Vec<[u8; BLOCK]>,
        len: usize,
    },
    Number(Counting),
}

impl Text {
    pub(super) fn new(parts: &[TextPart], seed: u64) -> Self {
        let piece = |part: &TextPart| match part {
            TextPart::Literal(text) => Piece::literal(text.as_bytes()),
            TextPart::Number(counter) => Piece::Number(Counting::new(*counter, seed)),
        };
        let pieces: Vec<Piece> = parts.iter().map(piece).collect();
        let bytes_max = pieces.iter().map(Piece::bytes_max).sum::<usize>() + BLOCK;
        Self { pieces, bytes_max }
    }

    /// Writes each row's text, ended by `end`, and calls `span` with where it lies.
    pub(super) fn write(
        &self,
        rows: impl Iterator<Item = u64>,
        end: &[u8],
        mut span: impl FnMut(usize, usize),
    ) -> Vec<u8> {
        let (mut bytes, mut at) = (Vec::new(), 0);
        let mut digits = itoa::Buffer::new();
        for row in rows {
            if bytes.len() < at + self.bytes_max + end.len() {
                let more = (bytes.len() + self.bytes_max + end.len()) * 2;
                bytes.resize(more, 0);
            }
            let start = at;
            for piece in &self.pieces {
                at = piece.write(row, &mut bytes, at, &mut digits);
            }
            span(start, at);
            bytes[at..at + end.len()].copy_from_slice(end);
            at += end.len();
        }
        bytes.truncate(at);
        bytes
    }
}

impl Piece {
    fn literal(text: &[u8]) -> Self {
        let block = |text: &[u8]| {
            let mut block = [0; BLOCK];
            block[..text.len()].copy_from_slice(text);
            block
        };
        Self::Literal {
            blocks: text.chunks(BLOCK).map(block).collect(),
            len: text.len(),
        }
    }

    fn bytes_max(&self) -> usize {
        match self {
            Self::Literal { len, .. } => *len,
            Self::Number(_) => NUMBER_BYTES,
        }
    }

    /// Writes the piece and gives where it ends.
    #[inline]
    fn write(&self, row: u64, out: &mut [u8], at: usize, digits: &mut itoa::Buffer) -> usize {
        match self {
            Self::Literal { blocks, len } => {
                for (block, out) in blocks.iter().zip(out[at..].chunks_exact_mut(BLOCK)) {
                    out.copy_from_slice(block);
                }
                at + len
            }
            Self::Number(counting) => {
                let number = digits.format(counting.of(row)).as_bytes();
                out[at..at + number.len()].copy_from_slice(number);
                at + number.len()
            }
        }
    }
}
