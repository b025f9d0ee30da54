//! How far an estimate of distinct values lies from their number.

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt64Array};

use super::*;

/// The standard error that the documents promise: 1.04 over the root of the registers.
const SIGMA: f64 = 0.016_25;
/// How many different values there are.
const CARDINALITIES: [u64; 3] = [100, 10_000, 1_000_000];
/// Sets of values of each size.
const SEEDS: u64 = 12;
/// Subtasks or panes over which the rows are dealt.
const PARTS: usize = 4;
/// Rows of a batch.
const ROWS: u64 = 10_000;

const KIND: Kind = Kind {
    function: Function::ApproxDistinct,
    is_float: false,
};

/// A one-to-one function of all numbers (Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators", 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number of one of a seed's values, all of them different: numbers that follow each other for
/// even seeds, scattered ones for odd.
fn value(seed: u64, number: u64) -> u64 {
    let number = (seed << 40) + number;
    match seed % 2 {
        0 => number,
        _ => mix(number),
    }
}

/// Estimates for so many values, each of which comes once, and some again: of one accumulator, and
/// of several that are merged, each of which has seen a part of the rows.
fn estimates(seed: u64, count: u64) -> [u64; 2] {
    let mut parts = vec![KIND.empty(); PARTS];
    let mut whole = KIND.empty();
    for start in (0..count).step_by(ROWS as usize) {
        let numbers = start..count.min(start + ROWS);
        let again = numbers.clone().step_by(8).map(|number| number / 2);
        let values = numbers.chain(again).map(|number| value(seed, number));
        let array: ArrayRef = Arc::new(values.collect::<UInt64Array>());
        let column = Column::new(&array);
        for row in 0..array.len() {
            let part = mix(seed + start + row as u64) as usize % PARTS;
            for accumulator in [&mut whole, &mut parts[part]] {
                let added = accumulator.add(KIND, &column, row, || (0, 0, 0, 0));
                added.expect("sketches do not overflow");
            }
        }
    }
    let mut merged = KIND.empty();
    for part in &parts {
        let done = merged.merge(KIND, part);
        done.expect("sketches do not overflow");
    }
    [&whole, &merged].map(|accumulator| match accumulator {
        Accumulator::Approximate(sketch) => estimate(sketch.as_deref()),
        _ => panic!("it is a sketch"),
    })
}

/// The mean of errors and the root of the mean of their squares.
fn moments(errors: &[f64]) -> (f64, f64) {
    let count = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / count;
    let squares: f64 = errors.iter().map(|error| error * error).sum();
    (mean, (squares / count).sqrt())
}

#[test]
fn distinct_values_are_estimated_within_the_error_that_is_promised() {
    for count in CARDINALITIES {
        let found: Vec<[u64; 2]> = (1..=SEEDS).map(|seed| estimates(seed, count)).collect();
        for (at, how) in ["at once", "merged"].into_iter().enumerate() {
            let errors = found
                .iter()
                .map(|found| found[at] as f64 / count as f64 - 1.0);
            let errors: Vec<f64> = errors.collect();
            let (mean, deviation) = moments(&errors);
            let percent: Vec<String> = errors.iter().map(|e| format!("{:.2}", e * 1e2)).collect();
            println!(
                "{count} {how}, seeds 1-{SEEDS}: mean {:.2} %, root of the mean square {:.2} %, \
                 each {} %",
                mean * 1e2,
                deviation * 1e2,
                percent.join(" "),
            );
            let far = errors.iter().position(|error| error.abs() > 3.0 * SIGMA);
            assert_eq!(
                far, None,
                "{count} {how}: one lies beyond three standard errors"
            );
            // Of so many, the mean strays by a standard error over their root.
            let strays = SIGMA / (SEEDS as f64).sqrt();
            assert!(
                mean.abs() <= 3.0 * strays,
                "{count} {how}: it is biased, {mean}"
            );
            assert!(deviation <= 1.5 * SIGMA, "{count} {how}: {deviation}");
        }
    }
}

/// The promise is not kept by luck alone: where there are far more values than registers, errors
/// are of its size, so that the bounds above are not far too wide.
#[test]
fn the_error_that_is_promised_is_there() {
    let errors = (1..=SEEDS).map(|seed| estimates(seed, 100_000)[0] as f64 / 1e5 - 1.0);
    let (_, deviation) = moments(&errors.collect::<Vec<f64>>());
    assert!(deviation >= SIGMA / 2.0, "{deviation}");
}
