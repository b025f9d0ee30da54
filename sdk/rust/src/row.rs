//! Rows: structs whose fields are columns.

use crate::buffer::{Batch, Binder, engine, group};
use crate::rows::{Rows, Shape};
use crate::{Field, Malformed};
use serde_json::{Value as Json, json};

/// A struct whose fields are the columns of an input, a key or an output: derive it.
///
/// Text and bytes are borrowed from the batch, so that reading a row allocates nothing. A column is
/// named like its field (`#[row(name = "…")]` on the field names another), and a column that may be
/// null is an `Option`. `#[row(name = "…")]` on the struct names the input or output.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row, Debug, PartialEq)]
/// struct Payment<'a> {
///     account: u64,
///     amount: Decimal<12, 2>,
///     note: Option<&'a str>,
///     #[row(name = "made-at")]
///     made_at: Timestamp,
/// }
/// ```
/// Features that the engine computes as of each row are columns, too:
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Row)]
/// struct Spending {
///     account: u64,
///     #[row(feature(count = "rows", over = "1m"))]
///     payments_1m: u64,
///     #[row(feature(sum = "amount", over = "1h"))]
///     spent_1h: Option<f64>,
/// }
/// ```
pub trait Row<'a>: Field<'a> {
    #[doc(hidden)]
    const NAME: &'static str;

