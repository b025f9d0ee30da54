//! Entries by a second key.

mod index;
mod wire;

use super::column::{self, CHANGED, PRESENT, Span, slice};
use index::{MapIndex, hash};
use wire::{Answer, Question};

use crate::arena::{Layout, Put};
use crate::buffer::{Batch, engine, group, kind};
use crate::row::type_of_state;
use crate::states::{Create, Handle, HandleOptions, Widths, describe_state};
use crate::{Encode, Malformed, State, host};
use serde_json::Value as Json;
use std::borrow::Borrow;
use std::marker::PhantomData;

/// It is not known whether the host has the entry.
const UNKNOWN: u8 = 4;

/// Entries for each key, found by a map key.
///
/// With `#[state(column = "merchant")]` the entry that a row's column names comes with the row, and
/// asking for it is as cheap as for a [`Value`](crate::Value); the
/// column is of the map key's type, and not nullable. Other entries are asked for from the
/// host: name them in [`Operator::prefetch`](crate::Operator::prefetch), so that one call brings
/// all of a batch; without that, each one costs a call of its own.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(States)]
/// struct Memory {
///     #[state(column = "merchant", ttl = "90d")]
///     last_seen: Map<String, Timestamp>,
/// }
///
/// fn is_new_merchant(state: &mut Memory, merchant: &str, at: Timestamp) -> bool {
///     let is_new = state.last_seen.get(merchant).is_none();
///     state.last_seen.set(merchant, at);
///     is_new
/// }
/// ```
#[derive(Debug)]
pub struct Map<K, V> {
    options: HandleOptions,
    entries: Vec<Entry>,
    /// Map keys and values.
    bytes: Vec<u8>,
    index: MapIndex,
    /// Whether the entries are in the index; those that came with the rows wait until it is needed.
    indexed: bool,
    /// For a map bound to a column, the entry of each row.
    rows: Vec<u32>,
    /// For each key, whether its map was cleared, and whether all its entries are here.
    keys: Vec<KeyFlags>,
    key: usize,
    row: Option<usize>,
    /// What the current row changed, as it was before.
    journal: Vec<Before>,
    scratch: Vec<u8>,
    of: PhantomData<fn() -> (K, V)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct KeyFlags {
    cleared: bool,
    complete: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u32,
    map_key: Span,
    value: Span,
    flags: u8,
}

#[derive(Clone, Copy, Debug)]
enum Before {
    Entry(u32, Entry),
    Key(u32, KeyFlags),
}

/// The row's column is null: it names no entry.
const NO_ENTRY: u32 = u32::MAX;

impl<K: State, V: State> Map<K, V> {
    /// The value of that map key, if the current key has one.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn visits(pages: &mut Map<String, u64>, page: &str) -> u64 {
    ///     pages.get(page).unwrap_or(0)
    /// }
    /// ```
    pub fn get<Q: Encode + ?Sized>(&mut self, map_key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let Entry { value, flags, .. } = self.known(map_key);
        if flags & PRESENT == 0 {
            return None;
        }
        Some(self.decoded(slice(&self.bytes, value)))
    }

    /// Whether the current key has an entry with that map key.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn is_known(devices: &mut Map<u64, Timestamp>, device: u64) -> bool {
    ///     devices.contains(&device)
    /// }
    /// ```
    pub fn contains<Q: Encode + ?Sized>(&mut self, map_key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.known(map_key).flags & PRESENT != 0
    }

    /// Sets the value of a map key. The host need not be asked for it.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn remember(devices: &mut Map<u64, Timestamp>, device: u64, at: Timestamp) {
    ///     devices.set(&device, at);
    /// }
    /// ```
    pub fn set<Q: Encode + ?Sized>(&mut self, map_key: &Q, value: V)
    where
        K: Borrow<Q>,
    {
        let entry = self.entry(map_key);
        self.keep(entry);
        let start = self.bytes.len() as u32;
        value.encode(&mut self.bytes);
        let entry = &mut self.entries[entry as usize];
        entry.value = (start, self.bytes.len() as u32);
        entry.flags = PRESENT | CHANGED;
    }

