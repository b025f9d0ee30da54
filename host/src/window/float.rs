//! Sums of floats that do not depend on the order of the values.

/// The exact sum of finite floats, as numbers that do not overlap: each addition keeps its rounding
/// error as a further number (Shewchuk, *Adaptive Precision Floating-Point Arithmetic*, 1997). What
/// is given out is the float nearest to it, whatever the order in which values and other sums were
/// added: panes may be merged, and rows come from several splits.
#[derive(Debug, Clone, Default)]
pub(super) struct FloatSum {
    high: f64,
    low: f64,
    /// Rarely there.
    rest: Option<Box<Rest>>,
}

/// What two numbers cannot hold.
#[derive(Debug, Clone, Default)]
struct Rest {
    parts: Vec<f64>,
    /// Which values there were that are not finite: bits of [`INFINITE`], [`BELOW`], [`NAN`].
    special: u8,
}

const INFINITE: u8 = 1;
const BELOW: u8 = 2;
const NAN: u8 = 4;

impl FloatSum {
    /// The sum of two numbers that do not overlap.
    pub(super) fn of((high, low): (f64, f64)) -> Self {
        let rest = None;
        Self { high, low, rest }
    }

    /// The two numbers that it is the sum of, if it is of no more.
    pub(super) fn two(&self) -> Option<(f64, f64)> {
        self.rest.is_none().then_some((self.high, self.low))
    }

    /// Adds a value.
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.mark(special(value));
            return;
        }
        let (two, error) = add_to_two((self.high, self.low), value);
        if !two.0.is_finite() {
            // Beyond the range: that the sum has been there is kept, and what it was is not asked.
            self.mark(special(two.0));
            return;
        }
        (self.high, self.low) = two;
        if error != 0.0 {
            self.spill(error);
        }
    }

    /// Adds another sum.
    #[inline]
    pub(super) fn merge(&mut self, other: &Self) {
        self.add(other.high);
        // What stands below a sum beyond the range is no number.
        if other.low != 0.0 && other.high.is_finite() {
            self.add(other.low);
        }
        if let Some(rest) = &other.rest {
            rest.parts.iter().for_each(|part| self.add(*part));
            self.mark(rest.special);
        }
    }

    /// The float nearest to the sum.
    pub(super) fn value(&self) -> f64 {
        self.value_and_error().0
    }

    /// The float nearest to the sum, and what is missing from it, nearly.
    pub(super) fn value_and_error(&self) -> (f64, f64) {
        match self.rest.as_ref().map_or(0, |rest| rest.special) {
            0 => {}
            INFINITE => return (f64::INFINITY, 0.0),
            BELOW => return (f64::NEG_INFINITY, 0.0),
            _ => return (f64::NAN, 0.0),
        }
        if !self.high.is_finite() {
            return (self.high, 0.0);
        }
        if self.rest.is_none() {
            // Two parts are one step of what stands below.
            return two_sum(self.high, self.low);
        }
        let mut parts = Vec::new();
        for part in self.parts() {
            grow(&mut parts, part);
        }
        round(&parts)
    }

    /// What it is the sum of.
    pub(super) fn parts(&self) -> impl Iterator<Item = f64> {
        let rest = self.rest.iter().flat_map(|rest| rest.parts.iter().copied());
        [self.high, self.low].into_iter().chain(rest)
    }

    /// Which values there were that are not finite, as bits.
    pub(super) fn special(&self) -> u8 {
        self.rest.as_ref().map_or(0, |rest| rest.special)
    }

    /// Notes values that are not finite.
    pub(super) fn mark(&mut self, special: u8) {
        if special != 0 {
            self.rest.get_or_insert_default().special |= special;
        }
    }

    #[cold]
    fn spill(&mut self, error: f64) {
        grow(&mut self.rest.get_or_insert_default().parts, error);
    }
}

fn special(value: f64) -> u8 {
    match value {
        f64::INFINITY => INFINITE,
        f64::NEG_INFINITY => BELOW,
        _ => NAN,
    }
}

