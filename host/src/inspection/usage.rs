//! How much there is of what.

use std::collections::BTreeMap;

use super::pending::{Pending, unkeyed};
use super::{InspectionError, KeptOf, Table, Tables};

/// What a table takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateUsage {
    /// Keys that it has rows of.
    pub keys: u64,
    /// Its rows.
    pub rows: u64,
    /// The bytes of its keys, entries and values in the state encoding.
    pub bytes: u64,
}

/// What a key group takes, of all states of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupUsage {
    /// Distinct keys.
    pub keys: u64,
    /// Rows of all states.
    pub rows: u64,
    /// Bytes as in [`StateUsage::bytes`].
    pub bytes: u64,
}

/// Counts an operator's state: by table, in the order of [`Tables::of`], and by key group.
///
/// # Errors
/// If the state is damaged.
pub fn usage(
    tables: &Tables<'_>,
    uid: &str,
) -> Result<(Vec<StateUsage>, BTreeMap<u16, GroupUsage>), InspectionError> {
    let own: Vec<&Table> = tables.of(uid).collect();
    let mut states = vec![StateUsage::default(); own.len()];
    let mut groups: BTreeMap<u16, GroupUsage> = BTreeMap::new();
    // Rows of a key stand together: who was seen last needs no set of all keys.
    let mut last: Vec<u8> = Vec::new();
    let mut has_last = false;
    let mut seen = vec![false; own.len()];
    let state = tables.operator(uid)?;
    tables.stretches(uid)?.all(&mut |address, row| {
        let group = groups.entry(row.key_group).or_default();
        if !has_last || last != row.key {
            has_last = true;
            last.clear();
            last.extend_from_slice(row.key);
            seen.fill(false);
            group.keys += 1;
        }
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64);
        let bytes = row.key.len() as u64 + len(row.entry) + len(row.value);
        group.rows += 1;
        group.bytes += bytes;
        if let Some(at) = own.iter().position(|table| table.holds(address)) {
            let state = &mut states[at];
            state.keys += u64::from(!std::mem::replace(&mut seen[at], true));
            state.rows += 1;
            state.bytes += bytes;
        }
        Ok(())
    })?;
    for (table, usage) in own.iter().zip(&mut states) {
        if table.kept == KeptOf::Subtask {
            let mut held = Pending::default();
            unkeyed(table, &state.parts, &mut held)?;
            usage.rows += held.len() as u64;
            usage.bytes += held.bytes() as u64;
        }
    }
    Ok((states, groups))
}
