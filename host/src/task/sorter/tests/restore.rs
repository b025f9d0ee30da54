//! Rows that wait survive a restore: in order, with their ids and original bytes.

use wasmill_core::checkpoint::{Digest, ObjectRef, Part};
use wasmill_core::key::{KeyCodec, KeyGroupRange, Keys};
use wasmill_core::lineage::{Derived, WindowRows};

use super::*;
use crate::format::encode;

const GROUPS: u16 = 16;

fn codec() -> KeyCodec {
    KeyCodec::new(&batch(0, 0, &[]).rows.schema(), &["v"]).expect("a key")
}

/// A part as a manifest has it, with its object's bytes.
fn part(subtask: u16, sorter: &Sorter) -> (Part, Option<bytes::Bytes>) {
    let encoded = sorter.image().encode().expect("plain columns");
    let object = |bytes: &Vec<u8>| ObjectRef {
        name: "objects/0000000001/0000000001/h".into(),
        bytes: bytes.len() as u64,
        digest: Digest::of(bytes),
    };
    let part = Part {
        subtask,
        state: encoded.state,
        objects: encoded.rows.iter().map(object).collect(),
    };
    (part, encoded.rows.map(Into::into))
}

/// Rows that the source gave, that an operator emitted for them, that a timer emitted, and that
/// windows gave.
pub(super) fn mixed(times: &[i64]) -> Batch {
    let source = batch(1, 40, times);
    let bytes: Vec<String> = times.iter().map(|time| format!("<{time}>")).collect();
    let mut chunk = Chunk {
        split: 1,
        split_name: "in.jsonl".into(),
        first_offset: 40,
        bytes: bytes.concat().into(),
        ..Chunk::default()
    };
    let mut end = 0;
    for text in &bytes {
        chunk.spans.push((end, end + text.len() as u32));
        end += text.len() as u32;
    }
    let parent = Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), times.len());
    let cause = |row: usize| match row % 4 {
        1 => Cause::Timer(Arc::new(TimerCause {
            key: vec![1, 2].into(),
            name: "flush".into(),
            time: times[row],
            ordinal: row as u32,
        })),
        _ => Cause::Row {
            row: row as u32,
            ordinal: row as u32 % 3,
        },
    };
    let derived = Derived {
        operator: "enrich".into(),
        plugin: "abc".into(),
        parent: parent.clone(),
        causes: (0..times.len()).map(cause).collect(),
    };
    let derived = Lineage::whole(Ancestor::Derived(Arc::new(derived)), times.len());
    let windows = WindowRows {
        operator: "per-minute".into(),
        keys: Keys::Words(times.iter().map(|time| *time as u64).collect()),
        starts: times.iter().map(|time| time - 60).collect(),
        ends: times.to_vec(),
        ordinals: (0..times.len() as u32).collect(),
    };
    let windows = Lineage::whole(Ancestor::Windows(Arc::new(windows)), times.len());
    let all = Lineage::concat([&parent, &derived, &windows]);
    let pick: Vec<u32> = (0..times.len() as u32)
        .map(|row| row + [0, 1, 1, 2][row as usize % 4] * times.len() as u32)
        .collect();
    Batch {
        lineage: all.take(&pick.into()),
        ..source
    }
}

/// Each row's time, id, and original bytes.
pub(super) fn told(batch: &Batch) -> Vec<(i64, String, Option<bytes::Bytes>)> {
    let row = |row: usize| {
        let mut id = Vec::new();
        encode::row_id("job", &batch.lineage, row, &mut id);
        let source = batch.lineage.source(row);
        let bytes = source.and_then(|(chunk, at)| chunk.row(at));
        let times = batch.times.as_ref().expect("times");
        (times[row], String::from_utf8(id).expect("text"), bytes)
    };
    (0..batch.len()).map(row).collect()
}

fn all(sorter: &mut Sorter) -> Vec<(i64, String, Option<bytes::Bytes>)> {
    let mut out = Vec::new();
    while let Some(batch) = sorter.release(watermark::END, None, 7).expect("one schema") {
        out.extend(told(&batch));
    }
    out
}