    /// Removes an entry.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn forget(devices: &mut Map<u64, Timestamp>, device: u64) {
    ///     devices.remove(&device);
    /// }
    /// ```
    pub fn remove<Q: Encode + ?Sized>(&mut self, map_key: &Q)
    where
        K: Borrow<Q>,
    {
        let entry = self.entry(map_key);
        self.keep(entry);
        self.entries[entry as usize].flags = CHANGED;
    }

    /// Changes the value of a map key, from the type's default if it has none, and returns it.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn count(pages: &mut Map<String, u64>, page: &str) -> u64 {
    ///     pages.update(page, |visits| *visits += 1)
    /// }
    /// ```
    pub fn update<Q: Encode + ?Sized>(&mut self, map_key: &Q, change: impl FnOnce(&mut V)) -> V
    where
        K: Borrow<Q>,
        V: Default + Clone,
    {
        let mut value = self.get(map_key).unwrap_or_default();
        change(&mut value);
        self.set(map_key, value.clone());
        value
    }

    /// Removes all entries of the current key, whatever their map keys.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn start_again(pages: &mut Map<String, u64>) {
    ///     pages.clear();
    /// }
    /// ```
    pub fn clear(&mut self) {
        let flags = self.keys[self.key];
        self.journal.push(Before::Key(self.key as u32, flags));
        self.keys[self.key] = KeyFlags {
            cleared: true,
            complete: true,
        };
        for number in 0..self.entries.len() as u32 {
            if self.entries[number as usize].key as usize == self.key {
                self.keep(number);
                self.entries[number as usize].flags = 0;
            }
        }
    }

    /// All entries of the current key, ordered by their encoded map keys. This asks the host, once
    /// for each key and batch.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn total(pages: &mut Map<String, u64>) -> u64 {
    ///     pages.entries().into_iter().map(|(_, visits)| visits).sum()
    /// }
    /// ```
    pub fn entries(&mut self) -> Vec<(K, V)> {
        if !self.keys[self.key].complete {
            self.ask(true, &[])
                .expect("the host answers as the contract says");
            self.keys[self.key].complete = true;
            for entry in &mut self.entries {
                // What was not in the answer is not there.
                if entry.key as usize == self.key && entry.flags & UNKNOWN != 0 {
                    entry.flags = 0;
                }
            }
        }
        let mine = |entry: &&Entry| entry.key as usize == self.key && entry.flags & PRESENT != 0;
        let mut found: Vec<&Entry> = self.entries.iter().filter(mine).collect();
        found.sort_by_key(|entry| slice(&self.bytes, entry.map_key));
        let decode = |entry: &Entry| {
            let map_key = self.decoded(slice(&self.bytes, entry.map_key));
            (map_key, self.decoded(slice(&self.bytes, entry.value)))
        };
        found.into_iter().map(decode).collect()
    }

