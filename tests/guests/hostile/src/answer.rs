//! Answers, good and bad.

use super::Buffers;

const OUTPUT: u32 = 17 << 16;
const REJECTS: u32 = 18 << 16;
const STATE_CHANGES: u32 = 19 << 16;
const CAUSE: u32 = 0xFFFF_FF03;
const COUNT: u32 = 0;
const VALUES: u32 = 2;
const OFFSETS: u32 = 3;
const DATA: u32 = 4;

/// Buffers in the making.
pub(super) struct Answer {
    directory: Vec<u32>,
    arena: Vec<u64>,
}

impl Answer {
    /// The good answer: every row goes on.
    pub(super) fn new(ids: &[u64]) -> Self {
        let mut answer = Self {
            directory: Vec::new(),
            arena: Vec::new(),
        };
        let causes: Vec<u8> = (0..ids.len() as u32).flat_map(u32::to_le_bytes).collect();
        answer.begin(OUTPUT, ids.len() as u32);
        answer.buffer(OUTPUT, 0, VALUES, &bytes(ids));
        answer.buffer(OUTPUT, CAUSE, VALUES, &causes);
        answer
    }

    pub(super) fn into_buffers(self) -> Buffers {
        Buffers {
            rows: 0,
            directory: self.directory,
            arena: self.arena,
        }
    }

    /// Spoils the answer in the way that the word names.
    pub(super) fn misbehave(mut self, word: &str) -> Self {
        match word {
            "huge-output" => self.arena.resize(1 << 20, 0),
            "many-rows" => self.rows(2_000),
            "lying-length" => self.directory[9] = u32::MAX,
            "lying-offset" => self.directory[8] = 1 << 30,
            "odd-offset" => self.directory[8] = 4,
            "lying-count" => self.directory[3] += 1,
            "lying-cause" => {
                let last = self.arena.len() - 1;
                self.arena[last] = 77;
            }
            "bad-utf8" => {
                self.begin(REJECTS, 1);
                self.buffer(REJECTS, 0, OFFSETS, &[0, 0, 0, 0, 2, 0, 0, 0]);
                self.buffer(REJECTS, 0, DATA, b"\xc3\x28");
                self.buffer(REJECTS, CAUSE, VALUES, &[0; 4]);
            }
            "key-out-of-range" => {
                self.begin(STATE_CHANGES, 1);
                self.buffer(STATE_CHANGES, 0, VALUES, &[99, 0, 0, 0]);
            }
            "undeclared-output" => self.begin(OUTPUT | 7, 0),
            "long-directory" => self.directory = vec![0; 5 * 70_000],
            _ => {}
        }
        self
    }

    fn rows(&mut self, rows: u32) {
        let ids: Vec<u64> = vec![1; rows as usize];
        *self = Self::new(&ids);
    }

    fn begin(&mut self, section: u32, rows: u32) {
        self.directory.extend([section, 0, COUNT, rows, 0]);
    }

    fn buffer(&mut self, section: u32, column: u32, kind: u32, bytes: &[u8]) {
        let offset = self.arena.len() as u32 * 8;
        self.directory
            .extend([section, column, kind, offset, bytes.len() as u32]);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.arena.push(u64::from_le_bytes(word));
        }
    }
}

fn bytes(ids: &[u64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}
