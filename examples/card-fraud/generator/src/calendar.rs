//! Time of day, special days, and timestamps as text.

use jiff::Timestamp;

use crate::transaction::write_digits;

pub(crate) const SECOND_US: i64 = 1_000_000;
pub(crate) const MINUTE_US: i64 = 60 * SECOND_US;
pub(crate) const HOUR_US: i64 = 60 * MINUTE_US;
pub(crate) const DAY_US: i64 = 24 * HOUR_US;

/// The first moment of every file: Monday, 26 January 2026, so that the first days of a run see
/// a weekend and the day when salaries are paid.
pub(crate) const START_US: i64 = 1_769_385_600 * SECOND_US;

/// How busy each hour of the day is, in percent of the mean.
const BUSY: [u32; 24] = [
    40, 30, 25, 25, 30, 50, 80, 100, 120, 125, 125, 130, 140, 135, 125, 125, 130, 145, 150, 145,
    125, 105, 80, 60,
];

/// How busy this moment is; 1 on average over a day.
pub(crate) fn busy(at_us: i64) -> f64 {
    let hour = at_us.rem_euclid(DAY_US) / HOUR_US;
    f64::from(BUSY[hour as usize]) / 98.0
}

/// Days since the first day of the file.
fn day(at_us: i64) -> i64 {
    (at_us - START_US).div_euclid(DAY_US)
}

/// Salaries come every thirty days, first on the seventh day of the file.
pub(crate) fn is_salary_day(at_us: i64) -> bool {
    day(at_us) % 30 == 6
}

/// Shops have sales on every eleventh day, first on the fifth of the file.
pub(crate) fn is_sale_day(at_us: i64) -> bool {
    day(at_us) % 11 == 4
}

/// Writes timestamps as RFC 3339 in UTC with microseconds; keeps the day's text.
#[derive(Debug, Default)]
pub struct Writer {
    day: i64,
    text: String,
}

impl Writer {
    /// Appends one timestamp, given in microseconds since 1970.
    pub(crate) fn write(&mut self, at_us: i64, out: &mut Vec<u8>) {
        let day = at_us.div_euclid(DAY_US);
        if self.text.is_empty() || day != self.day {
            self.day = day;
            self.text = text(day * DAY_US)[..11].to_owned();
        }
        out.extend_from_slice(self.text.as_bytes());
        let second = at_us.rem_euclid(DAY_US) / SECOND_US;
        for (part, end) in [
            (second / 3_600, b':'),
            (second / 60 % 60, b':'),
            (second % 60, b'.'),
        ] {
            write_digits(out, part as u64, 2);
            out.push(end);
        }
        write_digits(out, at_us.rem_euclid(SECOND_US) as u64, 6);
        out.push(b'Z');
    }
}

/// A timestamp as RFC 3339 in UTC with microseconds.
pub(crate) fn text(at_us: i64) -> String {
    let at = Timestamp::from_microsecond(at_us).expect("a generated time lies within the calendar");
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_a_time_agree() {
        let mut writer = Writer::default();
        for at_us in [
            START_US,
            START_US + 1,
            START_US + DAY_US - 1,
            START_US + 40 * DAY_US,
            0,
        ] {
            let mut out = Vec::new();
            writer.write(at_us, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text(at_us));
        }
        assert_eq!(text(START_US), "2026-01-26T00:00:00.000000Z");
    }

    #[test]
    fn a_day_is_as_busy_as_its_mean() {
        let mean = (0..24)
            .map(|hour| busy(START_US + hour * HOUR_US))
            .sum::<f64>()
            / 24.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }
}
