//! Inputs in gzip and Zstandard, from outside: what is read is what the plain file holds, with the
//! same offsets.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use wasmill_tests::{Random, programs, run_guarded};

const SEED: u64 = 20;
/// Enough for several chunks of a file.
const ROWS: u64 = 60_000;

type Pack = fn(&[u8]) -> Vec<u8>;

fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("into memory")
}

/// As several members, cut in the middle of a row.
fn gzip_members(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [gzip(first), gzip(second)].concat()
}

fn zstandard_frames(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    [zstandard(first), zstandard(second)].concat()
}

const PACKS: &[(&str, Pack)] = &[
    ("", plain),
    (".gz", gzip),
    (".zst", zstandard),
    (".zstd", zstandard_frames),
    (".gz", gzip_members),
];

#[derive(Clone, Copy, Debug)]
enum Format {
    Json,
    Csv,
}

impl Format {
    fn suffix(self) -> &'static str {
        match self {
            Self::Json => "jsonl",
            Self::Csv => "csv",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }

    /// Rows with these numbers.
    fn rows(self, numbers: std::ops::Range<u64>) -> String {
        let mut random = Random(SEED + numbers.start);
        let row = |number| {
            let word = ["plain", "with, comma", "Ärger", ""][random.below(4) as usize];
            match self {
                Self::Json => format!("{{\"number\":{number},\"word\":\"{word}\"}}\n"),
                Self::Csv => format!("{number},\"{word}\"\n"),
            }
        };
        let rows: String = numbers.map(row).collect();
        match self {
            Self::Json => rows,
            Self::Csv => format!("number,word\n{rows}"),
        }
    }
}

/// Reads files and gives all rows with their place, sorted.
fn read(folder: &Path, format: Format, file: &str) -> Vec<String> {
    let pipeline = format!(
        "name: packed
sources:
  rows:
    file: {file}
    format: {{ {}: {{ number: u64, word: string }} }}
sinks:
  out:
    input: rows
    file: {{ path: out.jsonl }}
    format: json
    include: {{ split: split, offset: offset }}
",
        format.name()
    );
    fs::write(folder.join("pipeline.yaml"), pipeline).expect("writable");
    let mut command = Command::new(programs().join("wasmill"));
    command.args(["run", "pipeline.yaml", "--fresh"]);
    command.args(["--storage", "checkpoints", "--parallelism", "2"]);
    let output = run_guarded(command.current_dir(folder));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {said}");
    let out = fs::read_to_string(folder.join("out.jsonl")).expect("the job wrote its file");
    let mut rows: Vec<String> = out.lines().map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

/// Rows under the name of one split.
fn named(rows: &[String], split: &str) -> Vec<String> {
    let named = |row: &String| {
        let mut row: Value = serde_json::from_str(row).expect("JSON");
        row["split"] = split.into();
        row.to_string()
    };
    let mut rows: Vec<String> = rows.iter().map(named).collect();
    rows.sort_unstable();
    rows
}

#[test]
fn packed_files_read_as_the_plain_ones() {
    println!("seed {SEED}");
    for format in [Format::Json, Format::Csv] {
        let text = format.rows(0..ROWS);
        let mut expected: Vec<String> = Vec::new();
        for (suffix, pack) in PACKS {
            let folder = tempfile::tempdir().expect("a folder for the test's files");
            let file = format!("in.{}{suffix}", format.suffix());
            fs::write(folder.path().join(&file), pack(text.as_bytes())).expect("writable");
            let rows = read(folder.path(), format, &format!("{{ path: {file} }}"));
            let rows = named(&rows, "in");
            assert_eq!(rows.len() as u64, ROWS, "{file}");
            if suffix.is_empty() {
                expected = rows;
                continue;
            }
            assert!(rows == expected, "{file} is not read as the plain file");
        }
    }
}

#[test]
fn a_name_that_says_nothing_is_no_obstacle() {
    let text = Format::Json.rows(0..1_000);
    let pack: [(&str, Pack); 2] = [("gzip", gzip), ("zstd", zstandard)];
    for (compression, pack) in pack {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        fs::write(folder.path().join("in.data"), pack(text.as_bytes())).expect("writable");
        let file = format!("{{ path: in.data, compression: {compression} }}");
        let rows = read(folder.path(), Format::Json, &file);
        fs::write(folder.path().join("in.jsonl"), &text).expect("writable");
        let plain = read(folder.path(), Format::Json, "{ path: in.jsonl }");
        assert_eq!(rows.len(), 1_000);
        assert_eq!(named(&rows, "in"), named(&plain, "in"), "{compression}");
    }
}

#[test]
fn a_pattern_matches_plain_and_packed_files_alike() {
    println!("seed {SEED}");
    for format in [Format::Json, Format::Csv] {
        let (mixed, plain_ones) = (tempfile::tempdir(), tempfile::tempdir());
        let mixed = mixed.expect("a folder for the test's files");
        let plain_ones = plain_ones.expect("a folder for the test's files");
        let mut expected = Vec::new();
        for (number, (suffix, pack)) in (0..).zip(PACKS) {
            let text = format.rows(number * 10_000..(number + 1) * 10_000);
            let name = format!("in-{number}.{}", format.suffix());
            let packed = mixed.path().join(format!("{name}{suffix}"));
            fs::write(packed, pack(text.as_bytes())).expect("writable");
            fs::write(plain_ones.path().join(&name), text).expect("writable");
            expected.extend([format!("{name}{suffix}")]);
        }
        let rows = read(mixed.path(), format, "{ path: 'in-*' }");
        let plain_rows = read(plain_ones.path(), format, "{ path: 'in-*' }");
        assert_eq!(rows.len(), 10_000 * PACKS.len(), "{format:?}");
        assert!(
            named(&rows, "in") == named(&plain_rows, "in"),
            "{format:?}: rows of the packed files are not those of the plain ones"
        );
        let split = |row: &String| {
            let row: Value = serde_json::from_str(row).expect("JSON");
            row["split"].as_str().expect("a split").to_owned()
        };
        let mut splits: Vec<String> = rows.iter().map(split).collect();
        splits.sort_unstable();
        splits.dedup();
        assert_eq!(splits, expected, "{format:?}: each file is a split");
    }
}
