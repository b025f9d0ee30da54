//! The state that a host keeps, in miniature.
//!
//! It is written for clarity: keys are looked up one by one, and everything is copied. What it has
//! in common with the host is what crosses the boundary, byte by byte; the vectors in
//! docs/formats/vectors hold both to it.

mod broadcast;
mod operator;
mod spec;

use broadcast::Alike;
pub(super) use spec::{Kind, Spec};

use super::read::{key_bytes, read_optional, read_u32s, read_values};
use crate::arena::{Layout, Put};
use crate::buffer::{Batch, Section, group, kind};
use crate::host::Buffers;
use crate::rows::{Rows, Shape};
use crate::state::column;
use crate::timer::{TimerSpec, has_domain};
use crate::{Input, Key, Malformed, Operator, States, Timers, Timestamp};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is kept between batches.
pub(super) struct Store {
    pub(super) specs: Vec<Spec>,
    timer_specs: &'static [TimerSpec],
    /// Names and types of the input's columns.
    columns: Vec<(String, String)>,
    /// Names and types of the key columns that the operator sees.
    key_columns: Vec<(&'static str, String)>,
    /// All keys that were ever seen, by their bytes.
    ids: BTreeMap<Vec<u8>, usize>,
    pub(super) keys: Vec<KeyState>,
    /// The keys of the batch in hand.
    pub(super) batch_keys: Vec<usize>,
    /// Broadcast states, by their positions.
    broadcasts: BTreeMap<usize, Alike>,
    /// Operator states that have a value, by their positions.
    operators: BTreeMap<usize, Vec<u8>>,
    /// Whether the instance has not been called yet.
    pub(super) is_new: bool,
    /// Lines that the operator has logged.
    pub(super) log: Vec<String>,
    /// Questions that the operator has asked during calls.
    pub(super) calls: usize,
}

/// What is kept for one key; the vectors have a place for each state.
#[derive(Default)]
pub(super) struct KeyState {
    /// The key columns that the operator sees: their shapes and values.
    columns: Vec<(Shape, bool, Option<Vec<u8>>)>,
    /// Value states.
    pub(super) values: Vec<Option<Vec<u8>>>,
    /// List states, the oldest item first.
    pub(super) lists: Vec<Vec<Vec<u8>>>,
    /// Map states, by encoded map key.
    maps: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Pending timers, by time, then by the timer's number.
    timers: BTreeSet<(i64, u32)>,
}

impl Store {
    pub(super) fn new<Op: Operator>() -> Self {
        let described = Op::State::describe();
        let specs = described.iter().zip(Op::State::widths());
        Self {
            specs: specs
                .map(|(spec, widths)| Spec::new(spec, widths))
                .collect(),
            timer_specs: <Op::State as States>::Timer::SPECS,
            columns: input_columns::<Op>(),
            key_columns: <Op::State as States>::Key::<'static>::describe(),
            ids: BTreeMap::new(),
            keys: Vec::new(),
            batch_keys: Vec::new(),
            broadcasts: BTreeMap::new(),
            operators: BTreeMap::new(),
            is_new: true,
            log: Vec::new(),
            calls: 0,
        }
    }

    pub(super) fn has_timers(&self) -> bool {
        !self.timer_specs.is_empty()
    }

    pub(super) fn has_key_columns(&self) -> bool {
        !self.key_columns.is_empty()
    }

    /// The names of the key columns that the operator sees.
    pub(super) fn key_columns(&self) -> Vec<String> {
        let names = self.key_columns.iter().map(|(name, _)| *name);
        names.map(str::to_owned).collect()
    }

    /// Whether there are event timers, and whether there are processing timers.
    pub(super) fn time_domains(&self) -> (bool, bool) {
        (
            has_domain(self.timer_specs, false),
            has_domain(self.timer_specs, true),
        )
    }

