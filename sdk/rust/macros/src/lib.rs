//! The derives of the wasmill SDK: the traits of the same names in `wasmill-sdk` tell what each is
//! for.
//!
//! Expansions name `::wasmill_sdk` and its `private` module only, so that an author's crate needs
//! no other dependency. A mistake is told at the field or attribute that it is in.

mod attributes;
mod config;
mod outputs;
mod row;
mod state;
mod states;
mod timers;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

macro_rules! derive {
    ($input:ident, $expand:path) => {{
        let input = parse_macro_input!($input as DeriveInput);
        $expand(&input)
            .unwrap_or_else(|error| error.to_compile_error())
            .into()
    }};
}

/// Makes a struct a row of columns: see the trait `Row`.
///
/// A column is named like its field. `#[row(name = "…")]` on a field names its column otherwise, on
/// the struct the input or output. `#[row(feature(sum = "amount", over = "1h"))]` declares a
/// feature: the engine computes the column, and the operator reads it like the others.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Payment<'a> {
///     account: u64,
///     #[row(name = "merchant-name")]
///     merchant: &'a str,
///     /// Payments of the account within the last hour, this one among them.
///     #[row(feature(count = "rows", over = "1h"))]
///     payments_1h: u64,
/// }
/// ```
#[proc_macro_derive(Row, attributes(row))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    derive!(input, row::expand)
}

/// Makes a struct a value that state can hold: see the trait `State`.
///
/// Its fields are encoded in their order, without padding. Another order, name or type of a field
/// is another schema, and state of one is not state of the other.
/// ```
/// use wasmill_sdk::prelude::*;
/// use wasmill_sdk::testing::{decode, encode};
///
/// #[derive(State, Debug, PartialEq)]
/// struct Visit {
///     shop: String,
///     cents: u64,
/// }
///
/// let visit = Visit { shop: "kiosk".to_owned(), cents: 250 };
/// let bytes = encode(&visit);
/// assert_eq!(bytes.len(), 4 + 5 + 8, "a length, the text, the number");
/// assert_eq!(decode::<Visit>(&bytes), Ok(visit));
/// ```
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(input: TokenStream) -> TokenStream {
    derive!(input, state::expand)
}

/// Makes a struct the states that an operator keeps: see the trait `States`. One that keeps timers
/// alone has a struct without fields: `#[states(timer = Timer)] struct Pending;`.
///
/// | attribute | meaning |
/// |---|---|
/// | `#[states(key = Account)]` | the row of key columns that the operator reads |
/// | `#[states(timer = Timer)]` | the enum of its timers |
/// | `#[state(name = "…")]` | the state's name, if it is not the field's |
/// | `#[state(ttl = "30d")]` | so long after the last write the state is gone |
/// | `#[state(items_max = 10)]` | a longer list drops its front |
/// | `#[state(column = "merchant")]` | a map's entries ride with the rows that name them here |
/// | `#[state(reduce = f64::max)]` | the function of a `Reducing`: two values to one |
/// | `#[state(migrate(from = u32, with = widen))]` | stored values of an older type: a function |
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Account {
///     account: u64,
/// }
///
/// #[derive(Timers, Clone, Copy)]
/// enum Timer {
///     Forget,
/// }
///
/// #[derive(States)]
/// #[states(key = Account, timer = Timer)]
/// struct Memory {
///     #[state(ttl = "30d")]
///     spent: Value<f64>,
///     #[state(name = "last-shops", items_max = 10)]
///     shops: List<String>,
///     #[state(column = "merchant")]
///     visits: Map<String, u32>,
///     #[state(reduce = f64::max)]
///     largest: Reducing<f64>,
/// }
/// ```
/// Without a field and without a timer nothing is kept: `type State = ()` says that.
/// ```compile_fail
/// use wasmill_sdk::prelude::*;
///
/// #[derive(States)]
/// struct Nothing;
/// ```
#[proc_macro_derive(States, attributes(states, state))]
pub fn derive_states(input: TokenStream) -> TokenStream {
    derive!(input, states::expand)
}

/// Makes an enum the timers of an operator: see the trait `Timers`.
///
/// A timer is named like its variant, with hyphens, and counts event time;
/// `#[timer(processing)]` makes it count the machine's.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Timers, Clone, Copy, Debug, PartialEq)]
/// enum Timer {
///     /// The timer `day-is-over`, by the key's watermark.
///     DayIsOver,
///     /// The timer `no-answer`, by the machine's clock.
///     #[timer(processing)]
///     NoAnswer,
/// }
/// ```
#[proc_macro_derive(Timers, attributes(timer))]
pub fn derive_timers(input: TokenStream) -> TokenStream {
    derive!(input, timers::expand)
}

/// Makes an enum the outputs of an operator: see the trait `Outputs`.
///
/// Each variant holds one row and is an output of its name, with hyphens; `#[output(name = "…")]`
/// names it otherwise. A row type that one variant alone has converts into it, so that
/// `cx.emit(row)` is enough.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Alert {
///     account: u64,
/// }
///
/// #[derive(Row)]
/// struct Total {
///     cents: u64,
/// }
///
/// #[derive(Outputs)]
/// enum Found {
///     Alerts(Alert),
///     /// The side output `OPERATOR.per-day`.
///     #[output(name = "per-day")]
///     Totals(Total),
/// }
///
/// let found: Found = Total { cents: 250 }.into();
/// assert!(matches!(found, Found::Totals(Total { cents: 250 })));
/// ```
#[proc_macro_derive(Outputs, attributes(output))]
pub fn derive_outputs(input: TokenStream) -> TokenStream {
    derive!(input, outputs::expand)
}

/// Makes a struct the configuration of an operator: see the trait `Config`.
///
/// A key is named like its field, with hyphens, and its doc comment becomes the description in the
/// JSON Schema. `#[config(default)]` and `#[config(default = 5)]` say what an absent key means; an
/// `Option` may be absent too. An enum without fields takes its variants' names.
/// ```
/// use wasmill_sdk::prelude::*;
/// use wasmill_sdk::testing::config;
///
/// #[derive(Config, Debug, PartialEq)]
/// enum Mode {
///     Watch,
///     Refuse,
/// }
///
/// #[derive(Config)]
/// struct Settings {
///     /// Payments allowed in a minute.
///     #[config(default = 5)]
///     max_per_minute: u32,
///     /// What happens to those above.
///     mode: Mode,
///     /// The country where all is allowed.
///     home: Option<String>,
/// }
///
/// let settings: Settings = config(r#"{ "mode": "refuse" }"#)?;
/// assert_eq!((settings.max_per_minute, settings.mode), (5, Mode::Refuse));
/// assert_eq!(settings.home, None);
/// # Ok::<(), Fault>(())
/// ```
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(input: TokenStream) -> TokenStream {
    derive!(input, config::expand)
}
