//! The rows that count of the segments of one owner, for those who look at all of them.

use wasmill_core::key::KeyGroupRange;

use super::{Address, Kind, Merge, Reader, Row, SegmentError};

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
    for stretch in Merge::new(segments, range)? {
        let stretch = stretch?;
        let addresses = segments[stretch.segment].addresses();
        for at in stretch.range {
            let row = stretch.rows.get(at);
            let address = &addresses[row.address];
            // That a key is gone is no row of it.
            if address.kind != Kind::Gone {
                take(address, &row)?;
            }
        }
    }
    Ok(())
}
