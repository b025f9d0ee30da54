//! Laying out a batch as the host does.

use super::store::{Kind, Store};
use crate::arena::{Layout, Put};
use crate::buffer::{engine, group, kind};
use crate::rows::Rows;
use crate::state::column;

/// The rows of a batch with everything that rides with them.
pub(super) struct InputBatch<'b> {
    pub(super) rows: &'b Rows,
    /// The key of each row, as an index into the batch's keys.
    pub(super) keys: &'b [u32],
    /// The event-time clock as of each row, in microseconds.
    pub(super) clocks: &'b [i64],
    /// The same at the batch's end: timers before it are due, also those of keys without rows.
    pub(super) clock: i64,
    /// The machine's clock, in microseconds.
    pub(super) now: i64,
    /// What the batch's keys keep.
    pub(super) store: &'b Store,
    /// Whether the operator reads keys at all.
    pub(super) keyed: bool,
}

impl Layout for InputBatch<'_> {
    fn put(&self, put: &mut impl Put) {
        let store = self.store;
        let (has_event, _) = store.time_domains();
        self.rows.put(group::INPUT, 0, false, put);
        if self.keyed && self.rows.len() > 0 {
            let keys = self.keys.iter().copied();
            column::put_u32s(put, engine::KEY, kind::VALUES, keys);
            for (state, entries) in store.bound_entries(self.rows, self.keys) {
                let column = engine::MAP_ENTRY + state;
                column::put_u32s(put, column, kind::VALUES, entries.into_iter());
            }
            if has_event {
                put.copy(
                    engine::CLOCK,
                    kind::VALUES,
                    bytemuck::cast_slice(self.clocks),
                );
            }
        }
        if self.keyed && !store.batch_keys.is_empty() {
            put.section(group::KEYS, 0, store.batch_keys.len());
            store.put_key_columns(put);
            if has_event {
                let clocks = vec![self.clock; store.batch_keys.len()];
                put.copy(engine::CLOCK, kind::VALUES, bytemuck::cast_slice(&clocks));
            }
        }
        for state in 0..store.specs.len() {
            self.put_state(state, put);
        }
        store.put_unkeyed(put);
        store.put_timers(put);
        put_now(self.now, store, put);
    }
}

/// The machine's clock, if the operator has timers of it.
fn put_now(now: i64, store: &Store, put: &mut impl Put) {
    if store.time_domains().1 {
        put.section(group::BATCH, 0, 1);
        put.copy(0, kind::VALUES, &now.to_le_bytes());
    }
}

/// Rows that belong to no key, with what rides with them.
pub(super) struct BroadcastBatch<'b> {
    pub(super) rows: &'b Rows,
    pub(super) input: u32,
    /// The machine's clock, in microseconds.
    pub(super) now: i64,
    pub(super) store: &'b Store,
}

impl Layout for BroadcastBatch<'_> {
    fn put(&self, put: &mut impl Put) {
        self.rows.put(group::INPUT, self.input, false, put);
        self.store.put_unkeyed(put);
        put_now(self.now, self.store, put);
    }
}

impl InputBatch<'_> {
    fn put_state(&self, state: usize, put: &mut impl Put) {
        let store = self.store;
        let spec = &store.specs[state];
        let keys = || store.batch_keys.iter().map(|key| &store.keys[*key]);
        if store.batch_keys.is_empty() {
            return;
        }
        match spec.kind {
            Kind::Value => {
                put.section(group::STATE, state as u32, store.batch_keys.len());
                let values = || keys().map(|key| key.values[state].as_deref());
                column::put_validity(put, 0, values().map(|value| value.is_some()));
                let values = values().map(Option::unwrap_or_default);
                column::put_values(put, 0, spec.widths.value, values);
            }
            Kind::List => {
                put.section(group::STATE, state as u32, store.batch_keys.len());
                let ends = keys().scan(0, |end, key| {
                    *end += key.lists[state].len() as u32;
                    Some(*end)
                });
                column::put_u32s(put, 0, kind::OFFSETS, std::iter::once(0).chain(ends));
                let items = keys().flat_map(|key| key.lists[state].iter().map(Vec::as_slice));
                column::put_values(put, 1, spec.widths.value, items);
            }
            Kind::Map => {
                let entries = store.asked_entries(self.rows, self.keys, state);
                if !entries.is_empty() {
                    store.put_entries(state, &entries, put);
                }
            }
            Kind::Operator | Kind::Broadcast => {}
        }
    }
}
