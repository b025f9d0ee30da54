//! An operator that asks the standard library for what lies outside of the sandbox, and tells what
//! it got. The word in its column says what it asks for.
//!
//! Built from the WIT alone: it asks the contract's own clock and seed, too.

#![allow(
    unsafe_code,
    reason = "it calls a C function that no safe code reaches"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a guest that asks for time and threads is what is tested"
)]

use std::time::{Instant, SystemTime};
use std::{env, fs, io, thread};

use exports::wasmill::operator::record_operator::{
    Cell, Effects, Fault, Guest, InputRecord, OutputRecord,
};
use wasmill::operator::{clock, random};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "single-record-operator",
});

const DESCRIPTOR: &str = r#"{
  "descriptor": 1,
  "name": "closed-wasi",
  "version": "0.1.0",
  "inputs": [{ "name": "asked", "time": true, "columns": [
    { "name": "ask", "type": "string" }
  ] }],
  "outputs": [{ "name": "answers", "columns": [
    { "name": "ask", "type": "string" }, { "name": "answer", "type": "string" }
  ] }]
}"#;

struct ClosedWasi;

impl Guest for ClosedWasi {
    fn describe() -> String {
        DESCRIPTOR.to_owned()
    }

    fn open(_context: String) -> Result<(), Fault> {
        Ok(())
    }

    fn process(row: InputRecord) -> Result<Effects, Fault> {
        let [Cell::Text(ask)] = row.cells.as_slice() else {
            return Err(Fault {
                row: Some(0),
                message: "the record is not one word".to_owned(),
            });
        };
        let cells = vec![Cell::Text(ask.clone()), Cell::Text(answer(ask))];
        Ok(Effects {
            emitted: vec![OutputRecord { output: 0, cells }],
            states: Vec::new(),
            rejected: None,
        })
    }
}

fn answer(ask: &str) -> String {
    match ask {
        "clock" => clock::now().to_string(),
        "wall-clock" => wall_clock(),
        "monotonic-clock" => elapsed(),
        "seed" => random::seed().to_string(),
        "random" => random_bytes(),
        "variables" => format!("{:?}", env::vars_os().collect::<Vec<_>>()),
        "variable" => format!("{:?}", env::var_os("WASMILL_PROBE")),
        "arguments" => format!("{:?}", env::args_os().collect::<Vec<_>>()),
        "folder" => outcome(fs::read_dir("/").map(Iterator::count)),
        "own-folder" => outcome(fs::read_dir(".").map(Iterator::count)),
        "file" => outcome(fs::read_to_string("/etc/passwd")),
        "own-file" => outcome(fs::read_to_string("asked.csv")),
        "new-file" => outcome(fs::write("made.txt", "made")),
        "stdin" => outcome(io::read_to_string(io::stdin())),
        "thread" => outcome(thread::Builder::new().spawn(|| ()).map(drop)),
        "stdout" => {
            println!("printed by a guest");
            "printed".to_owned()
        }
        other => format!("nobody knows {other}"),
    }
}

fn outcome<T: std::fmt::Debug>(of: io::Result<T>) -> String {
    match of {
        Ok(value) => format!("ok: {value:?}"),
        Err(error) => format!("refused: {error}"),
    }
}

fn wall_clock() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or_else(|error| error.to_string(), |it| it.as_micros().to_string())
}

/// How much time passes while a loop runs that takes some.
fn elapsed() -> String {
    let start = Instant::now();
    for turn in 0..1_000_000_u64 {
        std::hint::black_box(turn);
    }
    start.elapsed().as_nanos().to_string()
}

/// Twice eight bytes, as whoever needs a key would ask for them.
fn random_bytes() -> String {
    unsafe extern "C" {
        fn getentropy(bytes: *mut u8, len: usize) -> i32;
    }
    let mut two = [[0_u8; 8]; 2];
    for bytes in &mut two {
        if unsafe { getentropy(bytes.as_mut_ptr(), bytes.len()) } != 0 {
            return format!("refused: {}", io::Error::last_os_error());
        }
    }
    let [first, second] = two.map(u64::from_le_bytes);
    format!("{first} {second}")
}

export!(ClosedWasi);
