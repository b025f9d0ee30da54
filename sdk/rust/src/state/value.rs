//! One value a key.

use super::column::{self, CHANGED, PRESENT, Span, slice};
use crate::arena::Put;
use crate::buffer::{Batch, group, kind};
use crate::encode::Place;
use crate::row::type_of_state;
use crate::states::{Create, Handle, HandleOptions, Widths, describe_state};
use crate::{Malformed, State};
use serde_json::Value as Json;
use std::marker::PhantomData;

/// One value for each key.
///
/// Access costs an array access: the values of all keys of the batch have come with it. Values of
/// fixed width are read and written where they lie; others are decoded by each `get`.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(States)]
/// struct Memory {
///     seen: Value<u64>,
/// }
///
/// fn count(state: &mut Memory) -> u64 {
///     state.seen.update(|seen| *seen += 1)
/// }
/// ```
#[derive(Debug)]
pub struct Value<T> {
    options: HandleOptions,
    /// For each key, whether it is present and changed.
    flags: Vec<u8>,
    /// Fixed width: the values of all keys. Otherwise the bytes that `spans` divides; new values
    /// are added behind.
    bytes: Vec<u8>,
    /// Where each key's value lies, if widths vary.
    spans: Vec<Span>,
    /// The keys whose value changed, in the order of their first change.
    changed: Vec<u32>,
    /// Whether any of them was cleared.
    cleared: bool,
    /// 0, 1, 2 and so on, at least as many as the batch has keys: where all changed these are the
    /// changed ones. In a sandbox each turn of a loop looks at the clock, so they are copied.
    ascending: Vec<u32>,
    key: usize,
    before: Before,
    of: PhantomData<fn() -> T>,
}

/// What the current row found, kept from its first change on.
#[derive(Debug)]
struct Before {
    kept: bool,
    flags: u8,
    span: Span,
    /// A value of at most that width; `long` holds others.
    short: [u8; SHORT],
    long: Vec<u8>,
}

/// Values up to this width are kept without a look through a pointer.
const SHORT: usize = 64;

impl Before {
    /// Keeps a value of fixed width.
    #[inline]
    fn keep(&mut self, flags: u8, bytes: &[u8]) {
        self.kept = true;
        self.flags = flags;
        self.place(bytes.len()).copy_from_slice(bytes);
    }

    /// The place of a value of that width.
    #[inline]
    fn place(&mut self, width: usize) -> &mut [u8] {
        match width <= SHORT {
            true => &mut self.short[..width],
            false => &mut self.long[..width],
        }
    }
}

impl<T: State> Value<T> {
    /// The value of the current key, if it has one.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn is_new(seen: &Value<u64>) -> bool {
    ///     seen.get().is_none()
    /// }
    /// ```
    #[inline]
    pub fn get(&self) -> Option<T> {
        if self.flags[self.key] & PRESENT == 0 {
            return None;
        }
        let bytes = match T::WIDTH {
            Some(width) => &self.bytes[self.key * width..self.key * width + width],
            None => slice(&self.bytes, self.spans[self.key]),
        };
        Some(column::decoded(bytes, "the state", self.options.name))
    }

    /// The value of the current key, or the type's default.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn total(sum: &Value<f64>) -> f64 {
    ///     sum.get_or_default()
    /// }
    /// ```
    #[inline]
    pub fn get_or_default(&self) -> T
    where
        T: Default,
    {
        self.get().unwrap_or_default()
    }

    /// Sets the value of the current key.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn remember(last: &mut Value<Timestamp>, at: Timestamp) {
    ///     last.set(at);
    /// }
    /// ```
    #[inline]
    pub fn set(&mut self, value: T) {
        self.write(&value);
    }

    /// Sets the value of the current key to a copy of this one.
    #[inline]
    pub(super) fn write(&mut self, value: &T) {
        self.keep();
        self.mark(PRESENT | CHANGED);
        match T::WIDTH {
            Some(width) => {
                let start = self.key * width;
                value.encode(&mut Place(&mut self.bytes[start..start + width]));
            }
            None => {
                let start = self.bytes.len() as u32;
                value.encode(&mut self.bytes);
                self.spans[self.key] = (start, self.bytes.len() as u32);
            }
        }
    }

    /// Takes the value of the current key away.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn forget(last: &mut Value<Timestamp>) {
    ///     last.clear();
    /// }
    /// ```
    pub fn clear(&mut self) {
        self.keep();
        self.mark(CHANGED);
        self.cleared = true;
    }

    /// Changes the value of the current key, from the type's default if it has none, and returns
    /// it.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn add(sum: &mut Value<f64>, amount: f64) -> f64 {
    ///     sum.update(|sum| *sum += amount)
    /// }
    /// ```
    #[inline]
    pub fn update(&mut self, change: impl FnOnce(&mut T)) -> T
    where
        T: Default,
    {
        if let Some(width) = T::WIDTH {
            return self.update_in_place(width, change);
        }
        let mut value = self.get_or_default();
        change(&mut value);
        self.write(&value);
        value
    }

    /// The same for values of fixed width, in one look at the place where the value lies. Through
    /// `self` each write into `bytes` might change everything else, which is then loaded again.
    /// What it does is `keep`, `mark` and `write`.
    #[inline]
    fn update_in_place(&mut self, width: usize, change: impl FnOnce(&mut T)) -> T
    where
        T: Default,
    {
        let start = self.key * width;
        let place = &mut self.bytes[start..start + width];
        let flags = &mut self.flags[self.key];
        let found = *flags;
        let mut value = match found & PRESENT {
            0 => T::default(),
            _ => column::decoded(place, "the state", self.options.name),
        };
        change(&mut value);
        if !self.before.kept {
            self.before.keep(found, place);
        }
        *flags = PRESENT | CHANGED;
        if found & CHANGED == 0 {
            self.changed.push(self.key as u32);
        }
        value.encode(&mut Place(place));
        value
    }

