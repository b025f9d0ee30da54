//! Testing operators natively, in milliseconds: no sandbox, but the same bytes at the boundary.

mod aggregate;
mod batch;
mod broadcast;
mod effects;
mod migrate;
mod mini_host;
mod order;
mod read;
#[cfg(doctest)]
mod sample;
#[cfg(doctest)]
mod sample_aggregate;
mod store;
#[cfg(test)]
mod tests;

use crate::engine::Engine;
use crate::host::{self, Buffers};
use crate::rows::Rows;
use crate::{
    Config, Encode, Fault, Input, Malformed, Operator, State, States, Timestamp, descriptor,
};
use mini_host::MiniHost;
use order::Arranged;
use serde_json::{Value as Json, json};
use std::cell::RefCell;
use std::rc::Rc;
use store::Store;

pub use aggregate::{Added, AggregateHarness, Grouped};
pub use effects::Effects;

/// The bytes of a value in the state encoding.
/// ```
/// assert_eq!(wasmill_sdk::testing::encode(&7u16), [7, 0]);
/// ```
pub fn encode<T: State>(value: &T) -> Vec<u8> {
    crate::encode::encode(value)
}

/// The value of bytes in the state encoding.
/// ```
/// assert_eq!(wasmill_sdk::testing::decode::<u16>(&[7, 0]), Ok(7));
/// ```
pub fn decode<T: State>(bytes: &[u8]) -> Result<T, Malformed> {
    crate::encode::decode(bytes)
}

/// Reads a configuration from JSON text, as the host's context document carries it.
/// ```
/// let error = wasmill_sdk::testing::config::<()>(r#"{ "max": 1 }"#).unwrap_err();
/// assert_eq!(error.message, "config has no `max`");
/// ```
pub fn config<C: Config>(json: &str) -> Result<C, Fault> {
    let value = serde_json::from_str(json).map_err(|error| Fault::new(error.to_string()))?;
    crate::config::read(&value)
}

/// An operator under test, with a host in miniature that keeps its state and its timers between
/// batches.
/// ```
/// use wasmill_sdk::prelude::*;
/// use wasmill_sdk::testing::Harness;
///
/// #[derive(Row, Clone)]
/// struct Visit<'a> {
///     page: &'a str,
/// }
///
/// #[derive(Row, Debug, PartialEq)]
/// struct Visits {
///     count: u64,
/// }
///
/// #[derive(States)]
/// struct Memory {
///     count: Value<u64>,
/// }
///
/// struct Counter;
///
/// impl Operator for Counter {
///     const PLUGIN: Plugin = plugin!("counter");
///     type Config = ();
///     type Input<'a> = Visit<'a>;
///     type Output<'a> = Visits;
///     type State = Memory;
///
///     fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
///         Ok(Self)
///     }
///
///     fn process(&mut self, row: Visit<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
///         let count = cx.state.count.update(|count| *count += 1);
///         if row.page.is_empty() {
///             return reject("no page");
///         }
///         cx.emit(Visits { count });
///         Ok(())
///     }
/// }
///
/// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["page"]);
/// let visit = |page| Visit { page };
/// let effects = counter.push(&[visit("/a"), visit("/b"), visit("/a"), visit("")]);
/// let counts: Vec<u64> = effects.rows().iter().map(|row| row.count).collect();
/// assert_eq!(counts, [1, 1, 2]);
/// assert_eq!(effects.rejected(), [(3, "no page".to_string())]);
/// assert_eq!(counter.value::<u64>("count", "/a"), Some(2));
/// assert_eq!(counter.value::<u64>("count", ""), None, "a refused row leaves no effects");
/// ```
pub struct Harness<Op: Operator> {
    engine: Engine<Op>,
    /// The context document that it was opened with.
    context: String,
    store: Rc<RefCell<Store>>,
    /// None until the test names the key's columns.
    key_by: Option<Vec<String>>,
    clock: i64,
    now: i64,
    last: Option<Exchange>,
}

/// One call as it crossed the boundary.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Exchange {
    pub rows: u32,
    pub batch: Buffers,
    pub answer: Buffers,
}

