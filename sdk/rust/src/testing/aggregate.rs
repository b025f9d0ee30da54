//! Testing aggregates natively.

use crate::aggregating::AggregateEngine;
use crate::arena::{Layout, Put};
use crate::buffer::{Batch, engine, group, kind};
use crate::encode::{decode, encode};
use crate::rows::Rows;
use crate::state::column::{put_u32s, put_validity, put_values};
use crate::{Aggregate, Fault, Input, Malformed, State, descriptor};
use serde_json::{Value as Json, json};

use super::Exchange;

/// An aggregate under test: its functions through the bytes of the real boundary.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Word<'a> {
///     text: &'a str,
/// }
///
/// /// The longest word; of equally long ones the first in the alphabet.
/// struct Longest;
///
/// impl Aggregate for Longest {
///     const PLUGIN: Plugin = plugin!("longest");
///     type Config = ();
///     type Row<'a> = Word<'a>;
///     type Accumulator = String;
///     type Output = String;
///
///     fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
///         Ok(Self)
///     }
///
///     fn create(&self) -> String {
///         String::new()
///     }
///
///     fn add(&self, longest: &mut String, row: Word<'_>) -> Result<(), Reject> {
///         self.merge(longest, row.text.into());
///         Ok(())
///     }
///
///     fn merge(&self, longest: &mut String, other: String) {
///         let rank = |text: &str| (text.len(), std::cmp::Reverse(text.to_owned()));
///         if rank(&other) > rank(longest) {
///             *longest = other;
///         }
///     }
///
///     fn result(&self, longest: String) -> String {
///         longest
///     }
/// }
///
/// let mut longest = AggregateHarness::<Longest>::new("{}");
/// let word = |text| Word { text };
/// assert_eq!(longest.result_of(&[word("to"), word("be"), word("or")]), "be");
/// assert_eq!(longest.result_of_parts(&[&[word("to")], &[word("not")], &[word("be")]]), "not");
/// ```
pub struct AggregateHarness<A: Aggregate> {
    engine: AggregateEngine<A>,
    last: Option<Exchange>,
}

/// What became of rows that were added.
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
/// # fn main() {
/// let mut longest = AggregateHarness::<Longest>::new("{}");
/// let added = longest.add(None, &[word("not"), word("")]);
/// assert_eq!(added.accumulator, "not");
/// assert_eq!(added.rejected, [(1, "no word".to_owned())]);
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Added<T> {
    /// The accumulator.
    pub accumulator: T,
    /// The rows that were refused, with the reasons.
    pub rejected: Vec<(u32, String)>,
}

/// Accumulators that changed, by their numbers, and the rows that were refused, with the reasons.
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
/// # fn main() {
/// use wasmill_sdk::testing::Grouped;
/// let mut longest = AggregateHarness::<Longest>::new("{}");
/// let (changed, rejected): Grouped<String> = longest.add_grouped(&[None], &[word("be")], &[0]);
/// assert_eq!(changed, [Some("be".to_owned())]);
/// assert_eq!(rejected, []);
/// # }
/// ```
pub type Grouped<T> = (Vec<Option<T>>, Vec<(u32, String)>);

impl<A: Aggregate> AggregateHarness<A> {
    /// Opens the aggregate with a configuration, JSON text.
    ///
    /// # Panics
    /// If the aggregate refuses the configuration; [`open`](Self::open) gives the fault instead.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let mut longest = AggregateHarness::<Longest>::new("{}");
    /// assert_eq!(longest.result_of(&[word("or"), word("not")]), "not");
    /// # }
    /// ```
    pub fn new(config: &str) -> Self {
        match Self::open(config) {
            Ok(harness) => harness,
            Err(fault) => panic!("the aggregate does not open: {fault}"),
        }
    }

