//! How many records a second: the peers' jobs and a few of our own.
//!
//! Record `i` is, as in `tests/peers`: account `i * 0x9E3779B97F4A7C15 mod keys`, amount
//! `i mod 1000`, time `i` ms.

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};
use wasmill_host::job::Summary;

use crate::{
    data,
    job::{self, plugin},
    scenario::Measured,
};

/// A record as the peer writes it; `{{` is a brace.
const LINE: &str = r#"{{"account":{hash-mod 10000},"amount":{mod 1000}.25,"ts":{sequence},"country":{mod 7},"merchant":"m{mod 5000}","channel":"card"}"#;

/// Bytes of the file that `json-decode` reads, which the system keeps in memory.
const DECODE_BYTES: u64 = 1_000_000_000;

/// A margin that the slowest machine's start cannot eat.
pub(crate) const EXTRA_SECONDS: f64 = 0.2;

/// The peers' records, computed without end, a split for each subtask.
pub(crate) fn payments(keys: u64) -> Value {
    json!({ "generator": { "splits": job::cores(), "columns": {
        "account": { "hash-mod": keys },
        "amount": { "mod": 1000, "type": "f64" },
        "ts": { "sequence": true, "type": "i64" },
        "country": { "constant": 0, "type": "i32" },
    } } })
}

/// The filter that lets nothing through.
pub(crate) fn stateless(seconds: f64) -> Result<Measured> {
    rate(
        &json!({
            "name": "stateless",
            "sources": { "payments": payments(10_000) },
            "operators": {
                "large": { "input": "payments", "plugin": plugin("guest-bench-large") },
            },
            "sinks": { "nothing": { "input": "large", "discard": {} } },
        }),
        seconds,
    )
}

/// Count, sum and last time of each account.
pub(crate) fn keyed(keys: u64, seconds: f64) -> Result<Measured> {
    rate(&keyed_document(payments(keys)), seconds)
}

/// The keyed job behind JSON text: building it, and reading four of its six fields.
pub(crate) fn json(seconds: f64) -> Result<Measured> {
    let source = json!({
        "generator": { "splits": job::cores(), "columns": { "line": { "text": LINE } } },
        "format": columns(),
    });
    rate(&keyed_document(source), seconds)
}

/// The same text from a file that was written before.
pub(crate) fn json_decode(seconds: f64) -> Result<Measured> {
    let file = data::payments(10_000, DECODE_BYTES)?;
    let source = json!({ "file": { "path": file }, "format": columns() });
    again_and_again(&keyed_document(source), seconds)
}

/// The fields of the text that the peer reads, too.
pub(crate) fn columns() -> Value {
    json!({ "json": { "account": "u64", "amount": "f64", "ts": "i64", "country": "i32" } })
}

/// The keyed job over a source.
pub(crate) fn keyed_document(source: Value) -> Value {
    json!({
        "name": "keyed",
        "sources": { "payments": source },
        "operators": { "rule": rule() },
        "sinks": { "alerts": { "input": "rule", "discard": {} } },
    })
}

/// So many operators that read one keyed exchange; they share lookup and batches, each has its own
/// instance and state.
pub(crate) fn fanout(operators: usize, seconds: f64) -> Result<Measured> {
    let names: Vec<String> = (0..operators).map(|at| format!("rule-{at}")).collect();
    let rules: Map<String, Value> = names.iter().map(|name| (name.clone(), rule())).collect();
    rate(
        &json!({
            "name": "fanout",
            "sources": { "payments": payments(10_000) },
            "operators": rules,
            "sinks": { "alerts": { "input": names, "discard": {} } },
        }),
        seconds,
    )
}

/// Six rolling features of each account, as of each row. Event time goes on by a millisecond a
/// record, so that an account has six payments within a minute.
pub(crate) fn features(seconds: f64) -> Result<Measured> {
    let mut source = payments(10_000);
    source["generator"]["columns"]["at"] = json!({ "time": { "step": "1ms" } });
    source["generator"]["columns"]["country"] = json!({ "mod": 7, "type": "i32" });
    source["event-time"] = json!({ "column": "at" });
    rate(
        &json!({
            "name": "features",
            "sources": { "payments": source },
            "operators": { "features": {
                "input": "payments",
                "key-by": ["account"],
                "features": {
                    "count_1m": { "count": "rows", "over": "1m" },
                    "sum_10m": { "sum": "amount", "over": "10m" },
                    "mean_10m": { "mean": "amount", "over": "10m" },
                    "deviation_10m": { "deviation": "amount", "over": "10m" },
                    "max_10m": { "max": "amount", "over": "10m" },
                    "countries_10m": { "distinct": "country", "over": "10m" },
                },
                "plugin": plugin("guest-bench-features"),
                "order": "arrival",
            } },
            "sinks": { "alerts": { "input": "features", "discard": {} } },
        }),
        seconds,
    )
}

/// The keyed operator, which tells of nobody.
pub(crate) fn rule() -> Value {
    json!({
        "input": "payments",
        "key-by": ["account"],
        "plugin": plugin("guest-bench-rule"),
        "config": { "sum-max": 1e12 },
    })
}

/// Runs a job for so long; its rate is that of the source.
pub(crate) fn rate(document: &Value, seconds: f64) -> Result<Measured> {
    let summary = job::run(job::build(document, &[])?, Some(seconds + EXTRA_SECONDS))?;
    every_operator_saw_every_row(&summary)?;
    Ok(Measured::rate(summary.records_in, summary.wall_seconds))
}

/// Runs a job over a finite input until the time is over; its rate is that of the sources.
pub(crate) fn again_and_again(document: &Value, seconds: f64) -> Result<Measured> {
    let (mut records, mut spent) = (0, 0.0);
    while spent < seconds {
        let summary = job::run(job::build(document, &[])?, None)?;
        job::check(&summary)?;
        records += summary.records_in;
        spent += summary.wall_seconds;
    }
    Ok(Measured::rate(records, spent))
}

pub(crate) fn every_operator_saw_every_row(summary: &Summary) -> Result<()> {
    job::check(summary)?;
    for operator in &summary.operators {
        ensure!(
            operator.records_in == summary.records_in,
            "`{}` saw {} of {} rows",
            operator.name,
            operator.records_in,
            summary.records_in
        );
    }
    Ok(())
}
