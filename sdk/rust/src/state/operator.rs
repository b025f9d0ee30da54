//! One value a parallel instance.

use super::column;
use crate::arena::Put;
use crate::buffer::{Batch, bit, group, kind};
use crate::row::type_of_state;
use crate::states::{Create, Handle, HandleOptions, Widths, describe_state};
use crate::{Malformed, State};
use serde_json::Value as Json;
use std::marker::PhantomData;

/// One value for each of the operator's parallel instances (its *subtasks*), whichever keys they
/// have; the operator needs none. It is kept through crashes like keyed state: for numbers that
/// count up, for what is too dear to compute again in a new instance.
///
/// Which rows an instance gets depends on the parallelism, and of an operator without keys on
/// chance too: results should not depend on this value where they must be the same at any
/// parallelism.
///
/// When a job goes on from a checkpoint each instance gets its own value back. With more instances
/// than before the new ones have none. With fewer the job is refused if one that is no more had a
/// value, since nobody else can know how to join two of them: [`clear`](Self::clear) it before
/// that, or run with at least as many. It has no time to live.
/// ```
/// use wasmill_sdk::prelude::*;
/// # #[derive(Row)] struct Order<'a> { item: &'a str }
/// # #[derive(Row, Debug, PartialEq)]
/// # struct Numbered<'a> { instance: u32, number: u64, item: &'a str }
///
/// #[derive(States)]
/// struct Memory {
///     last_number: OperatorState<u64>,
/// }
///
/// /// Numbers orders: no two have the same instance and number, and none is left out.
/// struct Numbers {
///     instance: u32,
/// }
///
/// impl Operator for Numbers {
/// #     const PLUGIN: Plugin = plugin!("numbers");
/// #     type Config = (); type Input<'a> = Order<'a>; type Output<'a> = Numbered<'a>;
/// #     type State = Memory;
///     // …
///     fn open(_config: (), start: &Start) -> Result<Self, Fault> {
///         Ok(Self { instance: start.subtask() })
///     }
///
///     fn process(&mut self, row: Order<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
///         let number = cx.state.last_number.update(|number| *number += 1);
///         if row.item.is_empty() {
///             return reject("nothing is ordered");
///         }
///         cx.emit(Numbered { instance: self.instance, number, item: row.item });
///         Ok(())
///     }
/// }
///
/// # fn main() {
/// let mut numbers = Harness::<Numbers>::new("{}");
/// let order = |item| Order { item };
/// numbers.push(&[order("tea"), order(""), order("cake")]);
/// numbers.restart();
/// let effects = numbers.push(&[order("milk")]);
/// assert_eq!(effects.rows(), [Numbered { instance: 0, number: 3, item: "milk" }]);
/// assert_eq!(numbers.operator_state("last-number"), Some(3u64));
/// # }
/// ```
#[derive(Debug)]
pub struct OperatorState<T> {
    options: HandleOptions,
    now: Kept,
    /// What the current row found, if it has changed it.
    before: Kept,
    is_touched: bool,
    of: PhantomData<fn() -> T>,
}

/// A value, and what became of it in the call.
#[derive(Debug, Default)]
struct Kept {
    is_present: bool,
    is_changed: bool,
    /// The encoded value, if there is one. They are filled anew with each change.
    bytes: Vec<u8>,
}

impl Kept {
    /// Takes over another's content, into the memory that is there.
    fn copy(&mut self, other: &Self) {
        self.is_present = other.is_present;
        self.is_changed = other.is_changed;
        self.bytes.clear();
        self.bytes.extend_from_slice(&other.bytes);
    }
}

impl<T: State> OperatorState<T> {
    /// The value of this instance, if it has one.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn is_first(last_number: &OperatorState<u64>) -> bool {
    ///     last_number.get().is_none()
    /// }
    /// ```
    #[inline]
    pub fn get(&self) -> Option<T> {
        let is_present = self.now.is_present;
        is_present.then(|| column::decoded(&self.now.bytes, "the state", self.options.name))
    }

