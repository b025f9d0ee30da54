//! Numbers from their text, exactly: a decimal never passes through a float.

/// A number's text, cut into its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// Why a number does not fit where it should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberError {
    /// Digits behind the last place that is kept.
    Excess,
    /// More digits than any type holds.
    TooLarge,
}

impl<'a> Number<'a> {
    /// Reads a whole text by JSON's grammar; `loose` also takes a leading `+`, leading zeros and
    /// `.5`, as CSV has them.
    pub(crate) fn parse(text: &'a [u8], loose: bool) -> Option<Self> {
        let (negative, rest) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            (b'+', rest) if loose => (false, rest),
            _ => (false, text),
        };
        let (whole, rest) = rest.split_at(digits(rest));
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => {
                let count = digits(rest);
                if count == 0 && (!loose || whole.is_empty()) {
                    return None;
                }
                rest.split_at(count)
            }
            _ => (&rest[..0], rest),
        };
        let strict = whole.len() == 1 || (whole.len() > 1 && whole[0] != b'0');
        let has_digits = whole.len() + fraction.len() > 0;
        if !(strict || (loose && has_digits)) {
            return None;
        }
        let exponent = match rest.split_first() {
            None => 0,
            Some((b'e' | b'E', rest)) => exponent(rest)?,
            Some(_) => return None,
        };
        Some(Self {
            negative,
            whole,
            fraction,
            exponent,
        })
    }

    /// The number times 10^scale as an integer. `round` drops excess digits, half away from zero.
    pub(crate) fn scaled(&self, scale: u32, round: bool) -> Result<i128, NumberError> {
        let count = self.whole.len() + self.fraction.len();
        let mut digits = self.whole.iter().chain(self.fraction);
        // How many of the digits stand before the last place that is kept.
        let keep = self.whole.len() as i64 + self.exponent + i64::from(scale);
        let mut value: i128 = 0;
        for digit in digits.by_ref().take(usize::try_from(keep).unwrap_or(0)) {
            value = shift(value, digit - b'0')?;
        }
        for _ in count as i64..keep {
            if value == 0 {
                break;
            }
            value = shift(value, 0)?;
        }
        let mut rest = digits.peekable();
        let half_up = keep >= 0 && rest.peek().is_some_and(|digit| **digit >= b'5');
        if !round && rest.any(|digit| *digit != b'0') {
            return Err(NumberError::Excess);
        }
        value += i128::from(round && half_up);
        Ok(if self.negative { -value } else { value })
    }
}

fn shift(value: i128, digit: u8) -> Result<i128, NumberError> {
    value
        .checked_mul(10)
        .and_then(|value| value.checked_add(i128::from(digit)))
        .filter(|value| *value < i128::MAX)
        .ok_or(NumberError::TooLarge)
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The exponent behind the `e`; one beyond any type's range is cut to the range.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    if text.is_empty() || digits(text) != text.len() {
        return None;
    }
    let mut value: i64 = 0;
    for digit in text {
        value = (value * 10 + i64::from(digit - b'0')).min(1 << 40);
    }
    Some(if negative { -value } else { value })
}

/// The end of the JSON number that starts at `at`; none where there is none.
pub(crate) fn scan(text: &[u8], at: usize) -> Option<usize> {
    let digit_run = |mut at: usize| {
        let start = at;
        while text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > start).then_some(at)
    };
    let start = at + usize::from(text.get(at) == Some(&b'-'));
    let mut end = digit_run(start)?;
    if text[start] == b'0' && end > start + 1 {
        return None;
    }
    if text.get(end) == Some(&b'.') {
        end = digit_run(end + 1)?;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = matches!(text.get(end + 1), Some(b'+' | b'-'));
        end = digit_run(end + 1 + usize::from(sign))?;
    }
    Some(end)
}

/// Ten to the powers that fit a word.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < 20 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// The digits at the start of eight bytes: how many, and their value.
///
/// Eight bytes at a time as in Lemire, "Number parsing at a gigabyte per second" (2021).
#[inline]
fn eight(bytes: [u8; 8]) -> (usize, u64) {
    let word = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    let high = 0x8080_8080_8080_8080;
    let others = (((word & !high) + 0x7676_7676_7676_7676) | word) & high;
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    let word = word << (64 - 8 * count);
    let word = word.wrapping_mul(2561) >> 8;
    let word = (word & 0x00FF_00FF_00FF_00FF).wrapping_mul(6_553_601) >> 16;
    let word = (word & 0x0000_FFFF_0000_FFFF).wrapping_mul(42_949_672_960_001) >> 32;
    (count, word)
}