    /// Names and types of the columns, in their order.
    #[doc(hidden)]
    fn columns() -> Vec<(&'static str, String)>;

    /// The features among them, as the descriptor has them.
    #[doc(hidden)]
    fn features() -> Vec<Json>;

    #[doc(hidden)]
    fn bind_row(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed>;

    #[doc(hidden)]
    fn row_shapes(shapes: &mut Vec<Shape>);

    #[doc(hidden)]
    fn append_row(&self, rows: &mut Rows, first: usize);
}

/// Columns as the descriptor has them.
pub(crate) fn columns_json(columns: &[(&'static str, String)]) -> Json {
    let column = |(name, kind): &(&str, String)| json!({ "name": name, "type": kind });
    columns.iter().map(column).collect()
}

/// The type of a field as text.
#[doc(hidden)]
pub fn type_of<'a, T: Field<'a>>() -> String {
    let mut text = String::new();
    T::type_text(&mut text);
    text
}

/// What an operator reads: a struct that derives [`Row`]. The pipeline's columns are bound to its
/// fields by name, whatever their order; what does not fit is a mistake that `wasmill check` tells.
/// ```
/// use wasmill_sdk::{Input, prelude::*};
///
/// #[derive(Row)]
/// struct Visit<'a> {
///     user: u64,
///     page: Option<&'a str>,
/// }
/// fn is_input<'a, T: Input<'a>>() {}
/// is_input::<Visit<'_>>();
/// ```
pub trait Input<'a>: Sized {
    #[doc(hidden)]
    type Columns;

    #[doc(hidden)]
    fn describe() -> Vec<Json>;

    #[doc(hidden)]
    fn features() -> Vec<Json>;

    #[doc(hidden)]
    fn bind(batch: &Batch<'a>) -> Result<Self::Columns, Malformed>;

    #[doc(hidden)]
    fn read(columns: &Self::Columns, row: usize) -> Self;

    /// The shapes of the columns of an input.
    #[doc(hidden)]
    fn shapes(input: u32) -> Vec<Shape>;

    #[doc(hidden)]
    fn append(&self, rows: &mut Rows);

    /// Which input it is a row of.
    #[doc(hidden)]
    fn input(&self) -> u32 {
        0
    }
}

impl<'a, R: Row<'a>> Input<'a> for R {
    type Columns = R::Column;

    fn describe() -> Vec<Json> {
        let columns = columns_json(&R::columns());
        vec![json!({ "name": R::NAME, "time": R::wants_time(), "columns": columns })]
    }

    fn features() -> Vec<Json> {
        R::features()
    }

    fn bind(batch: &Batch<'a>) -> Result<Self::Columns, Malformed> {
        R::bind_row(&mut Binder::new(batch.section(group::INPUT, 0)?))
    }

    #[inline]
    fn read(columns: &Self::Columns, row: usize) -> Self {
        R::read(columns, row)
    }

    fn shapes(_input: u32) -> Vec<Shape> {
        output_shapes::<R>()
    }

    fn append(&self, rows: &mut Rows) {
        append_output(self, rows, 0);
    }
}

/// A row of the keyed input, or of a second one whose rows go to every instance: what an operator
/// reads that keeps a [`Broadcast`](crate::Broadcast) state.
///
/// The pipeline names a stream for each, by the names of their rows (`#[row(name = "…")]`); rows of
/// both come in event-time order. For a row of the broadcast input there is no key: values, lists
/// and maps, timers and [`Context::key`](crate::Context::key) cannot be used. Every instance emits
/// the same for it, and it comes out once.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// #[row(name = "payments")]
/// struct Payment<'a> {
///     account: u64,
///     country: &'a str,
///     amount: f64,
/// }
///
/// #[derive(Row)]
/// #[row(name = "limits")]
/// struct Limit<'a> {
///     country: &'a str,
///     most: Option<f64>,
/// }
///
/// #[derive(Row, Debug, PartialEq)]
/// struct Alert {
///     account: u64,
/// }
///
/// #[derive(States)]
/// struct Rules {
///     limits: Broadcast<String, f64>,
/// }
///
/// struct Limits;
///
/// impl Operator for Limits {
///     const PLUGIN: Plugin = plugin!("limits");
///     const ORDER: Order = Order::EventTime;
///     type Config = ();
///     type Input<'a> = WithBroadcast<Payment<'a>, Limit<'a>>;
///     type Output<'a> = Alert;
///     type State = Rules;
///
///     fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
///         Ok(Self)
///     }
///
///     fn process(
///         &mut self,
///         row: WithBroadcast<Payment<'_>, Limit<'_>>,
///         cx: &mut Context<'_, Self>,
///     ) -> Result<(), Reject> {
///         match row {
///             WithBroadcast::Broadcast(limit) => match limit.most {
///                 Some(most) => cx.state.limits.set(limit.country, most),
///                 None => cx.state.limits.remove(limit.country),
///             },
///             WithBroadcast::Row(payment) => {
///                 let limit = cx.state.limits.get(payment.country);
///                 if limit.is_some_and(|most| payment.amount > most) {
///                     cx.emit(Alert { account: payment.account });
///                 }
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let mut limits = Harness::<Limits>::new("{}").keyed_by(&["account"]);
/// let payment = |account| WithBroadcast::Row(Payment { account, country: "FR", amount: 90.0 });
/// let limit = |most| WithBroadcast::Broadcast(Limit { country: "FR", most });
/// assert!(limits.push(&[payment(1)]).rows().is_empty());
/// limits.push(&[limit(Some(50.0))]);
/// assert_eq!(limits.push(&[payment(2)]).rows(), [Alert { account: 2 }]);
/// limits.push(&[limit(None)]);
/// assert!(limits.push(&[payment(3)]).rows().is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithBroadcast<R, B> {
    /// A row of the keyed input.
    Row(R),
    /// A row that every instance gets.
    Broadcast(B),
}

/// The columns of the input that a batch has rows of.
#[doc(hidden)]
pub enum EitherColumns<R, B> {
    /// Of the keyed input.
    Row(R),
    /// Of the broadcast input.
    Broadcast(B),
}

impl<'a, R: Row<'a>, B: Row<'a>> Input<'a> for WithBroadcast<R, B> {
    type Columns = EitherColumns<R::Column, B::Column>;

    fn describe() -> Vec<Json> {
        let mut inputs = <R as Input<'a>>::describe();
        let mut broadcast = <B as Input<'a>>::describe();
        broadcast[0]["broadcast"] = true.into();
        inputs.append(&mut broadcast);
        inputs
    }

    fn features() -> Vec<Json> {
        R::features()
    }

    fn bind(batch: &Batch<'a>) -> Result<Self::Columns, Malformed> {
        let broadcast = batch.section(group::INPUT, 1)?;
        if broadcast.rows() > 0 {
            return B::bind_row(&mut Binder::new(broadcast)).map(EitherColumns::Broadcast);
        }
        <R as Input<'a>>::bind(batch).map(EitherColumns::Row)
    }

    #[inline]
    fn read(columns: &Self::Columns, row: usize) -> Self {
        match columns {
            EitherColumns::Row(columns) => Self::Row(R::read(columns, row)),
            EitherColumns::Broadcast(columns) => Self::Broadcast(B::read(columns, row)),
        }
    }

    fn shapes(input: u32) -> Vec<Shape> {
        match input {
            0 => output_shapes::<R>(),
            _ => output_shapes::<B>(),
        }
    }

    fn append(&self, rows: &mut Rows) {
        match self {
            Self::Row(row) => append_output(row, rows, 0),
            Self::Broadcast(row) => append_output(row, rows, 0),
        }
    }

    fn input(&self) -> u32 {
        match self {
            Self::Row(_) => 0,
            Self::Broadcast(_) => 1,
        }
    }
}

/// What an operator emits: a struct that derives [`Row`], an enum that derives
/// [`Outputs`](macro@crate::Outputs) with a variant for each output, or `()`.
///
/// The first output is the stream named like the operator, the others are `OPERATOR.NAME`, with
/// the variants' names, with hyphens.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Alert {
///     user: u64,
/// }
///
/// #[derive(Outputs)]
/// enum Found {
///     Alerts(Alert),
///     /// The side output `OPERATOR.doubts`.
///     Doubts(Alert),
/// }
/// let found: Found = Found::Doubts(Alert { user: 7 });
/// # let _ = found;
/// ```
pub trait Outputs<'a>: Sized {
    #[doc(hidden)]
    fn describe() -> Vec<Json>;

    /// The shapes of each output's columns.
    #[doc(hidden)]
    fn shapes() -> Vec<Vec<Shape>>;

    #[doc(hidden)]
    fn append(&self, outputs: &mut [Rows], cause: u32);

    /// The rows of an answer, output by output, with their causes.
    #[doc(hidden)]
    fn read_all(batch: &Batch<'a>) -> Result<Vec<(Self, u32)>, Malformed>;
}

impl<'a, R: Row<'a>> Outputs<'a> for R {
    fn describe() -> Vec<Json> {
        vec![describe_output::<R>(R::NAME)]
    }

    fn shapes() -> Vec<Vec<Shape>> {
        vec![output_shapes::<R>()]
    }

    #[inline]
    fn append(&self, outputs: &mut [Rows], cause: u32) {
        append_output(self, &mut outputs[0], cause);
    }

    fn read_all(batch: &Batch<'a>) -> Result<Vec<(Self, u32)>, Malformed> {
        read_output(batch, 0)
    }
}

impl<'a> Outputs<'a> for () {
    fn describe() -> Vec<Json> {
        Vec::new()
    }

