//! Ten gigabytes through the keyed job: memory must depend on the state, not on the input.

use anyhow::Result;
use serde_json::json;

use crate::{data, job, scenario::Measured, throughput};

/// Bytes of the file.
const FILE_BYTES: u64 = 10_000_000_000;
/// Accounts in it.
const KEYS: u64 = 1_000_000;

/// Peak memory of the process less the bytes of state, in megabytes.
pub(crate) fn memory(_seconds: f64) -> Result<Measured> {
    let path = data::payments(KEYS, FILE_BYTES)?;
    let source = json!({ "file": { "path": path }, "format": throughput::columns() });
    let document = throughput::keyed_document(source);
    let summary = job::run(job::build(&document, &[])?, None)?;
    throughput::every_operator_saw_every_row(&summary)?;
    eprintln!(
        "{} records, {:.0} records/s; peak {} bytes, state {} bytes",
        summary.records_in,
        summary.records_per_second,
        summary.peak_memory_bytes,
        summary.state_bytes
    );
    let rest = summary
        .peak_memory_bytes
        .saturating_sub(summary.state_bytes);
    Ok(Measured {
        records: summary.records_in,
        seconds: summary.wall_seconds,
        value: rest as f64 / 1e6,
        unit: "MB",
        cpu: None,
    })
}
