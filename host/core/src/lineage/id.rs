//! What a row is called: by where it comes from, whatever batch it stands in.

use std::io::Write;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Ancestor, Cause, Lineage};

/// Appends a row's id: the job, the source row's split and offset, then each operator that it
/// passed with the number of the row among those of one cause; for a timer its key, name, time and
/// number, for a window its key, bounds and number; for a join what came together.
///
/// The same input gives the same ids at any parallelism and batch size, so that a reader can drop
/// repeats.
pub fn row_id(job: &str, lineage: &Lineage, row: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(job.as_bytes());
    trail(lineage, row, out);
}

fn trail(lineage: &Lineage, row: usize, out: &mut Vec<u8>) {
    const MEMORY: &str = "memory takes every byte";
    match lineage.origin(row) {
        None => out.extend_from_slice(b"/?"),
        Some((Ancestor::Chunk(chunk), at)) => {
            let offset = chunk.offset(at);
            write!(out, "/{}:{offset}", chunk.split).expect(MEMORY);
        }
        Some((Ancestor::Windows(windows), at)) => {
            let at = at as usize;
            out.push(b'/');
            for byte in windows.keys.to_bytes(at) {
                write!(out, "{byte:02x}").expect(MEMORY);
            }
            let (start, end) = (windows.starts[at], windows.ends[at]);
            let (operator, ordinal) = (&windows.operator, windows.ordinals[at]);
            write!(out, "@{start}..{end}/{operator}.{ordinal}").expect(MEMORY);
        }
        Some((Ancestor::Derived(derived), at)) => match &derived.causes[at as usize] {
            Cause::Row { row, ordinal } => {
                trail(&derived.parent, *row as usize, out);
                write!(out, "/{}.{ordinal}", derived.operator).expect(MEMORY);
            }
            Cause::Join(join) => {
                out.push(b'/');
                for (at, row) in [join.left, join.right].into_iter().enumerate() {
                    out.push(if at == 0 { b'(' } else { b'+' });
                    match row {
                        Some(row) => trail(&derived.parent, row as usize, out),
                        None => out.push(b'-'),
                    }
                }
                write!(out, ")/{}.{}", derived.operator, join.ordinal).expect(MEMORY);
            }
            Cause::Timer(timer) => {
                out.push(b'/');
                for byte in &timer.key {
                    write!(out, "{byte:02x}").expect(MEMORY);
                }
                write!(
                    out,
                    "@{}@{}/{}.{}",
                    timer.name, timer.time, derived.operator, timer.ordinal
                )
                .expect(MEMORY);
            }
        },
    }
}

/// A seed for random numbers that an operator draws for a row: a hash of the row's id, other than
/// what other operators get for it. `scratch` is memory to be used again.
pub fn row_seed(operator: u64, lineage: &Lineage, row: usize, scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    trail(lineage, row, scratch);
    xxh3_64_with_seed(scratch, operator)
}

/// The same for a key, as its codec encodes it.
pub fn key_seed(operator: u64, key: &[u8]) -> u64 {
    // A key must not look like a row's id, which begins with a slash.
    xxh3_64_with_seed(key, !operator)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use super::*;
    use crate::lineage::Chunk;

    fn lineage(split: u32, first_offset: u64, len: usize) -> Lineage {
        let chunk = Chunk {
            split,
            first_offset,
            ..Chunk::default()
        };
        Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), len)
    }

    fn seeds(operator: u64, lineage: &Lineage) -> Vec<u64> {
        let mut scratch = Vec::new();
        let rows = 0..lineage.len();
        rows.map(|row| row_seed(operator, lineage, row, &mut scratch))
            .collect()
    }

    #[test]
    fn a_seed_derives_from_the_row_and_not_from_its_batch() {
        let whole = seeds(1, &lineage(2, 100, 10));
        let halves = [lineage(2, 100, 4), lineage(2, 104, 6)];
        let joined = Lineage::concat([&halves[1], &halves[0]]);
        let mut apart = seeds(1, &joined);
        apart.rotate_left(6);
        assert_eq!(whole, apart);
    }

    #[test]
    fn rows_operators_and_emitted_rows_have_seeds_of_their_own() {
        let own = lineage(2, 0, 1_000);
        let of_one: Vec<u32> = (0..1_000).map(|row| row / 2).collect();
        let emitted = Lineage::emitted(&"twice".into(), own.clone(), &of_one);
        let all = [
            seeds(1, &own),
            seeds(2, &own),
            seeds(1, &lineage(3, 0, 1_000)),
            seeds(1, &emitted),
        ];
        let different: HashSet<u64> = all.concat().into_iter().collect();
        assert_eq!(different.len(), 4_000);
    }
}
