//! The trait that an author implements.

use crate::{Config, Context, Input, Outputs, Reject, States, Timestamp};

/// An operator: what it reads, keeps and emits, and what it does with a row.
///
/// The host may run many instances of it and drop any of them at any time: what must last is in
/// `cx.state`; fields of the operator itself are a cache. A call's effects take place together or,
/// if it faults, not at all.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Payment {
///     account: u64,
///     amount: f64,
/// }
///
/// #[derive(Row, Debug, PartialEq)]
/// struct Large {
///     account: u64,
/// }
///
/// #[derive(Config)]
/// struct Limits {
///     /// Payments above this are emitted.
///     #[config(default = 1000.0)]
///     above: f64,
/// }
///
/// struct LargePayments {
///     above: f64,
/// }
///
/// impl Operator for LargePayments {
///     const PLUGIN: Plugin = plugin!("large-payments");
///     type Config = Limits;
///     type Input<'a> = Payment;
///     type Output<'a> = Large;
///     type State = ();
///
///     fn open(config: Limits, _start: &Start) -> Result<Self, Fault> {
///         Ok(Self { above: config.above })
///     }
///
///     fn process(&mut self, row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
///         if row.amount > self.above {
///             cx.emit(Large { account: row.account });
///         }
///         Ok(())
///     }
/// }
///
/// wasmill_sdk::export!(LargePayments);
/// # fn main() {}
/// ```
pub trait Operator: Sized + 'static {
    /// Name and version of the plugin: `plugin!()` takes them from Cargo.toml.
    const PLUGIN: Plugin;

    /// The order in which a key's rows come.
    const ORDER: Order = Order::Arrival;

    /// The configuration: a struct that derives [`Config`](macro@crate::Config), or `()`.
    type Config: Config;

    /// The rows it reads.
    type Input<'a>: Input<'a>;

    /// The rows it emits; `()` for none.
    type Output<'a>: Outputs<'a>;

    /// The state it keeps for each key: a struct that derives [`States`](macro@crate::States), or
    /// `()`.
    type State: States;

    /// Makes an instance. An error stops the job: the configuration cannot work.
    fn open(config: Self::Config, start: &Start) -> Result<Self, crate::Fault>;

    /// Sees the rows of a batch before the first of them is processed: for work that is cheaper for
    /// many rows at once, such as running a model. What it computes is a cache for the rows of this
    /// batch, and must not depend on how rows fall into batches.
    ///
    /// A fault concerns the whole batch; the host finds the guilty row by smaller batches.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row)] struct Payment { amount: f64 }
    /// # #[derive(Row)] struct Scored { score: f64 }
    /// # fn run_model(amounts: &[f64]) -> Vec<f64> { amounts.to_vec() }
    /// /// The scores of the rows that are still to be processed.
    /// struct Scorer {
    ///     scores: std::vec::IntoIter<f64>,
    /// }
    ///
    /// # impl Operator for Scorer {
    /// #     const PLUGIN: Plugin = plugin!("scorer");
    /// #     type Config = (); type Input<'a> = Payment; type Output<'a> = Scored; type State = ();
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> {
    /// #         Ok(Self { scores: vec![].into_iter() })
    /// #     }
    /// fn begin_batch(&mut self, rows: BatchRows<'_, '_, Self>) -> Result<(), Fault> {
    ///     let amounts: Vec<f64> = rows.map(|row| row.amount).collect();
    ///     self.scores = run_model(&amounts).into_iter();
    ///     Ok(())
    /// }
    ///
    /// fn process(&mut self, _row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    ///     let Some(score) = self.scores.next() else { return reject("the model gave no score") };
    ///     cx.emit(Scored { score });
    ///     Ok(())
    /// }
    /// # }
    /// ```
    fn begin_batch(&mut self, rows: BatchRows<'_, '_, Self>) -> Result<(), crate::Fault> {
        let _ = rows;
        Ok(())
    }

    /// Processes a row. A refused row ([`reject`](crate::reject), or `?` on an error) has no
    /// effects; a panic is a fault of the row, and the pipeline's `on-error` decides.
    fn process(&mut self, row: Self::Input<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject>;

    /// Names the map entries that `process` will look up for this row, with
    /// [`Map::prefetch`](crate::Map::prefetch): all rows' entries come in one call to the host.
    fn prefetch(&self, row: &Self::Input<'_>, state: &mut Self::State) {
        let _ = (row, state);
    }

    /// Handles a timer that is due: after the key's rows up to its time, before any later one.
    fn on_timer(
        &mut self,
        timer: <Self::State as States>::Timer,
        at: Timestamp,
        cx: &mut Context<'_, Self>,
    ) {
        let _ = (timer, at, cx);
    }
}

/// The rows of a batch, in the order in which they will be processed: what
/// [`Operator::begin_batch`] sees. It knows how many are left, so that a tensor can be sized at
/// once.
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
/// # fn main() {
/// fn seconds(rows: BatchRows<'_, '_, Counter>) -> Vec<i64> {
///     let mut seconds = Vec::with_capacity(rows.len());
///     seconds.extend(rows.map(|row| row.at.as_micros() / 1_000_000));
///     seconds
/// }
/// # }
/// ```
pub struct BatchRows<'c, 'a, Op: Operator> {
    columns: &'c <Op::Input<'a> as Input<'a>>::Columns,
    rows: std::ops::Range<usize>,
}

impl<'c, 'a, Op: Operator> BatchRows<'c, 'a, Op> {
    pub(crate) fn new(columns: &'c <Op::Input<'a> as Input<'a>>::Columns, rows: u32) -> Self {
        let rows = 0..rows as usize;
        Self { columns, rows }
    }
}

impl<'a, Op: Operator> Iterator for BatchRows<'_, 'a, Op> {
    type Item = Op::Input<'a>;

    #[inline]
    fn next(&mut self) -> Option<Op::Input<'a>> {
        self.rows
            .next()
            .map(|row| Op::Input::read(self.columns, row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rows.size_hint()
    }
}

impl<Op: Operator> ExactSizeIterator for BatchRows<'_, '_, Op> {}

/// The order in which a key's rows come.
/// ```
/// use wasmill_sdk::Order;
/// assert_eq!(Order::EventTime.name(), "event-time");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they arrive: a decision never waits.
    Arrival,
    /// Held to the watermark and sorted by event time: a decision depends on the input alone.
    EventTime,
}

