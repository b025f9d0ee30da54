//! Entries that all instances of an operator have alike.

use super::column::{self, PRESENT, slice};
use crate::arena::Put;
use crate::buffer::{Batch, group};
use crate::row::type_of_state;
use crate::states::{Create, Handle, HandleOptions, Widths, describe_state};
use crate::{Encode, Malformed, State};
use serde_json::Value as Json;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// What became of an entry: its bytes, or none if it was removed.
type Change = Option<Vec<u8>>;

/// Entries that all instances of an operator have alike, such as rules that come as data: rows of
/// the broadcast input write them ([`WithBroadcast`](crate::WithBroadcast)), all rows read them.
///
/// Such a row goes to every instance, and each does the same with it, so what is written must
/// follow from the row and from broadcast state alone. Keyed rows cannot write.
///
/// The entries are in memory: reading one costs a search and its decoding. What is derived from
/// them may be kept in the operator and made anew when [`version`](Self::version) has changed.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(States)]
/// struct Rules {
///     limits: Broadcast<String, f64>,
/// }
///
/// fn is_over(state: &Rules, country: &str, amount: f64) -> bool {
///     state.limits.get(country).is_some_and(|limit| amount > limit)
/// }
/// ```
#[derive(Debug)]
pub struct Broadcast<K, V> {
    options: HandleOptions,
    /// What the host has, as of the beginning of the call.
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What the call has changed; none where an entry was removed.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What the current row changed, as it was before.
    journal: Vec<(Vec<u8>, Option<Change>)>,
    version: u64,
    /// Whether the rows of the call may write.
    is_writable: bool,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: State, V: State> Broadcast<K, V> {
    /// The value of that key, if there is one.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn limit(limits: &Broadcast<String, f64>, country: &str) -> f64 {
    ///     limits.get(country).unwrap_or(f64::INFINITY)
    /// }
    /// ```
    pub fn get<Q: Encode + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let bytes = self.bytes(&crate::encode::encode(key))?;
        Some(self.decoded(bytes))
    }

    /// Whether there is an entry with that key.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn is_known(rules: &Broadcast<u64, String>, rule: u64) -> bool {
    ///     rules.contains(&rule)
    /// }
    /// ```
    pub fn contains<Q: Encode + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.bytes(&crate::encode::encode(key)).is_some()
    }

    /// All entries, ordered by their encoded keys.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn highest(limits: &Broadcast<String, f64>) -> f64 {
    ///     limits.entries().into_iter().map(|(_, limit)| limit).fold(0.0, f64::max)
    /// }
    /// ```
    pub fn entries(&self) -> Vec<(K, V)> {
        let mut all: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        all.extend(
            self.entries
                .iter()
                .map(|(key, value)| (&key[..], &value[..])),
        );
        for (key, value) in &self.changes {
            match value {
                Some(value) => all.insert(key, value),
                None => all.remove(&key[..]),
            };
        }
        let decode = |(key, value): (&[u8], &[u8])| (self.decoded(key), self.decoded(value));
        all.into_iter().map(decode).collect()
    }

    /// Another number whenever an entry may have changed. It says nothing else: do not let results
    /// depend on it.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # fn compile(rules: Vec<(u64, String)>) -> Vec<String> { vec![] }
    /// struct Compiled {
    ///     version: u64,
    ///     rules: Vec<String>,
    /// }
    ///
    /// fn refresh(compiled: &mut Compiled, rules: &Broadcast<u64, String>) {
    ///     if compiled.version != rules.version() {
    ///         compiled.rules = compile(rules.entries());
    ///         compiled.version = rules.version();
    ///     }
    /// }
    /// ```
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Sets the value of a key.
    ///
    /// # Panics
    /// If the row in hand is not of the broadcast input.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn learn(limits: &mut Broadcast<String, f64>, country: &str, limit: f64) {
    ///     limits.set(country, limit);
    /// }
    /// ```
    pub fn set<Q: Encode + ?Sized>(&mut self, key: &Q, value: V)
    where
        K: Borrow<Q>,
    {
        self.change(
            crate::encode::encode(key),
            Some(crate::encode::encode(&value)),
        );
    }

    /// Removes an entry.
    ///
    /// # Panics
    /// If the row in hand is not of the broadcast input.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn forget(limits: &mut Broadcast<String, f64>, country: &str) {
    ///     limits.remove(country);
    /// }
    /// ```
    pub fn remove<Q: Encode + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.change(crate::encode::encode(key), None);
    }

    fn bytes(&self, key: &[u8]) -> Option<&[u8]> {
        match self.changes.get(key) {
            Some(changed) => changed.as_deref(),
            None => self.entries.get(key).map(Vec::as_slice),
        }
    }

    fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        assert!(
            self.is_writable,
            "only rows of the broadcast input write the state `{}`",
            self.options.name
        );
        let before = self.changes.insert(key.clone(), value);
        self.journal.push((key, before));
        self.version += 1;
    }

    fn decoded<T: State>(&self, bytes: &[u8]) -> T {
        column::decoded(bytes, "an entry of the state", self.options.name)
    }
}

