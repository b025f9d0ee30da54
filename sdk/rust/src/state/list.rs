//! A sequence of items a key.

use super::column::{self, Span, slice};
use crate::arena::Put;
use crate::buffer::{Batch, group, kind};
use crate::row::type_of_state;
use crate::states::{Create, Handle, HandleOptions, Widths, describe_state};
use crate::{Malformed, State};
use serde_json::Value as Json;
use std::marker::PhantomData;

/// A list of items for each key: it grows at its back and is dropped from at its front, and only
/// that crosses back to the host.
///
/// With `#[state(items_max = 10)]` it keeps the last ten items by itself.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(States)]
/// struct Memory {
///     #[state(items_max = 10)]
///     amounts: List<f64>,
/// }
///
/// fn mean_of_last(state: &mut Memory, amount: f64) -> f64 {
///     state.amounts.push(amount);
///     state.amounts.iter().sum::<f64>() / state.amounts.len() as f64
/// }
/// ```
#[derive(Debug)]
pub struct List<T> {
    options: HandleOptions,
    keys: Vec<Items>,
    /// The items that the host sent, then those that were pushed.
    bytes: Vec<u8>,
    /// Where the items that the host sent lie.
    sent: Vec<Span>,
    /// The items that were pushed, chained for each key.
    pushed: Vec<Pushed>,
    key: usize,
    /// What the current row found, from its first change on.
    before: Option<Items>,
    of: PhantomData<fn() -> T>,
}

/// One key's list.
#[derive(Clone, Copy, Debug)]
struct Items {
    /// The sent items that are left.
    first: u32,
    end: u32,
    /// How many sent items were dropped.
    dropped: u32,
    /// The chain of pushed items that are left.
    head: u32,
    tail: u32,
    added: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pushed {
    span: Span,
    next: u32,
}

/// The end of a chain.
const END: u32 = u32::MAX;

impl<T: State> List<T> {
    /// The number of items.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn is_full(last: &List<f64>) -> bool {
    ///     last.len() >= 10
    /// }
    /// ```
    pub fn len(&self) -> usize {
        let items = self.items();
        (items.end - items.first + items.added) as usize
    }

    /// Whether there is no item.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn is_new(last: &List<f64>) -> bool {
    ///     last.is_empty()
    /// }
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items, the oldest first.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn sum(last: &List<f64>) -> f64 {
    ///     last.iter().sum()
    /// }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = T> {
        let items = *self.items();
        let sent = &self.sent[items.first as usize..items.end as usize];
        let pushed = std::iter::successors(self.pushed.get(items.head as usize), |item| {
            self.pushed.get(item.next as usize)
        });
        let spans = sent.iter().copied().chain(pushed.map(|item| item.span));
        spans.map(|span| self.decode(span))
    }

    /// The oldest item.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn oldest(last: &List<Timestamp>) -> Option<Timestamp> {
    ///     last.first()
    /// }
    /// ```
    pub fn first(&self) -> Option<T> {
        self.iter().next()
    }

    /// The newest item.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn newest(last: &List<Timestamp>) -> Option<Timestamp> {
    ///     last.last()
    /// }
    /// ```
    pub fn last(&self) -> Option<T> {
        let items = self.items();
        let pushed = self
            .pushed
            .get(items.tail as usize)
            .filter(|_| items.added > 0);
        let sent = || {
            self.sent[items.first as usize..items.end as usize]
                .last()
                .copied()
        };
        pushed
            .map(|item| item.span)
            .or_else(sent)
            .map(|span| self.decode(span))
    }

    /// Adds an item at the back; a list that is full then drops its front.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn remember(last: &mut List<f64>, amount: f64) {
    ///     last.push(amount);
    /// }
    /// ```
    pub fn push(&mut self, item: T) {
        self.keep();
        let start = self.bytes.len() as u32;
        item.encode(&mut self.bytes);
        let span = (start, self.bytes.len() as u32);
        let new = self.pushed.len() as u32;
        self.pushed.push(Pushed { span, next: END });
        let items = &mut self.keys[self.key];
        match items.added {
            0 => items.head = new,
            _ => self.pushed[items.tail as usize].next = new,
        }
        items.tail = new;
        items.added += 1;
        let excess = self.len().saturating_sub(self.options.items_max);
        self.drop_front(excess);
    }

