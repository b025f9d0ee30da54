//! The golden vectors in docs/formats/vectors: what every SDK and the host agree on byte by byte.
//!
//! `BLESS=1 cargo test -p wasmill-sdk` writes batches.json and aggregates.json anew; look at the
//! difference.

mod aggregates;
mod alike;
mod batches;
mod descriptors;

use super::Harness;
use crate::prelude::*;
use crate::{Date, Decimal};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::PathBuf;

fn path(file: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../../docs/formats/vectors")
        .join(file)
}

fn read(file: &str) -> Json {
    let text = fs::read_to_string(path(file)).expect("the vectors stand in docs/formats");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[derive(State, Debug, PartialEq)]
struct Plain {
    n: u64,
    ok: bool,
}

#[derive(State, Debug, PartialEq)]
struct Mixed {
    a: Option<i8>,
    b: Vec<i8>,
}

#[derive(State, Debug, PartialEq)]
struct One {
    a: i8,
}

#[derive(State, Debug, PartialEq)]
struct Two {
    a: u8,
    b: u8,
}

/// Decodes octets as the type of that name and encodes them again; none if they are refused.
fn round_trip(kind: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    fn of<T: State>(kind: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut text = String::new();
        T::type_text(&mut text);
        assert_eq!(text, kind);
        super::decode::<T>(bytes)
            .ok()
            .map(|value| super::encode(&value))
    }
    match kind {
        "bool" => of::<bool>(kind, bytes),
        "i8" => of::<i8>(kind, bytes),
        "u8" => of::<u8>(kind, bytes),
        "u16" => of::<u16>(kind, bytes),
        "i64" => of::<i64>(kind, bytes),
        "u64" => of::<u64>(kind, bytes),
        "f32" => of::<f32>(kind, bytes),
        "f64" => of::<f64>(kind, bytes),
        "decimal(12,2)" => of::<Decimal<12, 2>>(kind, bytes),
        "decimal(3,3)" => of::<Decimal<3, 3>>(kind, bytes),
        "decimal(2,1)" => of::<Decimal<2, 1>>(kind, bytes),
        "decimal(38,0)" => of::<Decimal<38, 0>>(kind, bytes),
        "date" => of::<Date>(kind, bytes),
        "timestamp" => of::<Timestamp>(kind, bytes),
        "string" => of::<String>(kind, bytes),
        "bytes" => of::<Box<[u8]>>(kind, bytes),
        "bytes(3)" => of::<[u8; 3]>(kind, bytes),
        "u8?" => of::<Option<u8>>(kind, bytes),
        "list<u8>" => of::<Vec<u8>>(kind, bytes),
        "list<string?>" => of::<Vec<Option<String>>>(kind, bytes),
        "struct<n: u64, ok: bool>" => of::<Plain>(kind, bytes),
        "struct<a: i8?, b: list<i8>>?" => of::<Option<Mixed>>(kind, bytes),
        "struct<a: i8>?" => of::<Option<One>>(kind, bytes),
        "struct<a: u8, b: u8>" => of::<Two>(kind, bytes),
        other => panic!("a vector of type {other}: name it here"),
    }
}

#[test]
fn state_bytes_are_those_of_the_vectors() {
    let vectors = read("state.json");
    for case in vectors["values"].as_array().expect("a list") {
        let bytes = case["bytes"].as_str().expect("hexadecimal");
        let kind = case["type"].as_str().expect("a type");
        let again = round_trip(kind, &unhex(bytes)).map(|bytes| hex(&bytes));
        assert_eq!(again.as_deref(), Some(bytes), "{case}");
    }
    for case in vectors["refused"].as_array().expect("a list") {
        let bytes = unhex(case["bytes"].as_str().expect("hexadecimal"));
        let kind = case["type"].as_str().expect("a type");
        assert_eq!(round_trip(kind, &bytes), None, "{case}");
    }
}

/// Sets and deletes timers as its rows say, and emits what happens.
struct Clockwork;

#[derive(Row, Clone, Copy)]
struct Tick<'a> {
    set: &'a str,
    delete: &'a str,
    at: EventTime,
}

#[derive(Row)]
struct Event<'a> {
    event: &'a str,
}

#[derive(Timers, Clone, Copy)]
enum Alarm {
    Alarm,
}

#[derive(States)]
#[states(timer = Alarm)]
struct Alarms {
    fired: Value<u32>,
}

impl Operator for Clockwork {
    const PLUGIN: Plugin = plugin!("clockwork");
    type Config = ();
    type Input<'a> = Tick<'a>;
    type Output<'a> = Event<'a>;
    type State = Alarms;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Tick<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let event = format!("row {}", row.at.as_micros());
        cx.emit(Event { event: &event });
        for at in row.set.split_terminator(' ') {
            cx.set_timer(Alarm::Alarm, Timestamp::from_micros(at.parse()?));
        }
        for at in row.delete.split_terminator(' ') {
            cx.delete_timer(Alarm::Alarm, Timestamp::from_micros(at.parse()?));
        }
        Ok(())
    }

    fn on_timer(&mut self, _alarm: Alarm, at: Timestamp, cx: &mut Context<'_, Self>) {
        cx.state.fired.update(|fired| *fired += 1);
        let event = format!("timer {}", at.as_micros());
        cx.emit(Event { event: &event });
    }
}

fn numbers(json: &Json) -> Vec<i64> {
    json.as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_i64)
        .collect()
}

fn spaced(json: &Json) -> String {
    numbers(json)
        .iter()
        .map(|number| format!("{number} "))
        .collect()
}

#[test]
fn timers_fire_as_in_the_vectors_however_the_rows_are_cut() {
    let vectors = read("timers.json");
    for case in vectors["cases"].as_array().expect("a list") {
        let rows = case["rows"].as_array().expect("a list");
        let key_clock = case["key_clock"].as_i64().expect("a time");
        for size in 1..=rows.len().max(1) {
            let mut harness = Harness::<Clockwork>::new("{}").keyed_by(&[]);
            let pending = spaced(&case["pending"]);
            let at = Timestamp::MIN.into();
            let first = Tick {
                set: &pending,
                delete: "",
                at,
            };
            harness
                .push_with_clocks(&[first], (&[i64::MIN], i64::MIN))
                .unwrap();
            let mut events = Vec::new();
            let texts: Vec<_> = rows
                .iter()
                .map(|row| (spaced(&row["set"]), spaced(&row["delete"])))
                .collect();
            let ticks: Vec<_> = rows
                .iter()
                .zip(&texts)
                .map(|(row, (set, delete))| {
                    let at = Timestamp::from_micros(row["time"].as_i64().expect("a time")).into();
                    Tick { set, delete, at }
                })
                .collect();
            let clocks: Vec<_> = rows
                .iter()
                .map(|row| row["clock"].as_i64().expect("a time"))
                .collect();
            let mut send = |ticks: &[Tick<'_>], clocks: &[i64], clock| {
                let effects = harness.push_with_clocks(ticks, (clocks, clock)).unwrap();
                events.extend(effects.rows().iter().map(|row| row.event.to_owned()));
            };
            for (ticks, clocks) in ticks.chunks(size).zip(clocks.chunks(size)) {
                send(ticks, clocks, clocks[clocks.len() - 1]);
            }
            send(&[], &[], key_clock);
            assert_eq!(json!(events), case["events"], "{} in {size}", case["name"]);
            let left: Vec<_> = harness
                .timers(&())
                .iter()
                .map(|(at, _)| at.as_micros())
                .collect();
            assert_eq!(json!(left), case["left"], "{} in {size}", case["name"]);
        }
    }
}
