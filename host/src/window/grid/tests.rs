use std::collections::{BTreeMap, BTreeSet};

use arrow_array::{ArrayRef, Float64Array, Int64Array};
use arrow_schema::{DataType, Field};
use std::sync::Arc;
use wasmill_core::window::{Aggregate, Function};

use super::*;
use crate::window::{float::FloatSum, value::split};

/// Keys on several pages.
const KEYS: u64 = 200;

/// A shape that counts rows and sums a column of whole numbers and one of floats.
fn shape() -> Shape {
    let sum = |at: usize, data_type: DataType| Aggregate {
        name: format!("sum-{at}"),
        function: Function::Sum,
        column: Some(at),
        input: Some(Field::new("amount", data_type.clone(), at == 0)),
        data_type,
        nullable: at == 0,
        plugin: None,
    };
    Shape::new(&[sum(0, DataType::Int64), sum(1, DataType::Float64)])
}

/// By pane and key: the values of rows.
type Model = BTreeMap<(i64, u32), Vec<Values>>;
type Values = (Option<i64>, f64);

fn accumulators<'a>(rows: impl IntoIterator<Item = &'a Values>) -> Vec<Accumulator> {
    let mut all: Vec<Accumulator> = shape().empty().collect();
    for (whole, float) in rows {
        let columns = columns((*whole, *float));
        let columns: Vec<Column<'_>> = columns.iter().map(Column::new).collect();
        let added = shape().add(&mut all, &columns, 0, || (0, 0, 0, 0));
        added.expect("sums are small");
    }
    all
}

fn columns((whole, float): Values) -> [ArrayRef; 2] {
    [
        Arc::new(Int64Array::from(vec![whole])),
        Arc::new(Float64Array::from(vec![float])),
    ]
}

/// What can be seen of accumulators: numbers that are equal may be written in several ways.
fn text(accumulators: &[Accumulator]) -> String {
    let text = accumulators.iter().map(|accumulator| match accumulator {
        Accumulator::Floats(sum, count) => format!("{} of {count}", sum.value()),
        other => format!("{other:?}"),
    });
    text.collect::<Vec<String>>().join(", ")
}

/// An accumulator that shows the same.
fn shown(plain: Plain) -> Accumulator {
    match plain {
        Plain::Count(count) => Accumulator::Count(count),
        Plain::Whole(sum, count) => Accumulator::Whole(split(sum), count),
        Plain::Float(sum, count) => Accumulator::Floats(FloatSum::of((sum, 0.0)), count),
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// Adds some rows that no window which is over holds, some of them as late ones come.
fn add_rows(
    grid: &mut Grid,
    model: &mut Model,
    random: &mut Random,
    (end, slices): (i64, &Slices),
) {
    let shape = shape();
    for _ in 0..random.below(200) {
        let time = end - slices.every + random.below(80) as i64;
        let (start, id) = (slices.pane_of(time), random.below(KEYS) as u32);
        let whole = (random.below(10) > 0).then(|| random.below(1_000) as i64 - 500);
        // Some sums need more than two numbers, and some are none.
        let float = match random.below(500) {
            0 => f64::INFINITY,
            1..10 => 1e60 * (random.below(9) as f64 - 4.0),
            10..20 => 1e-60,
            _ => random.below(100_000) as f64 / 100.0 - 300.0,
        };
        let own = (whole, float);
        let is_first = if slices.first_end(start) >= end {
            let columns = columns(own);
            let columns: Vec<Column<'_>> = columns.iter().map(Column::new).collect();
            grid.add((start, id), (&shape, &columns), 0)
        } else if slices.last_end(start) >= end {
            grid.put((start, id), &accumulators([&own]))
        } else {
            continue;
        };
        let known = model.entry((start, id)).or_default();
        assert_eq!(is_first, Ok(known.is_empty()), "{slices:?} {start} {id}");
        known.push(own);
        grid.hold(id);
    }
}

/// The window of each key, and the panes of each in an image, as the model has them.
fn compare(grid: &mut Grid, model: &Model, (start, end): (i64, i64), slices: &Slices) {
    grid.open((start, end), slices).expect("sums are small");
    let image = grid.image();
    let window = grid.window(start, slices);
    for id in 0..KEYS as u32 {
        let own = model.iter().filter(|((_, key), _)| *key == id);
        let within = own
            .clone()
            .filter(|((pane, _), _)| (start..end).contains(pane));
        let wanted: Vec<&Values> = within.flat_map(|(_, rows)| rows).collect();
        let has = window.as_ref().is_some_and(|window| window.has(id));
        assert_eq!(has, !wanted.is_empty(), "{slices:?} {end} {id}");
        if let Some(window) = window.as_ref().filter(|_| has) {
            let slots = shape().slots.into_iter().enumerate();
            let found = slots.map(|(at, slot)| match window.plain(id, at) {
                Some(plain) => shown(plain),
                None => window.merged(id, (at, slot.kind)),
            });
            let found: Vec<Accumulator> = found.collect();
            assert_eq!(
                text(&found),
                text(&accumulators(wanted)),
                "{slices:?} {end}"
            );
        }
        let panes = image.panes(id).map(|(start, pane)| (start, text(&pane)));
        let kept = own.map(|((start, _), rows)| (*start, text(&accumulators(rows))));
        assert!(panes.eq(kept), "{slices:?} {end} {id}");
    }
    let ids: BTreeSet<u32> = image.ids().collect();
    let kept: BTreeSet<u32> = model.keys().map(|(_, id)| *id).collect();
    assert_eq!(ids, kept);
}

#[test]
fn windows_of_a_grid_are_those_of_all_rows() {
    let mut random = Random(11);
    let all = [
        Slices::tumbling(10, 2),
        Slices::sliding(60, 5, 0),
        Slices::sliding(60, 25, 3),
        Slices::cumulative(60, 10, 0),
    ];
    for slices in all {
        let mut grid = Grid::new(&shape(), &slices).expect("counts and sums");
        let (mut model, mut held) = (Model::new(), BTreeSet::new());
        let mut end = slices.end_from(-500);
        while end < 700 || !held.is_empty() {
            if end < 500 {
                add_rows(&mut grid, &mut model, &mut random, (end, &slices));
            }
            held.extend(model.keys().map(|(_, id)| *id));
            compare(&mut grid, &model, (slices.start_of(end), end), &slices);
            let following = Following::new(end, &slices);
            let mut told = Vec::new();
            let gone = grid.settle(&following, |id| told.push(id));
            let over = model.range(..(following.start, 0)).map(|((_, id), _)| *id);
            assert_eq!(told, over.collect::<Vec<u32>>(), "{slices:?} {end}");
            model.retain(|(start, _), _| *start >= following.start);
            for id in gone.expect("sums are small") {
                assert!(!model.keys().any(|(_, key)| *key == id), "{slices:?} {end}");
                assert!(held.remove(&id), "a key is let go once");
                grid.let_go(id);
            }
            let next = grid.next_end(&following, &slices);
            assert!(next > end);
            assert_eq!(next == i64::MAX, held.is_empty(), "{slices:?} {end}");
            end += slices.every;
        }
        assert!(model.is_empty());
    }
}

#[test]
fn other_aggregates_and_windows_of_many_panes_have_no_grid() {
    assert!(Grid::new(&shape(), &Slices::sliding(60, 1, 0)).is_none());
    let mut least = shape();
    least.slots[1].kind.function = Function::Min;
    assert!(Grid::new(&least, &Slices::tumbling(10, 0)).is_none());
}
