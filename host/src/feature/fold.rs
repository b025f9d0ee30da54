//! Aggregates of a window's records.

use std::cmp::Ordering;

use arrow_schema::DataType;
use wasmill_core::feature::{Aggregate, Feature, Window};

use super::bytes::Input;
use super::dictionary::Dictionary;
use super::output::Output;
use super::reader::Kind;
use super::ring::Records;

/// A sum that its type cannot hold.
#[derive(Debug)]
pub(super) struct Overflow;

/// Folds the records and appends the result.
#[inline]
pub(super) fn fold(
    feature: &Feature,
    records: Records<'_>,
    (kind, dictionary): (Kind, &Dictionary),
    out: &mut Output,
) -> Result<(), Overflow> {
    match feature.aggregate {
        Aggregate::Count => out.push_word(records.words().count() as u64),
        Aggregate::Sum => {
            let total = total(records, kind);
            return push_sum(&feature.data_type, total, out);
        }
        Aggregate::Mean => {
            let mean = mean(total(records, kind), out);
            out.push_float(mean);
        }
        Aggregate::Deviation => {
            let deviation = deviation(records, kind, out);
            out.push_float(deviation);
        }
        Aggregate::Min => extreme(records, (kind, dictionary), Ordering::Less, out),
        Aggregate::Max => extreme(records, (kind, dictionary), Ordering::Greater, out),
        Aggregate::Last { n } => last(records, (kind, dictionary), n as usize, out),
        Aggregate::Distinct => {
            let numbers = records.words().map(|number| number as u32);
            out.push_distinct(numbers, dictionary.end());
        }
        Aggregate::Ewma => unreachable!("weighted means have no window"),
    }
    Ok(())
}

/// A sum and the number of its values: exact, unless they are floats.
#[derive(Debug, Clone, Copy)]
pub(super) enum Total {
    Exact(Option<i128>, u64),
    Float(f64, u64),
}

fn total(records: Records<'_>, kind: Kind) -> Total {
    let mut count = 0;
    match kind {
        Kind::Float => {
            let sum = records.words().fold(0.0, |sum, word| {
                count += 1;
                sum + f64::from_bits(word)
            });
            Total::Float(sum, count)
        }
        Kind::Unsigned => {
            let sum = records
                .words()
                .inspect(|_| count += 1)
                .map(i128::from)
                .sum();
            Total::Exact(Some(sum), count)
        }
        Kind::Wide => {
            let sum = records
                .wide()
                .inspect(|_| count += 1)
                .try_fold(0_i128, i128::checked_add);
            Total::Exact(sum, count)
        }
        Kind::Signed | Kind::Dictionary => {
            let words = records.words().inspect(|_| count += 1);
            Total::Exact(Some(words.map(|word| i128::from(word as i64)).sum()), count)
        }
    }
}

/// Appends a sum; null if there was no value.
pub(super) fn push_sum(
    data_type: &DataType,
    total: Total,
    out: &mut Output,
) -> Result<(), Overflow> {
    match (total, data_type) {
        (Total::Exact(_, 0) | Total::Float(_, 0), _) => out.push_null(),
        (Total::Float(sum, _), _) => out.push_float(Some(sum)),
        (Total::Exact(sum, _), DataType::Decimal128(..)) => {
            let fits = |sum: &i128| sum.unsigned_abs() < 10_u128.pow(38);
            out.push_wide(sum.filter(fits).ok_or(Overflow)?);
        }
        (Total::Exact(sum, _), DataType::UInt64) => {
            let sum = sum.and_then(|sum| u64::try_from(sum).ok());
            out.push_word(sum.ok_or(Overflow)?);
        }
        (Total::Exact(sum, _), _) => {
            let sum = sum.and_then(|sum| i64::try_from(sum).ok());
            out.push_word(sum.ok_or(Overflow)? as u64);
        }
    }
    Ok(())
}

/// The mean; none if there was no value, infinite if the sum is beyond 128 bits.
pub(super) fn mean(total: Total, out: &Output) -> Option<f64> {
    match total {
        Total::Exact(_, 0) | Total::Float(_, 0) => None,
        Total::Exact(sum, count) => {
            let sum = sum.map_or(f64::INFINITY, |sum| sum as f64);
            Some(sum / out.divisor() / count as f64)
        }
        Total::Float(sum, count) => Some(sum / count as f64),
    }
}

