//! The golden bytes of trails (docs/formats/vectors/trails.json).

use serde_json::{Value as Json, json};

use super::*;
use crate::golden::{self, hex, unhex};
use crate::key::Keys;
use crate::lineage::WindowRows;

/// Two rows of a file, with their bytes or without.
fn source(has_bytes: bool) -> Lineage {
    let chunk = Chunk {
        split: 3,
        split_name: "in/é.jsonl".into(),
        offsets: vec![7, 1 << 40],
        bytes: "{}{\"a\":1}".into(),
        spans: if has_bytes {
            vec![(0, 2), (2, 9)]
        } else {
            Vec::new()
        },
        ..Chunk::default()
    };
    Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), 2)
}

/// One row that an operator emitted for a cause, whose rows are those of a file.
fn emitted(plugin: &str, cause: Cause) -> Lineage {
    let derived = Derived {
        operator: "rules".into(),
        plugin: plugin.into(),
        parent: source(false),
        causes: vec![cause],
    };
    Lineage::whole(Ancestor::Derived(Arc::new(derived)), 1)
}

fn joined(left: Option<u32>, right: Option<u32>) -> Lineage {
    let ordinal = 2;
    emitted(
        "",
        Cause::Join(JoinCause {
            left,
            right,
            ordinal,
        }),
    )
}

/// A row of each kind: how it came to be, and its lineage, of which it is the last row.
fn rows() -> Vec<(&'static str, Lineage)> {
    let timer = TimerCause {
        key: vec![1, 2].into(),
        name: "flush".into(),
        time: -1,
        ordinal: 4,
    };
    let windows = WindowRows {
        operator: "per-minute".into(),
        keys: Keys::Words(vec![9].into()),
        starts: vec![-60_000_000],
        ends: vec![0],
        ordinals: vec![1],
    };
    let row = Cause::Row { row: 1, ordinal: 5 };
    let twice = Lineage::emitted(&"more".into(), emitted("abc", row.clone()), &[0, 0]);
    vec![
        ("a source's row without its bytes", source(false)),
        ("a source's row with its bytes", source(true)),
        ("emitted for a row", emitted("abc", row)),
        ("emitted for a row that was emitted for a row", twice),
        (
            "emitted for a timer",
            emitted("abc", Cause::Timer(Arc::new(timer))),
        ),
        (
            "a result of a window",
            Lineage::whole(Ancestor::Windows(Arc::new(windows)), 1),
        ),
        ("joined of two rows", joined(Some(0), Some(1))),
        ("a left row that met none", joined(Some(0), None)),
        ("a right row that met none", joined(None, Some(1))),
    ]
}

fn vectors() -> Json {
    let case = |(name, lineage): (&str, Lineage)| {
        let mut bytes = Vec::new();
        write(&lineage, lineage.len() - 1, &mut bytes);
        json!({ "name": name, "bytes": hex(&bytes) })
    };
    json!({
        "doc": "Trails of rows (docs/formats/segment.md), in hexadecimal: of rows 7 and 2^40 of split \
                3, `in/é.jsonl`, and of rows that operators made of them.",
        "cases": rows().into_iter().map(case).collect::<Vec<_>>(),
    })
}

#[test]
fn trails_have_golden_bytes() {
    let golden = golden::check("trails.json", &vectors());
    let all: Vec<Vec<u8>> = golden["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .map(|case| unhex(&case["bytes"]))
        .collect();
    // All at once, so that rows of several kinds share what they have in common.
    let lineage = read(all.iter().map(Vec::as_slice)).expect("golden bytes");
    assert_eq!(lineage.len(), all.len());
    for (row, ((name, expected), bytes)) in rows().iter().zip(&all).enumerate() {
        let mut again = Vec::new();
        write(&lineage, row, &mut again);
        assert_eq!(again, *bytes, "{name}");
        let last = expected.len() - 1;
        assert_eq!(lineage.position(row), expected.position(last), "{name}");
        for cut in 0..bytes.len() {
            assert!(
                read([&bytes[..cut]].into_iter()).is_none(),
                "{name} without its end"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(
            read([&longer[..]].into_iter()).is_none(),
            "{name} with more behind it"
        );
    }
}
