//! Dates and timestamps as ISO 8601 text in UTC, proleptic Gregorian.
//!
//! The conversion between days and dates counts in eras of 400 years that start in March, so that
//! leap days come last; every date of an i32 of days is exact.

const DAY_US: i64 = 86_400_000_000;

/// Days since 1970-01-01 as `2026-01-31`.
pub(super) fn date_text(days: i32) -> String {
    let (year, month, day) = date_of(i64::from(days));
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs())
}

/// Microseconds since 1970 as `2026-01-31T08:00:00Z`, with six decimals unless the second is whole.
pub(super) fn timestamp_text(us: i64) -> String {
    let (days, rest) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let date = date_text(i32::try_from(days).expect("an i64 of microseconds spans fewer days"));
    let (seconds, part) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let part = if part == 0 {
        String::new()
    } else {
        format!(".{part:06}")
    };
    format!("{date}T{hour:02}:{minute:02}:{second:02}{part}Z")
}

/// The inverse of [`date_text`].
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut parts = digits.split('-');
    let year: i64 = number(parts.next()?, 4..=7)?;
    let (month, day): (i64, i64) = (number(parts.next()?, 2..=2)?, number(parts.next()?, 2..=2)?);
    let year = if negative { -year } else { year };
    let days = days_of(year, month, day);
    let exists = parts.next().is_none() && date_of(days) == (year, month, day);
    exists.then(|| i32::try_from(days).ok())?
}

/// The inverse of [`timestamp_text`]; up to six decimals, and `Z` as the only zone.
pub(super) fn parse_timestamp(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, part) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.split(':');
    let hour: i64 = number(parts.next()?, 2..=2)?;
    let minute: i64 = number(parts.next()?, 2..=2)?;
    let second: i64 = number(parts.next()?, 2..=2)?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let part = number(&format!("{part:0<6}"), 6..=6)?;
    let within = ((hour * 60 + minute) * 60 + second) * 1_000_000 + part;
    // Near the ends of i64 only the sum fits, not the product.
    let whole = i128::from(parse_date(date)?) * i128::from(DAY_US) + i128::from(within);
    i64::try_from(whole).ok()
}

/// Decimal digits and nothing else.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let plain = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// (year, month, day) of a count of days since 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    // 719,468 days lie between 0000-03-01 and 1970-01-01; an era of 400 years has 146,097.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 153 days in each run of five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The inverse of [`date_of`], for dates that exist.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-3_000_000..3_000_000)
            .step_by(97)
            .chain([i32::MIN, i32::MAX, 0, -1])
        {
            assert_eq!(
                parse_date(&date_text(days)),
                Some(days),
                "{}",
                date_text(days)
            );
        }
        assert_eq!(date_text(20_484), "2026-01-31");
        assert_eq!(date_text(11_016), "2000-02-29");
    }

    #[test]
    fn timestamps_are_inverse() {
        for us in [0, 1, -1, 1_769_846_400_000_001, i64::MIN, i64::MAX] {
            assert_eq!(
                parse_timestamp(&timestamp_text(us)),
                Some(us),
                "{}",
                timestamp_text(us)
            );
        }
        assert_eq!(
            timestamp_text(1_769_846_400_000_000),
            "2026-01-31T08:00:00Z"
        );
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.5Z"), Some(500_000));
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for text in [
            "2026-02-29",
            "2026-13-01",
            "2026-1-01",
            "26-01-01",
            "2026-01-01-01",
            "",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        for text in [
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }
}
