//! The format, byte by byte and row by row.

use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt8Type, UInt16Type};
use arrow_array::{AnyDictionaryArray, Array, RecordBatch};
use arrow_ipc::reader::FileReader;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::golden::{self, hex};

/// A row that owns its bytes.
type Owned = (
    u16,
    Vec<u8>,
    usize,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<i64>,
);

/// Those of a delta: the last one says that nothing is left of a key.
fn addresses_of(kind: SegmentKind) -> Vec<Address> {
    let gone = Address {
        kind: Kind::Gone,
        name: String::new(),
    };
    let is_delta = kind == SegmentKind::Delta;
    addresses()
        .into_iter()
        .chain(is_delta.then_some(gone))
        .collect()
}

fn addresses() -> Vec<Address> {
    let of = [
        (Kind::Value, "count"),
        (Kind::List, "last"),
        (Kind::Map, "seen"),
        (Kind::Timer, "last"),
        (Kind::Feature, "{\"rows-by-time\":[]}"),
    ];
    let address = |(kind, name): (Kind, &str)| Address {
        kind,
        name: name.into(),
    };
    of.map(address).into()
}

fn owned(row: Row<'_>) -> Owned {
    let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let (entry, value) = (bytes(row.entry), bytes(row.value));
    (
        row.key_group,
        row.key.to_vec(),
        row.address,
        entry,
        value,
        row.time,
    )
}

fn write(range: KeyGroupRange, rows: &[Owned]) -> Encoded {
    write_as(SegmentKind::Base, range, rows)
}

fn write_as(kind: SegmentKind, range: KeyGroupRange, rows: &[Owned]) -> Encoded {
    let mut writer = Writer::new(kind, range, &addresses_of(kind), 0).expect("few states");
    for (key_group, key, address, entry, value, time) in rows {
        let row = Row {
            key_group: *key_group,
            key,
            address: *address,
            entry: entry.as_deref(),
            value: value.as_deref(),
            time: *time,
        };
        writer.push(row).expect("a small row");
    }
    writer.finish().expect("a file")
}

fn named(encoded: &Encoded) -> checkpoint::Segment {
    encoded.segment("objects/0000000001/0000000001/a".into())
}

fn read(reader: &Reader, range: KeyGroupRange) -> Result<Vec<Owned>, SegmentError> {
    let mut found = Vec::new();
    for rows in reader.rows(range) {
        let rows = rows?;
        found.extend((0..rows.len()).map(|at| owned(rows.get(at))));
    }
    Ok(found)
}

fn range(start: u16, end: u16) -> KeyGroupRange {
    KeyGroupRange { start, end }
}

/// A row of each kind, in three of five key groups.
fn example() -> Vec<Owned> {
    let value = |bytes: &[u8]| Some(bytes.to_vec());
    let key = 7_u64.to_le_bytes().to_vec();
    let position = |at: u32| Some(at.to_be_bytes().to_vec());
    vec![
        (3, key.clone(), 0, None, value(&[1, 0, 0, 0]), None),
        (3, key.clone(), 1, position(0), value(&[2, 0]), Some(-5)),
        (3, key.clone(), 1, position(1), value(&[1, 0]), Some(-5)),
        (
            3,
            key.clone(),
            2,
            value(b"\x01\0\0\0a"),
            value(b""),
            Some(1_700_000_000_000_000),
        ),
        (3, key.clone(), 3, None, None, Some(60_000_000)),
        (4, b"k".to_vec(), 3, None, None, Some(i64::MAX)),
        (6, key, 4, None, value(&[0, 0, 0, 0]), None),
    ]
}

/// Of the example's keys one has changed and one is gone.
fn changes() -> Vec<Owned> {
    let value = |bytes: &[u8]| Some(bytes.to_vec());
    let key = 7_u64.to_le_bytes().to_vec();
    vec![
        (3, key, 0, None, value(&[2, 0, 0, 0]), None),
        (4, b"k".to_vec(), 5, None, None, None),
    ]
}

/// What `docs/formats/vectors/segment.json` says of the golden file.
fn described(encoded: &Encoded, rows: &[Owned]) -> Json {
    let rows = rows
        .iter()
        .map(|(key_group, key, address, entry, value, time)| {
            let address = &addresses_of(encoded.kind)[*address];
            json!({
                "key_group": key_group,
                "key": hex(key),
                "kind": address.kind.name(),
                "state": address.name,
                "entry": entry.as_deref().map(hex),
                "value": value.as_deref().map(hex),
                "time": time,
            })
        });
    json!({
        "sha256": encoded.digest.to_string(),
        "extent": extent(encoded.kind),
        "range": { "start": encoded.range.start, "end": encoded.range.end },
        "offsets": encoded.offsets,
        "rows": rows.collect::<Vec<_>>(),
    })
}