    /// Gives each row its key, and starts a batch with these keys.
    pub(super) fn take_in(&mut self, rows: &Rows, key_by: &[String]) -> Vec<u32> {
        let find = |name: &str| {
            let found = self.columns.iter().position(|(column, _)| column == name);
            let position = found.unwrap_or_else(|| panic!("there is no input column `{name}`"));
            (rows.top_level()[position], self.columns[position].1.clone())
        };
        let by: Vec<_> = key_by.iter().map(|name| find(name)).collect();
        let seen: Vec<_> = self
            .key_columns
            .iter()
            .map(|(name, _)| find(name).0)
            .collect();
        self.batch_keys.clear();
        let mut of_rows = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            let mut bytes = Vec::new();
            for (column, kind) in &by {
                key_bytes(
                    rows.value(*column, row),
                    rows.shape(*column),
                    kind,
                    &mut bytes,
                );
            }
            let id = self.id(bytes);
            let value = |(column, (_, kind)): (&usize, &(&str, String))| {
                let value = rows.value(*column, row).map(<[u8]>::to_vec);
                (rows.shape(*column), kind.ends_with('?'), value)
            };
            self.keys[id].columns = seen.iter().zip(&self.key_columns).map(value).collect();
            of_rows.push(self.batch_key(id));
        }
        of_rows
    }

    /// The number of a key, which is new if its bytes were never seen.
    fn id(&mut self, bytes: Vec<u8>) -> usize {
        let (next, states) = (self.keys.len(), self.specs.len());
        let id = *self.ids.entry(bytes).or_insert(next);
        if id == next {
            self.keys.push(KeyState {
                values: vec![None; states],
                lists: vec![Vec::new(); states],
                maps: vec![BTreeMap::new(); states],
                ..KeyState::default()
            });
        }
        id
    }

    /// The position of a key in the batch.
    fn batch_key(&mut self, id: usize) -> u32 {
        let found = self.batch_keys.iter().position(|other| *other == id);
        let position = found.unwrap_or_else(|| {
            self.batch_keys.push(id);
            self.batch_keys.len() - 1
        });
        position as u32
    }

    /// Adds the keys to the batch whose timers are due.
    pub(super) fn wake(&mut self, clock: i64, now: i64) {
        for id in 0..self.keys.len() {
            let is_due = self.keys[id].timers.iter().any(|(at, timer)| {
                match self.timer_specs[*timer as usize].processing {
                    true => *at <= now,
                    false => *at < clock,
                }
            });
            if is_due {
                self.batch_key(id);
            }
        }
    }

    /// Lays out the key columns that the operator reads.
    pub(super) fn put_key_columns(&self, put: &mut impl Put) {
        let Some(first) = self.batch_keys.first() else {
            return;
        };
        let shapes: Vec<_> = self.keys[*first]
            .columns
            .iter()
            .map(|column| column.0)
            .collect();
        let mut rows = Rows::new(&shapes);
        for id in &self.batch_keys {
            for (column, (_, nullable, value)) in self.keys[*id].columns.iter().enumerate() {
                rows.push_value(column, value.as_deref(), *nullable);
            }
        }
        rows.put_columns(put);
    }

    /// The entries of the bound maps that the rows name: per state, an entry number a row.
    pub(super) fn bound_entries(&self, rows: &Rows, keys: &[u32]) -> Vec<(u32, Vec<u32>)> {
        let bound = self
            .specs
            .iter()
            .enumerate()
            .filter(|(_, spec)| spec.column.is_some());
        let numbers = bound.map(|(state, _)| {
            let entries = self.asked_entries(rows, keys, state);
            let number = |row: usize| match self.map_key(rows, state, row) {
                None => u32::MAX,
                Some(map_key) => {
                    let wanted = (keys[row], map_key);
                    let found = entries.iter().position(|entry| *entry == wanted);
                    found.map_or(u32::MAX, |entry| entry as u32)
                }
            };
            (state as u32, (0..rows.len()).map(number).collect())
        });
        numbers.collect()
    }

