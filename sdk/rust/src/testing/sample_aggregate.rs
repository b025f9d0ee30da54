// The aggregate that this crate's examples test: the longest word.

use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row, Clone, Copy)]
pub struct Word<'a> {
    pub text: &'a str,
}

/// A row.
pub fn word(text: &str) -> Word<'_> {
    Word { text }
}

/// The longest word; of equally long ones the first in the alphabet.
pub struct Longest;

impl Aggregate for Longest {
    const PLUGIN: Plugin = plugin!("longest");
    type Config = ();
    type Row<'a> = Word<'a>;
    type Accumulator = String;
    type Output = String;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn create(&self) -> String {
        String::new()
    }

    fn add(&self, longest: &mut String, row: Word<'_>) -> Result<(), Reject> {
        if row.text.is_empty() {
            return reject("no word");
        }
        self.merge(longest, row.text.into());
        Ok(())
    }

    fn merge(&self, longest: &mut String, other: String) {
        let rank = |text: &str| (text.len(), std::cmp::Reverse(text.to_owned()));
        if rank(&other) > rank(longest) {
            *longest = other;
        }
    }

    fn result(&self, longest: String) -> String {
        longest
    }
}
