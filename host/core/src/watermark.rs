//! How far event time has come: per split, and the minimum over inputs.
//!
//! A *clock* or watermark of `w` says that no row with a time before `w` is expected any more. So
//! everywhere, strictly: a row is late iff `time < clock`, a timer is due iff `time < clock`, and
//! rows held for order may go iff `time < clock`. (Rows with `time == clock` may still come in
//! time; were they let go, their order would depend on speed.) Nothing is known yet is [`START`],
//! nothing comes any more is [`END`].

/// The watermark before the first row.
pub const START: i64 = i64::MIN;

/// The watermark after the last row.
pub const END: i64 = i64::MAX;

/// Why a row is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// It lies further behind its split's newest row than the out-of-orderness allows.
    Behind,
    /// It lies within the out-of-orderness, but its split was idle and the others went on without
    /// it.
    Idle,
}

/// A row that came too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateRow {
    /// Its position in the batch.
    pub row: u32,
    /// Why.
    pub reason: Lateness,
}

/// The watermark of one split: the newest time seen, less the bound on disorder.
///
/// Pure in the rows alone, so that a replay gives each row the same clock however it is cut into
/// batches; only [`SplitWatermark::resume_at`], after idleness, brings in what other splits did
/// meanwhile.
#[derive(Debug, Clone)]
pub struct SplitWatermark {
    out_of_orderness_us: i64,
    /// The newest row's time.
    time_max: i64,
    /// What was promised to others while the split was idle.
    floor: i64,
}

impl SplitWatermark {
    /// A split of which nothing is known yet, whose rows come at most `out_of_orderness_us` behind
    /// its newest row.
    pub fn new(out_of_orderness_us: i64) -> Self {
        debug_assert!(out_of_orderness_us >= 0, "disorder is a length of time");
        Self {
            out_of_orderness_us,
            time_max: START,
            floor: START,
        }
    }

    /// A split that had come to `watermark` when a checkpoint was taken, and goes on from there.
    pub fn resumed(out_of_orderness_us: i64, watermark: i64) -> Self {
        Self {
            time_max: match watermark {
                START => START,
                reached => reached.saturating_add(out_of_orderness_us),
            },
            ..Self::new(out_of_orderness_us)
        }
    }

    /// Takes a batch of times: appends the clock as of each row, itself included, to `clocks`, and
    /// the late ones to `late`.
    ///
    /// ```
    /// use wasmill_core::watermark::SplitWatermark;
    ///
    /// let (mut clocks, mut late) = (Vec::new(), Vec::new());
    /// let mut split = SplitWatermark::new(5);
    /// split.advance(&[100, 97, 90], &mut clocks, &mut late);
    /// assert_eq!(clocks, [95, 95, 95]);
    /// assert_eq!(late.len(), 1, "90 lies before the clock");
    /// ```
    pub fn advance(&mut self, times: &[i64], clocks: &mut Vec<i64>, late: &mut Vec<LateRow>) {
        clocks.reserve(times.len());
        let first = clocks.len();
        let (mut newest, mut late_count) = (self.time_max, 0);
        for time in times {
            newest = newest.max(*time);
            let clock = newest
                .saturating_sub(self.out_of_orderness_us)
                .max(self.floor);
            late_count += usize::from(*time < clock);
            clocks.push(clock);
        }
        if late_count > 0 {
            self.judge(times, &clocks[first..], late);
        }
        self.time_max = newest;
    }

    /// Finds the late rows of a batch: rare, so apart from the loop that every row takes.
    fn judge(&self, times: &[i64], clocks: &[i64], late: &mut Vec<LateRow>) {
        let mut newest = self.time_max;
        for (row, (time, clock)) in (0..).zip(times.iter().zip(clocks)) {
            newest = newest.max(*time);
            if time < clock {
                let is_behind = *time < newest.saturating_sub(self.out_of_orderness_us);
                let reason = if is_behind {
                    Lateness::Behind
                } else {
                    Lateness::Idle
                };
                late.push(LateRow { row, reason });
            }
        }
    }

    /// The clock as of the newest row.
    pub fn watermark(&self) -> i64 {
        self.time_max
            .saturating_sub(self.out_of_orderness_us)
            .max(self.floor)
    }

