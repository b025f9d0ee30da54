//! Which windows there are, and which of them a time lies in.

use std::fmt;
use std::time::Duration;

use crate::duration;

/// The windows of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assigner {
    /// Windows that lie in time whatever the rows: tumbling, sliding, cumulative.
    Aligned(Slices),
    /// Windows that last as long as a key's rows follow each other.
    Session {
        /// A window ends when so much time has gone by without a row.
        gap_us: i64,
        /// Windows are cut at every multiple of this since 1970.
        max_us: i64,
    },
    /// One window over all of a key's rows.
    Global,
}

/// Windows that lie in time whatever the rows, and the panes they are made of.
///
/// A window ends at each `phase + k * every` and is made of whole panes of length `pane`. All times
/// are microseconds; a window is named by its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slices {
    /// The length of a pane.
    pub pane: i64,
    /// The length of the longest window.
    pub size: i64,
    /// From the end of a window to that of the next.
    pub every: i64,
    /// Where windows begin, less than `every`, or for cumulative ones less than `size`.
    offset: i64,
    /// Whether windows begin together and only end apart.
    is_cumulative: bool,
}

impl Slices {
    /// Windows of length `size` side by side.
    pub fn tumbling(size: i64, offset: i64) -> Self {
        Self::sliding(size, size, offset)
    }

    /// Windows of length `size` that begin every `every`.
    pub fn sliding(size: i64, every: i64, offset: i64) -> Self {
        Self {
            pane: greatest_common_divisor(size, every),
            size,
            every,
            offset: offset.rem_euclid(every),
            is_cumulative: false,
        }
    }

    /// Windows that begin together every `size` and end every `every`, of which `size` is a
    /// multiple.
    pub fn cumulative(size: i64, every: i64, offset: i64) -> Self {
        Self {
            pane: every,
            size,
            every,
            offset: offset.rem_euclid(size),
            is_cumulative: true,
        }
    }

    /// Whether a window is one pane.
    pub fn is_tumbling(&self) -> bool {
        self.pane == self.size
    }

    /// The start of the pane that a time lies in.
    ///
    /// ```
    /// use wasmill_core::window::Slices;
    ///
    /// let minutes = Slices::sliding(60, 10, 3);
    /// assert_eq!(minutes.pane_of(13), 13);
    /// assert_eq!(minutes.pane_of(12), 3);
    /// assert_eq!(minutes.pane_of(-1), -7);
    /// ```
    #[inline]
    pub fn pane_of(&self, time: i64) -> i64 {
        let since = time.saturating_sub(self.offset);
        time.saturating_sub(since.rem_euclid(self.pane))
    }

    /// The end of the first window that holds a pane.
    pub fn first_end(&self, pane: i64) -> i64 {
        self.end_from(pane.saturating_add(self.pane))
    }

    /// The end of the last window that holds a pane.
    pub fn last_end(&self, pane: i64) -> i64 {
        if self.is_cumulative {
            let start = self.start_of(self.first_end(pane));
            return start.saturating_add(self.size);
        }
        // Of those that end no later than `pane + size`, the last one.
        let latest = pane.saturating_add(self.size);
        let since = latest.saturating_sub(self.phase());
        latest.saturating_sub(since.rem_euclid(self.every))
    }

    /// The first end of a window at or behind a time.
    pub fn end_from(&self, time: i64) -> i64 {
        let until = self.phase().saturating_sub(time).rem_euclid(self.every);
        time.saturating_add(until)
    }

    /// Where the window begins that ends at `end`.
    pub fn start_of(&self, end: i64) -> i64 {
        if !self.is_cumulative {
            return end.saturating_sub(self.size);
        }
        let last = end.saturating_sub(1);
        let since = last.saturating_sub(self.offset);
        last.saturating_sub(since.rem_euclid(self.size))
    }

    /// A place that ends of windows are counted from.
    fn phase(&self) -> i64 {
        match self.is_cumulative {
            true => self.offset,
            false => self.offset + self.size % self.every,
        }
    }
}

impl Assigner {
    /// The window of a row by itself, where windows follow the rows: from its time on, cut where
    /// all are cut.
    ///
    /// ```
    /// use wasmill_core::window::Assigner;
    ///
    /// assert_eq!(Assigner::session_of(95, 10, 100), (95, 100));
    /// assert_eq!(Assigner::session_of(-5, 10, 100), (-5, 0));
    /// ```
    pub fn session_of(time: i64, gap_us: i64, max_us: i64) -> (i64, i64) {
        let cut = time.saturating_add(max_us - time.rem_euclid(max_us));
        (time, time.saturating_add(gap_us).min(cut))
    }

    /// Whether two windows of one key are one: they overlap, and no cut lies between them.
    pub fn is_one_session(a: (i64, i64), b: (i64, i64), max_us: i64) -> bool {
        a.0.max(b.0) < a.1.min(b.1) && a.0.div_euclid(max_us) == b.0.div_euclid(max_us)
    }
}

impl fmt::Display for Assigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print = |us: i64| duration::print(Duration::from_micros(us.unsigned_abs()));
        match self {
            Self::Aligned(slices) => {
                let (size, every) = (print(slices.size), print(slices.every));
                match (slices.is_tumbling(), slices.is_cumulative) {
                    (true, false) => write!(f, "tumbling {size}")?,
                    (false, false) => write!(f, "sliding {size} every {every}")?,
                    (_, true) => write!(f, "cumulative {size} every {every}")?,
                }
                match slices.offset {
                    0 => Ok(()),
                    offset => write!(f, " offset {}", print(offset)),
                }
            }
            Self::Session { gap_us, max_us } => {
                write!(f, "session gap {} max {}", print(*gap_us), print(*max_us))
            }
            Self::Global => f.write_str("global"),
        }
    }
}

/// Euclid's algorithm; both are positive.
fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    match b {
        0 => a,
        _ => greatest_common_divisor(b, a % b),
    }
}