    /// The distinct entries of a bound map that the rows name.
    pub(super) fn asked_entries(
        &self,
        rows: &Rows,
        keys: &[u32],
        state: usize,
    ) -> Vec<(u32, Vec<u8>)> {
        let mut entries: Vec<(u32, Vec<u8>)> = Vec::new();
        for (row, key) in keys.iter().enumerate() {
            if let Some(map_key) = self.map_key(rows, state, row) {
                let entry = (*key, map_key);
                if !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
        entries
    }

    /// The encoded map key that a row names, unless its column is null.
    fn map_key(&self, rows: &Rows, state: usize, row: usize) -> Option<Vec<u8>> {
        let name = self.specs[state].column.as_ref()?;
        let position = self.columns.iter().position(|(column, _)| column == name)?;
        let column = rows.top_level()[position];
        let value = rows.value(column, row)?;
        let mut bytes = Vec::new();
        key_bytes(Some(value), rows.shape(column), "", &mut bytes);
        Some(bytes)
    }

    pub(super) fn put_entries(&self, state: usize, entries: &[(u32, Vec<u8>)], put: &mut impl Put) {
        let widths = self.specs[state].widths;
        put.section(group::STATE, state as u32, entries.len());
        column::put_u32s(put, 0, kind::VALUES, entries.iter().map(|(key, _)| *key));
        let map_keys = entries.iter().map(|(_, map_key)| map_key.as_slice());
        column::put_values(put, 1, widths.map_key, map_keys);
        let value = |(key, map_key): &(u32, Vec<u8>)| {
            let id = self.batch_keys[*key as usize];
            self.keys[id].maps[state].get(map_key).map(Vec::as_slice)
        };
        column::put_validity(put, 2, entries.iter().map(|entry| value(entry).is_some()));
        let values = entries.iter().map(|entry| value(entry).unwrap_or_default());
        column::put_values(put, 2, widths.value, values);
    }

    pub(super) fn put_timers(&self, put: &mut impl Put) {
        let mut pending = Vec::new();
        for (key, id) in self.batch_keys.iter().enumerate() {
            let timers = self.keys[*id].timers.iter();
            pending.extend(timers.map(|(at, timer)| (key as u32, *timer, *at)));
        }
        if pending.is_empty() {
            return;
        }
        put.section(group::TIMERS, 0, pending.len());
        column::put_u32s(put, 0, kind::VALUES, pending.iter().map(|(key, _, _)| *key));
        column::put_u32s(
            put,
            1,
            kind::VALUES,
            pending.iter().map(|(_, timer, _)| *timer),
        );
        let times: Vec<i64> = pending.iter().map(|(_, _, at)| *at).collect();
        put.copy(2, kind::VALUES, bytemuck::cast_slice(&times));
    }

    /// Answers a question for map entries.
    pub(super) fn answer(
        &mut self,
        state: u32,
        all: bool,
        question: &Buffers,
    ) -> Result<Buffers, Malformed> {
        self.calls += 1;
        let batch = Batch::new(&question.0, &question.1)?;
        let section = batch.section(group::STATE, state)?;
        let keys = read_u32s(&section, 0)?;
        let entries: Vec<_> = match all {
            true => {
                let entries_of = |key: u32| {
                    let id = self.batch_keys[key as usize];
                    let map_keys = self.keys[id].maps[state as usize].keys();
                    map_keys.map(move |map_key| (key, map_key.clone()))
                };
                keys.into_iter().flat_map(entries_of).collect()
            }
            false => {
                let width = self.specs[state as usize].widths.map_key;
                let map_keys = read_values(&section, 1, section.rows(), width)?;
                keys.into_iter().zip(map_keys).collect()
            }
        };
        let answer = Answer {
            store: self,
            state: state as usize,
            entries,
        };
        Ok(answer.lay_out())
    }

    /// Applies what the guest changed.
    pub(super) fn apply(&mut self, answer: &Buffers) -> Result<(), Malformed> {
        let batch = Batch::new(&answer.0, &answer.1)?;
        self.is_new = false;
        self.broadcasts
            .values_mut()
            .for_each(|kept| kept.news.clear());
        for state in 0..self.specs.len() {
            let section = batch.section(group::STATE_CHANGES, state as u32)?;
            match self.specs[state].kind {
                Kind::Broadcast => {
                    self.apply_broadcast(state, &section)?;
                    continue;
                }
                Kind::Operator => {
                    self.apply_operator(state, &section)?;
                    continue;
                }
                Kind::Value | Kind::List | Kind::Map => {}
            }
            for key in read_u32s(&batch.section(group::MAP_CLEARS, state as u32)?, 0)? {
                let id = self.batch_keys[key as usize];
                self.keys[id].maps[state].clear();
            }
            let keys = read_u32s(&section, 0)?;
            let ids: Vec<_> = keys
                .iter()
                .map(|key| self.batch_keys[*key as usize])
                .collect();
            self.apply_state(state, &section, &ids)?;
        }
        self.apply_timers(&batch.section(group::TIMER_CHANGES, 0)?)
    }

    fn apply_state(
        &mut self,
        state: usize,
        section: &Section<'_>,
        ids: &[usize],
    ) -> Result<(), Malformed> {
        let (rows, widths) = (section.rows(), self.specs[state].widths);
        match self.specs[state].kind {
            Kind::Value => {
                let values = read_optional(section, 1, rows, widths.value)?;
                for (id, value) in ids.iter().zip(values) {
                    self.keys[*id].values[state] = value;
                }
            }
            Kind::List => {
                let dropped = read_u32s(section, 1)?;
                let offsets = section.offsets(2, rows, None)?;
                let items = read_values(section, 3, offsets.at(rows), widths.value)?;
                for (row, id) in ids.iter().enumerate() {
                    let list = &mut self.keys[*id].lists[state];
                    list.drain(..dropped[row] as usize);
                    list.extend_from_slice(&items[offsets.at(row)..offsets.at(row + 1)]);
                }
            }
            Kind::Map => {
                let map_keys = read_values(section, 1, rows, widths.map_key)?;
                let values = read_optional(section, 2, rows, widths.value)?;
                for (id, (map_key, value)) in ids.iter().zip(map_keys.into_iter().zip(values)) {
                    let map = &mut self.keys[*id].maps[state];
                    match value {
                        Some(value) => map.insert(map_key, value),
                        None => map.remove(&map_key),
                    };
                }
            }
            // These have no key.
            Kind::Operator | Kind::Broadcast => {}
        }
        Ok(())
    }

    fn apply_timers(&mut self, section: &Section<'_>) -> Result<(), Malformed> {
        let (keys, timers) = (read_u32s(section, 0)?, read_u32s(section, 1)?);
        let times = section.fixed::<8>(2, section.rows())?;
        let actions = section.fixed::<1>(3, section.rows())?;
        for (row, [action]) in actions.iter().enumerate() {
            let id = self.batch_keys[keys[row] as usize];
            let pending = &mut self.keys[id].timers;
            let timer = (i64::from_le_bytes(times[row]), timers[row]);
            let was_pending = match action {
                0 => !pending.insert(timer),
                _ => pending.remove(&timer),
            };
            assert!(
                was_pending || *action != 2,
                "a timer fired that was not pending"
            );
        }
        Ok(())
    }

    fn find(&self, state: &str, key: &[u8]) -> (usize, Option<&KeyState>) {
        let position = self.specs.iter().position(|spec| spec.name == state);
        let position = position.unwrap_or_else(|| panic!("there is no state `{state}`"));
        (position, self.ids.get(key).map(|id| &self.keys[*id]))
    }

    pub(super) fn value(&self, state: &str, key: &[u8]) -> Option<&[u8]> {
        let (state, key) = self.find(state, key);
        key?.values[state].as_deref()
    }

    pub(super) fn list(&self, state: &str, key: &[u8]) -> &[Vec<u8>] {
        let (state, key) = self.find(state, key);
        key.map_or(&[], |key| &key.lists[state])
    }

    pub(super) fn map(&self, state: &str, key: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let (state, key) = self.find(state, key);
        key.map(|key| key.maps[state].clone()).unwrap_or_default()
    }

    pub(super) fn timers(&self, key: &[u8]) -> Vec<(Timestamp, &'static str)> {
        let timers = self.ids.get(key).map(|id| &self.keys[*id].timers);
        let name = |timer: u32| self.timer_specs[timer as usize].name;
        let timers = timers.into_iter().flatten();
        timers
            .map(|(at, timer)| (Timestamp::from_micros(*at), name(*timer)))
            .collect()
    }
}

fn input_columns<Op: Operator>() -> Vec<(String, String)> {
    let inputs = <Op::Input<'static> as Input<'static>>::describe();
    let columns = inputs[0]["columns"].as_array().cloned().unwrap_or_default();
    let text = |column: &Json, field: &str| column[field].as_str().unwrap_or_default().to_owned();
    let columns = columns.iter();
    columns
        .map(|column| (text(column, "name"), text(column, "type")))
        .collect()
}

/// The answer to a question for map entries.
struct Answer<'s> {
    store: &'s Store,
    state: usize,
    entries: Vec<(u32, Vec<u8>)>,
}

impl Layout for Answer<'_> {
    fn put(&self, put: &mut impl Put) {
        self.store.put_entries(self.state, &self.entries, put);
    }
}
