mod golden;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::lineage::{Ancestor, Cause, Chunk, Lineage};

/// A row of a test: key, time, and the number by which it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    key: u32,
    time: i64,
    number: u64,
}

/// What comes out: the numbers of the rows that met, the time, the number of the window.
type Outcome = (u32, Option<u64>, Option<u64>, i64, u32);

fn batch(rows: &[Row]) -> (Batch, Vec<u32>) {
    let fields = ["number", "key"].map(|name| Field::new(name, DataType::UInt64, false));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let numbers = rows.iter().map(|row| row.number);
    let keys = rows.iter().map(|row| u64::from(row.key));
    let columns: Vec<arrow_array::ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(numbers)),
        Arc::new(UInt64Array::from_iter_values(keys)),
    ];
    let chunk = Chunk {
        offsets: rows.iter().map(|row| row.number).collect(),
        ..Chunk::default()
    };
    let lineage = Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), rows.len());
    let batch = Batch {
        times: Some(rows.iter().map(|row| row.time).collect()),
        ..Batch::new(
            RecordBatch::try_new(schema, columns).expect("two columns"),
            lineage,
        )
    };
    (batch, rows.iter().map(|row| row.key).collect())
}

fn spec(kind: JoinKind, join_type: JoinType) -> JoinSpec {
    let column = |name: &str, nullable, from| JoinedColumn {
        field: Field::new(name, DataType::UInt64, nullable),
        from,
    };
    JoinSpec {
        kind,
        join_type,
        columns: vec![
            column("left", true, ColumnFrom::Side(Side::Left, 0)),
            column("right", true, ColumnFrom::Side(Side::Right, 0)),
            column("key", false, ColumnFrom::Either(1, 1)),
        ],
    }
}

/// Rows of both sides in the order of event time, and where the watermark moves and batches end.
struct Run<'a> {
    sides: [&'a [Row]; 2],
    steps: &'a [i64],
    rows_max: usize,
    /// After how many steps the join is taken down and built anew from its image.
    restart: Option<usize>,
    /// Whether keys leave after each step, some of them, and come back when they are needed.
    leave: bool,
}

impl Run<'_> {
    fn outcomes(&self, spec: &JoinSpec) -> Vec<Outcome> {
        let mut join = Join::new("met", spec);
        let (mut outcomes, mut at) = (Vec::new(), [0; 2]);
        let mut balance = 0_i64;
        let clocks = self.steps.iter().copied().chain([watermark::END]);
        let mut away: Vec<Away> = Vec::new();
        for (step, clock) in clocks.enumerate() {
            let dues = Side::BOTH.map(|side| {
                let rows = &self.sides[side.index()][at[side.index()]..];
                rows.partition_point(|row| row.time < clock)
            });
            let is_needed = |away: &Away| {
                let of = |side: Side| {
                    let from = at[side.index()];
                    &self.sides[side.index()][from..from + dues[side.index()]]
                };
                let mut rows = Side::BOTH.into_iter().flat_map(of);
                rows.any(|row| row.key == away.key)
            };
            let (needed, others): (Vec<Away>, Vec<Away>) = away.drain(..).partition(is_needed);
            balance += come_back(&mut join, &needed, watermark::START);
            for side in Side::BOTH {
                let rows = &self.sides[side.index()][at[side.index()]..];
                let due = dues[side.index()];
                at[side.index()] += due;
                for piece in rows[..due].chunks(self.rows_max) {
                    let (batch, keys) = batch(piece);
                    balance += keys.len() as i64;
                    join.push(side, batch, &keys);
                }
            }
            if spec.kind == JoinKind::Lookup && clock == watermark::END {
                join.loaded();
            }
            // Keys that are not needed for rows are for what is due of them.
            for is_due in [false, true] {
                if is_due {
                    balance += come_back(&mut join, &others, clock);
                }
                while let Some(batch) = join.advance(clock, self.rows_max).expect("one schema") {
                    outcomes.extend(read(&batch));
                    balance -= join.released().count() as i64;
                }
                balance -= join.released().count() as i64;
            }
            assert_eq!(balance, join.len() as i64, "rows that are kept");
            if self.leave && spec.kind != JoinKind::Lookup && clock < watermark::END {
                away = (0..4)
                    .filter(|key| !(*key as usize + step).is_multiple_of(3))
                    .map(|key| leave(&mut join, key, clock))
                    .collect();
                balance = join.len() as i64;
            }
            if self.restart == Some(step) {
                join = restart(&mut join, spec, clock);
            }
        }
        if matches!(
            spec.kind,
            JoinKind::Interval { .. } | JoinKind::Window { .. }
        ) {
            assert!(join.is_empty(), "nothing is kept at the end of time");
        }
        outcomes
    }
}