    /// Announces that `process` will ask for this map key: see
    /// [`Operator::prefetch`](crate::Operator::prefetch).
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row)] struct Visit<'a> { page: &'a str }
    /// # #[derive(States)] struct Memory { pages: Map<String, u64> }
    /// fn prefetch(row: &Visit<'_>, state: &mut Memory) {
    ///     state.pages.prefetch(row.page.trim_end_matches('/'));
    /// }
    /// ```
    pub fn prefetch<Q: Encode + ?Sized>(&mut self, map_key: &Q)
    where
        K: Borrow<Q>,
    {
        self.entry(map_key);
    }

    /// The entry of that map key, which may be unknown yet.
    fn entry<Q: Encode + ?Sized>(&mut self, map_key: &Q) -> u32 {
        self.scratch.clear();
        map_key.encode(&mut self.scratch);
        if let Some(entry) = self.row.and_then(|row| self.rows.get(row)).copied()
            && let Some(found) = self.entries.get(entry as usize)
            && slice(&self.bytes, found.map_key) == self.scratch
        {
            return entry;
        }
        let map_key = std::mem::take(&mut self.scratch);
        let entry = self.indexed_entry(self.key, &map_key);
        self.scratch = map_key;
        entry
    }

    fn indexed_entry(&mut self, key: usize, map_key: &[u8]) -> u32 {
        self.build_index();
        let is = |entry: u32| {
            let entry = &self.entries[entry as usize];
            entry.key as usize == key && slice(&self.bytes, entry.map_key) == map_key
        };
        if let Some(entry) = self.index.find(hash(key, map_key), is) {
            return entry;
        }
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(map_key);
        let flags = if self.keys[key].complete { 0 } else { UNKNOWN };
        self.entries.push(Entry {
            key: key as u32,
            map_key: (start, self.bytes.len() as u32),
            value: (0, 0),
            flags,
        });
        let entry = self.entries.len() as u32 - 1;
        self.add_to_index(entry);
        entry
    }

    fn build_index(&mut self) {
        if std::mem::replace(&mut self.indexed, true) {
            return;
        }
        self.index.clear();
        for entry in 0..self.entries.len() as u32 {
            self.add_to_index(entry);
        }
    }

    fn add_to_index(&mut self, entry: u32) {
        let (entries, bytes) = (&self.entries, &self.bytes);
        self.index.insert(entry, |entry| {
            let entry = &entries[entry as usize];
            hash(entry.key as usize, slice(bytes, entry.map_key))
        });
    }

    /// The entry of that map key, asked for from the host if it is unknown.
    fn known<Q: Encode + ?Sized>(&mut self, map_key: &Q) -> Entry {
        let entry = self.entry(map_key);
        if self.entries[entry as usize].flags & UNKNOWN != 0 {
            let asked = self.ask(false, &[entry]);
            asked.expect("the host answers as the contract says");
        }
        self.entries[entry as usize]
    }

    fn keep(&mut self, entry: u32) {
        self.journal
            .push(Before::Entry(entry, self.entries[entry as usize]));
    }

    /// Asks for these entries, or for all of the current key.
    fn ask(&mut self, all: bool, entries: &[u32]) -> Result<(), Malformed> {
        let question = Question {
            map: self,
            all,
            entries,
        };
        let rows = if all { 1 } else { entries.len() as u32 };
        let question = question.lay_out();
        let answer = host::get_many(self.options.ordinal, all, rows, question)?;
        let batch = Batch::new(&answer.0, &answer.1)?;
        let section = batch.section(group::STATE, self.options.ordinal)?;
        let read = Answer::read(&section, K::WIDTH, V::WIDTH)?;
        if !all && read.rows.len() != entries.len() {
            return Err(Malformed::new("an answer to another question"));
        }
        for (position, (map_key, value)) in read.rows.iter().enumerate() {
            let entry = match all {
                true => self.indexed_entry(self.key, slice(&read.bytes, *map_key)),
                false => entries[position],
            };
            // What the batch has changed already stands.
            if self.entries[entry as usize].flags & UNKNOWN != 0 {
                self.learn(entry, value.map(|value| slice(&read.bytes, value)));
            }
        }
        Ok(())
    }

    fn learn(&mut self, entry: u32, value: Option<&[u8]>) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let entry = &mut self.entries[entry as usize];
        entry.value = (start, self.bytes.len() as u32);
        entry.flags = if value.is_some() { PRESENT } else { 0 };
    }

    fn decoded<T: State>(&self, bytes: &[u8]) -> T {
        column::decoded(bytes, "an entry of the state", self.options.name)
    }

    fn changed(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.entries
            .iter()
            .filter(|entry| entry.flags & CHANGED != 0)
    }
}

impl<K: State, V: State> Create for Map<K, V> {
    fn create(options: &HandleOptions) -> Self {
        Self {
            options: *options,
            entries: Vec::new(),
            bytes: Vec::new(),
            index: MapIndex::default(),
            indexed: false,
            rows: Vec::new(),
            keys: Vec::new(),
            key: 0,
            row: None,
            journal: Vec::new(),
            scratch: Vec::new(),
            of: PhantomData,
        }
    }
}

