use arrow_array::{Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;
use wasmill_core::lineage::Chunk;

use super::*;

mod golden;
mod restore;

/// Rows of one split, from an offset on; the column repeats the time.
fn batch(split: u32, first_offset: u64, times: &[i64]) -> Batch {
    let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
    let column = Arc::new(Int64Array::from(times.to_vec()));
    let chunk = Chunk {
        split,
        first_offset,
        ..Chunk::default()
    };
    let lineage = Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), times.len());
    let rows = RecordBatch::try_new(schema, vec![column]).expect("one column");
    Batch {
        times: Some(times.to_vec().into()),
        ..Batch::new(rows, lineage)
    }
}

fn rows(batch: &Batch) -> Vec<(i64, u32, u64)> {
    let values = batch.rows.column(0).as_primitive::<Int64Type>();
    let row = |row: usize| {
        let (split, offset) = batch.lineage.position(row).expect("a source row");
        assert_eq!(
            batch.clocks.as_ref().expect("clocks")[row],
            values.value(row)
        );
        (values.value(row), split, offset)
    };
    (0..batch.len()).map(row).collect()
}

fn drain(sorter: &mut Sorter, watermark: i64, rows_max: usize) -> Vec<(i64, u32, u64)> {
    let mut out = Vec::new();
    while let Some(batch) = sorter
        .release(watermark, None, rows_max)
        .expect("one schema")
    {
        assert!(batch.len() <= rows_max);
        out.extend(rows(&batch));
    }
    out
}

#[test]
fn rows_wait_for_the_watermark_and_leave_in_order() {
    let mut sorter = Sorter::new(0, 1 << 20);
    sorter.push(batch(1, 0, &[5, 3, 9])).expect("there is room");
    sorter.push(batch(0, 7, &[5, 4])).expect("there is room");
    assert_eq!(drain(&mut sorter, 3, 10), []);
    assert_eq!(
        drain(&mut sorter, 6, 2),
        [(3, 1, 1), (4, 0, 8), (5, 0, 7), (5, 1, 0)]
    );
    let late = sorter
        .push(batch(0, 9, &[5, 6]))
        .expect("there is room")
        .expect("one is late");
    assert_eq!(late.lineage.position(0), Some((0, 9)));
    assert_eq!(late.len(), 1);
    assert_eq!(
        drain(&mut sorter, watermark::END, 10),
        [(6, 0, 10), (9, 1, 2)]
    );
    assert_eq!((sorter.rows(), sorter.bytes()), (0, 0));
}

#[test]
fn what_is_held_is_bounded_and_says_what_helps() {
    let mut sorter = Sorter::new(0, 1 << 10);
    let error = sorter.push(batch(0, 0, &[1; 500])).expect_err("too much");
    assert!(error.to_string().contains("500 rows"), "{error}");
    assert!(error.to_string().contains("out-of-orderness"), "{error}");
}

proptest! {
    /// Splits cut anywhere and interleaved anyhow: the same rows in the same order.
    #[test]
    fn order_depends_on_the_rows_alone(
        times in prop::collection::vec(prop::collection::vec(0..30_i64, 0..120), 1..4),
        cuts in prop::collection::vec((0..3_usize, 1..9_usize), 0..120),
        rows_max in 1..40_usize,
    ) {
        let mut sorter = Sorter::new(0, 1 << 24);
        let mut next = vec![0_usize; times.len()];
        let mut out = Vec::new();
        let rest = (0..times.len()).map(|split| (split, usize::MAX));
        for (split, len) in cuts.iter().map(|(s, len)| (s % times.len(), *len)).chain(rest) {
            let from = next[split];
            let end = times[split].len().min(from.saturating_add(len));
            next[split] = end;
            let late = sorter.push(batch(split as u32, from as u64, &times[split][from..end]));
            prop_assert!(late.expect("there is room").is_none());
            // The watermark that promises nothing false: the least time still to come.
            let to_come = times.iter().zip(&next).flat_map(|(times, next)| &times[*next..]);
            if let Some(least) = to_come.min() {
                out.extend(drain(&mut sorter, *least, rows_max));
            }
        }
        out.extend(drain(&mut sorter, watermark::END, rows_max));
        let rows = times.iter().enumerate().flat_map(|(split, times)| {
            times.iter().enumerate().map(move |(at, time)| (*time, split as u32, at as u64))
        });
        let mut expected: Vec<(i64, u32, u64)> = rows.collect();
        expected.sort_unstable();
        prop_assert_eq!(out, expected);
    }
}
