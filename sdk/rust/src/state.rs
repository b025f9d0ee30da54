//! The kinds of state.

mod broadcast;
pub(crate) mod column;
mod list;
mod map;
mod value;

pub use broadcast::Broadcast;
pub use list::List;
pub use map::Map;
pub use value::Value;
