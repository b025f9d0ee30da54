//! Values that come as numbers and bytes, not as text, into column builders.

use super::{
    Kind, NumberError, Rules, Values, decimal_error, integer_name, push_decimal, push_integer,
};

/// The widest number of a decimal column, in bytes.
const DECIMAL_BYTES: usize = 16;
const MICROS: i64 = 1_000_000;

/// Pushes a whole number into any integer column, or into a date.
#[inline]
pub(crate) fn push_whole(values: &mut Values, value: i128) -> Result<(), String> {
    push_integer(values, value)
        .ok_or_else(|| format!("`{value}` is beyond the range of {}", integer_name(values)))
}

/// Pushes a float as it is.
pub(crate) fn push_f32(values: &mut Values, value: f32) -> Result<(), String> {
    match values {
        Values::F32(values) => values.push(value),
        Values::F64(values) => values.push(f64::from(value)),
        _ => return Err("a float stands where none belongs".into()),
    }
    Ok(())
}

/// Pushes a double, or the nearest float.
pub(crate) fn push_double(values: &mut Values, value: f64) -> Result<(), String> {
    match values {
        Values::F64(values) => values.push(value),
        Values::F32(values) => {
            let near = value as f32;
            if near.is_infinite() && value.is_finite() {
                return Err(format!("`{value}` is beyond the range of the float"));
            }
            values.push(near);
        }
        _ => return Err("a float stands where none belongs".into()),
    }
    Ok(())
}

/// Pushes bytes as they are.
#[inline]
pub(crate) fn push_octets(values: &mut Values, octets: &[u8]) -> Result<(), String> {
    match values {
        Values::Bytes(bytes, ends) => {
            let end = i32::try_from(bytes.len() + octets.len())
                .map_err(|_| "the batch's text is longer than 2 GiB")?;
            bytes.extend_from_slice(octets);
            ends.push(end);
        }
        Values::Fixed(bytes, width) if octets.len() == *width => bytes.extend_from_slice(octets),
        Values::Fixed(_, width) => {
            return Err(format!("{} bytes stand where {width} belong", octets.len()));
        }
        _ => return Err("bytes stand where none belong".into()),
    }
    Ok(())
}

/// Pushes text, once it is known to be text.
#[inline]
pub(crate) fn push_utf8(values: &mut Values, text: &[u8]) -> Result<(), String> {
    match std::str::from_utf8(text) {
        Ok(_) => push_octets(values, text),
        Err(error) => Err(format!(
            "the text is not UTF-8 at its byte {}",
            error.valid_up_to()
        )),
    }
}

/// Pushes a decimal that is a signed number, its highest byte first, and its places.
pub(crate) fn push_unscaled(
    values: &mut Values,
    kind: Kind,
    octets: &[u8],
    scale: u32,
    rules: &Rules,
) -> Result<(), String> {
    push_rescaled(values, kind, unscaled(octets)?, scale, rules)
}

/// A signed number, its highest byte first.
pub(crate) fn unscaled(octets: &[u8]) -> Result<i128, String> {
    let sign = match octets.first() {
        Some(byte) if *byte >= 0x80 => 0xFF,
        _ => 0,
    };
    let excess = octets.len().saturating_sub(DECIMAL_BYTES);
    let (lead, digits) = octets.split_at(excess);
    let sound = |first: &u8| (*first >= 0x80) == (sign == 0xFF);
    if lead.iter().any(|byte| *byte != sign) || excess > 0 && !digits.first().is_some_and(sound) {
        return Err("the decimal has more than 38 digits".into());
    }
    let mut number = [sign; DECIMAL_BYTES];
    number[DECIMAL_BYTES - digits.len()..].copy_from_slice(digits);
    Ok(i128::from_be_bytes(number))
}

/// Pushes a number of so many places into a decimal of other ones.
pub(crate) fn push_rescaled(
    values: &mut Values,
    kind: Kind,
    value: i128,
    scale: u32,
    rules: &Rules,
) -> Result<(), String> {
    let Kind::Decimal {
        precision,
        scale: wanted,
    } = kind
    else {
        return Err("a decimal stands where none belongs".into());
    };
    let told = |error| {
        let mut text = Vec::new();
        crate::format::encode::print_decimal(value, scale, &mut text);
        decimal_error(error, &text, precision, wanted)
    };
    let more = u32::from(wanted).checked_sub(scale);
    let scaled = match more {
        Some(more) => 10_i128
            .checked_pow(more)
            .and_then(|by| value.checked_mul(by)),
        None => {
            let by = 10_i128.checked_pow(scale - u32::from(wanted));
            let (whole, rest, by) = match by {
                Some(by) => (value / by, value % by, by),
                None => (0, value, i128::MAX),
            };
            if rest != 0 && !rules.round {
                return Err(told(NumberError::Excess));
            }
            let up = rest.unsigned_abs() >= by.unsigned_abs().div_ceil(2);
            Some(whole + if up { value.signum() } else { 0 })
        }
    };
    scaled
        .and_then(|scaled| push_decimal(values, scaled, precision))
        .ok_or_else(|| told(NumberError::TooLarge))
}