impl<K: State, V: State> Create for Broadcast<K, V> {
    fn create(options: &HandleOptions) -> Self {
        Self {
            options: *options,
            entries: BTreeMap::new(),
            changes: BTreeMap::new(),
            journal: Vec::new(),
            version: 0,
            is_writable: false,
            of: PhantomData,
        }
    }
}

impl<K: State, V: State> Handle for Broadcast<K, V> {
    const IS_KEYED: bool = false;

    fn describe(name: &str, options: Json) -> Json {
        let types = [
            ("key", type_of_state::<K>()),
            ("type", type_of_state::<V>()),
        ];
        describe_state(name, "broadcast", &types, options)
    }

    fn widths() -> Widths {
        Widths {
            map_key: K::WIDTH,
            value: V::WIDTH,
        }
    }

    /// Takes in what the host tells: all entries with an instance's first call, then what has
    /// changed, also by this instance itself.
    fn load(&mut self, batch: &Batch<'_>, _keys: usize) -> Result<(), Malformed> {
        self.journal.clear();
        if !self.changes.is_empty() {
            self.changes.clear();
            self.version += 1;
        }
        self.is_writable = batch.section(group::INPUT, 1)?.rows() > 0;
        let section = batch.section(group::STATE, self.options.ordinal)?;
        let rows = section.rows();
        if rows == 0 {
            return Ok(());
        }
        let (mut flags, mut bytes) = (Vec::new(), Vec::new());
        column::load_flags(&section, 2, rows, &mut flags)?;
        let key = column::load(&section, 1, rows, K::WIDTH, &mut bytes)?;
        let value = column::load(&section, 2, rows, V::WIDTH, &mut bytes)?;
        for (row, flags) in flags.iter().enumerate() {
            let key = slice(&bytes, key(row)).to_vec();
            match *flags {
                PRESENT => self.entries.insert(key, slice(&bytes, value(row)).to_vec()),
                _ => self.entries.remove(&key),
            };
        }
        self.version += 1;
        Ok(())
    }

    #[inline]
    fn seek(&mut self, _key: usize, _row: Option<usize>) {
        self.journal.clear();
    }

    fn undo(&mut self) {
        while let Some((key, before)) = self.journal.pop() {
            match before {
                Some(before) => self.changes.insert(key, before),
                None => self.changes.remove(&key),
            };
            self.version += 1;
        }
    }

    fn put<P: Put>(&self, put: &mut P) {
        if self.changes.is_empty() {
            return;
        }
        put.section(
            group::STATE_CHANGES,
            self.options.ordinal,
            self.changes.len(),
        );
        let keys = self.changes.keys().map(Vec::as_slice);
        column::put_values(put, 1, K::WIDTH, keys);
        let values = self.changes.values().map(Option::as_deref);
        column::put_validity(put, 2, values.clone().map(|value| value.is_some()));
        column::put_values(put, 2, V::WIDTH, values.map(Option::unwrap_or_default));
    }
}
