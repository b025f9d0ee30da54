//! The kinds of state.

pub(crate) mod column;
mod list;
mod map;
mod value;

pub use list::List;
pub use map::Map;
pub use value::Value;
