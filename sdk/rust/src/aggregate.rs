//! The trait that an author of aggregates implements.

use crate::{Config, Fault, Plugin, Reject, Row, Start, State};

/// An aggregate for windows: many rows are folded into one accumulator, accumulators are merged,
/// and an accumulator gives a result.
///
/// A pipeline names it among the `aggregates` of a `window`, and says which columns it is `of`;
/// keys and windows are the engine's business, and so is how often the boundary is crossed: a batch
/// of rows is one call, however many keys and windows they lie in. An operator may keep its
/// accumulators too, one for each key, in a state of kind [`Aggregating`](crate::Aggregating).
///
/// The accumulator is all that is kept. It must depend neither on the order in which rows are
/// added, nor on whether they were added to one accumulator or to several that were merged: then
/// results are the same at any parallelism and batch size. Integers and [`Decimal`](crate::Decimal)
/// keep that promise, sums of floats break it in their last digits; what needs the order of rows
/// keeps them, and sorts them in [`result`](Aggregate::result).
/// ```
/// use wasmill_sdk::prelude::*;
/// use wasmill_sdk::testing::AggregateHarness;
///
/// #[derive(Row)]
/// struct Reading {
///     value: i64,
/// }
///
/// /// The least and the greatest value.
/// #[derive(State, Clone, Debug, PartialEq)]
/// struct Bounds {
///     least: i64,
///     greatest: i64,
/// }
///
/// #[derive(Config)]
/// struct Sensor {
///     /// Readings above this are refused.
///     #[config(default = 1000)]
///     most: i64,
/// }
///
/// /// How far values lie apart.
/// struct Spread {
///     most: i64,
/// }
///
/// impl Aggregate for Spread {
///     const PLUGIN: Plugin = plugin!("spread");
///     type Config = Sensor;
///     type Row<'a> = Reading;
///     type Accumulator = Bounds;
///     type Output = Option<u64>;
///
///     fn open(config: Sensor, _start: &Start) -> Result<Self, Fault> {
///         Ok(Self { most: config.most })
///     }
///
///     fn create(&self) -> Bounds {
///         Bounds { least: i64::MAX, greatest: i64::MIN }
///     }
///
///     fn add(&self, bounds: &mut Bounds, row: Reading) -> Result<(), Reject> {
///         if row.value > self.most {
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
///     fn result(&self, bounds: Bounds) -> Option<u64> {
///         (bounds.least <= bounds.greatest).then(|| bounds.greatest.abs_diff(bounds.least))
///     }
/// }
///
/// wasmill_sdk::export_aggregate!(Spread);
///
/// # fn main() {
/// let mut spread = AggregateHarness::<Spread>::new("{}");
/// let reading = |value| Reading { value };
/// let sum = spread.add(None, &[reading(3), reading(2000), reading(-4)]);
/// assert_eq!(sum.rejected, [(1, "the sensor is broken".to_string())]);
/// assert_eq!(spread.result(&sum.accumulator), Some(7));
/// let other = spread.add(None, &[reading(10)]).accumulator;
/// let merged = spread.merge(&sum.accumulator, &other);
/// assert_eq!(spread.result(&merged), Some(14));
/// # }
/// ```
pub trait Aggregate: Sized + 'static {
    /// Name and version of the plugin: `plugin!()` takes them from Cargo.toml.
    const PLUGIN: Plugin;

    /// Whether accumulators can be merged. Without that the aggregate is of use in tumbling and
    /// global windows without corrections only, and refused in others before the job starts;
    /// [`merge`](Aggregate::merge) is never called then.
    const MERGES: bool = true;

    /// The configuration: a struct that derives [`Config`](macro@crate::Config), or `()`.
    type Config: Config;

    /// The columns that it is `of`, in the order of the pipeline's list: a struct that derives
    /// [`Row`](macro@crate::Row).
    type Row<'a>: Row<'a>;

    /// What is kept of rows: a struct that derives [`State`](macro@crate::State), or any other
    /// value that is one.
    type Accumulator: State;

    /// The result: the type of the column that it becomes. An `Option` is a column with nulls.
    type Output: State;

    /// Makes an instance. An error stops the job: the configuration cannot work.
    ///
    /// # Errors
    /// If it refuses the configuration.
    fn open(config: Self::Config, start: &Start) -> Result<Self, Fault>;

    /// An accumulator of no rows.
    fn create(&self) -> Self::Accumulator;

    /// Adds a row. A refused row ([`reject`](crate::reject), or `?` on an error) is left out of the
    /// window, for its other aggregates too; so is one on which this panics, and the pipeline's
    /// `on-error` decides what becomes of it.
    ///
    /// # Errors
    /// If it refuses the row. The accumulator is then as if the row had not been there, whatever
    /// has been done to it.
    fn add(&self, accumulator: &mut Self::Accumulator, row: Self::Row<'_>) -> Result<(), Reject>;

    /// Adds what another accumulator holds.
    fn merge(&self, accumulator: &mut Self::Accumulator, other: Self::Accumulator);

    /// The result of an accumulator. It may be asked for more than once, and rows may follow.
    fn result(&self, accumulator: Self::Accumulator) -> Self::Output;
}