    /// Drops so many items at the front, or all there are.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn forget_until(times: &mut List<Timestamp>, limit: Timestamp) {
    ///     let old = times.iter().take_while(|time| *time <= limit).count();
    ///     times.drop_front(old);
    /// }
    /// ```
    pub fn drop_front(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.keep();
        let items = &mut self.keys[self.key];
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let sent = count.min(items.end - items.first);
        items.first += sent;
        items.dropped += sent;
        for _ in 0..(count - sent).min(items.added) {
            items.head = self.pushed[items.head as usize].next;
            items.added -= 1;
        }
    }

    /// Drops all items.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn start_again(last: &mut List<f64>) {
    ///     last.clear();
    /// }
    /// ```
    pub fn clear(&mut self) {
        self.drop_front(self.len());
    }

    fn items(&self) -> &Items {
        &self.keys[self.key]
    }

    fn decode(&self, span: Span) -> T {
        let bytes = slice(&self.bytes, span);
        column::decoded(bytes, "an item of the state", self.options.name)
    }

    fn keep(&mut self) {
        if self.before.is_none() {
            self.before = Some(*self.items());
        }
    }

    fn changed(&self) -> impl Iterator<Item = (usize, &Items)> + Clone {
        let keys = self.keys.iter().enumerate();
        keys.filter(|(_, items)| items.dropped > 0 || items.added > 0)
    }

    /// The bytes of all items that were pushed and are left, key by key.
    fn added(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.changed().flat_map(|(_, items)| {
            std::iter::successors(self.pushed.get(items.head as usize), |item| {
                self.pushed.get(item.next as usize)
            })
            .take(items.added as usize)
            .map(|item| slice(&self.bytes, item.span))
        })
    }
}

impl<T: State> Create for List<T> {
    fn create(options: &HandleOptions) -> Self {
        Self {
            options: *options,
            keys: Vec::new(),
            bytes: Vec::new(),
            sent: Vec::new(),
            pushed: Vec::new(),
            key: 0,
            before: None,
            of: PhantomData,
        }
    }
}

impl<T: State> Handle for List<T> {
    fn describe(name: &str, options: Json) -> Json {
        describe_state(name, "list", &[("type", type_of_state::<T>())], options)
    }

    fn widths() -> Widths {
        Widths {
            map_key: None,
            value: T::WIDTH,
        }
    }

    fn load(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed> {
        let section = batch.section(group::STATE, self.options.ordinal)?;
        self.keys.clear();
        self.bytes.clear();
        self.sent.clear();
        self.pushed.clear();
        let empty = Items {
            first: 0,
            end: 0,
            dropped: 0,
            head: END,
            tail: END,
            added: 0,
        };
        self.keys.resize(keys, empty);
        if section.rows() == 0 {
            return Ok(());
        }
        if section.rows() != keys {
            return Err(section.malformed(0, "a list for some of the keys only"));
        }
        let offsets = section.offsets(0, keys, None)?;
        let count = offsets.at(keys);
        let span = column::load(&section, 1, count, T::WIDTH, &mut self.bytes)?;
        self.sent.extend((0..count).map(span));
        for (key, items) in self.keys.iter_mut().enumerate() {
            items.first = offsets.at(key) as u32;
            items.end = offsets.at(key + 1) as u32;
        }
        Ok(())
    }

    #[inline]
    fn seek(&mut self, key: usize, _row: Option<usize>) {
        self.key = key;
        self.before = None;
    }

    fn undo(&mut self) {
        let Some(before) = self.before.take() else {
            return;
        };
        self.keys[self.key] = before;
        if before.added > 0 {
            self.pushed[before.tail as usize].next = END;
        }
    }

    fn put<P: Put>(&self, put: &mut P) {
        let count = self.changed().count();
        if count == 0 {
            return;
        }
        put.section(group::STATE_CHANGES, self.options.ordinal, count);
        column::put_u32s(
            put,
            0,
            kind::VALUES,
            self.changed().map(|(key, _)| key as u32),
        );
        column::put_u32s(
            put,
            1,
            kind::VALUES,
            self.changed().map(|(_, items)| items.dropped),
        );
        let ends = self.changed().scan(0, |end, (_, items)| {
            *end += items.added;
            Some(*end)
        });
        column::put_u32s(put, 2, kind::OFFSETS, std::iter::once(0).chain(ends));
        column::put_values(put, 3, T::WIDTH, self.added());
    }
}
