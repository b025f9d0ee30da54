//! The struct of states that an operator keeps.

use crate::arena::Put;
use crate::buffer::Batch;
use crate::migration::{NewValue, unknown_migration};
use crate::{Malformed, Row, Timers};
use serde_json::Value as Json;

/// The states that an operator keeps: derive it for a struct of [`Value`], [`List`](crate::List),
/// [`Map`](crate::Map), [`Reducing`](crate::Reducing) and [`Aggregating`](crate::Aggregating), of
/// which each key has its own, of [`OperatorState`](crate::OperatorState), one for each parallel
/// instance, and of [`Broadcast`](crate::Broadcast), which all of them have alike.
///
/// A state is named like its field, with hyphens. `#[states(key = …)]` names the [`Row`] of key
/// columns that [`Context::key`](crate::Context::key) reads, `#[states(timer = …)]` the enum of
/// [`Timers`].
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Account {
///     account: u64,
/// }
///
/// #[derive(States)]
/// #[states(key = Account)]
/// struct Memory {
///     #[state(ttl = "30d")]
///     count: Value<u64>,
///     #[state(items_max = 10)]
///     last_amounts: List<f64>,
///     #[state(column = "merchant")]
///     merchants: Map<String, Timestamp>,
///     #[state(reduce = f64::max)]
///     largest: Reducing<f64>,
/// }
/// ```
///
/// # When the type of a state changes
///
/// A job goes on from its checkpoints with another version of the operator. A state that is new
/// begins empty; one whose type has changed needs a migration from each older type that may still
/// be stored, or the job is refused. A migration is a function from the old value to the new one;
/// of a list it is called for each item, of a map for each entry as a pair of key and value. `None`
/// drops the value. A panic refuses the job, tells the key, and changes nothing: the older version
/// can still go on. [`export!`](macro@crate::export) is told of it by a second word.
/// ```
/// use wasmill_sdk::prelude::*;
/// # #[derive(Row, Clone)] struct Payment { account: u64, cents: u64 }
/// # #[derive(Row, Debug, PartialEq)] struct Total { cents: u64, count: u64 }
/// # struct Totals;
/// # impl Operator for Totals {
/// #     const PLUGIN: Plugin = plugin!("totals");
/// #     type Config = (); type Input<'a> = Payment; type Output<'a> = Total;
/// #     type State = Memory;
/// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
/// #     fn process(&mut self, _: Payment, _: &mut Context<'_, Self>) -> Result<(), Reject> {
/// #         Ok(())
/// #     }
/// # }
///
/// #[derive(State, Debug, PartialEq)]
/// struct Sum {
///     cents: u64,
///     count: u64,
/// }
///
/// #[derive(States)]
/// struct Memory {
///     // Version 1 had whole euros in 32 bits and did not count.
///     #[state(migrate(from = u32, with = from_euros))]
///     sum: Value<Sum>,
///     // Its map had numbers where there are names now.
///     #[state(migrate(from = (u16, u32), with = by_name))]
///     shops: Map<String, u64>,
/// }
///
/// fn from_euros(euros: u32) -> Option<Sum> {
///     Some(Sum { cents: u64::from(euros) * 100, count: 0 })
/// }
///
/// fn by_name((shop, visits): (u16, u32)) -> Option<(String, u64)> {
///     (shop != 0).then(|| (format!("shop-{shop}"), visits.into()))
/// }
///
/// wasmill_sdk::export!(Totals, migrate);
///
/// # fn main() {
/// // What becomes of stored values is tested like the rest.
/// let migrated = Harness::<Totals>::migrate("sum", &7_u32);
/// assert_eq!(migrated, Ok(Some(Sum { cents: 700, count: 0 })));
/// let entry = Harness::<Totals>::migrate_entry("shops", (&3_u16, &9_u32));
/// assert_eq!(entry, Ok(Some(("shop-3".to_owned(), 9_u64))));
/// # }
/// ```
///
/// [`Value`]: crate::Value
pub trait States: Sized + 'static {
    /// The key columns that the operator wants to see; `()` for none.
    type Key<'a>: Key<'a>;

    /// The operator's timers; `()` for none.
    type Timer: Timers;

    /// Whether a state is asked for by key: then rows are offered to `prefetch`.
    #[doc(hidden)]
    const MAPS: bool;

    /// Whether a state is kept for each key: then rows come with their keys.
    #[doc(hidden)]
    const KEYED: bool;

    /// Whether a state is migrated from an older type.
    #[doc(hidden)]
    const MIGRATES: bool = false;

    #[doc(hidden)]
    fn describe() -> Vec<Json>;

    /// Brings a value, or a map's entry, from an older type to this one's: the state's and the
    /// migration's position in the descriptor, the old bytes, where the new ones go. Whether it is
    /// kept.
    #[doc(hidden)]
    fn migrate(
        place: (u32, u32),
        old: (&[u8], &[u8]),
        new: &mut NewValue<'_>,
    ) -> Result<bool, Malformed> {
        let _ = (place, old, new);
        Err(unknown_migration())
    }

    /// For each state the widths of map key and value, where they are fixed.
    #[doc(hidden)]
    fn widths() -> Vec<Widths>;

    #[doc(hidden)]
    fn create() -> Self;

    #[doc(hidden)]
    fn load(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed>;

    /// Turns to a key, and to a row of it.
    #[doc(hidden)]
    fn seek(&mut self, key: usize, row: Option<usize>);

    /// Takes back what happened since the last `seek`.
    #[doc(hidden)]
    fn undo(&mut self);

    /// Asks the host for what has been prefetched.
    #[doc(hidden)]
    fn fetch(&mut self) -> Result<(), Malformed>;

    #[doc(hidden)]
    fn put<P: Put>(&self, put: &mut P);
}

impl States for () {
    type Key<'a> = ();
    type Timer = ();
    const MAPS: bool = false;
    const KEYED: bool = false;

    fn describe() -> Vec<Json> {
        Vec::new()
    }

    fn widths() -> Vec<Widths> {
        Vec::new()
    }

    fn create() -> Self {}

    fn load(&mut self, _batch: &Batch<'_>, _keys: usize) -> Result<(), Malformed> {
        Ok(())
    }

    #[inline]
    fn seek(&mut self, _key: usize, _row: Option<usize>) {}

    fn undo(&mut self) {}

    fn fetch(&mut self) -> Result<(), Malformed> {
        Ok(())
    }

    fn put<P: Put>(&self, _put: &mut P) {}
}

/// The key columns that an operator sees: a struct that derives [`Row`], or `()`. Its fields are
/// columns of the pipeline's `key-by`, by name; the operator need not see all of them.
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
/// # fn main() {
/// fn of_user(cx: &Context<'_, Counter>) -> u64 {
///     cx.key().user
/// }
/// # }
/// ```
pub trait Key<'a>: Sized {
    /// Whether there are any.
    #[doc(hidden)]
    const DECLARED: bool;

    #[doc(hidden)]
    type Columns: Clone;

    #[doc(hidden)]
    fn describe() -> Vec<(&'static str, String)>;

    #[doc(hidden)]
    fn bind(batch: &Batch<'a>) -> Result<Self::Columns, Malformed>;

    #[doc(hidden)]
    fn read(columns: &Self::Columns, key: usize) -> Self;
}

impl<'a> Key<'a> for () {
    const DECLARED: bool = false;
    type Columns = ();

    fn describe() -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn bind(_batch: &Batch<'a>) -> Result<(), Malformed> {
        Ok(())
    }

    fn read(_columns: &(), _key: usize) {}
}

impl<'a, R: Row<'a>> Key<'a> for R {
    const DECLARED: bool = true;
    type Columns = R::Column;

    fn describe() -> Vec<(&'static str, String)> {
        R::columns()
    }

    fn bind(batch: &Batch<'a>) -> Result<Self::Columns, Malformed> {
        let section = batch.section(crate::buffer::group::KEYS, 0)?;
        R::bind_row(&mut crate::buffer::Binder::new(section))
    }

    fn read(columns: &Self::Columns, key: usize) -> Self {
        R::read(columns, key)
    }
}

/// The widths of a state's map key and value, where they are fixed.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Widths {
    /// The width of a map key.
    pub map_key: Option<usize>,
    /// The width of a value or item.
    pub value: Option<usize>,
}

