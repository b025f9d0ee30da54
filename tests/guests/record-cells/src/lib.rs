//! An operator on single records with a column of each type. It passes its cells on as they came,
//! with the names of their cases, the record's time, and what two clocks tell behind them.

wit_bindgen::generate!({
    path: "../../../wit",
    world: "single-record-operator",
});

use exports::wasmill::operator::record_operator::{
    Cell, Effects, Fault, Guest, InputRecord, OutputRecord,
};
use std::time::{SystemTime, UNIX_EPOCH};
use wasmill::operator::clock;

macro_rules! columns {
    () => {
        r#"
    { "name": "flag", "type": "bool?" },
    { "name": "byte", "type": "i8?" },
    { "name": "whole", "type": "i64?" },
    { "name": "short", "type": "u16?" },
    { "name": "large", "type": "u64?" },
    { "name": "single", "type": "f32?" },
    { "name": "double", "type": "f64?" },
    { "name": "price", "type": "decimal(12,2)?" },
    { "name": "at", "type": "timestamp?" },
    { "name": "day", "type": "date?" },
    { "name": "word", "type": "string?" },
    { "name": "octets", "type": "bytes?" },
    { "name": "four", "type": "bytes(4)?" },
    { "name": "list", "type": "list<i32>?" },
    { "name": "pair", "type": "struct<a: u8, b: string>?" }"#
    };
}

const DESCRIPTOR: &str = concat!(
    r#"{
  "descriptor": 1,
  "name": "record-cells",
  "version": "0.1.0",
  "inputs": [{ "name": "rows", "time": true, "columns": ["#,
    columns!(),
    r#"
  ] }],
  "outputs": [{ "name": "same", "columns": ["#,
    columns!(),
    r#",
    { "name": "cases", "type": "string" },
    { "name": "time", "type": "timestamp?" },
    { "name": "now", "type": "timestamp" },
    { "name": "system", "type": "timestamp" }
  ] }]
}"#
);

struct RecordCells;

impl Guest for RecordCells {
    fn describe() -> String {
        DESCRIPTOR.to_owned()
    }

    fn open(_context: String) -> Result<(), Fault> {
        Ok(())
    }

    fn process(row: InputRecord) -> Result<Effects, Fault> {
        let mut cells = row.cells;
        let cases: Vec<&str> = cells.iter().map(case).collect();
        let cases = cases.join(" ");
        cells.push(Cell::Text(format!("{} {cases}", row.input)));
        cells.push(row.time.map_or(Cell::Null, Cell::Timestamp));
        cells.push(Cell::Timestamp(clock::now()));
        cells.push(Cell::Timestamp(system_us()));
        Ok(Effects {
            emitted: vec![OutputRecord { output: 0, cells }],
            states: Vec::new(),
            rejected: None,
        })
    }
}

/// What the system's clock tells, in microseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "the sandbox answers with the record's time"
)]
fn system_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_micros() as i64
}

fn case(cell: &Cell) -> &'static str {
    match cell {
        Cell::Null => "null",
        Cell::Bool(_) => "bool",
        Cell::Signed(_) => "signed",
        Cell::Unsigned(_) => "unsigned",
        Cell::Float(_) => "float",
        Cell::Decimal(_) => "decimal",
        Cell::Timestamp(_) => "timestamp",
        Cell::Text(_) => "text",
        Cell::Octets(_) => "octets",
    }
}

export!(RecordCells);
