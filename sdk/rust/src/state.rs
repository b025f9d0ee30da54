//! The kinds of state.

mod aggregating;
mod broadcast;
pub(crate) mod column;
mod list;
mod map;
mod operator;
mod reducing;
mod value;

pub use aggregating::Aggregating;
pub use broadcast::Broadcast;
pub use list::List;
pub use map::Map;
pub use operator::OperatorState;
pub use reducing::Reducing;
pub use value::Value;
