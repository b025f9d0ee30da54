use wasmill_core::window::{Aggregate, Function, Slices};

use super::*;
use crate::window::shape::rows;

/// A shape that counts rows.
fn shape() -> Shape {
    Shape::new(&[Aggregate {
        name: "n".into(),
        function: Function::Count,
        column: None,
        input: None,
        data_type: arrow_schema::DataType::UInt64,
        nullable: false,
        plugin: None,
    }])
}

fn add(panes: &mut Panes, start: i64, shape: &Shape) {
    shape
        .add(panes.entry(start, shape), &[], 0, || (0, 0, 0, 0))
        .expect("counts do not overflow");
}

#[test]
fn windows_from_two_stacks_are_those_from_all_panes() {
    let shape = shape();
    let mut random = 7u64;
    let mut below = |end: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % end
    };
    let all = [
        Slices::sliding(60, 5, 0),
        Slices::sliding(60, 25, 3),
        Slices::cumulative(60, 10, 0),
        Slices::sliding(10, 10, 0),
    ];
    for slices in all {
        let (mut panes, mut slide) = (Panes::default(), Slide::default());
        let mut times: Vec<i64> = Vec::new();
        let mut end = slices.end_from(-500);
        let mut merged = Vec::new();
        while end < 500 {
            for _ in 0..below(4) {
                // Rows of panes that no window that is over holds.
                let time = end - slices.every + below(80) as i64;
                let pane = slices.pane_of(time);
                if slices.first_end(pane) >= end {
                    times.push(time);
                    add(&mut panes, pane, &shape);
                }
            }
            let start = slices.start_of(end);
            slide
                .merge(&panes, (start, end), &shape, &mut merged)
                .expect("counts do not overflow");
            let wanted = times.iter().filter(|time| (start..end).contains(*time));
            assert_eq!(rows(&merged), wanted.count() as u64, "{slices:?} {end}");
            let mut anew = Vec::new();
            panes
                .merge((start, end), &shape, &mut anew)
                .expect("counts do not overflow");
            assert_eq!(rows(&anew), rows(&merged), "{slices:?} {end}");
            panes.forget(|pane| slices.last_end(pane) <= end, &shape);
            end += slices.every;
        }
    }
}
