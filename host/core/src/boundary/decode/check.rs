//! Checks of indexes that a guest gave: each in range, each changed once.

use std::collections::HashSet;

use super::Question;
use crate::boundary::directory::{Cursor, DecodeError};
use crate::boundary::effects::{TimerAction, TimerChange, Values};
use crate::boundary::{CAUSE_TIMER, column};

/// Checks that each cause is a row or a firing.
pub(super) fn check_causes(
    cursor: &Cursor<'_, '_>,
    causes: &[u32],
    question: &Question<'_>,
    timers: &[TimerChange],
) -> Result<(), DecodeError> {
    let is_fired = |cause: u32| {
        let change = timers.get((cause & !CAUSE_TIMER) as usize);
        cause & CAUSE_TIMER != 0 && change.is_some_and(|c| c.action == TimerAction::Fired)
    };
    let is_known = |cause: &u32| *cause < question.rows || is_fired(*cause);
    match causes.iter().position(|cause| !is_known(cause)) {
        None => Ok(()),
        Some(row) => Err(cursor.wrong_row(
            column::CAUSE,
            row,
            &format!("{:#x} is neither a row nor a firing", causes[row]),
        )),
    }
}

/// Checks that every index is below the end.
pub(super) fn check_below(
    cursor: &Cursor<'_, '_>,
    column: u32,
    indexes: &[u32],
    end: u32,
    what: &str,
) -> Result<(), DecodeError> {
    // The maximum of a column is one vectorised pass; only the error looks for the row.
    match indexes.iter().max() {
        Some(most) if *most >= end => {
            let row = indexes.iter().position(|i| *i >= end).unwrap_or_default();
            let reason = format!("{what} {} is out of range: there are {end}", indexes[row]);
            Err(cursor.wrong_row(column, row, &reason))
        }
        _ => Ok(()),
    }
}

/// Checks that key indexes are in range and that none stands twice.
pub(super) fn check_keys(
    cursor: &Cursor<'_, '_>,
    keys: &[u32],
    end: u32,
    seen: &mut Vec<u64>,
) -> Result<(), DecodeError> {
    check_below(cursor, 0, keys, end, "key index")?;
    // SDKs return changes in key order as a rule: then nothing needs to be remembered.
    if keys.windows(2).all(|two| two[0] < two[1]) {
        return Ok(());
    }
    seen.clear();
    seen.resize((end as usize).div_ceil(64), 0);
    for (row, key) in keys.iter().enumerate() {
        let (word, bit) = (*key as usize / 64, 1 << (key % 64));
        if seen[word] & bit != 0 {
            return Err(cursor.wrong_row(0, row, &format!("key index {key} stands twice")));
        }
        seen[word] |= bit;
    }
    Ok(())
}

/// Checks that no entry of a map is changed twice. What is remembered borrows from the arena, so a
/// guest makes the host hold a few words for each row it sends, and no more.
pub(super) fn check_entries(
    cursor: &Cursor<'_, '_>,
    keys: &[u32],
    entries: &Values<'_>,
) -> Result<(), DecodeError> {
    let mut seen = HashSet::with_capacity(keys.len());
    for (row, key) in keys.iter().enumerate() {
        if !seen.insert((*key, entries.get(row))) {
            return Err(cursor.wrong_row(0, row, "the entry is changed twice"));
        }
    }
    Ok(())
}
