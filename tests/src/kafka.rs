//! A real Kafka of a test's own, that may be ended by force and cut off.

mod ask;
mod broker;
mod logins;
mod proxy;

pub use ask::Transaction;
pub use broker::{Broker, Settings};
pub use logins::{Logins, PASSWORD, USER};
pub use proxy::{Action, Api, Fault, Proxy};
