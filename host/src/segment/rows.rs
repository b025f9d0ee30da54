//! The rows that count of the segments of one owner, for those who look at all of them.

use wasmill_core::key::KeyGroupRange;

use super::{Address, Reader, Row, SegmentError};

/// Hands on every row that counts of some key groups, in the order of (key group, key), with what
/// it is about. `segments` are those of one owner, in the manifest's order.
///
/// # Errors
/// If the segments are not what the format says, or `take` fails.
pub fn for_each_row<E: From<SegmentError>>(
    segments: &[Reader],
    range: KeyGroupRange,
    mut take: impl FnMut(&Address, &Row<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for segment in segments {
        for rows in segment.rows(range) {
            let rows = rows?;
            for at in 0..rows.len() {
                let row = rows.get(at);
                take(&segment.addresses()[row.address], &row)?;
            }
        }
    }
    Ok(())
}
