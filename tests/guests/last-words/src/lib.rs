//! An operator that passes on what it reads, and logs it in three ways first. Its configuration
//! says which text it panics at, and which it refuses: `{ "panic-at": TEXT, "refuse": TEXT }`.

use wasmill_sdk::prelude::*;

/// What is read and passed on.
#[derive(Row)]
pub struct Line<'a> {
    said: &'a [u8],
}

/// The configuration.
#[derive(Config)]
pub struct Words {
    /// The operator panics where a line begins so.
    panic_at: String,
    /// It refuses lines that begin so.
    refuse: String,
}

/// The operator.
pub struct LastWords {
    words: Words,
}

impl Operator for LastWords {
    const PLUGIN: Plugin = plugin!();
    type Config = Words;
    type Input<'a> = Line<'a>;
    type Output<'a> = Line<'a>;
    type State = ();

    fn open(words: Words, _start: &Start) -> Result<Self, Fault> {
        Ok(Self { words })
    }

    fn process(&mut self, row: Line<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let said = String::from_utf8_lossy(row.said);
        cx.log(Level::Info, format_args!("heard {said}"));
        println!("printed {said}");
        eprintln!("complained of {said}");
        if said.starts_with(&self.words.refuse) {
            return reject(format!("nobody says {said}"));
        }
        if said.starts_with(&self.words.panic_at) {
            panic!("cannot bear {said}");
        }
        cx.emit(row);
        Ok(())
    }
}

wasmill_sdk::export!(LastWords);
