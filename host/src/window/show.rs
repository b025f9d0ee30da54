//! Giving out results, and what becomes of them.

use wasmill_core::{batch::op, window::Corrections};

use super::accumulator::Accumulator;
use super::cell::Shown;
use super::results::{Key, Of};
use super::shape::rows;
use super::{Emitted, WindowError, WindowOperator};
use crate::crash_point::{CrashPoint, reach};

impl WindowOperator {
    /// Gives out a window's result: as it is the first time, and what changes afterwards. `shown`
    /// is what was given out before.
    pub(super) fn show(
        &mut self,
        key: Key<'_>,
        of: Of,
        accumulators: &[Accumulator],
        shown: Option<Shown>,
    ) -> Result<Option<Shown>, WindowError> {
        let mut of = of;
        if let Some(shown) = shown {
            if rows(&shown.accumulators) == rows(accumulators) {
                return Ok(Some(shown));
            }
            of.ordinal = shown.ordinal + 1;
            if self.windowing.corrections == Corrections::Changelog {
                of.op = op::UPDATE_BEFORE;
                let before = (&self.shape, &*shown.accumulators);
                self.results.push(key, of, before)?;
                of.ordinal += 1;
                of.op = op::UPDATE_AFTER;
            }
        }
        self.results.push(key, of, (&self.shape, accumulators))?;
        let kept = self.windowing.has_corrections().then(|| Shown {
            start: of.start,
            end: of.end,
            ordinal: of.ordinal,
            accumulators: accumulators.into(),
        });
        Ok(kept)
    }

    /// Takes back a window's result.
    pub(super) fn take_back(
        &mut self,
        key: Key<'_>,
        of: Of,
        shown: &Shown,
    ) -> Result<(), WindowError> {
        let of = Of {
            start: shown.start,
            end: shown.end,
            ordinal: shown.ordinal + 1,
            op: op::DELETE,
            ..of
        };
        let before = (&self.shape, &*shown.accumulators);
        self.results.push(key, of, before)
    }

    pub(super) fn flush(&mut self, emitted: &mut Emitted) -> Result<(), WindowError> {
        if self.results.len() > 0 {
            let draft = self.results.finish()?;
            if draft.waits() {
                self.drafts.push(draft);
                return Ok(());
            }
            self.metrics.records_out.add(draft.len());
            emitted.push((self.output, draft.batch()?));
            reach(CrashPoint::WindowResults);
        }
        Ok(())
    }
}
