//! The host reads the golden calls of docs/formats/vectors as the SDKs mean them.

use std::path::PathBuf;

use serde_json::{Value as Json, json};
use wasmill_core::boundary::{
    Decoder, Effects, Layout, Question, StateChanges, StateKind, StateLayout, TimerAction,
    ValueType, Values,
};
use wasmill_core::descriptor::{Descriptor, Kind};

fn vectors() -> Json {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let path = here.join("../../docs/formats/vectors/batches.json");
    let text = std::fs::read_to_string(path).expect("the vectors stand in docs/formats");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn layout(descriptor: &Descriptor) -> Layout {
    let value = |field: &arrow_schema::Field| {
        ValueType::new(field.data_type().clone(), field.is_nullable())
    };
    let state = |state: &wasmill_core::descriptor::State| StateLayout {
        kind: match state.kind {
            Kind::List => StateKind::List,
            Kind::Map => StateKind::Map,
            Kind::Operator => StateKind::Operator,
            Kind::Broadcast => StateKind::Broadcast,
            _ => StateKind::Value,
        },
        map_key: state.key.as_ref().map(value),
        value: value(&state.value),
    };
    let (inputs, outputs) = (descriptor.inputs.iter(), descriptor.outputs.iter());
    Layout {
        inputs: inputs.map(|input| input.schema.clone()).collect(),
        states: descriptor.states.iter().map(state).collect(),
        timers: u32::try_from(descriptor.timers.len()).expect("a few timers"),
        outputs: outputs.map(|output| output.schema.clone()).collect(),
    }
}

/// A directory, and the bytes of its arena.
fn buffers(json: &Json) -> (Vec<u32>, Vec<u8>) {
    let entries = json["directory"].as_array().expect("entries").iter();
    let numbers = entries.flat_map(|entry| entry.as_array().expect("five numbers"));
    let digits = json["arena"].as_str().expect("digits").as_bytes();
    let pairs = digits
        .chunks(2)
        .map(|pair| str::from_utf8(pair).expect("digits"));
    let bytes = pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits"));
    (numbers.map(word).collect(), bytes.collect())
}

fn word(number: &Json) -> u32 {
    let number = number.as_u64().expect("a number");
    u32::try_from(number).expect("a word")
}

/// The word of `N` bytes at a place.
fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the arena reaches so far")
}

/// The number of keys of a batch, and its pending timers.
fn keys_and_timers(json: &Json) -> (u32, Vec<(u32, u32, i64)>) {
    let (directory, bytes) = buffers(json);
    let find = |section: u32, column: u32, kind: u32| {
        let mut entries = directory.chunks(5);
        entries.find(|entry| entry[..3] == [section << 16, column, kind])
    };
    let keys = find(3, 0, 0).map_or(0, |entry| entry[3]);
    let rows = find(5, 0, 0).map_or(0, |entry| entry[3]) as usize;
    let at = |column| find(5, column, 2).map_or(0, |entry| entry[3] as usize);
    let word = |column, row| u32::from_le_bytes(bytes_at(&bytes, at(column) + row * 4));
    let time = |row| i64::from_le_bytes(bytes_at(&bytes, at(2) + row * 8));
    let timers = (0..rows).map(|row| (word(0, row), word(1, row), time(row)));
    (keys, timers.collect())
}

