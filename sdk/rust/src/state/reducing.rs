//! A value a key, into which others are folded.

use super::Value;
use crate::arena::Put;
use crate::buffer::Batch;
use crate::row::type_of_state;
use crate::states::{Create, CreateFolded, Handle, HandleOptions, Widths, describe_state};
use crate::{Malformed, State};
use serde_json::Value as Json;

/// A value for each key into which further ones are folded, by a function of the author's:
/// `#[state(reduce = FUNCTION)]` takes two values to one. The first item of a key is its value.
///
/// The function should be associative: `f(f(a, b), c)` is `f(a, f(b, c))`. Then the value says
/// something of all items and nothing of how they came together, and a later version may fold parts
/// before they are added. It must not keep anything anywhere else.
///
/// As with [`Value`], an access is an array access, and a value of fixed width is changed where it
/// lies.
/// ```
/// use wasmill_sdk::prelude::*;
/// # #[derive(Row)] struct Payment<'a> { account: u64, amount: f64, country: &'a str }
///
/// #[derive(States)]
/// struct Memory {
///     #[state(reduce = f64::max)]
///     largest: Reducing<f64>,
///     #[state(ttl = "1d", reduce = either)]
///     countries: Reducing<u64>,
/// }
///
/// fn either(some: u64, others: u64) -> u64 {
///     some | others
/// }
/// # struct Largest;
///
/// impl Operator for Largest {
/// #     const PLUGIN: Plugin = plugin!("largest");
/// #     type Config = (); type Input<'a> = Payment<'a>; type Output<'a> = ();
/// #     type State = Memory;
/// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
///     // …
///     fn process(&mut self, row: Payment<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
///         cx.state.largest.add(row.amount);
///         let seen = cx.state.countries.add(if row.country == "DE" { 1 } else { 2 });
///         match seen {
///             3 => reject("at home and abroad on one day"),
///             _ => Ok(()),
///         }
///     }
/// }
///
/// # fn main() {
/// let mut largest = Harness::<Largest>::new("{}").keyed_by(&["account"]);
/// let payment = |amount, country| Payment { account: 7, amount, country };
/// largest.push(&[payment(5.0, "DE"), payment(9.0, "DE")]);
/// let effects = largest.push(&[payment(7.0, "DE"), payment(99.0, "FR")]);
/// assert_eq!(effects.rejected().len(), 1);
/// assert_eq!(largest.value("largest", &7u64), Some(9.0), "a refused row adds nothing");
/// # }
/// ```
/// Without its function it does not compile:
/// ```compile_fail
/// # use wasmill_sdk::prelude::*;
/// #[derive(States)]
/// struct Memory {
///     largest: Reducing<f64>,
/// }
/// ```
#[derive(Debug)]
pub struct Reducing<T> {
    value: Value<T>,
    reduce: fn(T, T) -> T,
}

impl<T: State> Reducing<T> {
    /// What the items of the current key come to; none before the first.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn is_largest(largest: &Reducing<f64>, amount: f64) -> bool {
    ///     largest.get().is_none_or(|largest| amount > largest)
    /// }
    /// ```
    #[inline]
    pub fn get(&self) -> Option<T> {
        self.value.get()
    }

    /// Folds an item into the value of the current key, and returns what they come to.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn share_of_largest(largest: &mut Reducing<f64>, amount: f64) -> f64 {
    ///     amount / largest.add(amount)
    /// }
    /// ```
    #[inline]
    pub fn add(&mut self, item: T) -> T {
        let value = match self.value.get() {
            Some(value) => (self.reduce)(value, item),
            None => item,
        };
        self.value.write(&value);
        value
    }

    /// Takes the value of the current key away: the next item is its first.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn begin_again(largest: &mut Reducing<f64>) {
    ///     largest.clear();
    /// }
    /// ```
    pub fn clear(&mut self) {
        self.value.clear();
    }
}

impl<T: State> CreateFolded for Reducing<T> {
    type Function = fn(T, T) -> T;

    fn create(options: &HandleOptions, reduce: fn(T, T) -> T) -> Self {
        let value = Create::create(options);
        Self { value, reduce }
    }
}

impl<T: State> Handle for Reducing<T> {
    fn describe(name: &str, options: Json) -> Json {
        describe_state(name, "reducing", &[("type", type_of_state::<T>())], options)
    }

    fn widths() -> Widths {
        Value::<T>::widths()
    }

    fn load(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed> {
        self.value.load(batch, keys)
    }

    #[inline]
    fn seek(&mut self, key: usize, row: Option<usize>) {
        self.value.seek(key, row);
    }

    fn undo(&mut self) {
        self.value.undo();
    }

    fn put<P: Put>(&self, put: &mut P) {
        self.value.put(put);
    }
}
