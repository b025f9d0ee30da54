//! Exact decimals.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

/// An exact decimal of at most `P` digits, `S` of them behind the point: `Decimal<12, 2>` holds
/// money up to 9,999,999,999.99. Its column type is `decimal(P,S)`.
///
/// Sums panic where they leave the range (as integers do); the panic becomes a fault of the row,
/// and names the line that added. [`checked_add`](Self::checked_add) does not panic.
/// ```
/// use wasmill_sdk::Decimal;
///
/// let price: Decimal<12, 2> = "12.30".parse()?;
/// assert_eq!(price.unscaled(), 1230);
/// assert_eq!((price + price).to_string(), "24.60");
/// assert_eq!([price, price].into_iter().sum::<Decimal<12, 2>>(), price + price);
/// assert!("0.001".parse::<Decimal<12, 2>>().is_err(), "it would not be exact");
/// # Ok::<(), wasmill_sdk::DecimalError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const P: u8, const S: u8>(i128);

/// Why a decimal cannot be made.
/// ```
/// use wasmill_sdk::{Decimal, DecimalError};
///
/// assert_eq!("ten".parse::<Decimal<4, 2>>(), Err(DecimalError::NotANumber));
/// assert_eq!("123.45".parse::<Decimal<4, 2>>(), Err(DecimalError::OutOfRange));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// The text is not a number like `-12.30`.
    NotANumber,
    /// More digits than the type holds, before or behind the point.
    OutOfRange,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "not a decimal number such as -12.30",
            Self::OutOfRange => "a decimal with more digits than its type holds",
        })
    }
}

impl std::error::Error for DecimalError {}

/// 10 to that power.
const fn power(exponent: u8) -> i128 {
    10i128.pow(exponent as u32)
}

impl<const P: u8, const S: u8> Decimal<P, S> {
    /// Refuses, when the program is built, types such as `Decimal<40, 2>` and `Decimal<2, 3>`.
    const BOUND: i128 = {
        assert!(P >= 1 && P <= 38 && S <= P, "a decimal has 1 to 38 digits");
        power(P)
    };

    /// Nothing.
    /// ```
    /// # use wasmill_sdk::Decimal;
    /// assert_eq!(Decimal::<12, 2>::ZERO.to_string(), "0.00");
    /// ```
    pub const ZERO: Self = Self(0);

    /// From the number without its point: 1230 is 12.30 if `S` is 2. None if it has too many
    /// digits.
    /// ```
    /// # use wasmill_sdk::Decimal;
    /// assert_eq!(Decimal::<4, 2>::from_unscaled(1230).unwrap().to_string(), "12.30");
    /// assert_eq!(Decimal::<4, 2>::from_unscaled(12300), None);
    /// ```
    pub const fn from_unscaled(unscaled: i128) -> Option<Self> {
        if unscaled > -Self::BOUND && unscaled < Self::BOUND {
            Some(Self(unscaled))
        } else {
            None
        }
    }

    /// The number without its point.
    /// ```
    /// # use wasmill_sdk::Decimal;
    /// assert_eq!("12.3".parse::<Decimal<4, 2>>()?.unscaled(), 1230);
    /// # Ok::<(), wasmill_sdk::DecimalError>(())
    /// ```
    pub const fn unscaled(self) -> i128 {
        self.0
    }

    /// The nearest float.
    /// ```
    /// # use wasmill_sdk::Decimal;
    /// assert_eq!("12.25".parse::<Decimal<4, 2>>()?.to_f64(), 12.25);
    /// # Ok::<(), wasmill_sdk::DecimalError>(())
    /// ```
    pub fn to_f64(self) -> f64 {
        // A division of two integers that are exact as floats is rounded once.
        match i64::try_from(self.0) {
            Ok(unscaled) if unscaled.unsigned_abs() < 1 << 53 && S <= 22 => {
                unscaled as f64 / power(S) as f64
            }
            _ => self
                .to_string()
                .parse()
                .expect("a decimal reads as a float"),
        }
    }

    /// The sum, or none where it has too many digits.
    /// ```
    /// # use wasmill_sdk::Decimal;
    /// let most = Decimal::<2, 0>::from_unscaled(99).unwrap();
    /// assert_eq!(most.checked_add(most), None);
    /// ```
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        // Two numbers below 10^38 cannot leave an i128 by one sum.
        Self::from_unscaled(self.0 + other.0)
    }
}

impl<const P: u8, const S: u8> Add for Decimal<P, S> {
    type Output = Self;

    #[track_caller]
    fn add(self, other: Self) -> Self {
        self.checked_add(other)
            .expect("a decimal sum left the range of its type")
    }
}

impl<const P: u8, const S: u8> AddAssign for Decimal<P, S> {
    #[track_caller]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl<const P: u8, const S: u8> Neg for Decimal<P, S> {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl<const P: u8, const S: u8> Sub for Decimal<P, S> {
    type Output = Self;

    #[track_caller]
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl<const P: u8, const S: u8> SubAssign for Decimal<P, S> {
    #[track_caller]
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

/// The place that a panic of `sum()` names is that of the iterator; `+` in a loop names its own.
impl<const P: u8, const S: u8> Sum for Decimal<P, S> {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Self::add)
    }
}

impl<'a, const P: u8, const S: u8> Sum<&'a Self> for Decimal<P, S> {
    fn sum<I: Iterator<Item = &'a Self>>(numbers: I) -> Self {
        numbers.copied().sum()
    }
}

impl<const P: u8, const S: u8> FromStr for Decimal<P, S> {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (negative, digits) = match text.as_bytes() {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        let point = digits.iter().position(|byte| *byte == b'.');
        let (whole, part) = digits.split_at(point.unwrap_or(digits.len()));
        let part = part.strip_prefix(b".").unwrap_or(part);
        if whole.is_empty() || (point.is_some() && part.is_empty()) {
            return Err(DecimalError::NotANumber);
        }
        let mut unscaled = 0i128;
        for (place, byte) in whole.iter().chain(part).enumerate() {
            if !byte.is_ascii_digit() {
                return Err(DecimalError::NotANumber);
            }
            let digit = i128::from(byte - b'0');
            if place >= whole.len() + usize::from(S) {
                if digit != 0 {
                    return Err(DecimalError::OutOfRange);
                }
                continue;
            }
            unscaled = unscaled * 10 + digit;
            if unscaled >= Self::BOUND {
                return Err(DecimalError::OutOfRange);
            }
        }
        let missing = S.saturating_sub(u8::try_from(part.len()).unwrap_or(u8::MAX));
        let unscaled = unscaled.checked_mul(power(missing));
        let unscaled = unscaled.ok_or(DecimalError::OutOfRange)?;
        Self::from_unscaled(if negative { -unscaled } else { unscaled })
            .ok_or(DecimalError::OutOfRange)
    }
}

impl<const P: u8, const S: u8> fmt::Display for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (unit, number) = (power(S).unsigned_abs(), self.0.unsigned_abs());
        match S {
            0 => write!(f, "{sign}{number}"),
            _ => {
                let (whole, part) = (number / unit, number % unit);
                write!(f, "{sign}{whole}.{part:0width$}", width = usize::from(S))
            }
        }
    }
}

impl<const P: u8, const S: u8> fmt::Debug for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
