//! Dates and timestamps from text and to text (RFC 3339).

use jiff::{civil, tz::TimeZone};

const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar
/// (Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`]: (year, month, day).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = (shifted + 2) % 12 + 1;
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn two(text: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (
        text.get(at)?.wrapping_sub(b'0'),
        text.get(at + 1)?.wrapping_sub(b'0'),
    );
    (tens <= 9 && ones <= 9).then(|| i64::from(tens * 10 + ones))
}

/// `YYYY-MM-DD` at the start: the days since 1970.
#[inline]
fn leading_date(text: &[u8]) -> Option<i64> {
    let year = two(text, 0)? * 100 + two(text, 2)?;
    let (month, day) = (two(text, 5)?, two(text, 8)?);
    let good = text[4] == b'-'
        && text[7] == b'-'
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day);
    good.then(|| days_from_civil(year, month, day))
}

/// Days since 1970 of a date, if it is one.
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> Option<i32> {
    let good = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day);
    let days = good.then(|| days_from_civil(year, month, day))?;
    i32::try_from(days).ok()
}

/// Days since 1970 of `YYYY-MM-DD`.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let days = (text.len() == 10).then(|| leading_date(text))??;
    i32::try_from(days).ok()
}

/// Microseconds since 1970 of an RFC 3339 time; places behind the microsecond are cut off, a leap
/// second is the second before it. A time without offset is one of `zone`.
pub(crate) fn parse_timestamp(text: &[u8], zone: &TimeZone) -> Result<i64, &'static str> {
    const FORM: &str = "is not a time such as 2026-01-31T09:30:00Z (RFC 3339)";
    let (local, offset) = parse_parts(text).ok_or(FORM)?;
    match offset {
        Some(seconds) => Ok(local - seconds * MICROS),
        None if *zone == TimeZone::UTC => Ok(local),
        None => in_zone(local, zone).ok_or("does not exist in the format's `zone`"),
    }
}

/// The local time in microseconds, and its offset from UTC in seconds if it has one.
fn parse_parts(text: &[u8]) -> Option<(i64, Option<i64>)> {
    let days = leading_date(text)?;
    let (hour, minute, second) = (two(text, 11)?, two(text, 14)?, two(text, 17)?);
    let good = matches!(text[10], b'T' | b't' | b' ')
        && text[13] == b':'
        && text[16] == b':'
        && hour < 24
        && minute < 60
        && second <= 60;
    if !good {
        return None;
    }
    let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second.min(59);
    let (mut at, mut micros) = (19, 0);
    if text.get(at) == Some(&b'.') {
        let places = text[20..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if places == 0 {
            return None;
        }
        for place in 0..6 {
            let digit = if place < places {
                text[20 + place] - b'0'
            } else {
                0
            };
            micros = micros * 10 + i64::from(digit);
        }
        at = 20 + places;
    }
    Some((seconds * MICROS + micros, parse_offset(&text[at..])?))
}

/// Seconds east of UTC; `Some(None)` where there is no offset, `None` where it is none.
fn parse_offset(text: &[u8]) -> Option<Option<i64>> {
    match text {
        [] => Some(None),
        [b'Z' | b'z'] => Some(Some(0)),
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let (hours, minutes) = (two(rest, 0)?, two(rest, 3)?);
            let seconds = hours * 3600 + minutes * 60;
            let good = hours < 24 && minutes < 60;
            good.then_some(Some(if *sign == b'-' { -seconds } else { seconds }))
        }
        _ => None,
    }
}

/// A local time in a zone. One that exists twice (clocks set back) is the earlier, one that does
/// not (clocks set forward) is moved by the gap.
fn in_zone(local: i64, zone: &TimeZone) -> Option<i64> {
    let (days, micros) = (
        local.div_euclid(DAY_SECONDS * MICROS),
        local.rem_euclid(DAY_SECONDS * MICROS),
    );
    let (year, month, day) = civil_from_days(days);
    let date = civil::Date::new(
        year.try_into().ok()?,
        month.try_into().ok()?,
        day.try_into().ok()?,
    )
    .ok()?;
    let seconds = micros / MICROS;
    let time = civil::Time::new(
        (seconds / 3600) as i8,
        (seconds / 60 % 60) as i8,
        (seconds % 60) as i8,
        (micros % MICROS * 1000) as i32,
    )
    .ok()?;
    let zoned = zone
        .to_ambiguous_zoned(date.to_datetime(time))
        .compatible()
        .ok()?;
    Some(zoned.timestamp().as_microsecond())
}

