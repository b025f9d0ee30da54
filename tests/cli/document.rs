//! Pipeline documents that tests write.

use std::fs;
use std::path::Path;

use crate::program::component;

/// A job over generated payments: `SOURCE` and `SINKS` are put in. Of the payments 1 to `n`, whose
/// amounts are 0 to 199, those of at least ten pass.
const LARGE: &str = "\
name: large
sources:
  payments:
    SOURCE
operators:
  large:
    input: payments
    plugin: PLUGIN
    config: { min-amount: 10 }
sinks:
  SINKS
";

/// Columns of generated payments.
const COLUMNS: &str = "columns: { account: sequence, amount: { mod: 200, type: f64 } }";

/// A job that computes `records` payments and prints the large ones.
pub(crate) fn finite(records: u64) -> String {
    printing(&format!("generator: {{ records: {records}, {COLUMNS} }}"))
}

/// A job that never ends by itself.
pub(crate) fn endless() -> String {
    printing(&format!("generator: {{ rate: 1000, {COLUMNS} }}"))
}

/// A job that reads payments from standard input.
pub(crate) fn fed(on_error: &str) -> String {
    let format = "json: { account: u64, amount: f64 }";
    printing(&format!(
        "stdin: {{}}\n    format: {{ {format} }}\n    on-error: {on_error}"
    ))
}

/// A job that prints large payments.
fn printing(source: &str) -> String {
    large(source, "out: { input: large, stdout: {} }")
}

/// The job with a source and sinks.
pub(crate) fn large(source: &str, sinks: &str) -> String {
    LARGE
        .replace("SOURCE", source)
        .replace("SINKS", sinks)
        .replace("PLUGIN", &component("filter").display().to_string())
}

/// Writes a document into a folder as `pipeline.yaml`.
pub(crate) fn write(folder: &Path, text: &str) {
    fs::write(folder.join("pipeline.yaml"), text).expect("the folder is ours");
}