    /// Returns from idleness: the others have reached `merged`, and what lies before it is late.
    pub fn resume_at(&mut self, merged: i64) {
        self.floor = self.floor.max(merged);
    }
}

/// Tells when a split has gone without rows for too long to wait for it. Processing time comes from
/// outside.
#[derive(Debug, Clone)]
pub struct Idleness {
    /// `None`: never idle.
    after_us: Option<i64>,
    active_at_us: i64,
}

impl Idleness {
    /// Counts from `now_us` on.
    pub fn new(after_us: Option<i64>, now_us: i64) -> Self {
        Self {
            after_us,
            active_at_us: now_us,
        }
    }

    /// Rows came.
    pub fn active(&mut self, now_us: i64) {
        self.active_at_us = now_us;
    }

    /// Whether nothing has come for the given time.
    pub fn is_idle(&self, now_us: i64) -> bool {
        self.after_us
            .is_some_and(|after| now_us.saturating_sub(self.active_at_us) >= after)
    }

    /// When the split will become idle if nothing comes, in microseconds of processing time.
    pub fn due_at_us(&self) -> Option<i64> {
        Some(self.active_at_us.saturating_add(self.after_us?))
    }
}

/// The minimum over lanes: splits of a source, or subtasks that feed one input.
///
/// Never falls, whatever lanes do. While every open lane is idle it stands still.
#[derive(Debug, Clone, Default)]
pub struct WatermarkMerge {
    lanes: Vec<Lane>,
    current: Option<i64>,
}

/// One upstream, and how far it has come.
#[derive(Debug, Clone, Copy)]
struct Lane {
    watermark: i64,
    is_idle: bool,
    is_open: bool,
}

impl WatermarkMerge {
    /// No lanes: the watermark is [`START`] until one is opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// A merge over `lanes` open lanes.
    pub fn with_lanes(lanes: usize) -> Self {
        let mut merge = Self::new();
        for _ in 0..lanes {
            merge.open();
        }
        merge
    }

    /// Adds a lane and gives its number, counted from 0. It holds the watermark back from now on.
    pub fn open(&mut self) -> usize {
        self.lanes.push(Lane {
            watermark: START,
            is_idle: false,
            is_open: true,
        });
        self.lanes.len() - 1
    }

    /// A lane has come to `watermark` and is active. Gives the merged watermark if it rose.
    pub fn update(&mut self, lane: usize, watermark: i64) -> Option<i64> {
        let lane = &mut self.lanes[lane];
        lane.watermark = lane.watermark.max(watermark);
        lane.is_idle = false;
        self.merge()
    }

    /// A lane is not to be waited for until its next update. Gives the merged watermark if it rose.
    pub fn idle(&mut self, lane: usize) -> Option<i64> {
        self.lanes[lane].is_idle = true;
        self.merge()
    }

    /// A lane has ended: it holds nothing back any more. When all have, the watermark is [`END`].
    pub fn close(&mut self, lane: usize) -> Option<i64> {
        self.lanes[lane].is_open = false;
        self.merge()
    }

    /// The merged watermark.
    pub fn current(&self) -> i64 {
        self.current.unwrap_or(START)
    }

    /// Whether lanes are open, and every one of them is idle.
    pub fn is_idle(&self) -> bool {
        self.open_lanes().next().is_some() && self.open_lanes().all(|lane| lane.is_idle)
    }

    /// Whether there were lanes and all have ended.
    pub fn is_closed(&self) -> bool {
        !self.lanes.is_empty() && self.open_lanes().next().is_none()
    }

    /// The lanes that have not ended.
    fn open_lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().filter(|lane| lane.is_open)
    }

    /// The least watermark of the open lanes that are not idle; none while all are idle.
    fn merge(&mut self) -> Option<i64> {
        let active = self.open_lanes().filter(|lane| !lane.is_idle);
        let merged = match active.map(|lane| lane.watermark).min() {
            Some(least) => least,
            None if self.is_closed() => END,
            // All idle: what comes next is unknown, so time stands still.
            None => return None,
        };
        if merged <= self.current() {
            return None;
        }
        self.current = Some(merged);
        Some(merged)
    }
}

#[cfg(test)]
mod tests;
