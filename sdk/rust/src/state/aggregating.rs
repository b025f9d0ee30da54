//! An accumulator a key.

use super::Value;
use crate::arena::Put;
use crate::buffer::Batch;
use crate::row::type_of_state;
use crate::states::{Create, Handle, HandleOptions, Widths, describe_state};
use crate::{Aggregate, Malformed, Reject};
use serde_json::Value as Json;

/// An accumulator for each key, to which rows are added, and which gives a result: what an
/// [`Aggregate`] does in windows, an operator does with it whenever it wants.
///
/// One implementation serves both. As its instance is the operator's own, it is configured as the
/// operator likes, and handed in with each call. What is kept is the accumulator alone;
/// [`merge`](Aggregate::merge) is never called here.
///
/// An accumulator of fixed width is read and written where it lies; others are decoded and encoded
/// with each row that is added.
/// ```
/// use wasmill_sdk::prelude::*;
/// # #[derive(Row, Clone)] struct Reading { sensor: u64, value: i64 }
/// # #[derive(Row, Debug, PartialEq)] struct Wide { sensor: u64, spread: u64 }
///
/// /// The least and the greatest value.
/// #[derive(State, Debug, PartialEq)]
/// struct Bounds {
///     least: i64,
///     greatest: i64,
/// }
///
/// /// How far values lie apart: also a plugin for windows, with `export_aggregate!(Spread)`.
/// struct Spread;
///
/// impl Aggregate for Spread {
///     const PLUGIN: Plugin = plugin!("spread");
///     type Config = ();
///     type Row<'a> = Reading;
///     type Accumulator = Bounds;
///     type Output = u64;
///
///     fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
///         Ok(Self)
///     }
///
///     fn create(&self) -> Bounds {
///         Bounds { least: i64::MAX, greatest: i64::MIN }
///     }
///
///     fn add(&self, bounds: &mut Bounds, row: Reading) -> Result<(), Reject> {
///         if row.value == i64::MAX {
///             return reject("the sensor is broken");
///         }
///         bounds.least = bounds.least.min(row.value);
///         bounds.greatest = bounds.greatest.max(row.value);
///         Ok(())
///     }
///
///     fn merge(&self, bounds: &mut Bounds, other: Bounds) {
///         bounds.least = bounds.least.min(other.least);
///         bounds.greatest = bounds.greatest.max(other.greatest);
///     }
///
///     fn result(&self, bounds: Bounds) -> u64 {
///         bounds.greatest.abs_diff(bounds.least)
///     }
/// }
///
/// #[derive(States)]
/// struct Memory {
///     #[state(ttl = "1d")]
///     spread: Aggregating<Spread>,
/// }
///
/// /// Tells of sensors whose values lie far apart, and begins anew.
/// struct Watch {
///     spread: Spread,
/// }
///
/// impl Operator for Watch {
/// #     const PLUGIN: Plugin = plugin!("watch");
/// #     type Config = (); type Input<'a> = Reading; type Output<'a> = Wide; type State = Memory;
/// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self { spread: Spread }) }
///     // …
///     fn process(&mut self, row: Reading, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
///         let sensor = row.sensor;
///         cx.state.spread.add(&self.spread, row)?;
///         let spread = cx.state.spread.result(&self.spread);
///         if let Some(spread) = spread.filter(|spread| *spread > 10) {
///             cx.state.spread.clear();
///             cx.emit(Wide { sensor, spread });
///         }
///         Ok(())
///     }
/// }
///
/// # fn main() {
/// let mut watch = Harness::<Watch>::new("{}").keyed_by(&["sensor"]);
/// let reading = |value| Reading { sensor: 1, value };
/// let effects = watch.push(&[reading(1), reading(12), reading(3), reading(i64::MAX)]);
/// assert_eq!(effects.rows(), [Wide { sensor: 1, spread: 11 }]);
/// assert_eq!(effects.rejected(), [(3, "the sensor is broken".to_owned())]);
/// let bounds = watch.value::<Bounds>("spread", &1u64);
/// assert_eq!(bounds, Some(Bounds { least: 3, greatest: 3 }));
/// # }
/// ```
#[derive(Debug)]
pub struct Aggregating<A: Aggregate> {
    accumulator: Value<A::Accumulator>,
}

impl<A: Aggregate> Aggregating<A> {
    /// Adds a row to the accumulator of the current key, a new one if it has none.
    ///
    /// # Errors
    /// If the aggregate refuses the row. The accumulator is then as if the row had not been there,
    /// and the operator may go on without it, or refuse its own row with `?`.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # fn main() {
    /// # struct Pages;
    /// # impl Aggregate for Pages {
    /// #     const PLUGIN: Plugin = plugin!("pages");
    /// #     type Config = (); type Row<'a> = Visit<'a>; type Accumulator = u64; type Output = u64;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn create(&self) -> u64 { 0 }
    /// #     fn add(&self, pages: &mut u64, _: Visit<'_>) -> Result<(), Reject> {
    /// #         *pages += 1;
    /// #         Ok(())
    /// #     }
    /// #     fn merge(&self, pages: &mut u64, other: u64) { *pages += other; }
    /// #     fn result(&self, pages: u64) -> u64 { pages }
    /// # }
    /// fn see(state: &mut Aggregating<Pages>, by: &Pages, row: Visit<'_>) -> Result<(), Reject> {
    ///     state.add(by, row)
    /// }
    /// # }
    /// ```
    #[inline]
    pub fn add(&mut self, by: &A, row: A::Row<'_>) -> Result<(), Reject> {
        let accumulator = self.accumulator.get();
        let mut accumulator = accumulator.unwrap_or_else(|| by.create());
        by.add(&mut accumulator, row)?;
        self.accumulator.write(&accumulator);
        Ok(())
    }

    /// The result of the current key's accumulator; none before its first row.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn show<A: Aggregate<Output = f64>>(state: &Aggregating<A>, by: &A) -> String {
    ///     state.result(by).map_or_else(|| "nothing yet".to_owned(), |mean| format!("{mean:.1}"))
    /// }
    /// ```
    #[inline]
    pub fn result(&self, by: &A) -> Option<A::Output> {
        let accumulator = self.accumulator.get()?;
        Some(by.result(accumulator))
    }

    /// Takes the accumulator of the current key away: the next row begins a new one.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// fn finish<A: Aggregate>(state: &mut Aggregating<A>, by: &A) -> Option<A::Output> {
    ///     let result = state.result(by);
    ///     state.clear();
    ///     result
    /// }
    /// ```
    pub fn clear(&mut self) {
        self.accumulator.clear();
    }
}

impl<A: Aggregate> Create for Aggregating<A> {
    fn create(options: &HandleOptions) -> Self {
        let accumulator = Create::create(options);
        Self { accumulator }
    }
}

impl<A: Aggregate> Handle for Aggregating<A> {
    fn describe(name: &str, options: Json) -> Json {
        let types = [("type", type_of_state::<A::Accumulator>())];
        describe_state(name, "aggregating", &types, options)
    }

    fn widths() -> Widths {
        Value::<A::Accumulator>::widths()
    }

    fn load(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed> {
        self.accumulator.load(batch, keys)
    }

    #[inline]
    fn seek(&mut self, key: usize, row: Option<usize>) {
        self.accumulator.seek(key, row);
    }

    fn undo(&mut self) {
        self.accumulator.undo();
    }

    fn put<P: Put>(&self, put: &mut P) {
        self.accumulator.put(put);
    }
}