#[test]
fn held_rows_go_to_the_subtasks_of_their_keys() {
    let times: Vec<i64> = (0..200).map(|row| 100 + row * 37 % 101).collect();
    let mut unbroken = Sorter::new(0, 1 << 24);
    let mut was = Sorter::new(0, 1 << 24);
    for sorter in [&mut unbroken, &mut was] {
        for times in times.chunks(9) {
            sorter.push(mixed(times)).expect("there is room");
        }
        assert!(!drain_some(sorter).is_empty());
    }
    let other = Sorter::new(1, 1 << 24);
    let parts = [part(0, &was), part(1, &Sorter::new(0, 1)), part(0, &other)];
    let wanted = all(&mut unbroken);
    let schema = batch(0, 0, &[]).rows.schema();
    for parallelism in [1, 2, 4] {
        let mut found = Vec::new();
        for subtask in 0..parallelism {
            let mut is = Sorter::new(0, 1 << 24);
            let share = Share::Keys {
                codec: &codec(),
                range: KeyGroupRange::of_subtask(subtask, parallelism, GROUPS),
                key_groups: GROUPS,
            };
            is.restore(&parts, &schema, &share)
                .expect("what was written");
            assert_eq!(is.released, watermark::START, "the least of two subtasks");
            let rows = all(&mut is);
            assert!(rows.is_sorted_by_key(|row| row.0));
            found.extend(rows);
        }
        found.sort_by_key(|row| wanted.iter().position(|other| other == row));
        assert_eq!(found, wanted);
    }
}

/// Rows before 120 go on.
fn drain_some(sorter: &mut Sorter) -> Vec<(i64, String, Option<bytes::Bytes>)> {
    let mut out = Vec::new();
    while let Some(batch) = sorter.release(120, None, 7).expect("one schema") {
        out.extend(told(&batch));
    }
    out
}

#[test]
fn without_keys_rows_stay_with_their_subtask() {
    let mut was = Sorter::new(0, 1 << 24);
    was.push(mixed(&[5, 3, 4])).expect("there is room");
    let schema = batch(0, 0, &[]).rows.schema();
    for (parallelism, subtask, count) in [(4, 3, 3), (4, 1, 0), (2, 1, 3), (2, 0, 0)] {
        let mut is = Sorter::new(0, 1 << 24);
        let share = Share::Subtask {
            subtask,
            parallelism,
        };
        is.restore(&[part(3, &was)], &schema, &share)
            .expect("what was written");
        assert_eq!(is.rows(), count, "{subtask} of {parallelism}");
    }
}

#[test]
fn what_was_late_stays_late_and_damage_is_refused() {
    let mut was = Sorter::new(0, 1 << 24);
    was.push(mixed(&[150, 130])).expect("there is room");
    assert!(drain_some(&mut was).is_empty());
    let (part, bytes) = part(0, &was);
    let schema = batch(0, 0, &[]).rows.schema();
    let share = Share::Subtask {
        subtask: 0,
        parallelism: 1,
    };
    let mut is = Sorter::new(0, 1 << 24);
    let whole = [(part.clone(), bytes.clone())];
    is.restore(&whole, &schema, &share)
        .expect("what was written");
    let late = is.push(mixed(&[119, 121])).expect("there is room");
    assert_eq!(late.expect("a late row").times.as_deref(), Some(&[119][..]));
    let mut bytes = bytes.expect("rows").to_vec();
    bytes[100] ^= 4;
    let error = is.restore(&[(part.clone(), Some(bytes.into()))], &schema, &share);
    assert!(
        matches!(error, Err(HeldError::Digest { subtask: 0 })),
        "{error:?}"
    );
    let other = Schema::new(vec![Field::new("w", DataType::Int64, false)]);
    let error = is
        .restore(&whole, &Arc::new(other), &share)
        .expect_err("no such column");
    assert!(error.to_string().contains("no column `w`"), "{error}");
}
