//! The calls of an aggregate as they cross the boundary (docs/formats/vectors/aggregates.json).

use super::batches::compact;
use super::{hex, path, read};
use crate::prelude::*;
use crate::testing::Exchange;
use serde_json::{Value as Json, json};
use std::fs;

#[derive(Row)]
struct Sale<'a> {
    cents: Option<i64>,
    shop: &'a str,
}

#[derive(State, Clone, Debug, PartialEq, Default)]
struct Kept {
    sum: i64,
    last: String,
}

/// The sum, and the last shop in the alphabet.
struct Sales;

impl Aggregate for Sales {
    const PLUGIN: Plugin = Plugin {
        name: "sales",
        version: "1.0.0",
        doc: "",
    };
    type Config = ();
    type Row<'a> = Sale<'a>;
    type Accumulator = Kept;
    type Output = Option<i64>;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn create(&self) -> Kept {
        Kept::default()
    }

    fn add(&self, kept: &mut Kept, row: Sale<'_>) -> Result<(), Reject> {
        kept.sum += row.cents.unwrap_or(0);
        if kept.sum < 0 {
            return reject("debts");
        }
        if row.shop > kept.last.as_str() {
            kept.last = row.shop.into();
        }
        Ok(())
    }

    fn merge(&self, kept: &mut Kept, other: Kept) {
        kept.sum += other.sum;
        kept.last = std::mem::take(&mut kept.last).max(other.last);
    }

    fn result(&self, kept: Kept) -> Option<i64> {
        (!kept.last.is_empty()).then_some(kept.sum)
    }
}

fn case(name: &str, call: &str, harness: &AggregateHarness<Sales>) -> Json {
    let Exchange {
        rows,
        batch,
        answer,
    } = harness.last_exchange().expect("a call was made");
    let buffers = |(directory, arena): &(Vec<u32>, Vec<u64>)| {
        let entries: Vec<_> = directory.chunks(5).collect();
        json!({ "directory": entries, "arena": hex(bytemuck::cast_slice(arena)) })
    };
    let mut batch = buffers(batch);
    batch["rows"] = (*rows).into();
    json!({
        "name": name, "call": call, "descriptor": harness.descriptor(),
        "batch": batch, "answer": buffers(answer),
    })
}

fn kept(sum: i64, last: &str) -> Kept {
    let last = last.into();
    Kept { sum, last }
}

fn cases() -> Vec<Json> {
    let mut cases = Vec::new();
    let mut sales = AggregateHarness::<Sales>::new("{}");
    let sale = |cents, shop| Sale { cents, shop };
    let rows = [
        sale(Some(5), "tea"),
        sale(None, "añ"),
        sale(Some(-9), "books"),
        sale(Some(2), "zoo"),
    ];
    let known = kept(3, "books");
    let (accumulators, rejected) = sales.add_grouped(&[Some(&known), None], &rows, &[0, 1, 0, 0]);
    assert_eq!(
        accumulators,
        [Some(kept(10, "zoo")), Some(kept(0, "añ"))],
        "the refused row has left nothing behind"
    );
    assert_eq!(rejected, [(2, "debts".to_owned())]);
    let name = "rows of two accumulators, one of them new, and a row that is refused";
    cases.push(with(case(name, "add", &sales), json!([[0, 10], [1, 0]])));
    let parts = [&kept(1, "a"), &kept(2, ""), &kept(4, "b")];
    let merged = sales.merge_pairs(&parts, &[(0, 1), (3, 2), (2, 2)]);
    assert_eq!(merged, [kept(3, "a"), kept(7, "b"), kept(8, "b")]);
    let name = "pairs, the second of which takes what the first one makes";
    let made = json!([[3, 3], [4, 7], [5, 8]]);
    cases.push(with(case(name, "merge", &sales), made));
    assert_eq!(sales.result(&kept(7, "b")), Some(7));
    cases.push(with(case("a result", "results", &sales), json!([[0, 7]])));
    cases
}

/// A case with the numbers of the answer's values and the sum of each.
fn with(mut case: Json, sums: Json) -> Json {
    case["sums"] = sums;
    case
}

#[test]
fn calls_of_aggregates_are_those_of_the_vectors() {
    let doc = "Calls of an aggregate as they cross the boundary (docs/formats/buffers.md): \
        directories by entry, arenas in hexadecimal. `sums` has the number of each value of the \
        answer and its `sum`, or the result. Where a buffer lies in an arena is free.";
    let vectors = json!({ "doc": doc, "cases": cases() });
    if std::env::var_os("BLESS").is_some() {
        let text = serde_json::to_string_pretty(&vectors).expect("JSON writes");
        fs::write(path("aggregates.json"), compact(&text)).expect("the folder is there");
    }
    assert_eq!(vectors, read("aggregates.json"));
}
