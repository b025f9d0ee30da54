//! An operator on single records that passes them on, and misbehaves in the way its configuration
//! names: `{ "misbehave": WORD }`. A word that begins with `all-` is for each record, any other for
//! the one whose id is 13.

use std::cell::RefCell;
use std::hint::black_box;

use exports::wasmill::operator::record_operator::{
    Cell, Effects, Fault, Guest, InputRecord, OutputRecord, StateChange,
};
use wasmill::operator::{log, report};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "single-record-operator",
});

const DESCRIPTOR: &str = r#"{
  "descriptor": 1,
  "name": "hostile-record",
  "version": "0.1.0",
  "inputs": [{ "name": "rows", "columns": [{ "name": "id", "type": "u64" }] }],
  "states": [{ "name": "count", "kind": "value", "type": "u64" }],
  "outputs": [{ "name": "same", "columns": [
    { "name": "id", "type": "u64" }, { "name": "note", "type": "string" }
  ] }],
  "config": { "type": "object", "properties": { "misbehave": { "type": "string" } } }
}"#;

thread_local! {
    static MISBEHAVE: RefCell<String> = const { RefCell::new(String::new()) };
}

struct HostileRecord;

impl Guest for HostileRecord {
    fn describe() -> String {
        DESCRIPTOR.to_owned()
    }

    fn open(context: String) -> Result<(), Fault> {
        let rest = context.split_once("\"misbehave\"");
        let word = rest.and_then(|(_, rest)| rest.split('"').nth(1));
        MISBEHAVE.set(word.unwrap_or_default().to_owned());
        Ok(())
    }

    fn process(row: InputRecord) -> Result<Effects, Fault> {
        let [Cell::Unsigned(id)] = row.cells.as_slice() else {
            return Err(fault("the record is not one number"));
        };
        let word = MISBEHAVE.with_borrow(String::clone);
        if *id == 13 || word.starts_with("all-") {
            return misbehave(*id, &word);
        }
        Ok(passed_on(*id, ""))
    }
}

fn misbehave(id: u64, word: &str) -> Result<Effects, Fault> {
    match word {
        "trap" => std::process::abort(),
        "panic" => panic!("a panic of its own"),
        "fault" => return Err(fault("about to fault")),
        // The host knows which record it was, whatever the guest says.
        "report" => {
            report::failing(&Fault {
                row: Some(5),
                message: "about to fail".to_owned(),
            });
            std::process::abort()
        }
        "spin" => loop {
            black_box(());
        },
        "memory-bomb" => loop {
            std::mem::forget(black_box(vec![1_u8; 1 << 20]));
        },
        "log-flood" => loop {
            log::write(log::Level::Info, &"x".repeat(1 << 10));
        },
        "exit" => std::process::exit(0),
        _ => {}
    }
    let mut effects = passed_on(id, "");
    match word {
        "huge-output" => effects = passed_on(id, &"x".repeat(5 << 20)),
        "many-rows" => effects.emitted = vec![same(id, ""); 2_000],
        "undeclared-output" => effects.emitted[0].output = 7,
        "few-cells" => drop(effects.emitted[0].cells.pop()),
        "wrong-cell" => effects.emitted[0].cells[0] = Cell::Text("13".to_owned()),
        "null-cell" => effects.emitted[0].cells[0] = Cell::Null,
        "undeclared-state" => effects.states[0].state = 7,
        "state-twice" => effects.states = vec![effects.states[0].clone(); 2],
        "short-state" => effects.states[0].value = Some(vec![1, 2, 3]),
        // None of these is too much by itself.
        "all-log" => (0..20).for_each(|_| log::write(log::Level::Info, "x")),
        "all-rows" => effects.emitted = vec![same(id, ""); 600],
        "all-bytes" => effects = passed_on(id, &"x".repeat(1 << 20)),
        _ => {}
    }
    Ok(effects)
}

fn same(id: u64, note: &str) -> OutputRecord {
    OutputRecord {
        output: 0,
        cells: vec![Cell::Unsigned(id), Cell::Text(note.to_owned())],
    }
}

fn passed_on(id: u64, note: &str) -> Effects {
    Effects {
        emitted: vec![same(id, note)],
        states: vec![StateChange {
            state: 0,
            value: Some(id.to_le_bytes().to_vec()),
        }],
        rejected: None,
    }
}

fn fault(message: &str) -> Fault {
    Fault {
        row: Some(0),
        message: message.to_owned(),
    }
}

export!(HostileRecord);