#[test]
fn the_golden_files_are_what_the_format_says() {
    for (name, kind, rows) in [
        ("segment", SegmentKind::Base, example()),
        ("segment-delta", SegmentKind::Delta, changes()),
    ] {
        let encoded = write_as(kind, range(2, 7), &rows);
        let (file, description) = (format!("{name}.arrow"), format!("{name}.json"));
        if golden::is_blessed() {
            std::fs::write(golden::path(&file), &encoded.bytes).expect("a place");
        }
        let golden = std::fs::read(golden::path(&file)).expect("the golden file");
        assert_eq!(golden, encoded.bytes, "what is written has changed: {file}");
        golden::check(&description, &described(&encoded, &rows));
        let reader = Reader::open(golden.into(), &named(&encoded)).expect("the golden file");
        assert_eq!(reader.addresses(), addresses_of(kind));
        assert_eq!(reader.kind(), kind);
        assert_eq!(read(&reader, range(0, 128)).expect("its rows"), rows);
    }
}

/// Frozen: what version 1 wrote is read for ever.
#[test]
fn version_1_is_read() {
    let frozen = std::fs::read(golden::path("segment-v1.arrow")).expect("the frozen file");
    let told = std::fs::read_to_string(golden::path("segment-v1.json")).expect("its description");
    let told: Json = serde_json::from_str(&told).expect("JSON");
    assert_eq!(
        Digest::of(&frozen).to_string(),
        told["sha256"].as_str().expect("a digest")
    );
    let offsets = told["offsets"].as_array().expect("numbers").iter();
    let segment = checkpoint::Segment {
        object: ObjectRef {
            name: "objects/0000000001/0000000001/a".into(),
            bytes: frozen.len() as u64,
            digest: Digest::of(&frozen),
        },
        kind: SegmentKind::Base,
        range: range(2, 7),
        offsets: offsets.filter_map(Json::as_u64).collect(),
    };
    let reader = Reader::open(frozen.into(), &segment).expect("the frozen file");
    assert_eq!(reader.addresses(), addresses());
    assert_eq!(read(&reader, range(0, 128)).expect("its rows"), example());
}

#[test]
fn of_several_segments_the_last_one_that_has_a_key_counts() {
    let files = [
        write(range(2, 7), &example()),
        write_as(SegmentKind::Delta, range(2, 7), &changes()),
    ];
    let open = |encoded: &Encoded| {
        Reader::open(encoded.bytes.clone().into(), &named(encoded)).expect("what was written")
    };
    let readers: Vec<Reader> = files.iter().map(open).collect();
    let mut found = Vec::new();
    for stretch in Merge::new(&readers, range(0, 128)).expect("a base and its delta") {
        let stretch = stretch.expect("what was written");
        found.extend(stretch.range.map(|at| owned(stretch.rows.get(at))));
    }
    let expected: Vec<Owned> = changes().into_iter().chain(example().pop()).collect();
    assert_eq!(found, expected);
    let merged = Merge::new(&readers[1..], range(0, 4));
    assert!(matches!(merged, Err(SegmentError::NoBase { key_group: 2 })));
}

/// A text of a dictionary column.
fn word<K: arrow_array::types::ArrowDictionaryKeyType>(column: &dyn Array, row: usize) -> String {
    let column = column.as_dictionary::<K>();
    let at = column.normalized_keys()[row];
    column.values().as_string::<i32>().value(at).to_owned()
}

#[test]
fn ordinary_tools_read_the_same_rows() {
    let encoded = write(range(2, 7), &example());
    let file = FileReader::try_new(Cursor::new(encoded.bytes), None).expect("an Arrow file");
    let row = |batch: &RecordBatch, row: usize| {
        let bytes = |column: usize| {
            let column = batch.column(column).as_binary::<i32>();
            column.is_valid(row).then(|| column.value(row).to_vec())
        };
        let address = addresses().into_iter().position(|of| {
            of.kind.name() == word::<UInt8Type>(batch.column(2), row)
                && of.name == word::<UInt16Type>(batch.column(3), row)
        });
        let times = batch.column(6).as_primitive::<Int64Type>();
        (
            batch.column(0).as_primitive::<UInt16Type>().value(row),
            bytes(1).expect("a key"),
            address.expect("a named state"),
            bytes(4),
            bytes(5),
            times.is_valid(row).then(|| times.value(row)),
        )
    };
    let batches: Vec<RecordBatch> = file.map(|batch| batch.expect("a batch")).collect();
    let rows = batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)));
    assert_eq!(rows.collect::<Vec<_>>(), example());
}

