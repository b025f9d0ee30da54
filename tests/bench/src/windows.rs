//! Windows, natively: the peers' records, of which event time goes on by a millisecond each.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    scenario::Measured,
    throughput::{self, payments},
};

/// The windows of a scenario, as JSON.
pub(crate) type Windows = &'static str;

pub(crate) const TUMBLING: Windows = r#"{ "tumbling": "60s" }"#;
pub(crate) const SLIDING: Windows = r#"{ "sliding": { "size": "60s", "every": "5s" } }"#;
pub(crate) const SESSION: Windows = r#"{ "session": { "gap": "5s" } }"#;

/// Count and sum of each account, of 10,000; a second out of order.
pub(crate) fn rate(windows: Windows, seconds: f64) -> Result<Measured> {
    let windows: Value = serde_json::from_str(windows)?;
    let mut source = payments(10_000);
    source["generator"]["columns"]["at"] = json!({ "time": { "step": "1ms" } });
    source["event-time"] = json!({ "column": "at", "out-of-orderness": "1s" });
    let document = json!({
        "name": "windows",
        "sources": { "payments": source },
        "operators": { "windows": {
            "input": "payments",
            "key-by": ["account"],
            "window": windows,
            "aggregates": { "n": { "count": "rows" }, "total": { "sum": "amount" } },
        } },
        "sinks": {
            "results": { "input": "windows", "discard": {} },
            "late": { "input": "windows.late", "discard": {} },
        },
    });
    throughput::rate(&document, seconds)
}