    /// Keeps what the row found, once.
    #[inline]
    fn keep(&mut self) {
        if self.before.kept {
            return;
        }
        let flags = self.flags[self.key];
        match T::WIDTH {
            Some(width) => {
                let start = self.key * width;
                self.before.keep(flags, &self.bytes[start..start + width]);
            }
            None => {
                self.before.kept = true;
                self.before.flags = flags;
                self.before.span = self.spans[self.key];
            }
        }
    }

    fn bytes_of(&self, key: usize) -> &[u8] {
        match T::WIDTH {
            Some(width) => &self.bytes[key * width..key * width + width],
            None => slice(&self.bytes, self.spans[key]),
        }
    }

    /// Sets the flags of the current key, which changes by this.
    #[inline]
    fn mark(&mut self, flags: u8) {
        if std::mem::replace(&mut self.flags[self.key], flags) & CHANGED == 0 {
            self.changed.push(self.key as u32);
        }
    }
}

impl<T: State> Create for Value<T> {
    fn create(options: &HandleOptions) -> Self {
        let before = Before {
            kept: false,
            flags: 0,
            span: (0, 0),
            short: [0; SHORT],
            long: vec![0; T::WIDTH.filter(|width| *width > SHORT).unwrap_or(0)],
        };
        Self {
            options: *options,
            flags: Vec::new(),
            bytes: Vec::new(),
            spans: Vec::new(),
            changed: Vec::new(),
            cleared: false,
            ascending: Vec::new(),
            key: 0,
            before,
            of: PhantomData,
        }
    }
}

impl<T: State> Handle for Value<T> {
    fn describe(name: &str, options: Json) -> Json {
        describe_state(name, "value", &[("type", type_of_state::<T>())], options)
    }

    fn widths() -> Widths {
        Widths {
            map_key: None,
            value: T::WIDTH,
        }
    }

    fn load(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed> {
        let section = batch.section(group::STATE, self.options.ordinal)?;
        self.flags.clear();
        self.bytes.clear();
        self.spans.clear();
        self.changed.clear();
        self.cleared = false;
        self.ascending
            .extend(self.ascending.len() as u32..keys as u32);
        if section.rows() == 0 {
            // A state that no key has need not be sent.
            self.flags.resize(keys, 0);
            self.bytes.resize(keys * T::WIDTH.unwrap_or(0), 0);
            self.spans
                .resize(if T::WIDTH.is_none() { keys } else { 0 }, (0, 0));
            return Ok(());
        }
        if section.rows() != keys {
            return Err(section.malformed(0, "a value for some of the keys only"));
        }
        column::load_flags(&section, 0, keys, &mut self.flags)?;
        let span = column::load(&section, 0, keys, T::WIDTH, &mut self.bytes)?;
        if T::WIDTH.is_none() {
            self.spans.extend((0..keys).map(span));
        }
        Ok(())
    }

    #[inline]
    fn seek(&mut self, key: usize, _row: Option<usize>) {
        self.key = key;
        self.before.kept = false;
    }

    fn undo(&mut self) {
        if !std::mem::take(&mut self.before.kept) {
            return;
        }
        self.flags[self.key] = self.before.flags;
        if self.before.flags & CHANGED == 0 {
            // Only the current key can be the last that changed first.
            self.changed.pop();
        }
        match T::WIDTH {
            Some(width) => {
                let start = self.key * width;
                self.bytes[start..start + width].copy_from_slice(self.before.place(width));
            }
            None => self.spans[self.key] = self.before.span,
        }
    }

    fn put<P: Put>(&self, put: &mut P) {
        let count = self.changed.len();
        if count == 0 {
            return;
        }
        put.section(group::STATE_CHANGES, self.options.ordinal, count);
        // Where every key has changed, which is common, they lie in order already.
        let all = count == self.flags.len();
        let keys = match all {
            true => &self.ascending[..count],
            false => &self.changed,
        };
        put.copy(0, kind::VALUES, bytemuck::cast_slice(keys));
        match (T::WIDTH, all) {
            (Some(_), true) => {
                self.put_validity(0..count, put);
                put.copy(1, kind::VALUES, &self.bytes);
            }
            (Some(width), false) => {
                self.put_validity(self.keys(), put);
                put.buffer(1, kind::VALUES, count * width, |out| {
                    for (key, out) in self.keys().zip(out.chunks_exact_mut(width.max(1))) {
                        out.copy_from_slice(self.bytes_of(key));
                    }
                });
            }
            (None, true) => self.put_varying(0..count, put),
            (None, false) => self.put_varying(self.keys(), put),
        }
    }
}

impl<T: State> Value<T> {
    /// The keys whose value changed.
    fn keys(&self) -> impl Iterator<Item = usize> + Clone {
        self.changed.iter().map(|key| *key as usize)
    }

    fn is_present(&self, key: usize) -> bool {
        self.flags[key] & PRESENT != 0
    }

    fn put_validity<P: Put>(&self, keys: impl Iterator<Item = usize> + Clone, put: &mut P) {
        if self.cleared {
            column::put_validity(put, 1, keys.map(|key| self.is_present(key)));
        }
    }

    fn put_varying<P: Put>(&self, keys: impl Iterator<Item = usize> + Clone, put: &mut P) {
        self.put_validity(keys.clone(), put);
        let values = keys.map(|key| match self.is_present(key) {
            true => self.bytes_of(key),
            false => &[],
        });
        column::put_values(put, 1, None, values);
    }
}
