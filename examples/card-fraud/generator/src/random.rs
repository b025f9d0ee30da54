//! Chance, the same on every machine.
//!
//! All draws come from one PCG stream and use additions, multiplications, square roots and
//! `libm`: a seed gives the same file everywhere, with every version of the compiler.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// A seeded stream of draws.
#[derive(Debug, Clone)]
pub(crate) struct Random(Pcg64Mcg);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// Uniform in `0..bound`; `bound` must not be zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: its bias is below one in 2^40 for every bound used.
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `low..=high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn within(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    /// True once in `1 / probability` draws.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of the items.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// Nearly normal with mean 0 and deviation 1, never beyond 4.25: the sum of six uniforms.
    pub(crate) fn normal(&mut self) -> f64 {
        let sum: u64 = (0..3)
            .map(|_| {
                let bits = self.0.next_u64();
                (bits >> 32) + (bits & 0xffff_ffff)
            })
            .sum();
        (sum as f64 * (1.0 / (1_u64 << 32) as f64) - 3.0) * std::f64::consts::SQRT_2
    }

    /// Exponential with this mean: the time to the next of many independent happenings.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }
}

/// A fixed number for each pair: what an account's habits are made of.
pub(crate) fn mix(first: u64, second: u64) -> u64 {
    // The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    let mut bits = first ^ second.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_differs_from_others() {
        let draws = |seed| {
            let mut random = Random::new(seed);
            [0; 4].map(|_| random.below(u64::MAX))
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_them() {
        let mut random = Random::new(3);
        let draws: Vec<i64> = (0..1_000).map(|_| random.between(-2, 2)).collect();
        assert_eq!(
            (draws.iter().min(), draws.iter().max()),
            (Some(&-2), Some(&2))
        );
    }

    #[test]
    fn shapes_have_their_mean_and_deviation() {
        let mut random = Random::new(4);
        let count = 100_000;
        let (mut sum, mut squares, mut waits) = (0.0, 0.0, 0.0);
        for _ in 0..count {
            let value = random.normal();
            sum += value;
            squares += value * value;
            waits += random.exponential(5.0);
        }
        let count = f64::from(count);
        assert!((sum / count).abs() < 0.02);
        assert!((squares / count - 1.0).abs() < 0.02);
        assert!((waits / count - 5.0).abs() < 0.1);
    }
}