/// Pushes a time of which so many units are a second. What is finer than a microsecond is cut off,
/// as it is in text.
pub(crate) fn push_time(values: &mut Values, time: i64, units: i64) -> Result<(), String> {
    let micros = match units > MICROS {
        true => Some(time.div_euclid(units / MICROS)),
        false => time.checked_mul(MICROS / units),
    };
    match (values, micros) {
        (Values::I64(values), Some(micros)) => {
            values.push(micros);
            Ok(())
        }
        (Values::I64(_), None) => Err(format!("`{time}` is beyond the range of timestamps")),
        _ => Err("a time stands where none belongs".into()),
    }
}

/// Pushes 16 bytes in the text form of UUIDs.
pub(crate) fn push_uuid(values: &mut Values, octets: [u8; 16]) -> Result<(), String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 36];
    let mut at = 0;
    for (index, octet) in octets.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text[at] = b'-';
            at += 1;
        }
        text[at] = DIGITS[usize::from(octet >> 4)];
        text[at + 1] = DIGITS[usize::from(octet & 15)];
        at += 2;
    }
    push_octets(values, &text)
}

#[cfg(test)]
mod tests {
    use wasmill_core::pipeline::{Format, FormatKind};

    use super::*;

    fn decimal(octets: &[u8], scale: u32, round: bool) -> Result<i128, String> {
        let mut format = Format::plain(FormatKind::Avro, Vec::new());
        format.round_decimals = round;
        let rules = Rules::new(&format, false).expect("the zone is UTC");
        let kind = Kind::Decimal {
            precision: 6,
            scale: 2,
        };
        let mut values = Values::Decimal(Vec::new());
        push_unscaled(&mut values, kind, octets, scale, &rules)?;
        match values {
            Values::Decimal(values) => Ok(values[0]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn decimals_are_exact() {
        let check = |octets: &[u8], scale, round, expected: Result<i128, &str>| match (
            decimal(octets, scale, round),
            expected,
        ) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        };
        check(&[], 2, false, Ok(0));
        check(&[0x7B], 2, false, Ok(123));
        check(&[0xFF], 2, false, Ok(-1));
        check(&[0xFF, 0x85], 0, false, Ok(-12300));
        check(&[0x04, 0xD2], 3, false, Err("more than 2 places"));
        check(&[0x04, 0xCE], 3, false, Ok(123));
        check(&[0x04, 0xD3], 3, true, Ok(124));
        check(&[0xFB, 0x2D], 3, true, Ok(-124));
        check(&[0x7F, 0xFF, 0xFF, 0xFF], 2, false, Err("too many digits"));
        check(&[0x01], 200, true, Ok(0));
        check(&[0x01], 200, false, Err("more than 2 places"));
        let mut wide = vec![0; 40];
        wide.push(5);
        check(&wide, 2, false, Ok(5));
        check(&[0x7F; 17], 2, false, Err("more than 38 digits"));
        let mut high = vec![0x00; 1];
        high.extend([0x80; 16]);
        check(&high, 2, false, Err("more than 38 digits"));
    }

    #[test]
    fn times_have_units() {
        let check = |time, units, expected: Option<i64>| {
            let mut values = Values::I64(Vec::new());
            let pushed = push_time(&mut values, time, units);
            match (pushed, values) {
                (Ok(()), Values::I64(values)) => assert_eq!(Some(values[0]), expected),
                _ => assert_eq!(expected, None),
            }
        };
        check(5, 1_000, Some(5_000));
        check(5, 1, Some(5_000_000));
        check(-1, 1_000_000_000, Some(-1));
        check(i64::MAX, 1_000, None);
    }

    #[test]
    fn uuids_are_text() {
        let mut values = Values::Bytes(Vec::new(), Vec::new());
        let octets = std::array::from_fn(|at| at as u8 * 17);
        push_uuid(&mut values, octets).expect("it is text");
        match values {
            Values::Bytes(bytes, _) => {
                assert_eq!(bytes, b"00112233-4455-6677-8899-aabbccddeeff");
            }
            other => panic!("{other:?}"),
        }
    }
}