impl<Op: Operator> Harness<Op> {
    /// Opens the operator with a configuration, JSON text.
    ///
    /// # Panics
    /// If the operator refuses the configuration; [`open`](Self::open) gives the fault instead.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let counter = Harness::<Counter>::new("{}");
    /// assert_eq!(counter.descriptor()["name"], "counter");
    /// # }
    /// ```
    pub fn new(config: &str) -> Self {
        match Self::open(config) {
            Ok(harness) => harness,
            Err(fault) => panic!("the operator does not open: {fault}"),
        }
    }

    /// Opens the operator with a configuration, JSON text.
    /// ```
    /// # use wasmill_sdk::{prelude::*, testing::Harness};
    /// # #[derive(Row)] struct Visit { user: u64 }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit; type Output<'a> = Visit; type State = ();
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, _: Visit, _: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let fault = Harness::<Sample>::open(r#"{ "max": 1 }"#).err().unwrap();
    /// assert_eq!(fault.message, "config has no `max`");
    /// ```
    pub fn open(config: &str) -> Result<Self, Fault> {
        let config: Json = serde_json::from_str(config)
            .map_err(|error| Fault::new(format!("the configuration is not JSON: {error}")))?;
        let context = json!({
            "context": 1, "operator": Op::PLUGIN.name, "subtask": 0, "subtasks": 1,
            "config": config,
        });
        Ok(Self {
            engine: Engine::open(&context.to_string())?,
            context: context.to_string(),
            store: Rc::new(RefCell::new(Store::new::<Op>())),
            key_by: None,
            clock: i64::MIN,
            now: 0,
            last: None,
        })
    }

    /// Names the columns that the rows are keyed by, as `key-by` of a pipeline does. Of an operator
    /// that declares key columns (`#[states(key = …)]`) these are the key if the test names none;
    /// of one that keeps state for each key and declares none, rows cannot be pushed until the test
    /// does. With an empty list all rows have the same key.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/a", 0), visit(2, "/a", 0), visit(2, "/b", 0)]);
    /// assert_eq!(counter.value("count", &1u64), Some(1u64));
    /// assert_eq!(counter.value("count", &2u64), Some(2u64));
    /// # }
    /// ```
    pub fn keyed_by(mut self, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned());
        self.key_by = Some(columns.collect());
        self
    }

    /// The operator's descriptor: what it says about itself to whoever runs it.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let descriptor = Harness::<Counter>::new("{}").descriptor();
    /// assert_eq!(descriptor["states"][0]["type"], "u64");
    /// assert_eq!(descriptor["timers"][1]["time"], "processing");
    /// # }
    /// ```
    pub fn descriptor(&self) -> Json {
        descriptor::descriptor::<Op>()
    }

