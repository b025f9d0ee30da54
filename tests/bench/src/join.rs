//! Joins of two streams that go on together in event time.
//!
//! Record `i` of either stream is, as in `tests/peers`: account
//! `i * 0x9E3779B97F4A7C15 mod 10,000`, amount `i mod 1000`, time `i` ms.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    job,
    scenario::Measured,
    throughput::{self, EXTRA_SECONDS},
};

/// Pairs of one account whose right row comes at most five seconds after the left one.
pub(crate) fn interval(seconds: f64) -> Result<Measured> {
    let document = json!({
        "name": "interval-join",
        "sources": { "orders": timed(), "payments": timed() },
        "operators": { "matched": {
            "input": { "left": "orders", "right": "payments" },
            "key-by": ["account"],
            "join": { "interval": { "lower": "0s", "upper": "5s" } },
            "select": { "account": "key.account", "ordered": "left.amount", "paid": "right.amount" },
        } },
        "sinks": { "nothing": { "input": "matched", "discard": {} } },
    });
    let job = job::build(&document, &[])?;
    let summary = job::run(job, Some(seconds + EXTRA_SECONDS))?;
    throughput::every_operator_saw_every_row(&summary)?;
    ensure!(summary.late_rows == 0, "no row is late");
    // Each order meets the payment of its own instant, and few others.
    let pairs: u64 = summary.operators.iter().map(|it| it.records_out).sum();
    ensure!(pairs * 4 > summary.records_in, "{pairs} pairs are too few");
    Ok(Measured::rate(summary.records_in, summary.wall_seconds))
}

/// One of the two streams.
fn timed() -> Value {
    let mut source = throughput::payments(10_000);
    source["generator"]["columns"]["at"] = json!({ "time": { "step": "1ms" } });
    source["event-time"] = json!({ "column": "at" });
    source
}