/// The population deviation, in two passes: first the mean, then the squares of the distances.
fn deviation(records: Records<'_>, kind: Kind, out: &Output) -> Option<f64> {
    let total = total(records, kind);
    let mean = mean(total, out)?;
    let count = match total {
        Total::Exact(_, count) | Total::Float(_, count) => count,
    };
    let square = |value: f64| (value - mean) * (value - mean);
    let squares: f64 = match kind {
        Kind::Wide => records
            .wide()
            .map(|value| square(value as f64 / out.divisor()))
            .sum(),
        _ => records
            .words()
            .map(|word| square(out.number_of(kind, word)))
            .sum(),
    };
    Some((squares / count as f64).sqrt())
}

/// The first of the least or greatest values. Floats have IEEE 754's total order: a NaN is greater
/// than all numbers.
fn extreme(
    records: Records<'_>,
    (kind, dictionary): (Kind, &Dictionary),
    wanted: Ordering,
    out: &mut Output,
) {
    if kind == Kind::Wide {
        let better = |a: i128, b: i128| if b.cmp(&a) == wanted { b } else { a };
        return match records.wide().reduce(better) {
            Some(value) => out.push_wide(value),
            None => out.push_null(),
        };
    }
    let better = |a: u64, b: u64| {
        if compare(kind, dictionary, b, a) == wanted {
            b
        } else {
            a
        }
    };
    match (records.words().reduce(better), kind) {
        (None, _) => out.push_null(),
        (Some(number), Kind::Dictionary) => out.push_bytes(dictionary.value(number as u32)),
        (Some(word), _) => out.push_word(word),
    }
}

#[inline]
pub(super) fn compare(kind: Kind, dictionary: &Dictionary, a: u64, b: u64) -> Ordering {
    /// Text is ordered by its bytes, which stand behind its length.
    const LENGTH: usize = 4;
    match kind {
        Kind::Signed => (a as i64).cmp(&(b as i64)),
        Kind::Float => f64::from_bits(a).total_cmp(&f64::from_bits(b)),
        Kind::Dictionary => {
            let text = |number: u64| &dictionary.value(number as u32)[LENGTH..];
            text(a).cmp(text(b))
        }
        Kind::Unsigned | Kind::Wide => a.cmp(&b),
    }
}

fn last(records: Records<'_>, (kind, dictionary): (Kind, &Dictionary), n: usize, out: &mut Output) {
    let skipped = records.words().count().saturating_sub(n);
    match kind {
        Kind::Wide => records
            .wide()
            .skip(skipped)
            .for_each(|value| out.push_wide(value)),
        Kind::Dictionary => {
            let numbers = records.words().skip(skipped);
            numbers.for_each(|number| out.push_bytes(dictionary.value(number as u32)));
        }
        _ => records
            .words()
            .skip(skipped)
            .for_each(|word| out.push_word(word)),
    }
    out.end_list();
}

/// An exponentially weighted mean.
#[derive(Debug, Default, Clone)]
pub(super) struct Ewma {
    pub(super) weighted: f64,
    pub(super) weight: f64,
    /// The youngest row's time: where weights are counted from.
    pub(super) time: i64,
}

impl Ewma {
    /// Takes a row's value, if it has one, and gives the mean; none before the first value.
    pub(super) fn update(&mut self, window: Window, value: Option<f64>, time: i64) -> Option<f64> {
        if let Some(value) = value {
            match window {
                _ if self.weight == 0.0 => {
                    *self = Self {
                        weighted: value,
                        weight: 1.0,
                        time,
                    }
                }
                Window::Rows(rows) => {
                    self.weighted += 2.0 / (f64::from(rows) + 1.0) * (value - self.weighted);
                }
                Window::Over { us } => self.weigh(value, time, us),
            }
        }
        (self.weight != 0.0).then(|| self.weighted / self.weight)
    }

    /// Takes up what was written.
    pub(super) fn restore(&mut self, input: &mut Input<'_>) -> Option<()> {
        let restored = Self {
            weighted: input.float()?,
            weight: input.float()?,
            time: input.word()? as i64,
        };
        if self.weight == 0.0 {
            *self = restored;
        }
        Some(())
    }

    fn weigh(&mut self, value: f64, time: i64, us: i64) {
        // The math library of the crate, not the system's: results are the same on every machine.
        let age = |us_old: i128| libm::exp(-(us_old as f64) / us as f64);
        let ahead = i128::from(time) - i128::from(self.time);
        if ahead >= 0 {
            let fade = age(ahead);
            self.weighted = self.weighted * fade + value;
            self.weight = self.weight * fade + 1.0;
            self.time = time;
        } else {
            let weight = age(-ahead);
            self.weighted += weight * value;
            self.weight += weight;
        }
    }
}
