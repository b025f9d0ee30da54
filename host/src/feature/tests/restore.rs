//! What features remember survives a restore, at any parallelism.

use super::*;
use crate::segment::{Encoded, Reader};
use crate::state::Cut;
use wasmill_core::checkpoint::CheckpointId;

const GROUPS: u16 = 8;
const CUT: Cut = Cut {
    checkpoint: CheckpointId(1),
    base: None,
};

/// Every way in which something is remembered.
fn all() -> Vec<(&'static str, serde_json::Value)> {
    let tile = |text: &str| {
        let text = text.replace('}', r#", "over": "20us", "granularity": "6us"}"#);
        serde_json::from_str(&text).expect("JSON")
    };
    let tiles = [
        ("tile-count", tile(r#"{"count": "rows"}"#)),
        ("tile-sum", tile(r#"{"sum": "n"}"#)),
        ("tile-mean", tile(r#"{"mean": "f"}"#)),
        ("tile-max-w", tile(r#"{"max": "w"}"#)),
        ("tile-min-n", tile(r#"{"min": "n"}"#)),
        ("tile-max-s", tile(r#"{"max": "s"}"#)),
        ("tile-distinct", tile(r#"{"distinct": "s"}"#)),
        ("tile-deviation", tile(r#"{"deviation": "d"}"#)),
    ];
    let means = [
        ("by-age", serde_json::json!({ "ewma": "f", "over": "10us" })),
        ("by-row", serde_json::json!({ "ewma": "n", "rows": 3 })),
    ];
    declared().into_iter().chain(tiles).chain(means).collect()
}

fn engines(parallelism: u16, features: &[(&str, serde_json::Value)]) -> Vec<Engine> {
    let engine = |subtask| Engine {
        set: set(features),
        index: KeyIndex::new(
            KeyGroupRange::of_subtask(subtask, parallelism, GROUPS),
            GROUPS,
            true,
            Secret::seeded(1),
        ),
        keys: BatchKeys::default(),
    };
    (0..parallelism).map(engine).collect()
}

/// What each row gets from the subtask that owns its key.
fn run(engines: &mut [Engine], rows: &[Row], clocks: &[i64]) -> Vec<String> {
    let parallelism = engines.len() as u16;
    let mut results = Vec::new();
    for (row, clock) in rows.iter().zip(clocks) {
        let group = wasmill_core::key::key_group(hash_word(row.key), GROUPS);
        let owner = wasmill_core::key::subtask_of(group, parallelism, GROUPS);
        let engine = &mut engines[usize::from(owner)];
        let columns = engine
            .compute(std::slice::from_ref(row), &[*clock])
            .expect("few rows");
        let cells: Vec<String> = columns.iter().map(|column| cell(column, 0)).collect();
        results.push(cells.join(" "));
    }
    results
}

fn reader(encoded: &Encoded) -> Reader {
    let segment = encoded.segment("objects/0000000001/0000000001/f".into());
    Reader::open(encoded.bytes.clone().into(), &segment).expect("the bytes that were written")
}

/// Takes images, goes on with `later`, and only then writes them down.
fn segments(engines: &mut [Engine], later: &[Row], clocks: &[i64]) -> Vec<Reader> {
    let images: Vec<_> = engines
        .iter_mut()
        .map(|engine| engine.set.image(engine.index.image(CUT)))
        .collect();
    run(engines, later, clocks);
    images
        .into_iter()
        .map(|image| reader(&encode(image)))
        .collect()
}

fn encode(image: FeatureImage) -> Encoded {
    let mut written = None;
    let put = &mut |encoded| {
        written = Some(encoded);
        Ok(())
    };
    image.encode(&[], put).expect("small keys");
    written.expect("a base has a segment")
}

proptest! {
    #[test]
    fn features_go_on_where_they_were(rows in rows(), bound in 0..30_i64, cut in 0..120_usize) {
        let features = all();
        let (rows, clocks) = in_time(rows, bound);
        let cut = cut.min(rows.len());
        let mut unbroken = engines(1, &features);
        let wanted = run(&mut unbroken, &rows, &clocks);
        for (old, new) in [(1, 1), (1, 4), (4, 1), (2, 8), (8, 2)] {
            let mut was = engines(old, &features);
            run(&mut was, &rows[..cut], &clocks[..cut]);
            let segments = segments(&mut was, &rows[cut..], &clocks[cut..]);
            let mut is = engines(new, &features);
            for engine in &mut is {
                let from = (&segments[..], engine.index.range());
                engine.set.restore(from, &mut engine.index).expect("what was written");
                engine.index.recycle();
            }
            let found = run(&mut is, &rows[cut..], &clocks[cut..]);
            prop_assert_eq!(&found, &wanted[cut..], "from {} to {}", old, new);
        }
    }
}

#[test]
fn features_may_be_renamed_and_joined_by_others() {
    let json = |text: &str| serde_json::from_str(text).expect("JSON");
    let before = [("old", json(r#"{"sum": "n", "over": "20us"}"#))];
    let after = [
        ("texts", json(r#"{"distinct": "s", "over": "20us"}"#)),
        ("rows", json(r#"{"count": "rows", "over": "20us"}"#)),
        ("new", json(r#"{"sum": "n", "over": "20us"}"#)),
    ];
    let mut was = engines(1, &before);
    run(&mut was, &[row(1, 10), row(2, 20)], &[1, 2]);
    let segments = segments(&mut was, &[], &[]);
    let mut is = engines(1, &after);
    let engine = &mut is[0];
    let from = (&segments[..], engine.index.range());
    engine
        .set
        .restore(from, &mut engine.index)
        .expect("what was written");
    // The rows are known; of a column that nobody read before, only new values are.
    assert_eq!(run(&mut is, &[row(3, 30)], &[3]), ["1 3 60"]);
}

#[test]
fn damaged_memory_is_refused_by_name() {
    let mut was = engines(1, &all());
    run(&mut was, &[row(1, 10), row(2, 21)], &[1, 2]);
    let engine = &mut was[0];
    let keys = engine.index.image(CUT);
    let mut bytes = encode(engine.set.image(keys)).bytes;
    for at in 0..bytes.len() {
        bytes[at] ^= 0x41;
        if let Ok(segment) = Reader::parse(bytes.clone().into()) {
            let engine = &mut engines(1, &all())[0];
            // Right or refused, it does not matter without the digest: it must not panic.
            let from = (&[segment][..], engine.index.range());
            let _ = engine.set.restore(from, &mut engine.index);
        }
        bytes[at] ^= 0x41;
    }
}
