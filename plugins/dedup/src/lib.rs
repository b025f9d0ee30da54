//! Passes the first row of each key and sends repeats to a side output.
//!
//! * Key: whatever makes two rows the same, such as `key-by: [id]`.
//! * Configuration: none.
//! * State: `seen`, one value of 8 bytes a key, forgotten after a day of event time.
//! * Guarantees: of the rows of a key within a day exactly one passes, the first in the operator's
//!   order; each of the others is a duplicate, with its distance from the first.

use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Message<'a> {
    id: &'a str,
    body: &'a str,
    at: EventTime,
}

/// A row that passes.
#[derive(Row, Debug, PartialEq)]
pub struct Unique<'a> {
    id: &'a str,
    body: &'a str,
}

/// A row that came before.
#[derive(Row, Debug, PartialEq)]
pub struct Duplicate<'a> {
    id: &'a str,
    seconds_after: f64,
}

/// The outputs: the operator's own stream, and the side output `OPERATOR.duplicates`.
#[derive(Outputs, Debug, PartialEq)]
pub enum Sorted<'a> {
    /// Rows that pass.
    Unique(Unique<'a>),
    /// Rows that came before.
    Duplicates(Duplicate<'a>),
}

/// The states.
#[derive(States)]
pub struct Memory {
    #[state(ttl = "1d")]
    seen: Value<Timestamp>,
}

/// The operator.
pub struct Dedup;

impl Operator for Dedup {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Message<'a>;
    type Output<'a> = Sorted<'a>;
    type State = Memory;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Message<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let Message { id, body, at } = row;
        match cx.state.seen.get() {
            None => {
                cx.state.seen.set(*at);
                cx.emit(Unique { id, body });
            }
            Some(first) => {
                let seconds_after = at.since(first).as_secs_f64();
                cx.emit(Duplicate { id, seconds_after });
            }
        }
        Ok(())
    }
}

wasmill_sdk::export!(Dedup);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_go_to_the_side() {
        let mut dedup = Harness::<Dedup>::new("{}").keyed_by(&["id"]);
        let message = |id, body, secs| {
            let at = Timestamp::from_secs(secs).into();
            Message { id, body, at }
        };
        let effects = dedup.push(&[
            message("a", "first", 10),
            message("b", "other", 11),
            message("a", "again", 12),
        ]);
        let unique = |id, body| Sorted::Unique(Unique { id, body });
        let duplicate = |id, seconds_after| Sorted::Duplicates(Duplicate { id, seconds_after });
        let expected = [
            unique("a", "first"),
            unique("b", "other"),
            duplicate("a", 2.0),
        ];
        assert_eq!(effects.rows(), expected);
        assert_eq!(
            dedup.push(&[message("b", "other", 14)]).rows(),
            [duplicate("b", 3.0)]
        );
    }
}
