//! Points in time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: microseconds since 1970-01-01T00:00:00Z. Sums saturate.
/// ```
/// use std::time::Duration;
/// use wasmill_sdk::Timestamp;
///
/// let noon = Timestamp::from_millis(43_200_000);
/// assert_eq!(noon + Duration::from_secs(60), Timestamp::from_millis(43_260_000));
/// assert_eq!(noon.floor(Duration::from_secs(86_400)), Timestamp::EPOCH);
/// assert_eq!(format!("{noon:?}"), "1970-01-01T12:00:00Z");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    /// ```
    /// assert_eq!(wasmill_sdk::Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00Z");
    /// ```
    pub const EPOCH: Self = Self(0);
    /// Before all other points: the clock before the first watermark.
    /// ```
    /// # use wasmill_sdk::Timestamp;
    /// assert!(Timestamp::MIN < Timestamp::EPOCH);
    /// ```
    pub const MIN: Self = Self(i64::MIN);
    /// After all other points: the clock at the end of a bounded input, when every timer fires.
    /// ```
    /// # use {std::time::Duration, wasmill_sdk::Timestamp};
    /// assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX, "sums saturate");
    /// ```
    pub const MAX: Self = Self(i64::MAX);

    /// From microseconds since the epoch.
    /// ```
    /// assert_eq!(wasmill_sdk::Timestamp::from_micros(5).as_micros(), 5);
    /// ```
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the epoch.
    /// ```
    /// assert_eq!(wasmill_sdk::Timestamp::from_millis(5).as_micros(), 5_000);
    /// ```
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From seconds since the epoch.
    /// ```
    /// assert_eq!(wasmill_sdk::Timestamp::from_secs(5).as_micros(), 5_000_000);
    /// ```
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    /// ```
    /// assert_eq!(wasmill_sdk::Timestamp::from_secs(1).as_micros(), 1_000_000);
    /// ```
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The time that has passed since an earlier point; zero if it is not earlier.
    /// ```
    /// # use wasmill_sdk::Timestamp;
    /// let (a, b) = (Timestamp::from_secs(1), Timestamp::from_secs(3));
    /// assert_eq!(b.since(a).as_secs(), 2);
    /// assert_eq!(a.since(b).as_secs(), 0);
    /// ```
    pub fn since(self, earlier: Self) -> Duration {
        let micros = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_micros(u64::try_from(micros.max(0)).expect("the span of i64 fits in u64"))
    }

    /// The last multiple of `step` (counted from the epoch) that is not later: the start of the
    /// tumbling window that this point lies in. A step of zero changes nothing.
    /// ```
    /// # use {std::time::Duration, wasmill_sdk::Timestamp};
    /// let minute = Duration::from_secs(60);
    /// assert_eq!(Timestamp::from_secs(61).floor(minute), Timestamp::from_secs(60));
    /// assert_eq!(Timestamp::from_secs(-1).floor(minute), Timestamp::from_secs(-60));
    /// ```
    pub fn floor(self, step: Duration) -> Self {
        match micros(step) {
            0 => self,
            step => Self(self.0.saturating_sub(self.0.rem_euclid(step))),
        }
    }
}

/// A duration's microseconds, at most those that a timestamp can count.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with as many digits of the second as it needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, micros) = (
            self.0.div_euclid(86_400_000_000),
            self.0.rem_euclid(86_400_000_000),
        );
        let (secs, micros) = (micros / 1_000_000, micros % 1_000_000);
        let (hour, minute, second) = (secs / 3_600, secs / 60 % 60, secs % 60);
        write_date(f, day)?;
        write!(f, "T{hour:02}:{minute:02}:{second:02}")?;
        match micros {
            0 => {}
            _ if micros % 1_000 == 0 => write!(f, ".{:03}", micros / 1_000)?,
            _ => write!(f, ".{micros:06}")?,
        }
        f.write_str("Z")
    }
}

/// As people read it, which is what a failed assertion should show.
impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A calendar day: days since 1970-01-01.
/// ```
/// let day = wasmill_sdk::Date::from_days(19_782);
/// assert_eq!(format!("{day} {day:?}"), "2024-02-29 2024-02-29");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// From days since 1970-01-01.
    /// ```
    /// assert_eq!(wasmill_sdk::Date::from_days(1).as_days(), 1);
    /// ```
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    /// ```
    /// assert_eq!(wasmill_sdk::Date::from_days(-1).as_days(), -1);
    /// ```
    pub const fn as_days(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_date(f, i64::from(self.0))
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a day of the proleptic Gregorian calendar, counting from 1 March of year 0, so that the
/// leap day is the last of its year (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms").
fn write_date(f: &mut fmt::Formatter<'_>, day: i64) -> fmt::Result {
    let shifted = day + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    write!(f, "{year:04}-{month:02}-{day:02}")
}

/// The event time of a row, as a field of it: an input that has one asks the engine for the rows'
/// event times, an output that has one sets them (others take the time of the row or timer that
/// caused them). It is not a column.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Click<'a> {
///     page: &'a str,
///     at: EventTime,
/// }
/// let click = Click { page: "/", at: Timestamp::EPOCH.into() };
/// assert_eq!(*click.at, Timestamp::EPOCH);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub Timestamp);

impl From<Timestamp> for EventTime {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl std::ops::Deref for EventTime {
    type Target = Timestamp;

    fn deref(&self) -> &Timestamp {
        &self.0
    }
}