/// The rows of a key that has left, as bytes.
struct Away {
    key: u32,
    sides: [Vec<Vec<u8>>; 2],
    /// What was due before it had been done.
    done: i64,
}

fn leave(join: &mut Join, key: u32, done: i64) -> Away {
    let sides = Side::BOTH.map(|side| {
        let rows = join.kept(key, side);
        rows.map(|(row, _)| bytes(&row)).collect::<Vec<_>>()
    });
    let taken = join.take(key);
    assert_eq!(taken, sides[0].len() + sides[1].len());
    Away { key, sides, done }
}

/// Keys come back; gives how many rows they have.
fn come_back(join: &mut Join, away: &[Away], clock: i64) -> i64 {
    let mut count = 0;
    for of in away {
        for side in Side::BOTH {
            put_back(join, side, of.key, &of.sides[side.index()], false);
            count += of.sides[side.index()].len() as i64;
        }
        join.restored(&[of.key], of.done < clock);
    }
    count
}

fn bytes(row: &KeptRow<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (lineage, at) = row.lineage();
    let (_, offset) = lineage.position(at).expect("a source's row");
    row.encode(&offset.to_le_bytes(), &mut bytes)
        .expect("plain");
    bytes
}

fn put_back(join: &mut Join, side: Side, key: u32, rows: &[Vec<u8>], waits: bool) {
    if rows.is_empty() {
        return;
    }
    let schema = batch(&[]).0.rows.schema();
    let values = rows.iter().map(Vec::as_slice);
    let (batch, trails, matched) = decode_entries(&schema, true, values).expect("our own");
    let offset = |trail: &[u8]| u64::from_le_bytes(trail.try_into().expect("eight bytes"));
    let chunk = Chunk {
        offsets: trails.iter().flatten().map(offset).collect(),
        ..Chunk::default()
    };
    let keys = vec![key; batch.len()];
    let lineage = Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), keys.len());
    let matched = (!waits).then_some(&matched[..]);
    join.restore(side, (Batch { lineage, ..batch }, &keys), matched);
}

/// The join, built anew from its image; keys keep their numbers.
fn restart(join: &mut Join, spec: &JoinSpec, clock: i64) -> Join {
    let image = join.image();
    let mut anew = Join::new("met", spec);
    anew.restore_clock(clock);
    let mut keys: Vec<u32> = image.keys().collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys.iter().copied() {
        for side in Side::BOTH {
            let rows: Vec<Vec<u8>> = image.rows(key, side).map(|row| bytes(&row)).collect();
            put_back(&mut anew, side, key, &rows, false);
        }
        let rows: Vec<Vec<u8>> = image.waiting(key).map(|row| bytes(&row)).collect();
        put_back(&mut anew, Side::Left, key, &rows, true);
    }
    anew.restored(&keys, false);
    assert_eq!(anew.len(), join.len());
    anew
}

fn read(batch: &Batch) -> Vec<Outcome> {
    let column = |at: usize| batch.rows.column(at).as_primitive::<UInt64Type>().clone();
    let (left, right, key) = (column(0), column(1), column(2));
    let times = batch.times.clone().expect("joined rows have times");
    let of = |row: usize| {
        let number = |of: &UInt64Array| of.is_valid(row).then(|| of.value(row));
        let Some((Ancestor::Derived(derived), at)) = batch.lineage.origin(row) else {
            panic!("a join emitted it");
        };
        let Cause::Join(cause) = &derived.causes[at as usize] else {
            panic!("a join emitted it");
        };
        let offset = |row: u32| derived.parent.position(row as usize).map(|(_, at)| at);
        assert_eq!(cause.left.and_then(offset), number(&left), "the left cause");
        assert_eq!(
            cause.right.and_then(offset),
            number(&right),
            "the right cause"
        );
        let key = u32::try_from(key.value(row)).expect("small");
        (
            key,
            number(&left),
            number(&right),
            times[row],
            cause.ordinal,
        )
    };
    (0..batch.len()).map(of).collect()
}

