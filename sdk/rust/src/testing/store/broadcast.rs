//! Entries that belong to no key.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Store};
use crate::Malformed;
use crate::arena::Put;
use crate::buffer::{Section, group};
use crate::state::column;
use crate::testing::read::{read_optional, read_values};

/// A broadcast state.
#[derive(Default)]
pub(super) struct Alike {
    pub(super) entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The keys of what the instance does not know.
    pub(super) news: BTreeSet<Vec<u8>>,
}

impl Store {
    /// The entries of a broadcast state.
    pub(in crate::testing) fn broadcast(&self, state: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut specs = self.specs.iter();
        let position = specs.position(|spec| spec.name == state && spec.kind == Kind::Broadcast);
        let position = position.unwrap_or_else(|| panic!("there is no broadcast state `{state}`"));
        let kept = self.broadcasts.get(&position);
        let entries = kept.into_iter().flat_map(|kept| &kept.entries);
        entries
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Lays out what the instance does not know of broadcast states.
    pub(super) fn put_broadcasts(&self, put: &mut impl Put) {
        for (state, kept) in &self.broadcasts {
            let widths = self.specs[*state].widths;
            let keys: Vec<&Vec<u8>> = match self.is_new {
                true => kept.entries.keys().collect(),
                false => kept.news.iter().collect(),
            };
            if keys.is_empty() {
                continue;
            }
            put.section(group::STATE, *state as u32, keys.len());
            column::put_values(
                put,
                1,
                widths.map_key,
                keys.iter().map(|key| key.as_slice()),
            );
            let values = keys
                .iter()
                .map(|key| kept.entries.get(*key).map(Vec::as_slice));
            column::put_validity(put, 2, values.clone().map(|value| value.is_some()));
            column::put_values(put, 2, widths.value, values.map(Option::unwrap_or_default));
        }
    }

    pub(super) fn apply_broadcast(
        &mut self,
        state: usize,
        section: &Section<'_>,
    ) -> Result<(), Malformed> {
        let (rows, widths) = (section.rows(), self.specs[state].widths);
        let keys = read_values(section, 1, rows, widths.map_key)?;
        let values = read_optional(section, 2, rows, widths.value)?;
        let kept = self.broadcasts.entry(state).or_default();
        for (key, value) in keys.into_iter().zip(values) {
            match value {
                Some(value) => kept.entries.insert(key.clone(), value),
                None => kept.entries.remove(&key),
            };
            kept.news.insert(key);
        }
        Ok(())
    }
}
