//! Buffers by hand: read as the host sent them, and laid out well or badly.

use super::{Buffers, Kept};

const INPUT: u32 = 1 << 16;
const STATE: u32 = 4 << 16;
const MERGES: u32 = 7 << 16;
const REJECTS: u32 = 18 << 16;
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
    fn bytes(&self, section: u32, column: u32, kind: u32) -> Option<Vec<u8>> {
        let is_it = |entry: &&[u32]| entry[..3] == [section, column, kind];
        let entry = self.0.directory.chunks_exact(5).find(is_it)?;
        let (start, length) = (entry[3] as usize / 8, entry[4] as usize);
        let words = &self.0.arena[start..start + length.div_ceil(8)];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(length);
        Some(bytes)
    }

    fn words(&self, section: u32, column: u32, kind: u32) -> Vec<u32> {
        let bytes = self.bytes(section, column, kind).unwrap_or_default();
        let words = bytes.chunks_exact(4);
        words
            .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
            .collect()
    }

    /// Which bits are set, if there is such a bitmap.
    fn is_valid(&self, section: u32, at: usize) -> bool {
        let bits = self.bytes(section, 0, VALIDITY);
        bits.is_none_or(|bits| bits[at / 8] >> (at % 8) & 1 == 1)
    }

    /// Of each row the number of its accumulator, and its amount.
    pub(super) fn rows(&self) -> Vec<(u32, Option<i64>)> {
        let keys = self.words(INPUT, KEY, VALUES);
        let amounts = self.bytes(INPUT, 0, VALUES).unwrap_or_default();
        let row = |(at, (key, amount)): (usize, (u32, &[u8]))| {
            let amount = i64::from_le_bytes(amount.try_into().expect("eight bytes"));
            (key, self.is_valid(INPUT, at).then_some(amount))
        };
        let rows = keys.into_iter().zip(amounts.chunks_exact(8)).enumerate();
        rows.map(row).collect()
    }

    pub(super) fn accumulators(&self) -> Vec<Kept> {
        let offsets = self.words(STATE, 0, OFFSETS);
        let data = self.bytes(STATE, 0, DATA).unwrap_or_default();
        let kept = |(at, bounds): (usize, &[u32])| match self.is_valid(STATE, at) {
            true => Kept::read(&data[bounds[0] as usize..bounds[1] as usize]),
            false => Kept::default(),
        };
        offsets.windows(2).enumerate().map(kept).collect()
    }

    pub(super) fn pairs(&self) -> Vec<(u32, u32)> {
        let (left, right) = (self.words(MERGES, 0, VALUES), self.words(MERGES, 1, VALUES));
        left.into_iter().zip(right).collect()
    }
}

/// Values on their way to the host.
pub(super) struct Answer {
    pub(super) state: u32,
    pub(super) values: Vec<(u32, Vec<u8>)>,
}

impl Answer {
    /// As it should be.
    pub(super) fn buffers(&self) -> Buffers {
        let mut buffers = Buffers {
            rows: 0,
            directory: Vec::new(),
            arena: Vec::new(),
        };
        if self.values.is_empty() {
            return buffers;
        }
        let section = STATE_CHANGES | self.state;
        let keys: Vec<u8> = self
            .values
            .iter()
            .flat_map(|(key, _)| key.to_le_bytes())
            .collect();
        let (mut offsets, mut data) = (0_u32.to_le_bytes().to_vec(), Vec::new());
        for (_, value) in &self.values {
            data.extend_from_slice(value);
            offsets.extend((data.len() as u32).to_le_bytes());
        }
        let count = self.values.len() as u32;
        buffers.directory.extend([section, 0, COUNT, count, 0]);
        put(&mut buffers, [section, 0, VALUES], &keys);
        put(&mut buffers, [section, 1, OFFSETS], &offsets);
        put(&mut buffers, [section, 1, DATA], &data);
        buffers
    }

    /// Spoiled in the way that the word names. The directory has four entries: the count, the
    /// numbers of the values, their offsets, their bytes.
    pub(super) fn misbehave(&mut self, word: &str) -> Buffers {
        match word {
            // What the values say of themselves.
            "lying-text" => self.values[0].1[0] = 200,
            "endless-text" => self.values[0].1[..4].fill(0xFF),
            "bad-utf8" => self.values[0].1[4] = 0xC3,
            "long-value" => self.values[0].1.push(0),
            // What they are of.
            "far-number" => self.values[0].0 = 1 << 30,
            "twice" => self.values.push(self.values[0].clone()),
            "left-out" => drop(self.values.remove(0)),
            "wrong-state" => self.state ^= 1,
            "no-state" => self.state = 7,
            "wrong-number" => self.values[0].0 = 0,
            _ => {}
        }
        let mut buffers = self.buffers();
        let section = STATE_CHANGES | self.state;
        match word {
            // Where they lie.
            "lying-length" => buffers.directory[4 + 5] = u32::MAX,
            "lying-offset" => buffers.directory[3 + 15] = 1 << 30,
            "odd-offset" => buffers.directory[3 + 5] = 4,
            "lying-count" => buffers.directory[3] += 1,
            "falling-offsets" => {
                let at = buffers.directory[3 + 10] as usize / 8;
                buffers.arena[at] = u64::from(u32::MAX) << 32;
            }
            "cleared" => {
                let count = self.values.len().div_ceil(8);
                put(&mut buffers, [section, 1, VALIDITY], &vec![0; count]);
            }
            "far-row" => {
                buffers.directory.extend([REJECTS, 0, COUNT, 1, 0]);
                put(&mut buffers, [REJECTS, 0, OFFSETS], &[0; 8]);
                put(&mut buffers, [REJECTS, 0, DATA], &[]);
                put(&mut buffers, [REJECTS, CAUSE, VALUES], &[0xFF; 4]);
            }
            "huge-arena" => buffers.arena.resize(40 << 20, 0),
            _ => {}
        }
        buffers
    }
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
