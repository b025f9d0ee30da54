//! The derives of the wasmill SDK: see the traits of the same names in `wasmill-sdk`.

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
#[proc_macro_derive(Row, attributes(row))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    derive!(input, row::expand)
}

/// Makes a struct a value that state can hold: see the trait `State`.
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(input: TokenStream) -> TokenStream {
    derive!(input, state::expand)
}

/// Makes a struct the states that an operator keeps for each key: see the trait `States`.
#[proc_macro_derive(States, attributes(states, state))]
pub fn derive_states(input: TokenStream) -> TokenStream {
    derive!(input, states::expand)
}

/// Makes an enum the timers of an operator: see the trait `Timers`.
#[proc_macro_derive(Timers, attributes(timer))]
pub fn derive_timers(input: TokenStream) -> TokenStream {
    derive!(input, timers::expand)
}

/// Makes an enum the outputs of an operator: see the trait `Outputs`.
#[proc_macro_derive(Outputs, attributes(output))]
pub fn derive_outputs(input: TokenStream) -> TokenStream {
    derive!(input, outputs::expand)
}

/// Makes a struct the configuration of an operator: see the trait `Config`.
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(input: TokenStream) -> TokenStream {
    derive!(input, config::expand)
}
