//! The golden bytes of what joins keep (docs/formats/vectors/joins.json).

use arrow_array::{ArrayRef, StringArray};
use serde_json::{Value as Json, json};

use super::*;
use crate::data_type;
use crate::encoding;
use crate::golden::{self, hex, unhex};
use crate::lineage::trail;

const SECOND: i64 = 1_000_000;
/// The number of the key of all rows.
const KEY: u32 = 7;

fn columns() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("number", DataType::UInt64, false),
        Field::new("note", DataType::Utf8, true),
    ]))
}

/// Rows of one side and one key: the time of each in seconds, its number and a note. They are rows
/// of one split, with offsets from 5 on.
fn side(split: u32, rows: &[(i64, u64, Option<&str>)], has_times: bool) -> Batch {
    let numbers = UInt64Array::from_iter_values(rows.iter().map(|row| row.1));
    let notes: StringArray = rows.iter().map(|row| row.2).collect();
    let all: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(notes)];
    let chunk = Chunk {
        split,
        split_name: "a".into(),
        first_offset: 5,
        ..Chunk::default()
    };
    let lineage = Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), rows.len());
    let rows_of = RecordBatch::try_new(columns(), all).expect("two columns");
    let times = rows.iter().map(|row| row.0 * SECOND).collect();
    Batch {
        times: has_times.then_some(times),
        ..Batch::new(rows_of, lineage)
    }
}

fn kinds() -> [(JoinKind, JoinType); 6] {
    [
        (
            JoinKind::Interval {
                lower_us: -SECOND / 2,
                upper_us: 60 * SECOND,
            },
            JoinType::Full,
        ),
        (
            JoinKind::Window {
                size_us: 60 * SECOND,
                every_us: 60 * SECOND,
                offset_us: 0,
            },
            JoinType::Left,
        ),
        (
            JoinKind::Window {
                size_us: 60 * SECOND,
                every_us: 20 * SECOND,
                offset_us: SECOND,
            },
            JoinType::Right,
        ),
        (JoinKind::AsOf { max_age_us: None }, JoinType::Inner),
        (
            JoinKind::AsOf {
                max_age_us: Some(3_600 * SECOND),
            },
            JoinType::Left,
        ),
        (JoinKind::Lookup, JoinType::Inner),
    ]
}

/// A join of this kind that has seen rows of one key, some of which have met.
fn seen(spec: &JoinSpec) -> Join {
    let mut join = Join::new("met", spec);
    let has_times = spec.kind != JoinKind::Lookup;
    let rights = [(1, 10, None), (3, 11, Some("é"))];
    let lefts = [(2, 1, Some("x")), (4, 2, None)];
    join.push(Side::Right, side(1, &rights, has_times), &[KEY; 2]);
    join.push(Side::Left, side(0, &lefts, has_times), &[KEY; 2]);
    while join.advance(5 * SECOND, 100).expect("one schema").is_some() {}
    join
}

fn encoded(row: &KeptRow<'_>) -> Vec<u8> {
    let (mut trail, mut bytes) = (Vec::new(), Vec::new());
    let (lineage, at) = row.lineage();
    trail::write(lineage, at, &mut trail);
    row.encode(&trail, &mut bytes).expect("plain");
    bytes
}

/// The three lists of the key, each with its rows as bytes.
fn lists(join: &mut Join) -> [(&'static str, Vec<Vec<u8>>); 3] {
    let image = join.image();
    let of = |side| image.rows(KEY, side).map(|row| encoded(&row)).collect();
    let waiting = image.waiting(KEY).map(|row| encoded(&row)).collect();
    [
        ("left", of(Side::Left)),
        ("right", of(Side::Right)),
        ("waiting", waiting),
    ]
}

fn vectors() -> Json {
    let item_type = entry_type(columns().fields());
    let case = |spec: JoinSpec| {
        let mut case = json!({ "definition": spec.to_string() });
        for (list, rows) in lists(&mut seen(&spec)) {
            let item = |bytes: &Vec<u8>| {
                let item = encoding::to_json(&item_type, false, bytes).expect("an item");
                json!({ "is": item, "bytes": hex(bytes) })
            };
            case[list] = rows.iter().map(item).collect();
        }
        case
    };
    json!({
        "doc": "What joins keep of one key (docs/formats/segment.md): the items of its three lists, \
                in hexadecimal and as they are called in JSON, after rows 10 and 11 of the right \
                side (seconds 1 and 3) and 1 and 2 of the left one (seconds 2 and 4), with the \
                watermark at second 5. Those of a lookup have no times, and its table is not read \
                to its end.",
        "type": data_type::print(&item_type, false),
        "cases": specs().map(case).collect::<Vec<_>>(),
    })
}

fn specs() -> impl Iterator<Item = JoinSpec> {
    let column = |name: &str, side| JoinedColumn {
        field: Field::new(name, DataType::UInt64, true),
        from: ColumnFrom::Side(side, 0),
    };
    kinds().into_iter().map(move |(kind, join_type)| JoinSpec {
        kind,
        join_type,
        columns: vec![column("left", Side::Left), column("right", Side::Right)],
    })
}

/// Keeps golden rows again.
fn restored(spec: &JoinSpec, case: &Json) -> Join {
    let mut join = Join::new("met", spec);
    join.restore_clock(5 * SECOND);
    let has_times = spec.kind != JoinKind::Lookup;
    let lists = [
        ("left", Side::Left),
        ("right", Side::Right),
        ("waiting", Side::Left),
    ];
    for (list, side) in lists {
        let items = case[list].as_array().expect("items");
        let items: Vec<Vec<u8>> = items.iter().map(|item| unhex(&item["bytes"])).collect();
        if items.is_empty() {
            continue;
        }
        let values = items.iter().map(Vec::as_slice);
        let decoded = decode_entries(&columns(), has_times, values);
        let (batch, trails, matched) = decoded.expect("golden bytes");
        let lineage = trail::read(trails.iter().flatten()).expect("golden trails");
        let matched = (list != "waiting").then_some(&matched[..]);
        let keys = vec![KEY; items.len()];
        join.restore(side, (Batch { lineage, ..batch }, &keys), matched);
    }
    join.restored(&[KEY], false);
    join
}

#[test]
fn joins_have_golden_bytes() {
    let golden = golden::check("joins.json", &vectors());
    for (spec, case) in specs().zip(golden["cases"].as_array().expect("cases")) {
        let (mut is, mut was) = (restored(&spec, case), seen(&spec));
        assert_eq!(lists(&mut is), lists(&mut was), "{spec}");
        // What comes of golden rows is what comes of rows that were never written.
        let outcomes = [&mut is, &mut was].map(|join| {
            join.loaded();
            let mut out = Vec::new();
            while let Some(batch) = join.advance(watermark::END, 100).expect("one schema") {
                out.extend((0..batch.len()).map(|row| joined(&batch, row)));
            }
            out
        });
        assert_eq!(outcomes[0], outcomes[1], "{spec}");
    }
}

/// The numbers of the rows that met.
fn joined(batch: &Batch, row: usize) -> [Option<u64>; 2] {
    [0, 1].map(|at| {
        let column = batch.rows.column(at).as_primitive::<UInt64Type>();
        column.is_valid(row).then(|| column.value(row))
    })
}