    /// The value of this instance, or the type's default.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn next(last_number: &OperatorState<u64>) -> u64 {
    ///     last_number.get_or_default() + 1
    /// }
    /// ```
    #[inline]
    pub fn get_or_default(&self) -> T
    where
        T: Default,
    {
        self.get().unwrap_or_default()
    }

    /// Sets the value of this instance.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn begin_at(last_number: &mut OperatorState<u64>, number: u64) {
    ///     last_number.set(number);
    /// }
    /// ```
    #[inline]
    pub fn set(&mut self, value: T) {
        self.write(&value);
    }

    /// Takes the value of this instance away.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn forget(last_number: &mut OperatorState<u64>) {
    ///     last_number.clear();
    /// }
    /// ```
    pub fn clear(&mut self) {
        self.change(false);
    }

    /// Changes the value of this instance, from the type's default if it has none, and returns it.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn take(last_number: &mut OperatorState<u64>) -> u64 {
    ///     last_number.update(|number| *number += 1)
    /// }
    /// ```
    #[inline]
    pub fn update(&mut self, change: impl FnOnce(&mut T)) -> T
    where
        T: Default,
    {
        let mut value = self.get_or_default();
        change(&mut value);
        self.write(&value);
        value
    }

    #[inline]
    fn write(&mut self, value: &T) {
        self.change(true);
        value.encode(&mut self.now.bytes);
    }

    /// Keeps what the row found, once, and makes room for what it leaves.
    #[inline]
    fn change(&mut self, is_present: bool) {
        if !self.is_touched {
            self.is_touched = true;
            self.before.copy(&self.now);
        }
        self.now.is_present = is_present;
        self.now.is_changed = true;
        self.now.bytes.clear();
    }
}

impl<T: State> Create for OperatorState<T> {
    fn create(options: &HandleOptions) -> Self {
        Self {
            options: *options,
            now: Kept::default(),
            before: Kept::default(),
            is_touched: false,
            of: PhantomData,
        }
    }
}

impl<T: State> Handle for OperatorState<T> {
    const IS_KEYED: bool = false;

    fn describe(name: &str, options: Json) -> Json {
        describe_state(name, "operator", &[("type", type_of_state::<T>())], options)
    }

    fn widths() -> Widths {
        Widths {
            map_key: None,
            value: T::WIDTH,
        }
    }

    fn load(&mut self, batch: &Batch<'_>, _keys: usize) -> Result<(), Malformed> {
        let section = batch.section(group::STATE, self.options.ordinal)?;
        self.is_touched = false;
        self.now.is_changed = false;
        self.now.is_present = false;
        self.now.bytes.clear();
        match section.rows() {
            // A value that the instance does not have need not be sent.
            0 => return Ok(()),
            1 => {}
            _ => return Err(section.malformed(0, "more values than one")),
        }
        let validity = section.bitmap(0, kind::VALIDITY, 1)?;
        self.now.is_present = validity.is_none_or(|bits| bit(bits, 0));
        let span = column::load(&section, 0, 1, T::WIDTH, &mut self.now.bytes)?;
        let (_, end) = span(0);
        self.now.bytes.truncate(end as usize);
        Ok(())
    }

    #[inline]
    fn seek(&mut self, _key: usize, _row: Option<usize>) {
        self.is_touched = false;
    }

    fn undo(&mut self) {
        if std::mem::take(&mut self.is_touched) {
            std::mem::swap(&mut self.now, &mut self.before);
        }
    }

    fn put<P: Put>(&self, put: &mut P) {
        let Kept {
            is_present,
            is_changed,
            bytes,
        } = &self.now;
        if !is_changed {
            return;
        }
        put.section(group::STATE_CHANGES, self.options.ordinal, 1);
        column::put_validity(put, 0, std::iter::once(*is_present));
        column::put_values(put, 0, T::WIDTH, std::iter::once(bytes.as_slice()));
    }
}
