//! One value a key.

use super::column::{self, CHANGED, PRESENT, Span, slice};
use crate::arena::Put;
use crate::buffer::{Batch, group, kind};
use crate::encode::{Place, decode};
use crate::row::type_of_state;
use crate::states::{Handle, HandleOptions, Widths, describe_state};
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
    key: usize,
    before: Before,
    of: PhantomData<fn() -> T>,
}

/// What the current row found, kept from its first change on.
#[derive(Debug, Default)]
struct Before {
    kept: bool,
    flags: u8,
    span: Span,
    bytes: Vec<u8>,
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
        match decode(bytes) {
            Ok(value) => Some(value),
            Err(malformed) => self.undecodable(&malformed),
        }
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
        self.keep();
        self.flags[self.key] = PRESENT | CHANGED;
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
        self.flags[self.key] = CHANGED;
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
        T: Default + Clone,
    {
        let mut value = self.get_or_default();
        change(&mut value);
        self.set(value.clone());
        value
    }

    /// Keeps what the row found, once.
    #[inline]
    fn keep(&mut self) {
        if self.before.kept {
            return;
        }
        self.before.kept = true;
        self.before.flags = self.flags[self.key];
        match T::WIDTH {
            Some(width) => {
                let start = self.key * width;
                self.before.bytes[..width].copy_from_slice(&self.bytes[start..start + width]);
            }
            None => self.before.span = self.spans[self.key],
        }
    }

    #[cold]
    fn undecodable(&self, malformed: &Malformed) -> ! {
        let name = self.options.name;
        panic!("the state `{name}` does not decode: {malformed}; its type may have changed")
    }

    fn bytes_of(&self, key: usize) -> &[u8] {
        match T::WIDTH {
            Some(width) => &self.bytes[key * width..key * width + width],
            None => slice(&self.bytes, self.spans[key]),
        }
    }

    /// The keys whose value changed.
    fn changed(&self) -> impl Iterator<Item = usize> + Clone {
        let flags = self.flags.iter().enumerate();
        flags
            .filter(|(_, flags)| **flags & CHANGED != 0)
            .map(|(key, _)| key)
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

    fn create(options: &HandleOptions) -> Self {
        let before = Before {
            bytes: vec![0; T::WIDTH.unwrap_or(0)],
            ..Before::default()
        };
        Self {
            options: *options,
            flags: Vec::new(),
            bytes: Vec::new(),
            spans: Vec::new(),
            key: 0,
            before,
            of: PhantomData,
        }
    }

    fn load(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed> {
        let section = batch.section(group::STATE, self.options.ordinal)?;
        self.flags.clear();
        self.bytes.clear();
        self.spans.clear();
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
        match T::WIDTH {
            Some(width) => {
                let start = self.key * width;
                self.bytes[start..start + width].copy_from_slice(&self.before.bytes[..width]);
            }
            None => self.spans[self.key] = self.before.span,
        }
    }

    fn put<P: Put>(&self, put: &mut P) {
        let count = self.changed().count();
        if count == 0 {
            return;
        }
        put.section(group::STATE_CHANGES, self.options.ordinal, count);
        column::put_u32s(put, 0, kind::VALUES, self.changed().map(|key| key as u32));
        let is_present = |key: usize| self.flags[key] & PRESENT != 0;
        column::put_validity(put, 1, self.changed().map(is_present));
        let values = self.changed().map(|key| match is_present(key) {
            true => self.bytes_of(key),
            false => &[],
        });
        column::put_values(put, 1, T::WIDTH, values);
    }
}
