//! Map entries as they cross the boundary: asked for by the guest, sent by the host.

use super::Map;
use crate::arena::{Layout, Put};
use crate::buffer::{Section, group, kind};
use crate::state::column::{self, PRESENT, Span, slice};
use crate::{Malformed, State};

/// A question to the host: what these entries hold, or with `all` every entry of the key in hand.
pub(super) struct Question<'m, K, V> {
    pub(super) map: &'m Map<K, V>,
    /// Whether map keys are named.
    pub(super) all: bool,
    /// Positions of the entries that are asked for among those that the map knows.
    pub(super) entries: &'m [u32],
}

impl<K: State, V> Layout for Question<'_, K, V> {
    fn put(&self, put: &mut impl Put) {
        let map = self.map;
        let rows = if self.all { 1 } else { self.entries.len() };
        put.section(group::STATE, map.options.ordinal, rows);
        if self.all {
            column::put_u32s(put, 0, kind::VALUES, std::iter::once(map.key as u32));
            return;
        }
        let entries = self
            .entries
            .iter()
            .map(|entry| &map.entries[*entry as usize]);
        column::put_u32s(put, 0, kind::VALUES, entries.clone().map(|entry| entry.key));
        let map_keys = entries.map(|entry| slice(&map.bytes, entry.map_key));
        column::put_values(put, 1, K::WIDTH, map_keys);
    }
}

/// Entries as the host sends them.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) keys: Vec<u32>,
    pub(super) rows: Vec<(Span, Option<Span>)>,
}

impl Answer {
    pub(super) fn read(
        section: &Section<'_>,
        key_width: Option<usize>,
        value_width: Option<usize>,
    ) -> Result<Self, Malformed> {
        let rows = section.rows();
        let keys = section.fixed::<4>(0, rows)?;
        let mut answer = Self {
            bytes: Vec::new(),
            keys: keys.iter().map(|key| u32::from_le_bytes(*key)).collect(),
            rows: Vec::with_capacity(rows),
        };
        let mut flags = Vec::new();
        column::load_flags(section, 2, rows, &mut flags)?;
        let map_key = column::load(section, 1, rows, key_width, &mut answer.bytes)?;
        let value = column::load(section, 2, rows, value_width, &mut answer.bytes)?;
        for (row, flags) in flags.iter().enumerate() {
            let value = (*flags == PRESENT).then(|| value(row));
            answer.rows.push((map_key(row), value));
        }
        Ok(answer)
    }
}