/// One kind of state, as a field of the struct.
#[doc(hidden)]
pub trait Handle: Sized {
    const IS_MAP: bool = false;

    /// Whether there is one for each key.
    const IS_KEYED: bool = true;

    /// The state as the descriptor has it, but for its options.
    fn describe(name: &str, options: Json) -> Json;

    fn widths() -> Widths;

    fn load(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed>;

    fn seek(&mut self, key: usize, row: Option<usize>);

    fn undo(&mut self);

    fn fetch(&mut self) -> Result<(), Malformed> {
        Ok(())
    }

    fn put<P: Put>(&self, put: &mut P);
}

/// A kind of state of which the field's type says all.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a state `{Self}` needs more than its type",
    label = "a `Reducing` needs `#[state(reduce = FUNCTION)]`: two values to one"
)]
pub trait Create: Handle {
    fn create(options: &HandleOptions) -> Self;
}

/// A kind of state that is folded by a function, `#[state(reduce = …)]`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a state `{Self}` takes no function",
    label = "only a `Reducing` has `reduce`"
)]
pub trait CreateFolded: Handle {
    type Function;

    fn create(options: &HandleOptions, function: Self::Function) -> Self;
}

/// What a handle must know of its declaration.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct HandleOptions {
    /// The state's position in the descriptor.
    pub ordinal: u32,
    /// The name, for messages.
    pub name: &'static str,
    /// Whether a map's key is a column of the rows.
    pub bound: bool,
    /// A list longer than this drops its front.
    pub items_max: usize,
}

/// Adds kind and types to a state's options.
pub(crate) fn describe_state(
    name: &str,
    kind: &str,
    types: &[(&str, String)],
    options: Json,
) -> Json {
    let mut state = serde_json::Map::new();
    state.insert("name".into(), name.into());
    state.insert("kind".into(), kind.into());
    for (field, text) in types {
        state.insert((*field).into(), text.as_str().into());
    }
    if let Json::Object(options) = options {
        state.extend(options);
    }
    state.into()
}
