//! Round trips of every type, and answers that were spoilt at random.

use arrow_array::cast::AsArray;
use proptest::prelude::*;

use super::*;

const TYPES: &[&str] = &[
    "bool",
    "i8",
    "i16",
    "i32",
    "i64",
    "u8",
    "u16",
    "u32",
    "u64",
    "f32",
    "f64",
    "decimal(12,2)",
    "date",
    "timestamp",
    "string",
    "bytes",
    "bytes(3)",
    "list<string?>",
    "list<list<i16>?>",
    "struct<a: bool, b: list<u64?>>",
    "struct<a: struct<b: decimal(38,0)>, c: bytes(5)?>",
];

proptest! {
    #[test]
    fn every_type_round_trips(
        types in prop::collection::vec((0..TYPES.len(), any::<bool>()), 1..6),
        rows in 0..70usize,
        cut in 0..9usize,
        seed in any::<u64>(),
    ) {
        let mut seed = seed;
        let fields: Vec<Field> = types
            .iter()
            .enumerate()
            .map(|(i, (at, nullable))| {
                let text = format!("{}{}", TYPES[*at], if *nullable { "?" } else { "" });
                data_type::parse_field(&format!("c{i}"), &text).expect("a type")
            })
            .collect();
        // Slices begin within bytes of bitmaps and within the data of texts.
        let columns: Vec<ArrayRef> = fields
            .iter()
            .map(|field| random::array(field, rows + cut, &mut seed).slice(cut, rows))
            .collect();
        let mut encoder = Encoder::new();
        encoder.begin(Group::Output, 0, rows as u32);
        let mut number = 0;
        for (field, column) in fields.iter().zip(&columns) {
            encoder.array(&mut number, field, column).expect("fits");
        }
        encoder.copy(column::CAUSE, Kind::Values, &vec![0u32; rows]);
        let layout = Layout {
            outputs: vec![Arc::new(Schema::new(fields))],
            ..Layout::default()
        };
        let (directory, arena) = encoder.finish().expect("small");
        let mut decoder = Decoder::new();
        let effects = decoder
            .decode(&layout, &question(), directory, arena)
            .map_err(|e| TestCaseError::fail(e.to_string()))?;
        let read = &effects.outputs[0].rows;
        for (column, read) in columns.iter().zip(read.columns()) {
            prop_assert_eq!(column, read);
        }
    }

    #[test]
    fn floats_cross_bit_by_bit(bits in prop::collection::vec(any::<u64>(), 1..20)) {
        let field = data_type::parse_field("f", "f64").expect("a type");
        let values = bits.iter().map(|b| f64::from_bits(*b));
        let values = arrow_array::Float64Array::from_iter_values(values);
        let mut encoder = Encoder::new();
        encoder.begin(Group::Output, 0, bits.len() as u32);
        encoder.array(&mut 0, &field, &values).expect("fits");
        encoder.copy(column::CAUSE, Kind::Values, &vec![0u32; bits.len()]);
        let outputs = vec![Arc::new(Schema::new(vec![field]))];
        let layout = Layout { outputs, ..Layout::default() };
        let (directory, arena) = encoder.finish().expect("small");
        let mut decoder = Decoder::new();
        let effects = decoder.decode(&layout, &question(), directory, arena);
        let effects = effects.map_err(|e| TestCaseError::fail(e.to_string()))?;
        let read = effects.outputs[0].rows.column(0);
        let read = read.as_primitive::<arrow_array::types::Float64Type>();
        let read: Vec<u64> = read.values().iter().map(|f| f.to_bits()).collect();
        prop_assert_eq!(read, bits);
    }
}

/// Spoils a good answer in a few places: the decoder says yes or no, and never panics.
#[test]
fn spoilt_answers_never_panic() {
    let good = answer();
    let (directory, arena) = good.finish().expect("small");
    let (layout, question) = (layout(), question());
    let mut decoder = Decoder::new();
    let mut refused = 0;
    let rounds = std::env::var("WASMILL_FUZZ_ROUNDS")
        .ok()
        .and_then(|r| r.parse().ok());
    for round in 0..rounds.unwrap_or(50_000u64) {
        let mut seed = round;
        let (mut directory, mut arena) = (directory.to_vec(), arena.to_vec());
        for _ in 0..=random::next(&mut seed) % 3 {
            spoil(&mut directory, &mut arena, &mut seed);
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let answer = decoder.decode(&layout, &question, &directory, &arena);
            answer.map(|effects| walk(&effects)).is_err()
        }));
        match outcome {
            Ok(is_refused) => refused += u64::from(is_refused),
            Err(_) => panic!("the decoder panicked at seed {round}"),
        }
    }
    assert!(refused > 0, "no answer was refused");
}

fn spoil(directory: &mut Vec<u32>, arena: &mut Vec<u64>, seed: &mut u64) {
    let interesting = [
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        16,
        0x7FFF_FFFF,
        0x8000_0000,
        0xFFFF_FFFF,
    ];
    let pick = |seed: &mut u64, end: usize| (random::next(seed) % end.max(1) as u64) as usize;
    let value = interesting[pick(seed, interesting.len())];
    match pick(seed, 8) {
        0 => directory.truncate(pick(seed, directory.len())),
        1 => arena.truncate(pick(seed, arena.len())),
        2 if arena.len() > 1 => {
            let at = pick(seed, arena.len());
            arena[at] ^= 1 << pick(seed, 64);
        }
        3 if arena.len() > 1 => {
            let at = pick(seed, arena.len());
            arena[at] = u64::from(value) << (32 * pick(seed, 2));
        }
        4 if directory.len() > 10 => {
            let (from, to) = (
                pick(seed, directory.len() / 5),
                pick(seed, directory.len() / 5),
            );
            directory.copy_within(from * 5..from * 5 + 5, to * 5);
        }
        5 if directory.len() > 1 => {
            let at = pick(seed, directory.len());
            directory[at] = directory[at]
                .wrapping_add(8)
                .wrapping_sub(16 * pick(seed, 2) as u32);
        }
        _ if directory.len() > 1 => {
            let at = pick(seed, directory.len());
            directory[at] = value;
        }
        _ => {}
    }
}

/// Touches everything that an accepted answer gives.
fn walk(effects: &Effects<'_>) -> usize {
    let mut bytes = 0;
    for output in &effects.outputs {
        bytes += format!("{:?}", output.rows).len();
    }
    for i in 0..effects.rejects.len() {
        bytes += effects.rejects.reason(i).len();
    }
    let sum = |values: &Values<'_>, n: usize| {
        (0..n)
            .filter_map(|i| values.get(i))
            .map(<[u8]>::len)
            .sum::<usize>()
    };
    for changes in &effects.states {
        bytes += match changes {
            StateChanges::Value { keys, values, .. } => sum(values, keys.len()),
            StateChanges::List { offsets, items, .. } => {
                sum(items, offsets[offsets.len() - 1] as usize)
            }
            StateChanges::Map {
                keys,
                entries,
                values,
                ..
            } => sum(entries, keys.len()) + sum(values, keys.len()),
            StateChanges::Broadcast {
                count,
                entries,
                values,
                ..
            } => sum(entries, *count) + sum(values, *count),
            StateChanges::Operator { value, .. } => value.map_or(0, <[u8]>::len),
        };
    }
    bytes
}
