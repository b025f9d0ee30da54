//! A keyed operator that numbers the rows of each key, and whose answer lies in the way its
//! configuration names: `{ "misbehave": WORD }`, if the row with the id 13 is in the batch.
//! Built from the WIT alone: no SDK stands between it and the boundary.

mod answer;

use std::cell::RefCell;

use answer::{Answer, Batch};
use exports::wasmill::operator::operator::{Buffers, Fault, Guest};
use wasmill::operator::state;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "batch-operator",
});

const DESCRIPTOR: &str = r#"{
  "descriptor": 1,
  "name": "hostile-keyed",
  "version": "0.1.0",
  "inputs": [{ "name": "rows", "columns": [
    { "name": "id", "type": "u64" }, { "name": "name", "type": "string" }
  ] }],
  "states": [
    { "name": "count", "kind": "value", "type": "u64" },
    { "name": "seen", "kind": "map", "key": "u64", "type": "u64" }
  ],
  "outputs": [{ "name": "numbered", "columns": [
    { "name": "name", "type": "string" }, { "name": "nth", "type": "u64" }
  ] }],
  "config": { "type": "object", "properties": { "misbehave": { "type": "string" } } }
}"#;

thread_local! {
    static MISBEHAVE: RefCell<String> = const { RefCell::new(String::new()) };
}

struct HostileKeyed;

impl Guest for HostileKeyed {
    fn describe() -> String {
        DESCRIPTOR.to_owned()
    }

    fn open(context: String) -> Result<(), Fault> {
        let rest = context.split_once("\"misbehave\"");
        let word = rest.and_then(|(_, rest)| rest.split('"').nth(1));
        MISBEHAVE.set(word.unwrap_or_default().to_owned());
        Ok(())
    }

    fn process(batch: Buffers) -> Result<Buffers, Fault> {
        let batch = Batch(&batch);
        let mut counts = batch.counts();
        let mut answer = Answer::default();
        for (key, _, name) in batch.rows() {
            counts[key as usize] += 1;
            answer.names.push(name);
            answer.numbers.push(counts[key as usize]);
        }
        answer.changes = (0..).zip(counts).collect();
        let word = MISBEHAVE.with_borrow(String::clone);
        if batch.rows().iter().any(|(_, id, _)| *id == 13) {
            ask(&word, answer.changes.len() as u32);
            answer.misbehave(&word);
        }
        Ok(answer.buffers())
    }
}

/// Asks for entries of a map in a way that is not valid.
fn ask(word: &str, keys: u32) {
    match word {
        "ask-of-key-out-of-range" => {
            state::get_many(1, &answer::question(1, keys));
        }
        "ask-all-of-key-out-of-range" => {
            state::get_all(1, &answer::question_of_all(1, keys));
        }
        "ask-of-a-value" => {
            state::get_many(0, &answer::question(0, 0));
        }
        "ask-of-another-state" => {
            state::get_many(1, &answer::question(0, 0));
        }
        _ => {}
    }
}

export!(HostileKeyed);
