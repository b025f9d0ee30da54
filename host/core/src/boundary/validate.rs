//! Whether bytes are what their type says.

use std::str;

/// The largest magnitude of a decimal with that many digits.
pub(super) fn decimal_max(precision: u8) -> u128 {
    // 38 digits fit into 127 bits; a descriptor allows no more.
    10u128.saturating_pow(u32::from(precision)) - 1
}

/// Checks text row by row; `offsets` were checked against `data` before. The error is the row that
/// is wrong.
pub(super) fn utf8(offsets: &[i32], data: &[u8]) -> Result<(), usize> {
    // One pass over all of it is fast; ASCII needs no look at the borders between rows.
    if data.is_ascii() {
        return Ok(());
    }
    let wrong = |row: &[i32]| str::from_utf8(&data[row[0] as usize..row[1] as usize]).is_err();
    match offsets.windows(2).position(wrong) {
        None => Ok(()),
        Some(row) => Err(row),
    }
}
