use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::checkpoint::{
    AttemptId, Base, CheckpointId, Decided, Identity, KeyHash, ObjectRef, OperatorState, Part,
    Reason, Segment, SegmentKind, SinkState, SourceState, SplitState, StateSchema,
};
use crate::key::KeyGroupRange;

fn scope() -> Scope {
    Scope::new("default", "card-fraud", KeyGroupRange::all(128)).expect("good names")
}

fn place(position: u64) -> Place {
    Place {
        tenant: "default".into(),
        job: "card-fraud".into(),
        range: KeyGroupRange::all(128),
        position: Position(position),
        previous: Some(Digest::of(b"the entry before")),
        attempt: AttemptId(3),
        checkpoint_last: CheckpointId(17),
        written_us: 1_769_904_000_250_000,
        decided: vec![Decided {
            checkpoint: CheckpointId(16),
            position: Position(17),
            digest: Digest::of(b"checkpoint 16"),
        }],
    }
}

fn object(rest: &str) -> ObjectRef {
    ObjectRef {
        name: Scope::object_name(AttemptId(3), CheckpointId(17), rest),
        bytes: 4_096,
        digest: Digest::of(rest.as_bytes()),
    }
}

fn attempt() -> Entry {
    attempt_with(Some("00c0ffee00c0ffee".into()))
}

fn attempt_with(nonce: Option<String>) -> Entry {
    let place = place(18);
    Entry::Attempt(Box::new(AttemptStart {
        base: Some(Base {
            decided: place.decided[0],
            origin: None,
        }),
        place,
        program: "wasmill 0.1.0".into(),
        nonce,
    }))
}

fn manifest() -> Entry {
    let history = StateSchema {
        id: Digest::of(b"wasmill-state-1 value u64"),
        kind: "value".into(),
        key: None,
        value: "u64".into(),
    };
    let velocity = OperatorState {
        identity: Identity {
            plugin: Some(Digest::of(b"a plugin")),
            key: Some("u64".into()),
            states: [("history".to_owned(), history)].into(),
        },
        watermark: -1,
        segments: vec![Segment {
            object: object("velocity/0"),
            kind: SegmentKind::Base,
            range: KeyGroupRange { start: 0, end: 2 },
            offsets: vec![0, 1_024, 4_096],
        }],
        parts: Vec::new(),
    };
    let split = SplitState {
        position: json!({ "offset": 18_446_744_073_709_551_615_u64, "line": 7 }),
        watermark: 1_769_903_999_000_000,
    };
    let part = Part {
        subtask: 0,
        state: json!({ "parts": ["a.jsonl"] }),
        objects: vec![object("alerts")],
    };
    Entry::Checkpoint(Box::new(Manifest {
        place: place(19),
        checkpoint: CheckpointId(17),
        since: Some(CheckpointId(16)),
        reason: Reason::Periodic,
        is_finished: false,
        triggered_us: 1_769_904_000_000_000,
        key_hash: KeyHash {
            seed: 0,
            groups: 128,
        },
        watermark: 1_769_903_999_000_000,
        sources: BTreeMap::from([(
            "transactions".to_owned(),
            SourceState {
                splits: BTreeMap::from([("in/a.jsonl".to_owned(), split)]),
            },
        )]),
        operators: BTreeMap::from([("velocity".to_owned(), velocity)]),
        sinks: BTreeMap::from([("alerts".to_owned(), SinkState { parts: vec![part] })]),
        decider: None,
    }))
}

/// The bytes of a golden file; with `GOLDEN=write` it is written first.
fn golden(name: &str, entry: &Entry) -> Vec<u8> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let path = here
        .join("../../docs/formats/vectors/checkpoint")
        .join(name);
    if std::env::var_os("GOLDEN").is_some_and(|word| word == "write") {
        std::fs::write(&path, entry.encode()).expect("the folder is there");
    }
    std::fs::read(path).expect("the golden files stand in docs/formats")
}