    /// Opens the aggregate with a configuration, JSON text.
    ///
    /// # Errors
    /// If the configuration does not fit, or the aggregate refuses it.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let fault = AggregateHarness::<Longest>::open("[").err().expect("it is not JSON");
    /// assert!(fault.message.starts_with("the configuration is not JSON"));
    /// # }
    /// ```
    pub fn open(config: &str) -> Result<Self, Fault> {
        let config: Json = serde_json::from_str(config)
            .map_err(|error| Fault::new(format!("the configuration is not JSON: {error}")))?;
        let context = json!({
            "context": 1, "operator": A::PLUGIN.name, "subtask": 0, "subtasks": 1,
            "config": config,
        });
        Ok(Self {
            engine: AggregateEngine::open(&context.to_string())?,
            last: None,
        })
    }

    /// The aggregate's descriptor: what it says about itself to whoever runs it.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let longest = AggregateHarness::<Longest>::new("{}");
    /// assert_eq!(longest.descriptor()["aggregate"]["accumulator"], "string");
    /// # }
    /// ```
    pub fn descriptor(&self) -> Json {
        descriptor::aggregate::<A>()
    }

    /// Adds rows to an accumulator, or without one to a new one, in one call.
    ///
    /// # Panics
    /// If the call faults.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let mut longest = AggregateHarness::<Longest>::new("{}");
    /// let first = longest.add(None, &[word("to"), word("be")]).accumulator;
    /// let both = longest.add(Some(&first), &[word("not")]).accumulator;
    /// assert_eq!((&*first, &*both), ("be", "not"));
    /// # }
    /// ```
    #[track_caller]
    pub fn add(
        &mut self,
        accumulator: Option<&A::Accumulator>,
        rows: &[A::Row<'_>],
    ) -> Added<A::Accumulator> {
        let groups = vec![0; rows.len()];
        let (mut accumulators, rejected) = self.add_grouped(&[accumulator], rows, &groups);
        match accumulators.pop().flatten() {
            Some(accumulator) => Added {
                accumulator,
                rejected,
            },
            None => panic!("the aggregate gave no accumulator; add at least one row"),
        }
    }

    /// Adds rows to several accumulators in one call, as the host does: `groups` has the number of
    /// each row's accumulator. Gives those that changed, and the refused rows.
    ///
    /// # Panics
    /// If the call faults.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let mut longest = AggregateHarness::<Longest>::new("{}");
    /// let kept = "question".to_owned();
    /// let rows = [word("to"), word("be"), word("not")];
    /// let (changed, _) = longest.add_grouped(&[None, Some(&kept)], &rows, &[0, 1, 0]);
    /// assert_eq!(changed, [Some("not".to_owned()), Some(kept)]);
    /// # }
    /// ```
    #[track_caller]
    pub fn add_grouped(
        &mut self,
        accumulators: &[Option<&A::Accumulator>],
        rows: &[A::Row<'_>],
        groups: &[u32],
    ) -> Grouped<A::Accumulator> {
        let mut input = Rows::new(&<A::Row<'_> as Input<'_>>::shapes(0));
        rows.iter().for_each(|row| row.append(&mut input));
        let sent = Sent {
            input: Some((&input, groups)),
            accumulators: accumulators.iter().map(|it| it.map(encode)).collect(),
            width: A::Accumulator::WIDTH,
            pairs: &[],
        };
        let batch = sent.lay_out();
        let answer = self.engine.add(rows.len() as u32, &batch.0, &batch.1);
        let answer = answer.unwrap_or_else(|fault| panic!("the call faults: {fault}"));
        let read = read(&answer, 0, accumulators.len(), A::Accumulator::WIDTH);
        let rejected = rejected(&answer);
        self.last = Some(Exchange {
            rows: rows.len() as u32,
            batch,
            answer,
        });
        (decoded(read), rejected)
    }

    /// Merges two accumulators.
    ///
    /// # Panics
    /// If the call faults.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let mut longest = AggregateHarness::<Longest>::new("{}");
    /// let merged = longest.merge(&"be".to_owned(), &"not".to_owned());
    /// assert_eq!(merged, "not");
    /// # }
    /// ```
    #[track_caller]
    pub fn merge(&mut self, left: &A::Accumulator, right: &A::Accumulator) -> A::Accumulator {
        let mut merged = self.merge_pairs(&[left, right], &[(0, 1)]);
        merged.pop().expect("a pair makes an accumulator")
    }

    /// Merges pairs of accumulators in one call: those of numbers behind the given ones are made by
    /// the pairs themselves, one after the other. Gives what the pairs made.
    ///
    /// # Panics
    /// If the call faults.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let mut longest = AggregateHarness::<Longest>::new("{}");
    /// let [a, b, c] = ["to", "not", "be"].map(str::to_owned);
    /// // The first pair makes number 3, the second one merges it with number 2.
    /// let made = longest.merge_pairs(&[&a, &b, &c], &[(0, 1), (3, 2)]);
    /// assert_eq!(made, ["not", "not"]);
    /// # }
    /// ```
    #[track_caller]
    pub fn merge_pairs(
        &mut self,
        accumulators: &[&A::Accumulator],
        pairs: &[(u32, u32)],
    ) -> Vec<A::Accumulator> {
        let sent = Sent {
            input: None,
            accumulators: accumulators.iter().map(|it| Some(encode(*it))).collect(),
            width: A::Accumulator::WIDTH,
            pairs,
        };
        let batch = sent.lay_out();
        let answer = self.engine.merge(&batch.0, &batch.1);
        let answer = answer.unwrap_or_else(|fault| panic!("the call faults: {fault}"));
        let count = accumulators.len() + pairs.len();
        let made = read(&answer, 0, count, A::Accumulator::WIDTH).split_off(accumulators.len());
        let rows = 0;
        self.last = Some(Exchange {
            rows,
            batch,
            answer,
        });
        decoded(made).into_iter().flatten().collect()
    }

    /// The result of an accumulator.
    ///
    /// # Panics
    /// If the call faults.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let mut longest = AggregateHarness::<Longest>::new("{}");
    /// assert_eq!(longest.result(&"not".to_owned()), "not");
    /// # }
    /// ```
    #[track_caller]
    pub fn result(&mut self, accumulator: &A::Accumulator) -> A::Output {
        let sent = Sent {
            input: None,
            accumulators: vec![Some(encode(accumulator))],
            width: A::Accumulator::WIDTH,
            pairs: &[],
        };
        let batch = sent.lay_out();
        let answer = self.engine.results(&batch.0, &batch.1);
        let answer = answer.unwrap_or_else(|fault| panic!("the call faults: {fault}"));
        let mut results = decoded(read(&answer, 1, 1, A::Output::WIDTH));
        let rows = 0;
        self.last = Some(Exchange {
            rows,
            batch,
            answer,
        });
        results
            .pop()
            .flatten()
            .expect("an accumulator has a result")
    }

    /// The result of rows that are added to one accumulator; refused rows are left out.
    ///
    /// # Panics
    /// If a call faults.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let mut longest = AggregateHarness::<Longest>::new("{}");
    /// assert_eq!(longest.result_of(&[word("to"), word(""), word("not")]), "not");
    /// # }
    /// ```
    #[track_caller]
    pub fn result_of(&mut self, rows: &[A::Row<'_>]) -> A::Output {
        let added = self.add(None, rows);
        self.result(&added.accumulator)
    }

    /// The result of rows that are added to an accumulator for each part, which are merged: what
    /// windows do. It must be that of all rows together.
    ///
    /// # Panics
    /// If a call faults, or a part has no rows.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample_aggregate.rs"));
    /// # fn main() {
    /// let mut longest = AggregateHarness::<Longest>::new("{}");
    /// let parts = [[word("to"), word("be")], [word("or"), word("not")]];
    /// assert_eq!(longest.result_of_parts(&[&parts[0], &parts[1]]), "not");
    /// # }
    /// ```
    #[track_caller]
    pub fn result_of_parts(&mut self, parts: &[&[A::Row<'_>]]) -> A::Output {
        let added: Vec<_> = parts.iter().map(|rows| self.add(None, rows)).collect();
        let mut parts = added.into_iter().map(|added| added.accumulator);
        let first = parts.next().expect("at least one part");
        let merged = parts.fold(first, |merged, part| self.merge(&merged, &part));
        self.result(&merged)
    }

    /// The last call as it crossed the boundary.
    #[doc(hidden)]
    pub fn last_exchange(&self) -> Option<&Exchange> {
        self.last.as_ref()
    }
}

/// A call as the host lays it out.
struct Sent<'a> {
    input: Option<(&'a Rows, &'a [u32])>,
    accumulators: Vec<Option<Vec<u8>>>,
    width: Option<usize>,
    pairs: &'a [(u32, u32)],
}

impl Layout for Sent<'_> {
    fn put(&self, put: &mut impl Put) {
        if let Some((rows, groups)) = self.input {
            rows.put(group::INPUT, 0, false, put);
            put_u32s(put, engine::KEY, kind::VALUES, groups.iter().copied());
            put.section(group::KEYS, 0, self.accumulators.len());
        }
        put.section(group::STATE, 0, self.accumulators.len());
        put_validity(put, 0, self.accumulators.iter().map(Option::is_some));
        let values = self.accumulators.iter();
        let values = values.map(|value| value.as_deref().unwrap_or_default());
        put_values(put, 0, self.width, values);
        if !self.pairs.is_empty() {
            put.section(group::MERGES, 0, self.pairs.len());
            let (left, right) = (self.pairs.iter(), self.pairs.iter());
            put_u32s(put, 0, kind::VALUES, left.map(|pair| pair.0));
            put_u32s(put, 1, kind::VALUES, right.map(|pair| pair.1));
        }
    }
}

/// The values of an answer, by their numbers.
fn read(
    (directory, arena): &(Vec<u32>, Vec<u64>),
    state: u32,
    count: usize,
    width: Option<usize>,
) -> Vec<Option<Vec<u8>>> {
    let read = || -> Result<Vec<Option<Vec<u8>>>, Malformed> {
        let batch = Batch::new(directory, arena)?;
        let section = batch.section(group::STATE_CHANGES, state)?;
        let rows = section.rows();
        let keys = section.fixed::<4>(0, rows)?;
        let mut bytes = Vec::new();
        let span = crate::state::column::load(&section, 1, rows, width, &mut bytes)?;
        let mut values = vec![None; count];
        for (row, key) in keys.iter().enumerate() {
            let value = crate::state::column::slice(&bytes, span(row));
            values[u32::from_le_bytes(*key) as usize] = Some(value.to_vec());
        }
        Ok(values)
    };
    read().expect("the engine lays out what it says")
}

fn decoded<T: State>(values: Vec<Option<Vec<u8>>>) -> Vec<Option<T>> {
    let decode = |value: Vec<u8>| decode(&value).expect("it was encoded as this type");
    values.into_iter().map(|value| value.map(decode)).collect()
}

/// The rows of an answer that were refused.
fn rejected((directory, arena): &(Vec<u32>, Vec<u64>)) -> Vec<(u32, String)> {
    let read = || -> Result<Vec<(u32, String)>, Malformed> {
        let batch = Batch::new(directory, arena)?;
        let section = batch.section(group::REJECTS, 0)?;
        let data = section.bytes_of(0, kind::DATA)?;
        let offsets = section.offsets(0, section.rows(), Some(data.len()))?;
        let rows = section.fixed::<4>(engine::CAUSE, section.rows())?;
        let reason = |at: usize| &data[offsets.at(at)..offsets.at(at + 1)];
        let rows = rows.iter().enumerate().map(|(at, row)| {
            let reason = String::from_utf8_lossy(reason(at)).into_owned();
            (u32::from_le_bytes(*row), reason)
        });
        Ok(rows.collect())
    };
    read().expect("the engine lays out what it says")
}
