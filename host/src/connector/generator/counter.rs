//! Numbers of generated rows.

use wasmill_core::pipeline::Counter;

/// A counter, ready to count many rows: what [`Counter::at`] gives, without a division a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counting {
    Sequence,
    Mod(Remainder),
    HashMod { seed: u64, rest: Remainder },
}

impl Counting {
    pub(super) fn new(counter: Counter, seed: u64) -> Self {
        match counter {
            Counter::Sequence => Self::Sequence,
            Counter::Mod(n) => Self::Mod(Remainder::new(n)),
            Counter::HashMod(n) => {
                let rest = Remainder::new(n);
                Self::HashMod { seed, rest }
            }
        }
    }

    /// The number of row `i`.
    #[inline]
    pub(super) fn of(self, i: u64) -> u64 {
        match self {
            Self::Sequence => i,
            Self::Mod(rest) => rest.of(i),
            Self::HashMod { seed, rest } => {
                rest.of(i.wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15))
            }
        }
    }

    /// The numbers of rows; the kind of counter is looked at once.
    pub(super) fn all(self, rows: impl Iterator<Item = u64>) -> Vec<u64> {
        match self {
            Self::Sequence => rows.collect(),
            Self::Mod(rest) => rows.map(|i| rest.of(i)).collect(),
            Self::HashMod { .. } => rows.map(|i| self.of(i)).collect(),
        }
    }
}

/// Division by one number, often: the quotient is taken from a product and is at most one too
/// small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remainder {
    n: u64,
    /// 2^64 / n, rounded down; for 1 the largest word, which is one too small, as the quotient may
    /// be.
    reciprocal: u64,
}

impl Remainder {
    pub(super) fn new(n: u64) -> Self {
        let reciprocal = (1_u128 << 64) / u128::from(n.max(1));
        Self {
            n: n.max(1),
            reciprocal: u64::try_from(reciprocal).unwrap_or(u64::MAX),
        }
    }

    #[inline]
    pub(super) fn of(self, value: u64) -> u64 {
        let quotient = ((u128::from(value) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = value.wrapping_sub(quotient.wrapping_mul(self.n));
        if rest >= self.n { rest - self.n } else { rest }
    }
}