/// Whether the rows of a batch are of a broadcast input.
fn is_broadcast(descriptor: &Descriptor, batch: &Json) -> bool {
    let (directory, _) = buffers(batch);
    let mut inputs = (0_u32..).zip(&descriptor.inputs);
    inputs.any(|(at, input)| {
        let section = 1 << 16 | at;
        input.broadcast && directory.chunks(5).any(|entry| entry[0] == section)
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn all(values: &Values<'_>, count: usize) -> Vec<Option<String>> {
    (0..count).map(|i| values.get(i).map(hex)).collect()
}

fn state(changes: &StateChanges<'_>) -> Json {
    match changes {
        StateChanges::Value {
            state,
            keys,
            values,
        } => {
            json!({ "state": state, "keys": keys, "values": all(values, keys.len()) })
        }
        StateChanges::List {
            state,
            keys,
            drops,
            offsets,
            items,
        } => {
            let ends: Vec<_> = offsets.iter().map(|end| *end as usize).collect();
            let item = |i| items.get(i).map(hex);
            let of = |pair: &[usize]| (pair[0]..pair[1]).map(item).collect::<Vec<_>>();
            let items: Vec<_> = ends.windows(2).map(of).collect();
            json!({ "state": state, "keys": keys, "drops": drops, "items": items })
        }
        StateChanges::Map {
            state,
            cleared,
            keys,
            entries,
            values,
        } => json!({
            "state": state, "cleared": cleared, "keys": keys,
            "entries": all(entries, keys.len()), "values": all(values, keys.len()),
        }),
        StateChanges::Operator { state, value } => {
            json!({ "state": state, "values": [value.map(hex)] })
        }
        StateChanges::Broadcast {
            state,
            count,
            entries,
            values,
        } => json!({
            "state": state, "entries": all(entries, *count), "values": all(values, *count),
        }),
    }
}

/// The effects as the vectors tell them.
fn tell(effects: &Effects<'_>, outputs: usize) -> Json {
    let causes = |output: usize| {
        let rows = effects.outputs.iter().find(|rows| rows.output == output);
        json!({ "causes": rows.map(|rows| rows.causes.to_vec()).unwrap_or_default() })
    };
    let reasons = (0..effects.rejects.len()).map(|i| effects.rejects.reason(i));
    let timers = &effects.timers;
    let action = |action| match action {
        TimerAction::Set => 0,
        TimerAction::Deleted => 1,
        TimerAction::Fired => 2,
    };
    json!({
        "outputs": (0..outputs).map(causes).collect::<Vec<_>>(),
        "rejects": { "rows": effects.rejects.rows, "reasons": reasons.collect::<String>() },
        "states": effects.states.iter().map(state).collect::<Vec<_>>(),
        "timers": {
            "keys": timers.iter().map(|timer| timer.key).collect::<Vec<_>>(),
            "timers": timers.iter().map(|timer| timer.timer).collect::<Vec<_>>(),
            "times": timers.iter().map(|timer| timer.time).collect::<Vec<_>>(),
            "actions": timers.iter().map(|timer| action(timer.action)).collect::<Vec<_>>(),
        },
    })
}

#[test]
fn answers_mean_what_the_vectors_say() {
    for case in vectors()["cases"].as_array().expect("a list") {
        let name = &case["name"];
        let descriptor = Descriptor::parse(&case["descriptor"].to_string());
        let descriptor = descriptor.unwrap_or_else(|error| panic!("{name}: {error}"));
        let layout = layout(&descriptor);
        let (keys, timers) = keys_and_timers(&case["batch"]);
        let question = Question {
            rows: word(&case["batch"]["rows"]),
            keys,
            timers: &timers,
            is_broadcast: is_broadcast(&descriptor, &case["batch"]),
            output_rows_max: 100,
        };
        let (directory, bytes) = buffers(&case["answer"]);
        let words = (0..bytes.len()).step_by(8);
        let words = words.map(|at| u64::from_le_bytes(bytes_at(&bytes, at)));
        let arena: Vec<u64> = words.collect();
        let mut decoder = Decoder::new();
        let effects = decoder.decode(&layout, &question, &directory, &arena);
        let effects = effects.unwrap_or_else(|error| panic!("{name}: {error}"));
        let told = tell(&effects, layout.outputs.len());
        assert_eq!(told, case["effects"], "{name}");
    }
}

/// The calls of aggregates.
fn aggregates() -> Json {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let path = here.join("../../docs/formats/vectors/aggregates.json");
    let text = std::fs::read_to_string(path).expect("the vectors stand in docs/formats");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

/// The words of an arena.
fn words(bytes: &[u8]) -> Vec<u64> {
    let words = (0..bytes.len()).step_by(8);
    let words = words.map(|at| u64::from_le_bytes(bytes_at(bytes, at)));
    words.collect()
}

#[test]
fn answers_of_aggregates_mean_what_the_vectors_say() {
    for case in aggregates()["cases"].as_array().expect("a list") {
        let name = &case["name"];
        let descriptor = Descriptor::parse(&case["descriptor"].to_string());
        let descriptor = descriptor.unwrap_or_else(|error| panic!("{name}: {error}"));
        let aggregate = descriptor.aggregate.expect("the vectors are of aggregates");
        let state = |field: &arrow_schema::Field| StateLayout {
            kind: StateKind::Value,
            map_key: None,
            value: ValueType::new(field.data_type().clone(), field.is_nullable()),
        };
        let layout = Layout {
            states: vec![state(&aggregate.accumulator), state(&aggregate.result)],
            ..Layout::default()
        };
        let (batch, _) = buffers(&case["batch"]);
        let count = |group: u32| {
            let mut entries = batch.chunks(5);
            let found = entries.find(|entry| entry[0] == group << 16 && entry[2] == 0);
            found.map_or(0, |entry| entry[3])
        };
        let question = Question {
            rows: word(&case["batch"]["rows"]),
            keys: count(4) + count(7),
            output_rows_max: 100,
            ..Question::default()
        };
        let (directory, bytes) = buffers(&case["answer"]);
        let (mut decoder, arena) = (Decoder::new(), words(&bytes));
        let effects = decoder.decode(&layout, &question, &directory, &arena);
        let effects = effects.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut found = Vec::new();
        for change in &effects.states {
            let StateChanges::Value { keys, values, .. } = change else {
                panic!("{name}: {change:?}");
            };
            for (at, key) in keys.iter().enumerate() {
                let value = values.get(at).expect("a value");
                // The sum is the first field of an accumulator; of a result it follows the byte
                // that says that there is one.
                let skip = usize::from(case["call"] == "results");
                let sum = i64::from_le_bytes(bytes_at(value, skip));
                found.push(json!([key, sum]));
            }
        }
        assert_eq!(Json::from(found), case["sums"], "{name}");
        assert_eq!(effects.rejects.len(), usize::from(case["call"] == "add"));
    }
}
