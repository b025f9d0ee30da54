//! Windows that last as long as a key's rows follow each other.
//!
//! A row that is not behind its own clock is added at once: no session that it could lie in can be
//! over. A row behind it waits until the watermark has passed its clock, and then may join sessions
//! that are over.

use wasmill_core::window::Assigner;

use super::aligned::at_end;
use super::cell::{Late, Session};
use super::roster::Roster;
use super::shape::{Shape, rows};
use super::{Rows, WindowError, WindowOperator, id_of};
use crate::state::{BatchKeys, KeyIndex};

/// The gap that ends a session, and the time of which every multiple cuts it.
type Lengths = (i64, i64);

impl WindowOperator {
    /// Adds rows to their sessions; gives those that are too late.
    pub(super) fn add_to_sessions(
        &mut self,
        batch: &Rows<'_>,
        (index, keys): (&mut KeyIndex, &BatchKeys),
        (gap, max): Lengths,
    ) -> Result<Vec<u32>, WindowError> {
        let mut too_late = Vec::new();
        let lateness = self.windowing.lateness_us;
        let has_early = self.windowing.trigger.early_us.is_some();
        for (row, time) in batch.times.iter().enumerate() {
            let clock = batch.clock(row, self.watermark);
            let own = Assigner::session_of(*time, gap, max);
            if own.1.saturating_add(lateness) <= clock {
                too_late.push(row as u32);
                continue;
            }
            let id = id_of(keys, row);
            let cell = self.cells.get_mut(id);
            Self::hold(cell, (id, index), None);
            let accumulators = if *time < clock {
                self.corrections.entry(clock).or_default().push(id);
                cell.late((clock, *time), &self.shape)
            } else {
                let before = cell.sessions.len();
                let at = enter(&mut cell.sessions, own, max, &self.shape);
                let at = at.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
                let session = &mut cell.sessions[at];
                if rows(&session.accumulators) == 0 {
                    session.wake = own.1;
                    self.ends.entry(own.1).or_default().push(id);
                }
                self.kept = (self.kept + cell.sessions.len()).saturating_sub(before);
                &mut cell.sessions[at].accumulators
            };
            let added = self
                .shape
                .add(accumulators, &batch.columns, row, || batch.place(row));
            added.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
            if has_early && !cell.is_dirty {
                cell.is_dirty = true;
                self.dirty.push(id);
            }
        }
        Ok(too_late)
    }

    /// Gives out the sessions that end there, and looks again later at those that went on.
    pub(super) fn end_sessions(
        &mut self,
        end: i64,
        index: &mut KeyIndex,
    ) -> Result<(), WindowError> {
        let mut ids = self.ends.remove(&end).unwrap_or_default();
        Roster::sort(&mut ids, index);
        for id in ids {
            index.touch(id);
            let mut sessions = std::mem::take(&mut self.cells.get_mut(id).sessions);
            for session in sessions.iter_mut().filter(|session| !session.is_over) {
                if session.end == end {
                    self.end_session(id, session, end - 1, index)?;
                } else if session.wake <= end {
                    session.wake = session.end;
                    self.ends.entry(session.end).or_default().push(id);
                }
            }
            let lateness = self.windowing.lateness_us;
            let before = sessions.len();
            sessions.retain(|it| !it.is_over || it.end.saturating_add(lateness) > end);
            self.kept -= before - sessions.len();
            let cell = self.cells.get_mut(id);
            cell.sessions = sessions;
            if cell.is_held && cell.is_empty() {
                self.let_go(id, index);
            } else if index.is_spilling() {
                self.weigh(id);
            }
        }
        Ok(())
    }

    /// Gives out a session that is over.
    fn end_session(
        &mut self,
        id: u32,
        session: &mut Session,
        clock: i64,
        index: &KeyIndex,
    ) -> Result<(), WindowError> {
        session.is_over = true;
        self.show_session(id, session, clock, index)?;
        let lateness = self.windowing.lateness_us;
        if lateness > 0 {
            // Then it is forgotten.
            let wake = session.end.saturating_add(lateness);
            self.ends.entry(wake).or_default().push(id);
        }
        Ok(())
    }