    fn shapes() -> Vec<Vec<Shape>> {
        Vec::new()
    }

    fn append(&self, _outputs: &mut [Rows], _cause: u32) {}

    fn read_all(_batch: &Batch<'a>) -> Result<Vec<(Self, u32)>, Malformed> {
        Ok(Vec::new())
    }
}

/// An output of rows of this type, as the descriptor has it.
#[doc(hidden)]
pub fn describe_output<'a, R: Row<'a>>(name: &str) -> Json {
    json!({ "name": name, "columns": columns_json(&R::columns()) })
}

#[doc(hidden)]
pub fn output_shapes<'a, R: Row<'a>>() -> Vec<Shape> {
    let mut shapes = Vec::new();
    R::row_shapes(&mut shapes);
    shapes
}

#[doc(hidden)]
#[inline]
pub fn append_output<'a, R: Row<'a>>(row: &R, rows: &mut Rows, cause: u32) {
    row.append_row(rows, 0);
    rows.end_row(cause);
}

/// The rows of one output of an answer, with their causes.
#[doc(hidden)]
pub fn read_output<'a, R: Row<'a>>(
    batch: &Batch<'a>,
    ordinal: u32,
) -> Result<Vec<(R, u32)>, Malformed> {
    let section = batch.section(group::OUTPUT, ordinal)?;
    let causes = section.fixed::<4>(engine::CAUSE, section.rows())?;
    let columns = R::bind_row(&mut Binder::new(section))?;
    let read =
        |(row, cause): (usize, &[u8; 4])| (R::read(&columns, row), u32::from_le_bytes(*cause));
    Ok(causes.iter().enumerate().map(read).collect())
}

/// The type of a state as text.
pub(crate) fn type_of_state<T: crate::State>() -> String {
    let mut text = String::new();
    T::type_text(&mut text);
    text
}
