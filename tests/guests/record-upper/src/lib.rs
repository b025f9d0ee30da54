//! An operator on single records, built from the WIT alone: it turns a word into capitals, counts
//! the words of each key and refuses empty ones. The word `fault` faults the call, `trap` traps.

wit_bindgen::generate!({
    path: "../../../wit",
    world: "single-record-operator",
});

use exports::wasmill::operator::record_operator::{
    Cell, Effects, Fault, Guest, InputRecord, OutputRecord, StateChange,
};

const DESCRIPTOR: &str = r#"{
  "descriptor": 1,
  "name": "record-upper",
  "version": "0.1.0",
  "inputs": [{ "name": "words", "columns": [{ "name": "word", "type": "string" }] }],
  "states": [{ "name": "count", "kind": "value", "type": "u64" }],
  "outputs": [{ "name": "upper", "columns": [
    { "name": "word", "type": "string" }, { "name": "nth", "type": "u64" }
  ] }]
}"#;

struct RecordUpper;

impl Guest for RecordUpper {
    fn describe() -> String {
        DESCRIPTOR.to_owned()
    }

    fn open(_context: String) -> Result<(), Fault> {
        Ok(())
    }

    fn process(row: InputRecord) -> Result<Effects, Fault> {
        let fault = |message: &str| Fault {
            row: Some(0),
            message: message.to_owned(),
        };
        let [Cell::Text(word)] = row.cells.as_slice() else {
            return Err(fault("the record is not one word"));
        };
        match word.as_str() {
            "" => return Ok(refused("an empty word")),
            "fault" => return Err(fault("told to fault")),
            "trap" => panic!("told to trap"),
            _ => {}
        }
        let count = match &row.states[..] {
            [Some(bytes)] => bytes.as_slice().try_into().map(u64::from_le_bytes),
            _ => Ok(0),
        };
        let count = count.map_err(|_| fault("the state is not a u64"))? + 1;
        Ok(Effects {
            emitted: vec![OutputRecord {
                output: 0,
                cells: vec![Cell::Text(word.to_uppercase()), Cell::Unsigned(count)],
            }],
            states: vec![StateChange {
                state: 0,
                value: Some(count.to_le_bytes().to_vec()),
            }],
            rejected: None,
        })
    }
}

fn refused(reason: &str) -> Effects {
    Effects {
        emitted: Vec::new(),
        states: Vec::new(),
        rejected: Some(reason.to_owned()),
    }
}

export!(RecordUpper);
