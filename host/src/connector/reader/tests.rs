use std::{collections::VecDeque, io, path::Path};

use super::*;

/// Gives one part a read; nothing in between where a part is empty.
struct Parts(VecDeque<Vec<u8>>);

impl Input for Parts {
    fn read(&mut self, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        let part = self.0.pop_front().unwrap_or_default();
        assert!(part.len() <= bytes_max);
        into.extend_from_slice(&part);
        Ok(part.len())
    }

    fn path(&self) -> &Path {
        Path::new("parts")
    }
}

/// Waits so many times, then asks to stop.
struct Times(u32);

impl Waiter for Times {
    fn wait(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

fn reader(parts: &[&str], options: RowOptions, waits: Option<u32>) -> RowReader<Parts> {
    let parts = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
    let waiter = waits.map(|times| Box::new(Times(times)) as Box<dyn Waiter>);
    RowReader::new(Parts(parts), options, 3, "parts".into(), waiter)
}

/// Each chunk's first offset and rows.
fn chunks(mut reader: RowReader<Parts>) -> Vec<(u64, Vec<String>)> {
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk(1 << 16).expect("the parts can be read") {
        let row =
            |row| String::from_utf8_lossy(&chunk.row(row).expect("in the chunk")).into_owned();
        chunks.push((
            chunk.first_offset,
            (0..chunk.spans.len() as u32).map(row).collect(),
        ));
    }
    chunks
}

fn lines() -> RowOptions {
    RowOptions::new(Framing::Lines)
}

fn rows(offset: u64, rows: &[&str]) -> (u64, Vec<String>) {
    (offset, rows.iter().map(|row| row.to_string()).collect())
}

#[test]
fn rows_keep_their_numbers_however_the_bytes_come() {
    let text = "alpha\nbeta\r\n\ngamma\ndelta";
    let whole = chunks(reader(&[text], lines(), None));
    assert_eq!(
        whole,
        [rows(0, &["alpha", "beta", "gamma"]), rows(3, &["delta"])]
    );
    let flat = |chunks: Vec<(u64, Vec<String>)>| -> Vec<String> {
        let mut next = 0;
        let mut flat = Vec::new();
        for (first, rows) in chunks {
            assert_eq!(first, next);
            next += rows.len() as u64;
            flat.extend(rows);
        }
        flat
    };
    for first in 0..text.len() {
        for second in first..text.len() {
            let parts = [&text[..first], &text[first..second], &text[second..]];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            let cut = flat(chunks(reader(&parts, lines(), None)));
            assert_eq!(cut, ["alpha", "beta", "gamma", "delta"], "{parts:?}");
        }
    }
}

#[test]
fn a_lone_row_leaves_at_once() {
    let cut = chunks(reader(&["a\n", "b\nc", "\n"], lines(), None));
    assert_eq!(cut, [rows(0, &["a"]), rows(1, &["b"]), rows(2, &["c"])]);
}

#[test]
fn a_followed_input_holds_its_last_line_back() {
    let cut = chunks(reader(&["a\nb", "", "", "c\nd"], lines(), Some(4)));
    assert_eq!(cut, [rows(0, &["a"]), rows(1, &["bc"])]);
}

#[test]
fn a_byte_order_mark_is_no_text() {
    let bytes = "\u{FEFF}a\n\u{FEFF}b\n".as_bytes();
    for at in 1..bytes.len() {
        let parts = VecDeque::from([bytes[..at].to_vec(), bytes[at..].to_vec()]);
        let reader = RowReader::new(Parts(parts), lines(), 0, "".into(), None);
        let all: Vec<String> = chunks(reader)
            .into_iter()
            .flat_map(|(_, rows)| rows)
            .collect();
        assert_eq!(all, ["a", "\u{FEFF}b"]);
    }
}

/// A chunk's first offset, its rows that are too long, and how many rows it has.
type Expected<'a> = (u64, &'a [(u32, u64)], usize);

#[test]
fn rows_that_are_too_long_are_marked_and_shortened() {
    let options = RowOptions {
        row_bytes_max: 2000,
        ..lines()
    };
    let long = "x".repeat(1500);
    let check = |parts: &[&str], expected: &[Expected<'_>]| {
        let mut reader = reader(parts, options, None);
        for (first_offset, oversized, count) in expected {
            let chunk = reader
                .next_chunk(1 << 16)
                .expect("can be read")
                .expect("there is more");
            assert_eq!(chunk.first_offset, *first_offset);
            assert_eq!(chunk.oversized, *oversized);
            assert_eq!(chunk.spans.len(), *count);
            for (row, _) in &chunk.oversized {
                assert_eq!(chunk.row(*row).expect("in the chunk").len(), KEPT_BYTES);
            }
        }
        assert!(reader.next_chunk(1 << 16).expect("can be read").is_none());
    };
    let whole = format!("a\n{long}{long}\nb\n");
    check(&[&whole], &[(0, &[(1, 3000)], 3)]);
    check(
        &["a\n", &long, &long, &long, "\nb\n"],
        &[(0, &[], 1), (1, &[(0, 4500)], 2)],
    );
    check(&[&long, &long], &[(0, &[(0, 3000)], 1)]);
}

#[test]
fn a_header_is_no_row() {
    let options = RowOptions::new(Framing::Csv {
        delimiter: b',',
        header: true,
    });
    let mut reader = reader(&["a,", "b\n", "1,2\n", "3,\"4\n", "5\"\n"], options, None);
    let mut seen = Vec::new();
    while let Some(chunk) = reader.next_chunk(100).expect("can be read") {
        assert_eq!(&chunk.header[..], b"a,b");
        seen.push((chunk.first_offset, chunk.row(0).expect("a row")));
    }
    assert_eq!(seen, [(0, "1,2".into()), (1, "3,\"4\n5\"".into())]);
}
