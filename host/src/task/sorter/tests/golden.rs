//! The golden bytes of rows that wait (docs/formats/vectors/held-rows.arrow).

use std::io::Cursor;

use arrow_array::types::{UInt8Type, UInt64Type};
use arrow_ipc::reader::FileReader;
use serde_json::{Value as Json, json};
use wasmill_core::checkpoint::{Digest, ObjectRef, Part};

use super::restore::{mixed, told};
use super::*;
use crate::golden::{self, hex};

/// Rows of each kind of origin, of a changelog with keys and clocks, of which two have gone on.
fn held() -> Sorter {
    let times = [150, 130, 170, 130, 110, 160];
    let batch = Batch {
        clocks: Some(times.iter().map(|time| time - 20).collect()),
        hashes: Some((0..6).map(|row| row << 60).collect()),
        ops: Some(vec![0, 1, 2, 3, 0, 0].into()),
        ..mixed(&times)
    };
    let mut sorter = Sorter::new(1, 1 << 20);
    sorter.push(batch).expect("there is room");
    sorter
        .push(Batch {
            ops: Some(vec![0, 0].into()),
            clocks: Some(vec![100, 101].into()),
            hashes: Some(vec![1, 2].into()),
            ..mixed(&[119, 140])
        })
        .expect("there is room");
    while sorter.release(120, None, 7).expect("one schema").is_some() {}
    sorter
}

/// The rows of a file of held rows, batch by batch.
fn described(bytes: &[u8], state: &Json) -> Json {
    let file = FileReader::try_new(Cursor::new(bytes), None).expect("an Arrow IPC file");
    let columns = file.schema();
    let columns: Vec<&String> = columns.fields().iter().map(|field| field.name()).collect();
    let columns = json!(columns);
    let batches = file.map(|batch| {
        let batch = batch.expect("a batch");
        let signed = |at: usize, row| batch.column(at).as_primitive::<Int64Type>().value(row);
        let row = |row: usize| {
            json!({
                "wasmill.time": signed(0, row),
                "wasmill.clock": signed(1, row),
                "wasmill.hash": batch.column(2).as_primitive::<UInt64Type>().value(row),
                "wasmill.op": batch.column(3).as_primitive::<UInt8Type>().value(row),
                "wasmill.trail": hex(batch.column(4).as_binary::<i32>().value(row)),
                "v": signed(5, row),
            })
        };
        (0..batch.num_rows()).map(row).collect::<Json>()
    });
    json!({
        "doc": "The rows of held-rows.arrow (docs/formats/segment.md), batch by batch, and the state \
                of the part that names it.",
        "columns": columns,
        "batches": batches.collect::<Vec<_>>(),
        "state": state,
    })
}

#[test]
fn held_rows_have_golden_bytes() {
    let encoded = held().image().encode().expect("plain columns");
    let bytes = encoded.rows.expect("rows that wait");
    if golden::is_blessed() {
        std::fs::write(golden::path("held-rows.arrow"), &bytes).expect("a place");
    }
    let golden = std::fs::read(golden::path("held-rows.arrow")).expect("the golden file");
    assert!(golden == bytes, "what is written has changed");
    let description = golden::check("held-rows.json", &described(&golden, &encoded.state));
    let part = Part {
        subtask: 0,
        state: description["state"].clone(),
        objects: vec![ObjectRef {
            name: "objects/0000000001/0000000001/h".into(),
            bytes: golden.len() as u64,
            digest: Digest::of(&golden),
        }],
    };
    let share = Share::Subtask {
        subtask: 0,
        parallelism: 1,
    };
    let schema = batch(0, 0, &[]).rows.schema();
    let (mut was, mut is) = (held(), Sorter::new(1, 1 << 20));
    let parts = [(part, Some(golden.into()))];
    is.restore(&parts, &schema, &share).expect("golden rows");
    assert_eq!(is.released, was.released);
    let all = |sorter: &mut Sorter| {
        let mut rows = Vec::new();
        while let Some(batch) = sorter.release(watermark::END, None, 7).expect("one schema") {
            let [clocks, times] = [batch.clocks.clone(), batch.times.clone()];
            rows.push((told(&batch), clocks, times, batch.hashes, batch.ops));
        }
        rows
    };
    assert_eq!(all(&mut is), all(&mut was));
}