/// What plain loops find, in no order.
fn oracle(spec: &JoinSpec, [lefts, rights]: [&[Row]; 2]) -> Vec<Outcome> {
    let mut out: Vec<Outcome> = match spec.kind {
        JoinKind::Interval { lower_us, upper_us } => {
            let meet = |l: &Row, r: &Row| (lower_us..=upper_us).contains(&(r.time - l.time));
            let until = |side: Side, row: &Row| match side {
                Side::Left => row.time.max(row.time + upper_us),
                Side::Right => row.time.max(row.time - lower_us),
            };
            pairs((lefts, rights), spec.join_type, meet, until)
        }
        JoinKind::Window {
            size_us: size,
            every_us: every,
            offset_us: offset,
        } => {
            let mut out = Vec::new();
            for n in -60..80 {
                let start: i64 = n * every + offset;
                let inside = |row: &&Row| (start..start + size).contains(&row.time);
                let lefts: Vec<Row> = lefts.iter().filter(inside).copied().collect();
                let rights: Vec<Row> = rights.iter().filter(inside).copied().collect();
                let last = start + size - 1;
                let met = pairs((&lefts, &rights), spec.join_type, |_, _| true, |_, _| last);
                let number = |(key, left, right, _, _): Outcome| {
                    let time = |rows: &[Row], number: Option<u64>| {
                        let row = rows.iter().find(|row| Some(row.number) == number);
                        row.map(|row| row.time)
                    };
                    let newest = time(&lefts, left).max(time(&rights, right));
                    let first = (newest.expect("a row") - offset - size).div_euclid(every) + 1;
                    (key, left, right, last, (n - first) as u32)
                };
                out.extend(met.into_iter().map(number));
            }
            out
        }
        JoinKind::AsOf { max_age_us } => {
            let mut out = Vec::new();
            for left in lefts {
                let versions = rights
                    .iter()
                    .filter(|right| right.key == left.key && right.time <= left.time);
                let version = versions
                    .max_by_key(|right| right.time)
                    .filter(|right| max_age_us.is_none_or(|age| left.time - right.time <= age));
                if version.is_some() || spec.join_type.keeps(Side::Left) {
                    let right = version.map(|version| version.number);
                    out.push((left.key, Some(left.number), right, left.time, 0));
                }
            }
            out
        }
        JoinKind::Lookup => {
            let met = pairs(
                (lefts, rights),
                spec.join_type,
                |_, _| true,
                |_, row| row.time,
            );
            let time = |number: Option<u64>| {
                let row = lefts.iter().find(|row| Some(row.number) == number);
                row.expect("a left row").time
            };
            met.into_iter()
                .map(|(key, left, right, _, _)| (key, left, right, time(left), 0))
                .collect()
        }
    };
    out.sort_unstable();
    out
}

fn pairs(
    (lefts, rights): (&[Row], &[Row]),
    join_type: JoinType,
    meet: impl Fn(&Row, &Row) -> bool,
    until: impl Fn(Side, &Row) -> i64,
) -> Vec<Outcome> {
    let is_met = |l: &Row, r: &Row| l.key == r.key && meet(l, r);
    let mut out = Vec::new();
    for l in lefts {
        for r in rights.iter().filter(|r| is_met(l, r)) {
            let time = l.time.max(r.time);
            out.push((l.key, Some(l.number), Some(r.number), time, 0));
        }
        if join_type.keeps(Side::Left) && !rights.iter().any(|r| is_met(l, r)) {
            out.push((l.key, Some(l.number), None, until(Side::Left, l), 0));
        }
    }
    for r in rights {
        if join_type.keeps(Side::Right) && !lefts.iter().any(|l| is_met(l, r)) {
            out.push((r.key, None, Some(r.number), until(Side::Right, r), 0));
        }
    }
    out
}

fn rows(number: u64) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0..4_u32, -30..60_i64), 0..40).prop_map(move |mut rows| {
        rows.sort_by_key(|(_, time)| *time);
        let rows = rows.into_iter().zip(number..);
        rows.map(|((key, time), number)| Row { key, time, number })
            .collect()
    })
}

fn kinds() -> impl Strategy<Value = (JoinKind, JoinType)> {
    let types = prop::sample::select(vec![
        JoinType::Inner,
        JoinType::Left,
        JoinType::Right,
        JoinType::Full,
    ]);
    let interval = (-12..12_i64, 0..12_i64).prop_map(|(lower, more)| JoinKind::Interval {
        lower_us: lower,
        upper_us: lower + more,
    });
    let window = (1..6_i64, 1..4_i64).prop_map(|(every, times)| JoinKind::Window {
        size_us: every * times,
        every_us: every,
        offset_us: 0,
    });
    let uneven = (2..6_i64, -3..4_i64).prop_map(|(every, offset)| JoinKind::Window {
        size_us: every * 2 + 1,
        every_us: every,
        offset_us: offset,
    });
    let versions = prop::option::of(0..15_i64).prop_map(|max_age_us| JoinKind::AsOf { max_age_us });
    let timed = prop_oneof![interval, window, uneven];
    let left = prop::sample::select(vec![JoinType::Inner, JoinType::Left]);
    let one_sided = prop_oneof![versions, Just(JoinKind::Lookup)];
    prop_oneof![(timed, types), (one_sided, left)]
}

