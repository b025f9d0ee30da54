//! The kinds of state.

mod value;

pub use value::Value;
