//! Buffers by hand: read as the host sent them, and laid out well or badly.

use super::Buffers;

const INPUT: u32 = 1 << 16;
const KEYS: u32 = 3 << 16;
const STATE: u32 = 4 << 16;
const OUTPUT: u32 = 17 << 16;
const STATE_CHANGES: u32 = 19 << 16;
const KEY: u32 = 0xFFFF_FF00;
const CAUSE: u32 = 0xFFFF_FF03;
const COUNT: u32 = 0;
const VALIDITY: u32 = 1;
const VALUES: u32 = 2;
const OFFSETS: u32 = 3;
const DATA: u32 = 4;

/// What the host sent.
pub(super) struct Batch<'a>(pub(super) &'a Buffers);

impl Batch<'_> {
    fn entry(&self, section: u32, column: u32, kind: u32) -> Option<&[u32]> {
        let is_it = |entry: &&[u32]| entry[..3] == [section, column, kind];
        self.0.directory.chunks_exact(5).find(is_it)
    }

    fn bytes(&self, section: u32, column: u32, kind: u32) -> Vec<u8> {
        let Some(entry) = self.entry(section, column, kind) else {
            return Vec::new();
        };
        let (start, length) = (entry[3] as usize / 8, entry[4] as usize);
        let words = &self.0.arena[start..start + length.div_ceil(8)];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }

    fn narrow(&self, section: u32, column: u32, kind: u32) -> Vec<u32> {
        let bytes = self.bytes(section, column, kind);
        let words = bytes.chunks_exact(4);
        words
            .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
            .collect()
    }

    fn wide(&self, section: u32, column: u32) -> Vec<u64> {
        let bytes = self.bytes(section, column, VALUES);
        let words = bytes.chunks_exact(8);
        words
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
            .collect()
    }

    /// Of each row the number of its key, its id and its name.
    pub(super) fn rows(&self) -> Vec<(u32, u64, Vec<u8>)> {
        let (keys, ids) = (self.narrow(INPUT, KEY, VALUES), self.wide(INPUT, 0));
        let (offsets, data) = (self.narrow(INPUT, 1, OFFSETS), self.bytes(INPUT, 1, DATA));
        let names = offsets
            .windows(2)
            .map(|bounds| data[bounds[0] as usize..bounds[1] as usize].to_vec());
        let rows = keys.into_iter().zip(ids).zip(names);
        rows.map(|((key, id), name)| (key, id, name)).collect()
    }

    /// How many rows each key had so far.
    pub(super) fn counts(&self) -> Vec<u64> {
        let keys = self.entry(KEYS, 0, COUNT).map_or(0, |entry| entry[3]);
        let mut counts = self.wide(STATE, 0);
        counts.resize(keys as usize, 0);
        let Some(_) = self.entry(STATE, 0, VALIDITY) else {
            return counts;
        };
        let bits = self.bytes(STATE, 0, VALIDITY);
        for (at, count) in counts.iter_mut().enumerate() {
            if bits[at / 8] >> (at % 8) & 1 == 0 {
                *count = 0;
            }
        }
        counts
    }
}

/// Effects on their way to the host.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) names: Vec<Vec<u8>>,
    pub(super) numbers: Vec<u64>,
    /// The count of each key, by its number.
    pub(super) changes: Vec<(u32, u64)>,
    state: u32,
    is_falling: bool,
    is_short: bool,
}

impl Answer {
    pub(super) fn misbehave(&mut self, word: &str) {
        let keys = self.changes.len() as u32;
        match word {
            // Text of an output column.
            "bad-utf8" => self.names[0] = b"\xc3\x28".to_vec(),
            "cut-character" => {
                self.names[0] = b"\xc3".to_vec();
            }
            "falling-offsets" => self.is_falling = true,
            // Which key, which state, how long.
            "key-out-of-range" => self.changes[0].0 = keys,
            "key-far-out-of-range" => self.changes[0].0 = u32::MAX,
            "key-twice" => self.changes.push(self.changes[0]),
            "undeclared-state" => self.state = 7,
            "short-state" => self.is_short = true,
            _ => {}
        }
    }

    pub(super) fn buffers(&self) -> Buffers {
        let mut buffers = empty();
        let rows = self.names.len() as u32;
        let (mut offsets, mut data) = (vec![0_u32], Vec::new());
        for name in &self.names {
            data.extend_from_slice(name);
            offsets.push(data.len() as u32);
        }
        if self.is_falling {
            offsets[1] = u32::MAX;
        }
        buffers.directory.extend([OUTPUT, 0, COUNT, rows, 0]);
        put(&mut buffers, [OUTPUT, 0, OFFSETS], &narrow(offsets));
        put(&mut buffers, [OUTPUT, 0, DATA], &data);
        put(&mut buffers, [OUTPUT, 1, VALUES], &wide(&self.numbers));
        put(&mut buffers, [OUTPUT, CAUSE, VALUES], &narrow(0..rows));
        let section = STATE_CHANGES | self.state;
        let count = self.changes.len() as u32;
        let (keys, counts): (Vec<u32>, Vec<u64>) = self.changes.iter().copied().unzip();
        let mut counts = wide(&counts);
        counts.truncate(counts.len() - usize::from(self.is_short));
        buffers.directory.extend([section, 0, COUNT, count, 0]);
        put(&mut buffers, [section, 0, VALUES], &narrow(keys));
        put(&mut buffers, [section, 1, VALUES], &counts);
        buffers
    }
}

/// Asks for one entry of a map.
pub(super) fn question(state: u32, key: u32) -> Buffers {
    let mut question = question_of_all(state, key);
    put(&mut question, [STATE | state, 1, VALUES], &wide(&[1]));
    question
}

/// Asks for all entries of a map.
pub(super) fn question_of_all(state: u32, key: u32) -> Buffers {
    let mut question = empty();
    question.directory.extend([STATE | state, 0, COUNT, 1, 0]);
    put(&mut question, [STATE | state, 0, VALUES], &narrow([key]));
    question
}

fn empty() -> Buffers {
    Buffers {
        rows: 0,
        directory: Vec::new(),
        arena: Vec::new(),
    }
}

fn narrow(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn wide(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn put(buffers: &mut Buffers, [section, column, kind]: [u32; 3], bytes: &[u8]) {
    let offset = buffers.arena.len() as u32 * 8;
    let length = bytes.len() as u32;
    buffers
        .directory
        .extend([section, column, kind, offset, length]);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        buffers.arena.push(u64::from_le_bytes(word));
    }
}