#[test]
fn entries_are_as_the_golden_files() {
    let cases = [
        // As programs wrote it before attempts had a nonce.
        ("attempt-1", attempt_with(None)),
        ("attempt-1-nonce", attempt()),
        ("manifest-1", manifest()),
    ];
    for (name, entry) in cases {
        let bytes = golden(name, &entry);
        assert_eq!(Entry::decode(&bytes), Ok(entry.clone()), "{name}");
        let text = String::from_utf8(entry.encode()).expect("JSON is text");
        assert_eq!(
            text,
            String::from_utf8(bytes).expect("JSON is text"),
            "{name}"
        );
    }
}

#[test]
fn no_damage_passes() {
    for entry in [attempt(), manifest()] {
        let whole = entry.encode();
        for len in 0..whole.len() {
            assert!(Entry::decode(&whole[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = Entry::decode(&bytes).expect_err("a flipped bit is noticed");
            let is_named = matches!(error, EntryError::Checksum { .. } | EntryError::CutOff);
            assert!(is_named, "bit {bit}: {error}");
        }
        let longer = [&whole[..], b"\n"].concat();
        assert_eq!(Entry::decode(&longer), Err(EntryError::CutOff));
    }
}

/// An entry whose line is this text, with a right checksum.
fn sealed(line: &str) -> Vec<u8> {
    format!("{line}\nsha256:{}\n", Digest::of(line.as_bytes())).into_bytes()
}

/// Decodes an entry in which a text was replaced.
fn changed(entry: &Entry, from: &str, to: &str) -> String {
    let bytes = entry.encode();
    let text = String::from_utf8(bytes).expect("JSON is text");
    let (line, _) = text.split_once('\n').expect("two lines");
    assert!(line.contains(from), "{from} stands in {line}");
    let result = Entry::decode(&sealed(&line.replacen(from, to, 1)));
    result.expect_err(to).to_string()
}

#[test]
fn a_newer_version_is_named() {
    let error = changed(&attempt(), r#""version":1"#, r#""version":2"#);
    assert!(error.contains("format version 2"), "{error}");
    // Whatever a later version has in it.
    let text = r#"{"wasmill":"manifest","version":9,"body":[1]}"#;
    let error = Entry::decode(&sealed(text)).expect_err("a later version");
    assert!(
        matches!(error, EntryError::Version { version: 9, .. }),
        "{error}"
    );
}

#[test]
fn what_the_format_does_not_know_is_refused() {
    for (from, to, told) in [
        (
            r#""wasmill":"manifest""#,
            r#""wasmill":"list""#,
            "no kind `list`",
        ),
        (
            r#""is-finished""#,
            r#""is-done""#,
            "unknown field `is-done`",
        ),
        (
            r#""kind":"base""#,
            r#""kind":"half""#,
            "unknown variant `half`",
        ),
        (
            r#""offsets":[0,1024,4096]"#,
            r#""offsets":[0,4096]"#,
            "key groups of",
        ),
        (
            r#""offsets":[0,1024,4096]"#,
            r#""offsets":[0,1024,4097]"#,
            "key groups of",
        ),
        (
            r#""start":0,"end":2"#,
            r#""start":3,"end":2"#,
            "key groups of",
        ),
        (
            "objects/0000000003/0000000017/alerts",
            "../alerts",
            "`../alerts` is no object's name",
        ),
        (
            r#""checkpoint":17,"since""#,
            r#""checkpoint":16,"since""#,
            "not above",
        ),
    ] {
        let error = changed(&manifest(), from, to);
        assert!(error.contains(told), "{to}: {error}");
    }
    let error = changed(&attempt(), r#""start":0,"end":128"#, r#""start":5,"end":5"#);
    assert!(error.contains("no key groups"), "{error}");
    assert!(changed(&attempt(), r#""position":18"#, r#""position":1"#).contains("predecessor"));
}

#[test]
fn an_entry_that_was_moved_is_refused() {
    let bytes = manifest().encode();
    assert!(Entry::decode_at(&scope(), Position(19), &bytes).is_ok());
    let error = Entry::decode_at(&scope(), Position(20), &bytes).expect_err("another place");
    assert!(matches!(error, EntryError::Elsewhere { .. }), "{error}");
    let other = Scope::new("default", "other", KeyGroupRange::all(128)).expect("good names");
    let error = Entry::decode_at(&other, Position(19), &bytes).expect_err("another job");
    let told = error.to_string();
    assert!(
        told.contains("default/card-fraud/0-127/log/0000000019"),
        "{told}"
    );
}