#[test]
fn only_the_key_groups_that_are_asked_for_are_read() {
    let encoded = write(range(2, 7), &example());
    let segment = named(&encoded);
    let reader = Reader::open(encoded.bytes.clone().into(), &segment).expect("what was written");
    for (start, end, count) in [
        (0, 3, 0),
        (3, 4, 5),
        (4, 5, 1),
        (4, 9, 2),
        (5, 6, 0),
        (7, 9, 0),
    ] {
        let rows = read(&reader, range(start, end)).expect("what was written");
        assert_eq!(rows.len(), count, "{start}..{end}");
        assert!(rows.iter().all(|row| (start..end).contains(&row.0)));
    }
    // Damage elsewhere does not matter to a reader of some groups: it is never looked at.
    let mut bytes = encoded.bytes;
    let (first, last) = (encoded.offsets[1] as usize, encoded.offsets[2] as usize);
    bytes[first..last].fill(0x55);
    let mut reader = Reader::parse(bytes.into()).expect("a whole head");
    reader.index = Some((segment.range, segment.offsets));
    assert_eq!(read(&reader, range(4, 7)).expect("whole groups").len(), 2);
    assert!(read(&reader, range(3, 7)).is_err());
}

#[test]
fn a_flipped_bit_or_a_lost_byte_is_refused_by_name() {
    let encoded = write(range(2, 7), &example());
    let segment = named(&encoded);
    let check = |bytes: Vec<u8>| match Reader::open(bytes.into(), &segment) {
        Err(SegmentError::Digest { .. }) => {}
        other => panic!("{other:?}"),
    };
    for at in 0..encoded.bytes.len() {
        let mut bytes = encoded.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        check(bytes);
        check(encoded.bytes[..at].to_vec());
    }
    let delta = checkpoint::Segment {
        kind: SegmentKind::Delta,
        ..segment
    };
    let read = Reader::open(encoded.bytes.into(), &delta);
    assert!(matches!(read, Err(SegmentError::Extent { .. })));
}

/// Without the digest: right rows, other rows or an error, but no panic.
fn survives(bytes: Vec<u8>, index: Option<(KeyGroupRange, Vec<u64>)>) {
    if let Ok(mut reader) = Reader::parse(Bytes::from(bytes)) {
        reader.index = index;
        let _ = read(&reader, range(0, 128));
    }
}

#[test]
fn another_version_is_refused_by_name() {
    let mut bytes = write(range(2, 7), &example()).bytes;
    let key = VERSION_KEY.as_bytes();
    let places = |bytes: &[u8]| -> Vec<usize> {
        let windows = bytes.windows(key.len()).enumerate();
        windows
            .filter(|(_, window)| *window == key)
            .map(|(at, _)| at)
            .collect()
    };
    // The metadata's value stands near its name; which bytes it is, the reader tells.
    let near = places(&bytes)[0].saturating_sub(64)..places(&bytes)[0] + 64;
    let twos: Vec<usize> = near.filter(|at| bytes[*at] == b'2').collect();
    let refused = twos.iter().any(|at| {
        bytes[*at] = b'3';
        let read = Reader::parse(bytes.clone().into());
        bytes[*at] = b'2';
        matches!(read, Err(SegmentError::Version { version }) if version == "3")
    });
    assert!(refused);
}

#[test]
fn every_damaged_byte_is_survived_without_the_digest() {
    let encoded = write(range(2, 7), &example());
    let index = Some((encoded.range, encoded.offsets));
    for at in 0..encoded.bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = encoded.bytes.clone();
            bytes[at] ^= flip;
            survives(bytes.clone(), None);
            survives(bytes, index.clone());
        }
        let mut cut = encoded.bytes[..at].to_vec();
        cut.extend_from_slice(b"ARROW1");
        survives(cut, index.clone());
    }
}

proptest! {
    #[test]
    fn rows_read_back(
        rows in prop::collection::vec(
            (
                2..7_u16,
                prop::collection::vec(any::<u8>(), 0..9),
                0..5_usize,
                prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
                prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
                prop::option::of(any::<i64>()),
            ),
            0..200,
        ),
    ) {
        let mut rows = rows;
        rows.sort();
        let encoded = write(range(2, 7), &rows);
        let segment = named(&encoded);
        let reader = Reader::open(encoded.bytes.clone().into(), &segment).expect("what was written");
        prop_assert_eq!(read(&reader, range(0, 128)).expect("what was written"), rows.clone());
        let parsed = Reader::parse(encoded.bytes.into()).expect("what was written");
        prop_assert_eq!(read(&parsed, range(0, 128)).expect("what was written"), rows);
    }

    #[test]
    fn random_damage_is_survived(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = write(range(2, 7), &example()).bytes;
        for (place, byte) in places {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        survives(bytes, None);
    }
}
