//! Segments whose bytes are those that were written, and that should not have been written so.

use std::collections::BTreeMap;
use std::path::Path;

use wasmill_core::checkpoint::{
    AttemptId, Identity, Place, Reason, Scope, SegmentKind, StateSchema,
};
use wasmill_core::{key, pipeline};

use super::*;
use crate::inspection::Target;
use crate::segment::{Address, Kind, Row, Writer};

const GROUPS: u16 = 128;
const NAME: &str = "objects/0000000001/0000000001/ledger/0-segment-0";

fn addresses() -> Vec<Address> {
    let address = |kind, name: &str| Address {
        kind,
        name: name.into(),
    };
    vec![
        address(Kind::Value, "total"),
        address(Kind::List, "recent"),
        address(Kind::Timer, "idle"),
        address(Kind::Value, "stranger"),
    ]
}

fn schema(kind: &str, value: &str) -> StateSchema {
    StateSchema {
        id: Digest::of(value.as_bytes()),
        kind: kind.into(),
        key: None,
        value: value.into(),
    }
}

fn manifest(segments: Vec<Segment>) -> Manifest {
    let states = [
        ("total", schema("value", "i64")),
        ("recent", schema("list", "u8")),
    ];
    let states = states.map(|(name, schema)| (name.to_owned(), schema));
    let identity = Identity {
        plugin: Some(Digest::of(b"plugin")),
        key: Some("u64".into()),
        states: states.into(),
    };
    let ledger = OperatorState {
        identity,
        watermark: 0,
        segments,
        parts: Vec::new(),
    };
    Manifest {
        place: Place {
            tenant: "default".into(),
            job: "books".into(),
            range: KeyGroupRange::all(GROUPS),
            position: Position::FIRST,
            previous: None,
            attempt: AttemptId::FIRST,
            checkpoint_last: CheckpointId(1),
            written_us: 0,
            decided: Vec::new(),
        },
        checkpoint: CheckpointId(1),
        since: None,
        reason: Reason::Periodic,
        is_finished: false,
        triggered_us: 0,
        key_hash: KeyHash {
            seed: 0,
            groups: GROUPS,
        },
        watermark: 0,
        sources: BTreeMap::new(),
        operators: [("ledger".to_owned(), ledger)].into(),
        sinks: BTreeMap::new(),
        decider: None,
    }
}

/// A key of a key group.
fn key_of(group: u16) -> [u8; 8] {
    let is_of = |key: &u64| key::key_group(key::hash_word(*key), GROUPS) == group;
    let key = (0..).find(is_of);
    key.expect("every group has keys").to_le_bytes()
}

fn row<'a>(key_group: u16, key: &'a [u8], address: usize, value: Option<&'a [u8]>) -> Row<'a> {
    Row {
        key_group,
        key,
        address,
        entry: None,
        value,
        time: None,
    }
}

/// Stores a checkpoint with one segment of these rows, as `change` leaves its manifest; gives what
/// is wrong with it.
fn verified(rows: &[Row<'_>], change: impl FnOnce(&mut Segment)) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = Writer::new(
        SegmentKind::Base,
        KeyGroupRange::all(GROUPS),
        &addresses(),
        0,
    )
    .expect("few states");
    for row in rows {
        writer.push(*row).expect("a small row");
    }
    let encoded = writer.finish().expect("a segment");
    let mut segment = encoded.segment(NAME.into());
    change(&mut segment);
    let scope = Scope::new("default", "books", KeyGroupRange::all(GROUPS)).expect("good names");
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        let parent = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(parent).expect("writable");
        std::fs::write(&path, bytes).expect("writable");
    };
    put(&scope.object(NAME), &encoded.bytes);
    let entry = Entry::Checkpoint(Box::new(manifest(vec![segment])));
    put(&scope.entry(Position::FIRST), &entry.encode());
    let place = pipeline::Storage::Folder(folder.path().display().to_string());
    let log = Log::open(&Target::Store(place)).expect("a log");
    let verified = verify(&log, Which::Newest).expect("it can be read");
    assert_eq!(verified.entries, 1);
    let told = verified.damages.into_iter();
    told.map(|damage| format!("{}: {}", damage.place, damage.what))
        .collect()
}

#[track_caller]
fn one(rows: &[Row<'_>], words: &[&str]) {
    let told = verified(rows, |_| ());
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        words.iter().all(|word| told[0].contains(word)),
        "{words:?} in {}",
        told[0]
    );
}

#[test]
fn a_sound_segment_is_whole() {
    let (a, b) = (key_of(3), key_of(4));
    let value = 7_i64.to_le_bytes();
    let timer = Row {
        time: Some(5),
        ..row(4, &b, 2, None)
    };
    let item = Row {
        entry: Some(&[0, 0, 0, 0]),
        ..row(3, &a, 1, Some(&[1]))
    };
    let rows = [row(3, &a, 0, Some(&value)), item, timer];
    assert_eq!(verified(&rows, |_| ()), [""; 0]);
    // Where key groups begin may be left to the file.
    assert_eq!(verified(&rows, |it| it.offsets.clear()), [""; 0]);
}

#[test]
fn every_rule_is_looked_at() {
    let (a, b) = (key_of(3), key_of(4));
    let value = 7_i64.to_le_bytes();
    let good = row(3, &a, 0, Some(&value));
    one(
        &[row(4, &a, 0, Some(&value))],
        &["key group 4", "the key belongs to key group 3"],
    );
    one(
        &[row(3, &a, 0, Some(&value[..7]))],
        &["value `total`", "not of its type"],
    );
    one(&[row(3, &a, 0, None)], &["has no value"]);
    one(&[row(3, &a, 2, None)], &["timer `idle`", "has no time"]);
    one(
        &[row(3, &a, 1, Some(&[1]))],
        &["list `recent`", "no position"],
    );
    one(
        &[row(3, &a, 3, Some(&value))],
        &["knows no such state", "`stranger`"],
    );
    one(&[good, good], &["stands there twice"]);
    let timer = Row {
        time: Some(1),
        ..row(3, &a, 2, None)
    };
    one(&[timer, good], &["behind one that comes after it"]);
    let short = [1, 2, 3];
    let group = key::key_group(key::hash(&short), GROUPS);
    one(
        &[row(group, &short, 0, Some(&value))],
        &["not of the operator's key type"],
    );
    let told = verified(&[good, row(4, &b, 0, Some(&value[1..]))], |_| ());
    assert_eq!(told.len(), 1, "the others are whole: {told:#?}");
}

#[test]
fn a_manifest_that_lies_is_told() {
    let a = key_of(3);
    let value = 7_i64.to_le_bytes();
    let rows = [row(3, &a, 0, Some(&value))];
    let told = |change: fn(&mut Segment)| verified(&rows, change).join("\n");
    assert!(told(|it| it.object.bytes += 1).contains("were written"));
    assert!(told(|it| it.object.digest = Digest::of(b"")).contains("digest"));
    let wide = |it: &mut Segment| {
        it.range.end = 500;
        it.offsets.clear();
    };
    assert!(told(wide).contains("and there are 128"));
    assert!(told(|it| it.offsets[5] = u64::MAX).contains("the key groups of"));
    // The batch of group 3 is said to be that of group 2.
    let moved = told(|it| it.offsets[3] = it.offsets[4]);
    assert!(
        moved.contains("key group 2: rows of key group 3 stand there"),
        "{moved}"
    );
    let elsewhere = told(|it| it.object.name = "objects/../x".into());
    assert!(elsewhere.contains("no object's name"), "{elsewhere}");
}