/// Writes `YYYY-MM-DD`; years beyond four digits with their sign.
pub(crate) fn print_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        pad(year, 4, out);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        pad(year.abs(), 6, out);
    }
    out.push(b'-');
    pad(month, 2, out);
    out.push(b'-');
    pad(day, 2, out);
}

/// Writes `YYYY-MM-DDThh:mm:ss.ffffffZ`.
pub(crate) fn print_timestamp(micros: i64, out: &mut Vec<u8>) {
    let (seconds, fraction) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
    let (days, second) = (
        seconds.div_euclid(DAY_SECONDS),
        seconds.rem_euclid(DAY_SECONDS),
    );
    print_date(days, out);
    out.push(b'T');
    pad(second / 3600, 2, out);
    out.push(b':');
    pad(second / 60 % 60, 2, out);
    out.push(b':');
    pad(second % 60, 2, out);
    out.push(b'.');
    pad(fraction, 6, out);
    out.push(b'Z');
}

fn pad(value: i64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value;
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(micros: i64) -> String {
        let mut out = Vec::new();
        print_timestamp(micros, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn times_print_as_they_were_read() {
        for text in [
            "1970-01-01T00:00:00.000000Z",
            "2024-02-29T23:59:59.999999Z",
            "0000-01-01T00:00:00.000000Z",
            "9999-12-30T21:59:59.000001Z",
            "1969-12-31T23:59:59.500000Z",
            "1900-03-01T12:00:00.000000Z",
        ] {
            let micros = parse_timestamp(text.as_bytes(), &TimeZone::UTC).expect(text);
            assert_eq!(printed(micros), text);
            let jiff: jiff::Timestamp = text.parse().expect(text);
            assert_eq!(jiff.as_microsecond(), micros, "{text}");
        }
        assert_eq!(printed(i64::MAX), "+294247-01-10T04:00:54.775807Z");
        assert_eq!(printed(i64::MIN), "-290308-12-21T19:59:05.224192Z");
    }

    #[test]
    fn every_day_of_four_centuries_is_its_own_inverse() {
        for days in -200_000..200_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn offsets_zones_and_places() {
        let check = |text: &str, zone: Option<&str>, expected: &str| {
            let zone = zone.map_or(TimeZone::UTC, |name| TimeZone::get(name).expect(name));
            let micros = parse_timestamp(text.as_bytes(), &zone).expect(text);
            assert_eq!(printed(micros), expected, "{text}");
        };
        check("2026-01-31t09:30:00z", None, "2026-01-31T09:30:00.000000Z");
        check(
            "2026-01-31 09:30:00.1234567+05:30",
            None,
            "2026-01-31T04:00:00.123456Z",
        );
        check("2016-12-31T23:59:60Z", None, "2016-12-31T23:59:59.000000Z");
        check(
            "2026-07-01T12:00:00",
            Some("Europe/Berlin"),
            "2026-07-01T10:00:00.000000Z",
        );
        // The clocks went forward at 02:00, and back at 03:00.
        check(
            "2026-03-29T02:30:00",
            Some("Europe/Berlin"),
            "2026-03-29T01:30:00.000000Z",
        );
        check(
            "2026-10-25T02:30:00",
            Some("Europe/Berlin"),
            "2026-10-25T00:30:00.000000Z",
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00+0530",
            "2026-01-01X00:00:00Z",
            "2026-01-01T00:00:00Zx",
        ] {
            assert!(
                parse_timestamp(text.as_bytes(), &TimeZone::UTC).is_err(),
                "{text}"
            );
        }
        assert_eq!(parse_date(b"2024-02-29"), Some(19_782));
        assert_eq!(parse_date(b"2024-02-30"), None);
        assert_eq!(parse_date(b"2024-2-3"), None);
    }
}
