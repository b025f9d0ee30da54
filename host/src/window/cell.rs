//! What is kept of one key.

use wasmill_core::window::Assigner;

use super::accumulator::Accumulator;
use super::panes::{Panes, Slide};
use super::shape::Shape;

/// Everything that is kept of one key.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    /// Whether the key is in the roster.
    pub(super) is_held: bool,
    /// Whether it has rows since the last early results.
    pub(super) is_dirty: bool,
    /// The memory behind it as it was counted last, where keys leave memory.
    pub(super) counted: u32,
    /// Whether it is counted anew when plugins have merged what waits for them.
    pub(super) is_reweighed: bool,
    /// Whether there was nothing at the last end either.
    pub(super) is_spare: bool,
    pub(super) panes: Panes,
    pub(super) slide: Option<Box<Slide>>,
    /// Sessions, in the order of time.
    pub(super) sessions: Vec<Session>,
    pub(super) global: Option<Box<Global>>,
    pub(super) rest: Option<Box<Rest>>,
}

/// What only operators with corrections keep.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest {
    /// Results that were given out, in the order of the windows' ends.
    pub(super) shown: Vec<Shown>,
    /// Late rows that wait, in no order.
    pub(super) late: Vec<Late>,
}

/// A result that was given out.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) start: i64,
    pub(super) end: i64,
    /// The number of its last row.
    pub(super) ordinal: u32,
    pub(super) accumulators: Box<[Accumulator]>,
}

/// Rows that came behind a window's end, of one clock: they are added when the watermark has passed
/// it.
#[derive(Debug, Clone)]
pub(super) struct Late {
    pub(super) clock: i64,
    /// The pane, or for sessions the time.
    pub(super) at: i64,
    pub(super) accumulators: Box<[Accumulator]>,
}

/// Rows that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Whether it is over and its result was given out.
    pub(super) is_over: bool,
    /// When the operator looks at it again.
    pub(super) wake: i64,
    /// What was given out, of it and of those that became part of it.
    pub(super) shown: Vec<Shown>,
    pub(super) accumulators: Box<[Accumulator]>,
}

/// A window without bounds.
#[derive(Debug, Clone)]
pub(super) struct Global {
    /// How many there were before it.
    pub(super) number: i64,
    /// The greatest time of its rows.
    pub(super) time: i64,
    pub(super) shown: Option<Shown>,
    pub(super) accumulators: Box<[Accumulator]>,
}

impl Cell {
    pub(super) fn is_empty(&self) -> bool {
        let has_rest = |rest: &Rest| !rest.late.is_empty() || !rest.shown.is_empty();
        self.panes.is_empty()
            && self.sessions.is_empty()
            && self.global.is_none()
            && !self.rest.as_deref().is_some_and(has_rest)
    }

    /// The accumulators in which late rows of a clock wait; they are made if there are none.
    pub(super) fn late(&mut self, (clock, at): (i64, i64), shape: &Shape) -> &mut [Accumulator] {
        let late = &mut self.rest.get_or_insert_default().late;
        let known = late
            .iter()
            .position(|late| (late.clock, late.at) == (clock, at));
        let known = known.unwrap_or_else(|| {
            late.push(Late {
                clock,
                at,
                accumulators: shape.empty().collect(),
            });
            late.len() - 1
        });
        &mut late[known].accumulators
    }

    /// The accumulators in which late rows of a clock wait, if there are any.
    pub(super) fn waiting(&self, (clock, at): (i64, i64)) -> Option<&[Accumulator]> {
        let mut late = self.rest.as_ref()?.late.iter();
        let found = late.find(|late| (late.clock, late.at) == (clock, at));
        found.map(|late| &*late.accumulators)
    }

    /// Takes out the late rows of a clock, in the order of their times.
    pub(super) fn take_late(&mut self, clock: i64) -> Vec<Late> {
        let Some(rest) = &mut self.rest else {
            return Vec::new();
        };
        let all = std::mem::take(&mut rest.late);
        let (mut taken, left): (Vec<Late>, Vec<Late>) =
            all.into_iter().partition(|late| late.clock == clock);
        rest.late = left;
        taken.sort_unstable_by_key(|late| late.at);
        taken
    }

    /// Takes out what was given out of the window that ends there.
    pub(super) fn take_shown(&mut self, end: i64) -> Option<Shown> {
        let shown = &mut self.rest.as_mut()?.shown;
        let at = shown.iter().position(|shown| shown.end == end)?;
        Some(shown.remove(at))
    }

    /// Notes what was given out.
    pub(super) fn put_shown(&mut self, shown: Option<Shown>) {
        if let Some(result) = shown {
            let shown = &mut self.rest.get_or_insert_default().shown;
            let at = shown.partition_point(|known| known.end < result.end);
            shown.insert(at, result);
        }
    }

    /// Forgets what no late row can change any more: gives the number of panes that are gone, and
    /// whether anything is.
    pub(super) fn forget(
        &mut self,
        (assigner, lateness): (Assigner, i64),
        now: i64,
        shape: &Shape,
    ) -> (usize, bool) {
        let is_over = |end: i64| end.saturating_add(lateness) <= now;
        let (mut gone, mut has_changed) = (0, false);
        if let Assigner::Aligned(slices) = assigner {
            let is_over = |start| is_over(slices.last_end(start));
            gone = self.panes.forget(is_over, shape);
        }
        if let Some(rest) = &mut self.rest {
            let before = rest.shown.len();
            rest.shown.retain(|shown| !is_over(shown.end));
            has_changed = rest.shown.len() < before;
        }
        (gone, has_changed || gone > 0)
    }

    /// When there is something to forget.
    pub(super) fn forget_at(&self, assigner: Assigner, lateness: i64) -> Option<i64> {
        let pane = match assigner {
            Assigner::Aligned(slices) => self.panes.first().map(|start| slices.last_end(start)),
            Assigner::Session { .. } | Assigner::Global => None,
        };
        let shown = self.rest.iter().flat_map(|rest| &rest.shown);
        let ends = shown.map(|shown| shown.end).chain(pane);
        ends.min().map(|end| end.saturating_add(lateness))
    }

    /// The least clock of late rows that wait.
    pub(super) fn first_late(&self) -> Option<i64> {
        let late = self.rest.iter().flat_map(|rest| &rest.late);
        late.map(|late| late.clock).min()
    }

    /// How many panes and sessions it has, as the operator counts them.
    pub(super) fn kept(&self) -> usize {
        self.panes.starts().len() + self.sessions.len() + usize::from(self.global.is_some())
    }
}