proptest! {
    #[test]
    fn whatever_the_batches_plain_loops_find_the_same(
        (kind, join_type) in kinds(),
        lefts in rows(0),
        rights in rows(1_000),
        mut steps in prop::collection::vec(-30..70_i64, 0..12),
        rows_max in 1..9_usize,
        restart in prop::option::of(0..12_usize),
        leave in any::<bool>(),
    ) {
        steps.sort_unstable();
        let spec = spec(kind, join_type);
        let sides = [&lefts[..], &rights[..]];
        // What is away when the join is built anew would have to be carried over.
        let restart = restart.filter(|_| !leave);
        let run = Run { sides, steps: &steps, rows_max, restart, leave };
        let mut found = run.outcomes(&spec);
        let whole = Run { sides, steps: &[], rows_max: 1_000, restart: None, leave: false };
        let whole = whole.outcomes(&spec);
        if kind.is_timed() {
            // Looking up tables, rows come as they came.
            prop_assert!(whole.is_sorted_by_key(|(_, _, _, time, _)| *time), "{whole:?}");
        }
        for key in 0..4 {
            let of = |all: &[Outcome]| -> Vec<Outcome> {
                all.iter().filter(|(of, ..)| *of == key).copied().collect()
            };
            prop_assert_eq!(of(&found), of(&whole), "the order of one key");
        }
        found.sort_unstable();
        prop_assert_eq!(found, oracle(&spec, sides));
    }
}

#[test]
fn versions_go_with_changes_of_a_table() {
    let mut matcher = Matcher::new(JoinKind::AsOf { max_age_us: None }, JoinType::Left);
    let mut found = Found::default();
    let row = |time: i64, number: u32| Arrival {
        key: 0,
        time,
        row: RowAt {
            batch: 0,
            row: number,
        },
    };
    matcher.arrive(Side::Right, row(1, 10), op::INSERT, &mut found);
    matcher.arrive(Side::Left, row(2, 0), op::INSERT, &mut found);
    matcher.arrive(Side::Right, row(3, 11), op::UPDATE_BEFORE, &mut found);
    matcher.arrive(Side::Right, row(3, 12), op::UPDATE_AFTER, &mut found);
    matcher.arrive(Side::Left, row(3, 1), op::INSERT, &mut found);
    matcher.arrive(Side::Right, row(4, 13), op::DELETE, &mut found);
    matcher.arrive(Side::Left, row(5, 2), op::INSERT, &mut found);
    let met: Vec<Option<u32>> = found
        .matches
        .iter()
        .map(|found| found.rows[1].map(|row| row.row))
        .collect();
    assert_eq!(met, [Some(10), Some(12), None]);
    assert_eq!(found.freed.len(), 7, "no row is kept");
    assert!(matcher.is_empty());
}

#[test]
fn what_went_gives_its_memory_back() {
    let kind = JoinKind::AsOf { max_age_us: None };
    let mut join = Join::new("met", &spec(kind, JoinType::Inner));
    let mut most = 0;
    for round in 0..400_i64 {
        // One key of 1,000 has a new version in each row, the others keep their first one.
        let row = |at: u64| Row {
            key: if round == 0 { at as u32 } else { 7 },
            time: round,
            number: at,
        };
        let rows: Vec<Row> = (0..1_000).map(row).collect();
        let (batch, keys) = batch(&rows);
        join.push(Side::Right, batch, &keys);
        assert!(join.advance(round + 1, 100).expect("one schema").is_none());
        join.released().count();
        most = most.max(join.bytes());
    }
    assert_eq!(join.len(), 1_000);
    assert!(most < 16 << 20, "{most} bytes for a thousand rows");
    let lefts: Vec<Row> = (0..1_000)
        .map(|key| Row {
            key,
            time: 500,
            number: 0,
        })
        .collect();
    let (batch, keys) = batch(&lefts);
    join.push(Side::Left, batch, &keys);
    let mut met = 0;
    while let Some(batch) = join.advance(watermark::END, 64).expect("one schema") {
        met += read_count(&batch);
    }
    assert_eq!(met, 1_000);
}

fn read_count(batch: &Batch) -> usize {
    read(batch).len()
}
