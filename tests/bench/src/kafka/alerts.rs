//! What the flagship must find, held against what a program has told.

use std::{fs::File, io::BufReader};

use anyhow::{Result, bail};
use card_fraud_data::compare::compare;

use crate::data;

/// Holds alerts, a line each, against those of plain Rust: each field to the byte, and scores to
/// 0.00001, since another library adds floats in another order.
pub(super) fn check(told: &[u8], records: u64) -> Result<()> {
    let expected = BufReader::new(File::open(data::alerts(records)?)?);
    match compare(told, expected)? {
        Ok(count) => eprintln!("{count} alerts, all as they must be"),
        Err(difference) => bail!("{difference}"),
    }
    Ok(())
}
