//! States without a key of the operator under test, and instances that come and go.

use super::{Harness, decode};
use crate::engine::Engine;
use crate::{Malformed, Operator, State};

impl<Op: Operator> Harness<Op> {
    /// The entries of a broadcast state, ordered by their encoded keys.
    ///
    /// # Panics
    /// If the operator has no such state, or it is of other types.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row)] #[row(name = "rows")] struct Visit { user: u64 }
    /// # #[derive(Row)] #[row(name = "names")] struct Name<'a> { user: u64, name: &'a str }
    /// # #[derive(States)] struct Names { names: Broadcast<u64, String> }
    /// # struct Named;
    /// # impl Operator for Named {
    /// #     const PLUGIN: Plugin = plugin!("named");
    /// #     const ORDER: Order = Order::EventTime;
    /// #     type Config = (); type Input<'a> = WithBroadcast<Visit, Name<'a>>;
    /// #     type Output<'a> = Visit; type State = Names;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(
    /// #         &mut self, row: WithBroadcast<Visit, Name<'_>>, cx: &mut Context<'_, Self>,
    /// #     ) -> Result<(), Reject> {
    /// #         if let WithBroadcast::Broadcast(of) = row {
    /// #             cx.state.names.set(&of.user, of.name.to_owned());
    /// #         }
    /// #         Ok(())
    /// #     }
    /// # }
    /// let mut named = Harness::<Named>::new("{}").keyed_by(&["user"]);
    /// named.push(&[WithBroadcast::Broadcast(Name { user: 1, name: "Ann" })]);
    /// assert_eq!(named.broadcast("names"), [(1u64, "Ann".to_owned())]);
    /// ```
    pub fn broadcast<K: State, V: State>(&self, state: &str) -> Vec<(K, V)> {
        let store = self.store.borrow();
        let entries = store.broadcast(state);
        let decoded = entries
            .iter()
            .map(|(key, value)| Ok((decode(key)?, decode(value)?)));
        let decoded: Result<_, Malformed> = decoded.collect();
        decoded.expect("the operator has encoded them as these types")
    }

    /// The value of an operator state, if it has one.
    ///
    /// # Panics
    /// If the operator has no such state, or it is of another type.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row)] struct Visit { user: u64 }
    /// # #[derive(States)] struct Memory { visits: OperatorState<u64> }
    /// # struct Visits;
    /// # impl Operator for Visits {
    /// #     const PLUGIN: Plugin = plugin!("visits");
    /// #     type Config = (); type Input<'a> = Visit; type Output<'a> = (); type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, _: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// #         cx.state.visits.update(|visits| *visits += 1);
    /// #         Ok(())
    /// #     }
    /// # }
    /// let mut visits = Harness::<Visits>::new("{}");
    /// assert_eq!(visits.operator_state::<u64>("visits"), None);
    /// visits.push(&[Visit { user: 1 }, Visit { user: 2 }]);
    /// assert_eq!(visits.operator_state("visits"), Some(2u64));
    /// ```
    pub fn operator_state<T: State>(&self, state: &str) -> Option<T> {
        let store = self.store.borrow();
        let value = store.operator(state)?;
        Some(decode(value).expect("the operator has encoded it as this type"))
    }

    /// Drops the instance and opens another one, as the host may between any two calls: only what
    /// the operator keeps in its states is left.
    ///
    /// # Panics
    /// If the operator refuses the configuration, which it did not before.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/a", 0)]);
    /// counter.restart();
    /// assert_eq!(counter.value("count", &1u64), Some(1u64));
    /// # }
    /// ```
    pub fn restart(&mut self) {
        let engine = Engine::open(&self.context);
        self.engine = engine.expect("the operator has opened with this before");
        self.store.borrow_mut().is_new = true;
    }
}