    /// Gives out what a session holds, and takes back what other bounds had.
    fn show_session(
        &mut self,
        id: u32,
        session: &mut Session,
        clock: i64,
        index: &KeyIndex,
    ) -> Result<(), WindowError> {
        let key = (index, id);
        let bounds = (session.start, session.end);
        let of = at_end(bounds, clock);
        let mut same = None;
        for shown in std::mem::take(&mut session.shown) {
            if (shown.start, shown.end) == bounds {
                same = Some(shown);
                continue;
            }
            self.take_back(key, at_end((shown.start, shown.end), clock), &shown)?;
        }
        let shown = self.show(key, of, &session.accumulators, same)?;
        session.shown.extend(shown);
        Ok(())
    }

    /// Adds late rows to the sessions that they lie in, or gives them one of their own.
    pub(super) fn correct_session(
        &mut self,
        id: u32,
        late: Late,
        (gap, max): Lengths,
        index: &KeyIndex,
    ) -> Result<(), WindowError> {
        let own = Assigner::session_of(late.at, gap, max);
        let mut sessions = std::mem::take(&mut self.cells.get_mut(id).sessions);
        let before = sessions.len();
        let at = enter(&mut sessions, own, max, &self.shape);
        let at = at.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
        self.kept = (self.kept + sessions.len()).saturating_sub(before);
        let session = &mut sessions[at];
        let merged = self
            .shape
            .merge(&mut session.accumulators, &late.accumulators);
        merged.map_err(|slot| Self::overflow(&self.name, &self.shape, slot))?;
        if session.end <= late.clock {
            self.end_session(id, session, late.clock, index)?;
        } else {
            // It goes on: what was given out of its parts does not hold any more.
            session.is_over = false;
            let key = (index, id);
            for shown in std::mem::take(&mut session.shown) {
                let bounds = (shown.start, shown.end);
                self.take_back(key, at_end(bounds, late.clock), &shown)?;
            }
            session.wake = session.end;
            self.ends.entry(session.end).or_default().push(id);
        }
        self.cells.get_mut(id).sessions = sessions;
        Ok(())
    }

    /// Gives out what the sessions that are not over hold so far.
    pub(super) fn early_sessions(&mut self, id: u32, index: &KeyIndex) -> Result<(), WindowError> {
        let mut sessions = std::mem::take(&mut self.cells.get_mut(id).sessions);
        for session in sessions.iter_mut().filter(|session| !session.is_over) {
            let clock = self.watermark.min(session.end - 1);
            self.show_session(id, session, clock, index)?;
        }
        self.cells.get_mut(id).sessions = sessions;
        Ok(())
    }
}

/// Joins the sessions that a stretch of time lies in, or makes one; gives its place.
fn enter(
    sessions: &mut Vec<Session>,
    own: (i64, i64),
    max: i64,
    shape: &Shape,
) -> Result<usize, usize> {
    let is_part =
        |session: &Session| Assigner::is_one_session((session.start, session.end), own, max);
    let Some(first) = sessions.iter().position(is_part) else {
        let at = sessions.partition_point(|session| session.start < own.0);
        sessions.insert(
            at,
            Session {
                start: own.0,
                end: own.1,
                is_over: false,
                wake: own.1,
                shown: Vec::new(),
                accumulators: shape.empty().collect(),
            },
        );
        return Ok(at);
    };
    while sessions.get(first + 1).is_some_and(is_part) {
        let next = sessions.remove(first + 1);
        let session = &mut sessions[first];
        session.end = session.end.max(next.end);
        session.is_over &= next.is_over;
        session.wake = session.wake.min(next.wake);
        session.shown.extend(next.shown);
        shape.merge(&mut session.accumulators, &next.accumulators)?;
    }
    let session = &mut sessions[first];
    session.start = session.start.min(own.0);
    session.end = session.end.max(own.1);
    Ok(first)
}
