//! How an output differs from what plain Rust finds.

use std::fmt;
use std::ops::Add;

/// How an output differs from what it should be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Rows that are missing.
    pub lost: usize,
    /// Rows too many.
    pub doubled: usize,
    /// Keys whose rows are all there, in another order.
    pub misordered: usize,
}

/// Of two outputs together.
impl Add for Difference {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            misordered: self.misordered + other.misordered,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            doubled,
            misordered,
        } = self;
        write!(f, "{lost} lost, {doubled} doubled, {misordered} misordered")
    }
}
