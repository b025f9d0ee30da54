//! An aggregate that counts and sums, and whose answers lie in the way its configuration names: `{
//! "call": CALL, "misbehave": WORD, "at": NUMBER }`.
//!
//! A call of `add` lies where a row has that amount, one of `merge` or `results` where it makes or
//! meets an accumulator whose sum the number divides. Built from the WIT alone: no SDK stands
//! between it and the boundary.

mod buffers;

use std::cell::RefCell;

use buffers::{Answer, Batch};
use exports::wasmill::operator::aggregate::{Buffers, Fault, Guest};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "window-aggregate",
});

const DESCRIPTOR: &str = r#"{
  "descriptor": 1,
  "name": "hostile-fold",
  "version": "0.1.0",
  "inputs": [{ "name": "rows", "columns": [{ "name": "amount", "type": "i64?" }] }],
  "outputs": [],
  "aggregate": { "accumulator": "string", "result": "string" },
  "config": {
    "type": "object",
    "properties": {
      "call": { "type": "string" },
      "misbehave": { "type": "string" },
      "at": { "type": "integer" }
    }
  }
}"#;

#[derive(Default)]
struct Conduct {
    call: String,
    misbehave: String,
    at: i64,
}

/// What is kept of rows: text, so that a length stands in it, too.
#[derive(Clone, Copy, Default)]
struct Kept {
    rows: u64,
    sum: i64,
}

thread_local! {
    static CONDUCT: RefCell<Conduct> = RefCell::default();
}

struct HostileFold;

/// The text behind a name of the configuration.
fn word(context: &str, name: &str) -> String {
    let rest = context.split_once(&format!("\"{name}\":"));
    let rest = rest.map_or("", |(_, rest)| rest.trim_start());
    let is_end = |c: char| !(c.is_alphanumeric() || c == '-' || c == '"');
    let value = rest.split(is_end).next().unwrap_or_default();
    value.trim_matches('"').to_owned()
}

impl Kept {
    fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(&bytes[4..]).expect("as it was written");
        let (rows, sum) = text.split_once(' ').expect("as it was written");
        Self {
            rows: rows.parse().expect("a number"),
            sum: sum.parse().expect("a number"),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            sum: self.sum + other.sum,
        }
    }

    /// In the state encoding.
    fn bytes(self) -> Vec<u8> {
        let text = format!("{} {}", self.rows, self.sum);
        let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }
}

/// The answer with these values, spoiled if that is wanted.
fn answer(state: u32, values: Vec<(u32, Kept)>, call: &str, is_bad: bool) -> Buffers {
    let values = values.into_iter().map(|(at, kept)| (at, kept.bytes()));
    let mut answer = Answer {
        state,
        values: values.collect(),
    };
    CONDUCT.with_borrow(|conduct| match is_bad && conduct.call == call {
        true => answer.misbehave(&conduct.misbehave),
        false => answer.buffers(),
    })
}

fn is_divided(kept: Kept) -> bool {
    CONDUCT.with_borrow(|conduct| conduct.at != 0 && kept.sum % conduct.at == 0)
}

impl Guest for HostileFold {
    fn describe() -> String {
        DESCRIPTOR.to_owned()
    }

    fn open(context: String) -> Result<(), Fault> {
        CONDUCT.set(Conduct {
            call: word(&context, "call"),
            misbehave: word(&context, "misbehave"),
            at: word(&context, "at").parse().unwrap_or_default(),
        });
        Ok(())
    }

    fn add(batch: Buffers) -> Result<Buffers, Fault> {
        let batch = Batch(&batch);
        let mut kept: Vec<Kept> = batch.accumulators();
        let rows = batch.rows();
        for (of, amount) in &rows {
            let sum = amount.unwrap_or(0);
            kept[*of as usize] = kept[*of as usize].plus(Kept { rows: 1, sum });
        }
        let at = CONDUCT.with_borrow(|conduct| conduct.at);
        let is_bad = rows.iter().any(|(_, amount)| *amount == Some(at));
        Ok(answer(0, (0..).zip(kept).collect(), "add", is_bad))
    }

    fn merge(batch: Buffers) -> Result<Buffers, Fault> {
        let batch = Batch(&batch);
        let mut kept: Vec<Kept> = batch.accumulators();
        let count = kept.len();
        for (left, right) in batch.pairs() {
            kept.push(kept[left as usize].plus(kept[right as usize]));
        }
        let made = kept.split_off(count);
        let is_bad = made.iter().any(|kept| is_divided(*kept));
        let values = (count as u32..).zip(made);
        Ok(answer(0, values.collect(), "merge", is_bad))
    }

    fn results(batch: Buffers) -> Result<Buffers, Fault> {
        let kept: Vec<Kept> = Batch(&batch).accumulators();
        let is_bad = kept.iter().any(|kept| is_divided(*kept));
        Ok(answer(1, (0..).zip(kept).collect(), "results", is_bad))
    }
}

export!(HostileFold);