impl<K: State, V: State> Handle for Map<K, V> {
    const IS_MAP: bool = true;

    fn describe(name: &str, options: Json) -> Json {
        let types = [
            ("key", type_of_state::<K>()),
            ("type", type_of_state::<V>()),
        ];
        describe_state(name, "map", &types, options)
    }

    fn widths() -> Widths {
        Widths {
            map_key: K::WIDTH,
            value: V::WIDTH,
        }
    }

    fn load(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed> {
        self.entries.clear();
        self.indexed = false;
        self.journal.clear();
        self.rows.clear();
        self.keys.clear();
        self.keys.resize(keys, KeyFlags::default());
        let section = batch.section(group::STATE, self.options.ordinal)?;
        let answer = Answer::read(&section, K::WIDTH, V::WIDTH)?;
        self.bytes = answer.bytes;
        for (key, (map_key, value)) in answer.keys.into_iter().zip(answer.rows) {
            if key as usize >= keys {
                return Err(section.malformed(0, "a key that does not exist"));
            }
            self.entries.push(Entry {
                key,
                map_key,
                value: value.unwrap_or_default(),
                flags: u8::from(value.is_some()),
            });
        }
        if self.options.bound {
            let input = batch.section(group::INPUT, 0)?;
            let column = engine::MAP_ENTRY + self.options.ordinal;
            let rows = input.fixed::<4>(column, input.rows())?;
            self.rows
                .extend(rows.iter().map(|entry| u32::from_le_bytes(*entry)));
            let count = self.entries.len() as u32;
            if self
                .rows
                .iter()
                .any(|entry| *entry >= count && *entry != NO_ENTRY)
            {
                return Err(input.malformed(column, "a map entry that does not exist"));
            }
        }
        Ok(())
    }

    #[inline]
    fn seek(&mut self, key: usize, row: Option<usize>) {
        self.key = key;
        self.row = row;
        self.journal.clear();
    }

    fn undo(&mut self) {
        while let Some(before) = self.journal.pop() {
            match before {
                Before::Entry(entry, before) => self.entries[entry as usize] = before,
                Before::Key(key, before) => self.keys[key as usize] = before,
            }
        }
    }

    fn fetch(&mut self) -> Result<(), Malformed> {
        let is_unknown = |entry: &u32| self.entries[*entry as usize].flags & UNKNOWN != 0;
        let wanted: Vec<u32> = (0..self.entries.len() as u32).filter(is_unknown).collect();
        match wanted.is_empty() {
            true => Ok(()),
            false => self.ask(false, &wanted),
        }
    }

    fn put<P: Put>(&self, put: &mut P) {
        let keys = self.keys.iter().enumerate();
        let cleared = keys
            .filter(|(_, flags)| flags.cleared)
            .map(|(key, _)| key as u32);
        let count = cleared.clone().count();
        if count > 0 {
            put.section(group::MAP_CLEARS, self.options.ordinal, count);
            column::put_u32s(put, 0, kind::VALUES, cleared);
        }
        let count = self.changed().count();
        if count == 0 {
            return;
        }
        put.section(group::STATE_CHANGES, self.options.ordinal, count);
        column::put_u32s(put, 0, kind::VALUES, self.changed().map(|entry| entry.key));
        let map_keys = self
            .changed()
            .map(|entry| slice(&self.bytes, entry.map_key));
        column::put_values(put, 1, K::WIDTH, map_keys);
        let is_present = |entry: &Entry| entry.flags & PRESENT != 0;
        column::put_validity(put, 2, self.changed().map(is_present));
        let values = self.changed().map(|entry| match is_present(entry) {
            true => slice(&self.bytes, entry.value),
            false => &[],
        });
        column::put_values(put, 2, V::WIDTH, values);
    }
}