impl Order {
    /// The name in the descriptor.
    /// ```
    /// assert_eq!(wasmill_sdk::Order::Arrival.name(), "arrival");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrival => "arrival",
            Self::EventTime => "event-time",
        }
    }
}

/// Name, version and a line about a plugin: made by [`plugin!`](crate::plugin).
/// ```
/// use wasmill_sdk::{Plugin, plugin};
///
/// const RULES: Plugin = plugin!("rules");
/// assert_eq!(RULES.version.split('.').count(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// The plugin's name: lower-case letters, digits and hyphens.
    pub name: &'static str,
    /// Its semantic version.
    pub version: &'static str,
    /// A line about it.
    pub doc: &'static str,
}

impl Plugin {
    /// The name of a package, without the `plugin-` in front that plugins' packages may have.
    #[doc(hidden)]
    pub const fn package_name(package: &'static str) -> &'static str {
        match package.as_bytes() {
            [b'p', b'l', b'u', b'g', b'i', b'n', b'-', _, ..] => package.split_at(7).1,
            _ => package,
        }
    }
}

/// The plugin's name (or the one given), version and description, from its Cargo.toml.
/// ```
/// use wasmill_sdk::{Plugin, plugin};
///
/// const PLUGIN: Plugin = plugin!("my-rules");
/// assert_eq!(PLUGIN.name, "my-rules");
/// ```
#[macro_export]
macro_rules! plugin {
    () => {
        $crate::plugin!($crate::Plugin::package_name(env!("CARGO_PKG_NAME")))
    };
    ($name:expr) => {
        $crate::Plugin {
            name: $name,
            version: env!("CARGO_PKG_VERSION"),
            doc: env!("CARGO_PKG_DESCRIPTION"),
        }
    };
}

/// Where an instance starts: [`Operator::open`] may name itself by it in messages. Rows of a key
/// come to one instance, but which one that is changes with the parallelism.
/// ```
/// # use wasmill_sdk::{Fault, Start};
/// fn load(start: &Start) -> Result<Vec<f64>, Fault> {
///     Err(Fault::new(format!("{} has no model", start.operator())))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub(crate) operator: String,
    pub(crate) subtask: u32,
    pub(crate) subtasks: u32,
}

impl Start {
    /// The operator's name in the pipeline.
    /// ```
    /// # fn show(start: &wasmill_sdk::Start) -> String {
    /// format!("{} starts", start.operator())
    /// # }
    /// ```
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// Which of the operator's parallel instances this is, from 0. Results must not depend on it.
    /// ```
    /// # fn show(start: &wasmill_sdk::Start) -> bool {
    /// start.subtask() < start.subtasks()
    /// # }
    /// ```
    pub fn subtask(&self) -> u32 {
        self.subtask
    }

    /// How many parallel instances there are.
    /// ```
    /// # fn show(start: &wasmill_sdk::Start) -> bool {
    /// start.subtasks() == 1
    /// # }
    /// ```
    pub fn subtasks(&self) -> u32 {
        self.subtasks
    }
}
