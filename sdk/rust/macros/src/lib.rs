//! The derives of the wasmill SDK: see the traits of the same names in `wasmill-sdk`, where each
//! has an example that runs.
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
#[proc_macro_derive(Row, attributes(row))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    derive!(input, row::expand)
}

/// Makes a struct a value that state can hold: see the trait `State`.
///
/// Its fields are encoded in their order, without padding. Another order, name or type of a field
/// is another schema, and state of one is not state of the other.
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(input: TokenStream) -> TokenStream {
    derive!(input, state::expand)
}

/// Makes a struct the states that an operator keeps: see the trait `States`.
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
#[proc_macro_derive(States, attributes(states, state))]
pub fn derive_states(input: TokenStream) -> TokenStream {
    derive!(input, states::expand)
}

/// Makes an enum the timers of an operator: see the trait `Timers`.
///
/// A timer is named like its variant, with hyphens, and counts event time;
/// `#[timer(processing)]` makes it count the machine's.
#[proc_macro_derive(Timers, attributes(timer))]
pub fn derive_timers(input: TokenStream) -> TokenStream {
    derive!(input, timers::expand)
}

/// Makes an enum the outputs of an operator: see the trait `Outputs`.
///
/// Each variant holds one row and is an output of its name, with hyphens; `#[output(name = "…")]`
/// names it otherwise. A row type that one variant alone has converts into it, so that
/// `cx.emit(row)` is enough.
#[proc_macro_derive(Outputs, attributes(output))]
pub fn derive_outputs(input: TokenStream) -> TokenStream {
    derive!(input, outputs::expand)
}

/// Makes a struct the configuration of an operator: see the trait `Config`.
///
/// A key is named like its field, with hyphens, and its doc comment becomes the description in the
/// JSON Schema. `#[config(default)]` and `#[config(default = 5)]` say what an absent key means; an
/// `Option` may be absent too. An enum without fields takes its variants' names.
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(input: TokenStream) -> TokenStream {
    derive!(input, config::expand)
}
