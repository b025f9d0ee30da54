//! What the model is trained on: inputs and truth, as plain numbers.

use std::io::{BufRead, Write};

use plugin_fraud_scorer::inputs::inputs;

use crate::evaluate::{self, Incidents};
use crate::past::Past;
use crate::row::{self, Row};

/// Why a file could not be turned into training data.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("the training data cannot be written or their source not be read")]
    File(#[from] std::io::Error),
    /// The labels do not fit.
    #[error(transparent)]
    Labels(#[from] evaluate::Error),
    /// A line of the transactions does not fit.
    #[error("line {line} of the transactions: {source}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: row::Error,
    },
}

/// Writes one row of little-endian `f32` for each transaction: the model's inputs, then 1 if
/// the transaction lies inside an incident of its account, else 0.
///
/// # Errors
/// If a file cannot be read or written, or a line does not fit; the error names the line.
pub fn write(
    transactions: impl BufRead,
    labels: impl BufRead,
    mut out: impl Write,
) -> Result<(), Error> {
    let incidents = Incidents::read(labels)?;
    let mut past = Past::default();
    for (line, text) in transactions.lines().enumerate() {
        let row = Row::parse(&text?).map_err(|source| Error::Line {
            line: line + 1,
            source,
        })?;
        let truth = f32::from(u8::from(incidents.covers(row.account, row.at_us)));
        for number in inputs(&past.add(&row)).into_iter().chain([truth]) {
            out.write_all(&number.to_le_bytes())?;
        }
    }
    Ok(out.flush()?)
}