/// A run of at most 18 digits and where it ends; none for a longer or an empty one.
#[inline]
pub(crate) fn short_digits(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let (mut value, mut end) = (0, at);
    while let Some(chunk) = text.get(end..).and_then(|rest| rest.first_chunk::<8>()) {
        let (count, digits) = eight(*chunk);
        end += count;
        if end - at > 18 {
            return None;
        }
        value = value * POWERS[count] + digits;
        if count < 8 {
            return (end > at).then_some((value, end));
        }
    }
    while let Some(digit) = text.get(end).map(|byte| byte.wrapping_sub(b'0')) {
        if digit > 9 {
            break;
        }
        end += 1;
        if end - at > 18 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    (end > at).then_some((value, end))
}

/// A JSON integer of at most 18 digits and where its digits end. What follows is for the caller to
/// judge.
#[inline]
pub(crate) fn short_integer(text: &[u8], at: usize) -> Option<(i64, usize)> {
    let negative = *text.get(at)? == b'-';
    let start = at + usize::from(negative);
    let (value, end) = short_digits(text, start)?;
    if end - start > 1 && text[start] == b'0' {
        return None;
    }
    let value = value as i64;
    Some((if negative { -value } else { value }, end))
}

/// A JSON number without exponent as an integer of `scale` places, at most 18 digits in all.
#[inline]
pub(crate) fn short_decimal(text: &[u8], at: usize, scale: usize) -> Option<(i64, usize)> {
    let negative = *text.get(at)? == b'-';
    let start = at + usize::from(negative);
    let (mut value, mut end) = short_digits(text, start)?;
    if end - start > 1 && text[start] == b'0' {
        return None;
    }
    let (whole, mut places) = (end - start, 0);
    if text.get(end) == Some(&b'.') {
        let (fraction, fraction_end) = short_digits(text, end + 1)?;
        places = fraction_end - end - 1;
        if whole + places > 18 {
            return None;
        }
        value = value * POWERS[places] + fraction;
        end = fraction_end;
    }
    let missing = scale.checked_sub(places)?;
    if whole + scale > 18 {
        return None;
    }
    let value = (value * POWERS[missing]) as i64;
    Some((if negative { -value } else { value }, end))
}

/// A JSON number without exponent as a float, where that is exact by one division
/// (Clinger, "How to read floating point numbers accurately", 1990: both operands are exact).
#[inline]
pub(crate) fn short_float(text: &[u8], at: usize) -> Option<(f64, usize)> {
    const EXACT_MAX: u64 = 1 << 53;
    let negative = *text.get(at)? == b'-';
    let start = at + usize::from(negative);
    let (mut value, mut end) = short_digits(text, start)?;
    if end - start > 1 && text[start] == b'0' {
        return None;
    }
    let mut places = 0;
    if text.get(end) == Some(&b'.') {
        let (fraction, fraction_end) = short_digits(text, end + 1)?;
        places = fraction_end - end - 1;
        if end - start + places > 18 {
            return None;
        }
        value = value * POWERS[places] + fraction;
        end = fraction_end;
    }
    if value > EXACT_MAX || places > 15 || matches!(text.get(end), Some(b'e' | b'E')) {
        return None;
    }
    let value = value as f64 / POWERS[places] as f64;
    Some((if negative { -value } else { value }, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_is_exact_or_says_why_not() {
        let check = |text: &str, scale, round, expected: Result<i128, NumberError>| {
            let number = Number::parse(text.as_bytes(), false).expect(text);
            assert_eq!(number.scaled(scale, round), expected, "{text}");
        };
        check("12.5", 2, false, Ok(1250));
        check("-0.05", 2, false, Ok(-5));
        check("1.5e3", 0, false, Ok(1500));
        check("150e-2", 1, false, Ok(15));
        check("0e999999999999", 2, false, Ok(0));
        check("1e999999999999", 2, false, Err(NumberError::TooLarge));
        check("1e-999999999999", 2, true, Ok(0));
        check("1.005", 2, false, Err(NumberError::Excess));
        check("1.005", 2, true, Ok(101));
        check("-1.005", 2, true, Ok(-101));
        check("0.05", 0, true, Ok(0));
        check("0.5", 0, true, Ok(1));
        check("9007199254740993", 0, false, Ok(9_007_199_254_740_993));
        check(
            "99999999999999999999999999999999999999999",
            0,
            false,
            Err(NumberError::TooLarge),
        );
    }

    #[test]
    fn only_numbers_are_numbers() {
        for text in [
            "", "-", "01", "1.", ".5", "1e", "1e+", "+1", "1x", "--1", "1.2.3",
        ] {
            assert!(Number::parse(text.as_bytes(), false).is_none(), "{text}");
        }
        for text in ["01", "1.", ".5", "+1", "-007.50"] {
            assert!(Number::parse(text.as_bytes(), true).is_some(), "{text}");
        }
        assert!(Number::parse(b".", true).is_none());
    }

    #[test]
    fn short_forms_agree_with_the_long_ones() {
        let check = |text: &str| {
            let padded = format!("{text},\"next\":1");
            for text_now in [text.as_bytes(), padded.as_bytes()] {
                let number = Number::parse(text.as_bytes(), false).expect(text);
                if let Some((value, end)) = short_decimal(text_now, 0, 3) {
                    assert_eq!(
                        (Ok(i128::from(value)), end),
                        (number.scaled(3, false), text.len())
                    );
                }
                if let Some((value, end)) = short_float(text_now, 0) {
                    let expected: f64 = text.parse().expect(text);
                    assert_eq!(
                        (value.to_bits(), end),
                        (expected.to_bits(), text.len()),
                        "{text}"
                    );
                }
            }
        };
        for text in [
            "0",
            "-0",
            "-0.0",
            "7",
            "12345678",
            "123456789012345678",
            "0.1",
            "0.3",
            "3.125",
            "1234567.891",
            "-99999999.999",
            "9007199254740993",
            "0.000001",
            "1.0000000000000001",
        ] {
            check(text);
        }
        assert_eq!(
            short_integer(b"12345678901234567", 0),
            Some((12_345_678_901_234_567, 17))
        );
        assert_eq!(short_integer(b"1234567890123456789", 0), None);
        assert_eq!(short_integer(b"012", 0), None);
        assert_eq!(short_integer(b"-,", 0), None);
    }
}