    /// Sends these rows as one batch. The event-time clock of a row is the latest event time so
    /// far: timers that are due by it fire among the rows.
    ///
    /// An operator whose [`ORDER`](Operator::ORDER) is `EventTime` gets them sorted by their event
    /// times, and never sees those behind the clock ([`Effects::late`]): a push stands for rows
    /// that wait for one watermark, which comes right behind them. The event times are those of the
    /// input's field of type [`EventTime`](crate::EventTime); rows without one stay as they are.
    ///
    /// # Panics
    /// If the batch faults; [`try_push`](Self::try_push) gives the fault instead. If the operator
    /// keeps state for each key, and neither names the key's columns nor the test does
    /// ([`keyed_by`](Self::keyed_by)).
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// let effects = counter.push(&[visit(1, "/a", 0), visit(1, "/b", 90)]);
    /// // The timer of the first visit was due before the second one.
    /// let counts: Vec<u64> = effects.rows().iter().map(|row| row.count).collect();
    /// assert_eq!(counts, [1, 0, 2]);
    /// # }
    /// ```
    #[track_caller]
    pub fn push(&mut self, rows: &[Op::Input<'_>]) -> Effects<Op> {
        match self.try_push(rows) {
            Ok(effects) => effects,
            Err(fault) => panic!("the batch faults: {fault}"),
        }
    }

    /// Sends these rows as one batch, or says why the batch faults. A batch that faults has no
    /// effects. A panic of the operator, which the sandbox turns into a fault, goes through here.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// let fault = counter.try_push(&vec![visit(1, "/a", 0); 101]).err().unwrap();
    /// assert_eq!(fault.message, "101 rows are too many");
    /// assert_eq!(counter.value::<u64>("count", &1u64), None);
    /// # }
    /// ```
    #[track_caller]
    pub fn try_push(&mut self, rows: &[Op::Input<'_>]) -> Result<Effects<Op>, Fault> {
        let input = input_of::<Op>(rows);
        let Arranged { rows, order, late } = Arranged::of::<Op>(rows, self.clock);
        let clocks = self.clocks_of(&rows);
        let answer = self.send((input, &rows), &clocks).map_err(|fault| Fault {
            row: fault
                .row
                .map(|row| order.get(row as usize).map_or(row, |row| *row as u32)),
            ..fault
        })?;
        Ok(Effects::new(answer, order, late))
    }

    /// Sends these rows as one batch as they are, with a clock for each and one at the end.
    #[doc(hidden)]
    pub fn push_with_clocks(
        &mut self,
        rows: &[Op::Input<'_>],
        (clocks, clock): (&[i64], i64),
    ) -> Result<Effects<Op>, Fault> {
        let input = input_of::<Op>(rows);
        let rows = order::as_given::<Op>(rows.iter());
        self.clock = clock;
        let answer = self.send((input, &rows), clocks)?;
        Ok(Effects::new(answer, (0..rows.len()).collect(), Vec::new()))
    }

    /// Moves the event-time clock on, and fires the timers whose time is over then, as a watermark
    /// does that comes without rows: those before the clock, since rows of its own time may follow.
    /// The clock never goes back.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/a", 0)]);
    /// assert!(counter.advance_to(Timestamp::from_secs(60)).rows().is_empty());
    /// let effects = counter.advance_to(Timestamp::from_secs(61));
    /// assert_eq!(effects.rows(), [Visits { user: 1, count: 0 }]);
    /// # }
    /// ```
    pub fn advance_to(&mut self, clock: Timestamp) -> Effects<Op> {
        self.clock = self.clock.max(clock.as_micros());
        self.push(&[])
    }

    /// Moves the machine's clock on, and fires the processing timers whose time is over then. The
    /// clock stands at 1970 until it is moved.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/wait", 0)]);
    /// let effects = counter.advance_processing_time_to(Timestamp::from_secs(5));
    /// assert_eq!(effects.rows(), [Visits { user: 1, count: 0 }]);
    /// # }
    /// ```
    pub fn advance_processing_time_to(&mut self, now: Timestamp) -> Effects<Op> {
        self.now = now.as_micros();
        self.push(&[])
    }

    /// The value of a value or reducing state, or the accumulator of an aggregating one, for a
    /// key: the value of its key column (a tuple, if there are several). None where the key has
    /// none.
    ///
    /// # Panics
    /// If the operator has no such state, or it is of another type.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/a", 0)]);
    /// assert_eq!(counter.value("count", &1u64), Some(1u64));
    /// assert_eq!(counter.value::<u64>("count", &2u64), None);
    /// # }
    /// ```
    pub fn value<T: State>(&self, state: &str, key: &(impl Encode + ?Sized)) -> Option<T> {
        let store = self.store.borrow();
        let bytes = store.value(state, &crate::encode::encode(key))?;
        Some(decode(bytes).expect("the operator has encoded it as this type"))
    }

    /// The items of a list state for a key, the oldest first.
    ///
    /// # Panics
    /// If the operator has no such state, or it is of another type.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/a", 0), visit(1, "/b", 1)]);
    /// assert_eq!(counter.list::<String>("pages", &1u64), ["/a", "/b"]);
    /// # }
    /// ```
    pub fn list<T: State>(&self, state: &str, key: &(impl Encode + ?Sized)) -> Vec<T> {
        let store = self.store.borrow();
        let items = store.list(state, &crate::encode::encode(key));
        let decoded = items.iter().map(|item| decode(item));
        decoded
            .collect::<Result<_, _>>()
            .expect("the operator has encoded them as this type")
    }

    /// The entries of a map state for a key, ordered by their encoded map keys.
    ///
    /// # Panics
    /// If the operator has no such state, or it is of other types.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/a", 7)]);
    /// let last = counter.map::<String, Timestamp>("last", &1u64);
    /// assert_eq!(last, [("/a".to_owned(), Timestamp::from_secs(7))]);
    /// # }
    /// ```
    pub fn map<K: State, V: State>(
        &self,
        state: &str,
        key: &(impl Encode + ?Sized),
    ) -> Vec<(K, V)> {
        let store = self.store.borrow();
        let entries = store.map(state, &crate::encode::encode(key));
        let decoded = entries
            .iter()
            .map(|(key, value)| Ok((decode(key)?, decode(value)?)));
        let decoded: Result<_, Malformed> = decoded.collect();
        decoded.expect("the operator has encoded them as these types")
    }

    /// The times of a key's pending timers, with their names.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/a", 0)]);
    /// assert_eq!(counter.timers(&1u64), [(Timestamp::from_secs(60), "over")]);
    /// # }
    /// ```
    pub fn timers(&self, key: &(impl Encode + ?Sized)) -> Vec<(Timestamp, &'static str)> {
        self.store.borrow().timers(&crate::encode::encode(key))
    }

    /// The last call as it crossed the boundary.
    #[doc(hidden)]
    pub fn last_exchange(&self) -> Option<&Exchange> {
        self.last.as_ref()
    }

    #[track_caller]
    fn send(&mut self, (input, rows): (u32, &Rows), clocks: &[i64]) -> Result<Buffers, Fault> {
        let batch = self.batch((input, rows), clocks);
        let imports = Box::new(MiniHost(Rc::clone(&self.store)));
        let outer = host::swap(Some(imports));
        let answer = self.engine.process(rows.len() as u32, &batch.0, &batch.1);
        host::swap(outer);
        let answer = answer?;
        self.store.borrow_mut().apply(&answer)?;
        self.last = Some(Exchange {
            rows: rows.len() as u32,
            batch,
            answer: answer.clone(),
        });
        Ok(answer)
    }
}

/// The input that rows are of; all are of one.
fn input_of<Op: Operator>(rows: &[Op::Input<'_>]) -> u32 {
    rows.first().map_or(0, |row| row.input())
}

impl<Op: Operator> Harness<Op> {
    /// The clock of each row: the latest event time so far.
    fn clocks_of(&mut self, rows: &Rows) -> Vec<i64> {
        let mut clocks = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            let time = rows.times().get(row).copied().unwrap_or(i64::MIN);
            self.clock = self.clock.max(time);
            clocks.push(self.clock);
        }
        clocks
    }

    /// Lays out a batch of these rows, with everything that rides with them.
    #[track_caller]
    fn batch(&mut self, (input, rows): (u32, &Rows), clocks: &[i64]) -> Buffers {
        let mut store = self.store.borrow_mut();
        if input > 0 {
            store.batch_keys.clear();
            let layout = batch::BroadcastBatch {
                rows,
                input,
                now: self.now,
                store: &store,
            };
            return crate::arena::Layout::lay_out(&layout);
        }
        let keyed = Op::State::KEYED || store.has_timers() || store.has_key_columns();
        let key_by = match &self.key_by {
            Some(columns) => columns.clone(),
            None => store.key_columns(),
        };
        assert!(
            !keyed || !key_by.is_empty() || self.key_by.is_some() || rows.len() == 0,
            "`{}` keeps state for each key, and the test names no key: say which columns the rows \
             are keyed by, as in `Harness::new(\"{{}}\").keyed_by(&[\"COLUMN\"])`",
            Op::PLUGIN.name
        );
        let keys = store.take_in(rows, &key_by);
        store.wake(self.clock, self.now);
        let layout = batch::InputBatch {
            rows,
            keys: &keys,
            clocks,
            clock: self.clock,
            now: self.now,
            store: &store,
            keyed,
        };
        crate::arena::Layout::lay_out(&layout)
    }
}
