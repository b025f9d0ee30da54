//! The golden segments of states and timers: a base as it is written of live state, and a delta on
//! it (docs/formats/vectors/states.json).

use serde_json::{Value as Json, json};
use wasmill_core::data_type;

use super::*;
use crate::golden::{self, hex};
use crate::segment::Address;

/// All key groups, of which only those of these keys have rows.
const KEYS: [u64; 4] = [1, 2, 3, 4];
/// After the states by key comes the one that is not, whose place stands for timers.
const TIMERS: usize = 6;

/// Each state of each key is written, at a time of its own, and timers of either clock are set.
fn first() -> Vec<Step> {
    let step = |key: u64, state: usize| Step {
        key,
        state,
        seed: (key as usize * 8 + state) as u8 | 1,
        time: key as i64 * 100 + state as i64 * 10,
    };
    let of_key = |key| (0..=TIMERS).map(move |state| step(key, state));
    let mut steps: Vec<Step> = KEYS.into_iter().flat_map(of_key).collect();
    steps.retain(|step| !step.seed.is_multiple_of(7));
    // Further items, entries, and timers: of one time and both clocks, and earlier ones.
    for (state, seed, time) in [
        (3, 4, 150),
        (4, 5, 160),
        (5, 6, 170),
        (TIMERS, 2, 160),
        (TIMERS, 3, 160),
        (TIMERS, 3, -50),
        (TIMERS, 2, 50),
    ] {
        steps.push(Step {
            key: 1,
            state,
            seed,
            time,
        });
    }
    steps
}

/// One key's value is another one, and a key that has a value alone is forgotten.
fn changes() -> Vec<Step> {
    let step = |key, seed| Step {
        key,
        state: 0,
        seed,
        time: 0,
    };
    vec![step(1, 2), step(5, 7)]
}

/// The subtask after the first steps, and the segments of two checkpoints.
fn written() -> (Vec<Subtask>, Model, Log, Vec<Segment>) {
    let mut all = subtasks(true, 1, &[]);
    all[0].index.track_changes();
    first().iter().for_each(|step| all[0].step(step));
    all[0].step(&Step {
        key: 5,
        state: 0,
        seed: 1,
        time: 0,
    });
    let mut log = Log::default();
    log.checkpoint((1, Fate::Decided), &mut all, &[]);
    let base = whole(&mut all);
    changes().iter().for_each(|step| all[0].step(step));
    let segments = log.checkpoint((2, Fate::Decided), &mut all, &[]);
    (all, base, log, segments)
}

/// A segment's rows, and their addresses.
fn described(reader: &Reader) -> Json {
    let mut rows = Vec::new();
    for part in reader.rows(KeyGroupRange::all(KEY_GROUPS_DEFAULT)) {
        let part = part.expect("golden rows");
        for row in (0..part.len()).map(|at| part.get(at)) {
            let Address { kind, name } = &reader.addresses()[row.address];
            rows.push(json!({
                "key_group": row.key_group,
                "key": hex(row.key),
                "kind": kind.name(),
                "state": name,
                "entry": row.entry.map(hex),
                "value": row.value.map(hex),
                "time": row.time,
            }));
        }
    }
    rows.into()
}

fn told(log: &Log, segments: &[Segment]) -> Json {
    let states = states().into_iter().filter(|state| state.kind.is_keyed());
    let state = |state: State| {
        let print =
            |field: &arrow_schema::Field| data_type::print(field.data_type(), field.is_nullable());
        let is_timed = state.ttl.is_some();
        let (key, value) = (state.key.as_ref().map(print), print(&state.value));
        (
            state.name,
            json!({ "key": key, "type": value, "ttl": is_timed }),
        )
    };
    let readers = log.readers(segments);
    let clocks = |name: &str| json!({ "time": name });
    json!({
        "doc": "What states and timers of one subtask leave in a segment (docs/formats/segment.md): \
                the rows of states.arrow, a base, and of states-delta.arrow, a delta on it, with \
                the types of the states. A state with `ttl` has the time of its last write.",
        "states": states.map(state).collect::<serde_json::Map<_, _>>(),
        "timers": { "a": clocks("event"), "b": clocks("processing") },
        "base": described(&readers[0]),
        "delta": described(&readers[1]),
    })
}

#[test]
fn states_and_timers_have_golden_segments() {
    let (mut was, base, log, segments) = written();
    let files = ["states.arrow", "states-delta.arrow"];
    assert_eq!(segments.len(), files.len(), "a base and a delta");
    golden::check("states.json", &told(&log, &segments));
    let mut readers = Vec::new();
    for (file, segment) in files.iter().zip(&segments) {
        let now = &log.files[&segment.object.name].bytes;
        if golden::is_blessed() {
            std::fs::write(golden::path(file), now).expect("a place");
        }
        let bytes = std::fs::read(golden::path(file)).expect("the golden file");
        assert!(bytes == *now, "what is written has changed: {file}");
        readers.push(Reader::open(bytes.into(), segment).expect("the golden file"));
    }
    for (readers, expected) in [(&readers[..1], base), (&readers[..], whole(&mut was))] {
        let mut is = subtasks(true, 1, &[]);
        is[0].restore(readers).expect("golden rows");
        assert_eq!(whole(&mut is), expected, "what is read has changed");
    }
}