/// Adds a value to a sum of two numbers; what these cannot hold is left over, or is no number if
/// the value is none.
#[inline]
pub(super) fn add_to_two((high, low): (f64, f64), value: f64) -> ((f64, f64), f64) {
    let (high, error) = two_sum(high, value);
    let (low, error) = two_sum(low, error);
    ((high, low), error)
}

/// The rounded sum, and what is missing from it.
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    let of_a = sum - of_b;
    (sum, (a - of_a) + (b - of_b))
}

/// Adds a number to numbers that do not overlap, the least first.
fn grow(parts: &mut Vec<f64>, value: f64) {
    let (mut sum, mut kept) = (value, 0);
    for at in 0..parts.len() {
        let (next, error) = two_sum(sum, parts[at]);
        sum = next;
        if error != 0.0 {
            parts[kept] = error;
            kept += 1;
        }
    }
    parts.truncate(kept);
    if sum != 0.0 {
        parts.push(sum);
    }
}

/// The float nearest to the sum of numbers that do not overlap, the least first.
fn round(parts: &[f64]) -> (f64, f64) {
    let mut rest = parts.iter().rev();
    let Some(mut sum) = rest.next().copied() else {
        return (0.0, 0.0);
    };
    let mut error = 0.0;
    for part in rest.by_ref() {
        (sum, error) = two_sum(sum, *part);
        if error != 0.0 {
            break;
        }
    }
    // Exactly between two floats: what is left decides, and not the rule for ties.
    if let Some(next) = rest.next()
        && (error > 0.0) == (*next > 0.0)
    {
        let (further, lost) = two_sum(sum, error * 2.0);
        if lost == 0.0 && further - sum == error * 2.0 {
            return (further, -error);
        }
    }
    (sum, error)
}

/// The exact product of two floats, as a float and what is missing from it (Dekker 1971).
pub(super) fn two_product(a: f64, b: f64) -> (f64, f64) {
    const SPLIT: f64 = 134_217_729.0;
    let split = |value: f64| {
        let scaled = SPLIT * value;
        let high = scaled - (scaled - value);
        (high, value - high)
    };
    let product = a * b;
    let ((a_high, a_low), (b_high, b_low)) = (split(a), split(b));
    let error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    match error.is_finite() {
        true => (product, error),
        false => (product, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = FloatSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum.value()
    }

    #[test]
    fn sums_are_exact_in_any_order() {
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e16, 1.0, 1e-16]), 1e16 + 2.0);
        let mut random = 1u64;
        let mut values: Vec<f64> = (0..500)
            .map(|_| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let scale = 10f64.powi((random >> 58) as i32 - 32);
                ((random >> 11) as f64 / 2f64.powi(53) - 0.5) * scale
            })
            .collect();
        let forward = sum(&values);
        values.reverse();
        assert_eq!(sum(&values), forward);
        values.sort_by(f64::total_cmp);
        assert_eq!(sum(&values), forward);
        let (left, right) = values.split_at(123);
        let (mut a, mut b) = (FloatSum::default(), FloatSum::default());
        left.iter().for_each(|value| a.add(*value));
        right.iter().for_each(|value| b.add(*value));
        b.merge(&a);
        assert_eq!(b.value(), forward);
    }

    #[test]
    fn what_is_not_finite_stays() {
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(sum(&[1.0, f64::NAN]).is_nan());
    }

    #[test]
    fn what_is_beyond_the_range_is_infinite() {
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(sum(&[-f64::MAX, -f64::MAX, 1.0]), f64::NEG_INFINITY);
        let mut halves = [f64::MAX, f64::MAX].map(|value| {
            let mut half = FloatSum::default();
            half.add(value);
            half
        });
        let [left, right] = &mut halves;
        left.merge(right);
        assert_eq!(left.value(), f64::INFINITY);
        right.merge(left);
        assert_eq!(right.value(), f64::INFINITY);
        // As a sheet keeps it.
        let (kept, left_over) = add_to_two((f64::MAX, 0.0), f64::MAX);
        assert!(left_over != 0.0, "it does not stay in the sheet");
        assert_eq!(FloatSum::of(kept).value(), f64::INFINITY);
    }
}
