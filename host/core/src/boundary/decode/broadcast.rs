//! Changes of states that all subtasks have alike.

use std::collections::HashSet;

use super::values;
use crate::boundary::directory::{Cursor, DecodeError};
use crate::boundary::effects::StateChanges;
use crate::boundary::layout::StateLayout;

/// Changes of entries that all subtasks have alike.
pub(super) fn changes<'a>(
    mut cursor: Cursor<'_, 'a>,
    (state, layout): (usize, &StateLayout),
    is_broadcast: bool,
) -> Result<StateChanges<'a>, DecodeError> {
    if !is_broadcast {
        let reason = "only rows of a broadcast input change a broadcast state";
        return Err(cursor.wrong(1, reason.into()));
    }
    let rows = cursor.rows;
    let map_key = layout.map_key.as_ref().unwrap_or(&layout.value);
    let entries = values(&mut cursor, 1, map_key, rows, false)?;
    // What is remembered grows with the bytes that a guest sends, whatever count it claims.
    let mut seen = HashSet::new();
    if let Some(row) = (0..rows).find(|row| !seen.insert(entries.get(*row))) {
        return Err(cursor.wrong_row(1, row, "the entry is changed twice"));
    }
    let values = values(&mut cursor, 2, &layout.value, rows, true)?;
    cursor.finish()?;
    Ok(StateChanges::Broadcast {
        state,
        count: rows,
        entries,
        values,
    })
}
