use std::{fs, io::Write};

use flate2::{Compression as Level, write::GzEncoder};

use super::*;
use crate::format::framing::Framing;

fn options() -> RowOptions {
    RowOptions::new(Framing::Lines)
}

fn files(path: impl Into<String>, follow: bool) -> FileSource {
    let source = document::FileSource {
        path: document::OneOrMore::One(path.into()),
        compression: Compression::Auto,
        follow,
    };
    FileSource::new(&source, Path::new("/"))
}

fn rows(reader: &mut dyn SplitReader) -> Vec<String> {
    let mut rows = Vec::new();
    while let Some(chunk) = reader.next_chunk(1000).expect("the file can be read") {
        let row =
            |row| String::from_utf8_lossy(&chunk.row(row).expect("in the chunk")).into_owned();
        rows.extend((0..chunk.spans.len() as u32).map(row));
    }
    rows
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(text.as_bytes()).expect("into memory");
    encoder.finish().expect("into memory")
}

#[test]
fn packed_files_of_several_members_read_as_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).expect("into memory");
    let write =
        |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).expect("a file");
    write("a.jsonl.gz", [gzip("1\n2"), gzip("3\n4\n")].concat());
    write("b.jsonl.zst", [zstd("5\n6"), zstd("7\n")].concat());
    write("c.jsonl", b"8\n9".to_vec());
    write(".hidden", b"no\n".to_vec());
    let path = folder.path().to_str().expect("a plain path").to_string();
    let mut source = files(path, false);
    let all: Vec<String> = source
        .discover()
        .expect("the folder can be listed")
        .iter()
        .flat_map(|split| {
            let mut reader = source
                .open(split, options(), None, Position::start(split.split))
                .expect("the file opens");
            rows(reader.as_mut())
        })
        .collect();
    assert_eq!(all, ["1", "23", "4", "5", "67", "8", "9"]);
}

#[test]
fn a_broken_archive_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.gz");
    let bytes = gzip("1\n2\n3\n");
    fs::write(&path, &bytes[..bytes.len() - 6]).expect("a file");
    let mut source = files(path.display().to_string(), false);
    let split = source.discover().expect("the file is there").remove(0);
    let mut reader = source
        .open(&split, options(), None, Position::default())
        .expect("the file opens");
    let error = loop {
        match reader.next_chunk(1000) {
            Ok(Some(_)) => (),
            Ok(None) => panic!("a cut archive read to its end"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("a.gz"), "{error}");
}

#[test]
fn new_files_are_found_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pattern = folder.path().join("*.jsonl").display().to_string();
    let mut source = files(pattern.clone(), true);
    assert_eq!(source.discover().expect("nothing yet"), []);
    fs::write(folder.path().join("b.jsonl"), "1\n").expect("a file");
    let first = source.discover().expect("one file");
    fs::write(folder.path().join("a.jsonl"), "1\n").expect("a file");
    let second = source.discover().expect("another file");
    assert_eq!((first[0].split, second[0].split, second.len()), (0, 1, 1));
    let strict = files(pattern.replace("*", "?x"), false).discover();
    assert!(
        strict
            .expect_err("no match")
            .to_string()
            .contains("no file matches")
    );
}

/// Appends a text at each wait; stops when there is none left.
struct Writer(Vec<&'static str>, File);

impl Waiter for Writer {
    fn wait(&mut self) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let text = self.0.remove(0);
        self.1
            .write_all(text.as_bytes())
            .expect("the file can be written");
        true
    }
}

#[test]
fn a_growing_file_is_followed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("grows.jsonl");
    fs::write(&path, "a\nb").expect("a file");
    let file = File::options()
        .append(true)
        .open(&path)
        .expect("the file opens");
    let waiter = Writer(vec!["1\n", "c\nd\n", "partial"], file);
    let mut source = files(path.display().to_string(), true);
    let split = source.discover().expect("the file is there").remove(0);
    let mut reader = source
        .open(
            &split,
            options(),
            Some(Box::new(waiter)),
            Position::default(),
        )
        .expect("the file opens");
    assert_eq!(rows(reader.as_mut()), ["a", "b1", "c", "d"]);
}

#[test]
fn a_followed_file_that_shrinks_is_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("shrinks.jsonl");
    fs::write(&path, "a\nb\n").expect("a file");
    let mut source = files(path.display().to_string(), true);
    let split = source.discover().expect("the file is there").remove(0);
    let file = File::options()
        .append(true)
        .open(&path)
        .expect("the file opens");
    let waiter = Box::new(Writer(vec![], file));
    let mut reader = source
        .open(&split, options(), Some(waiter), Position::default())
        .expect("the file opens");
    reader
        .next_chunk(1000)
        .expect("two rows")
        .expect("two rows");
    fs::write(&path, "").expect("a file");
    let error = reader
        .next_chunk(1000)
        .expect_err("it became shorter")
        .to_string();
    assert!(error.contains("became shorter"), "{error}");
}

/// Goes on behind the first chunk of about `len` bytes, after the file was written anew.
fn goes_on(name: &str, len: usize, before: &[u8], after: &[u8]) -> Result<usize, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, before).expect("writable");
    let mut source = files(path.to_str().expect("a plain path"), false);
    let split = source.discover().expect("it is there").remove(0);
    let open = |from| source.open(&split, options(), None, from);
    let mut reader = open(Position::start(0)).expect("the file opens");
    let chunk = reader.next_chunk(len).expect("it is read").expect("rows");
    let from = Position {
        rows: chunk.spans.len() as u64,
        bytes: chunk.next_byte,
        tail: chunk.tail,
        ..Position::start(0)
    };
    assert!(from.tail.bytes > 0, "something is known of the file");
    fs::write(&path, after).expect("writable");
    let mut reader = open(from).map_err(|error| error.to_string())?;
    Ok(from.rows as usize + rows(reader.as_mut()).len())
}

#[test]
fn a_file_that_was_changed_before_the_place_is_refused() {
    let lines: String = (0..2_000).map(|row| format!("row {row:04}\n")).collect();
    // Of 1,666 rows that were read the bytes of the last 113 are looked at.
    let (near, far) = (
        lines.replace("row 1600", "row 9600"),
        lines.replace("row 0003", "row 9003"),
    );
    let more = lines.clone() + "row 2000\n";
    for (len, text, wanted) in [
        (15_000, &lines, Ok(2_000)),
        (15_000, &more, Ok(2_001)),
        // Nothing of that is looked at.
        (15_000, &far, Ok(2_000)),
        (15_000, &near, Err("was changed: before byte ")),
        (300, &far, Err("was changed: before byte ")),
    ] {
        for is_packed in [false, true] {
            let found = match is_packed {
                false => goes_on("in.txt", len, lines.as_bytes(), text.as_bytes()),
                true => goes_on("in.txt.gz", len, &gzip(&lines), &gzip(text)),
            };
            match wanted {
                Ok(rows) => assert_eq!(found, Ok(rows), "{len} {is_packed}"),
                Err(part) => {
                    let error = found.expect_err("it was changed");
                    assert!(error.contains(part), "{error}");
                }
            }
        }
    }
    let short = goes_on("in.txt", 15_000, lines.as_bytes(), &lines.as_bytes()[..100]);
    let error = short.expect_err("it is shorter");
    assert!(error.contains("has 100 bytes"), "{error}");
}
