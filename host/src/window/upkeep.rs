//! What is done between rows and results: clocks, counters, and what is forgotten.

use wasmill_core::watermark;

use super::WindowOperator;
use super::accumulator::Accumulator;
use crate::{clock, state::KeyIndex};

impl WindowOperator {
    /// Early results come some time after the first key has rows for them.
    pub(super) fn plan_early(&mut self) {
        if let Some(every) = self.windowing.trigger.early_us
            && self.early_at.is_none()
            && !self.dirty.is_empty()
        {
            self.early_at = Some(clock::wall_us().saturating_add(every));
        }
    }

    /// The watermark has come there, for all keys in memory.
    pub(super) fn rise(&mut self, watermark: i64) {
        if watermark > self.watermark {
            (self.watermark_before, self.watermark) = (self.watermark, watermark);
        }
    }

    /// Forgets what no late row can change any more.
    pub(super) fn forget(&mut self, index: &mut KeyIndex) {
        if self.watermark < self.forget_at || self.grid.is_some() {
            return;
        }
        self.settle_roster(index);
        self.forget_at = watermark::END;
        let (cells, shape) = (&mut self.cells, &self.shape);
        let (is_spilling, mut freed) = (index.is_spilling(), 0);
        let (now, lateness) = (self.watermark, self.windowing.lateness_us);
        let (assigner, mut gone, mut next) = (self.windowing.assigner, 0, watermark::END);
        self.roster.retain(|id| {
            let cell = cells.get_mut(id);
            let (count, has_changed) = cell.forget((assigner, lateness), now, shape);
            gone += count;
            let forget_at = cell.forget_at(assigner, lateness);
            next = next.min(forget_at.unwrap_or(watermark::END));
            if has_changed {
                index.touch(id);
            }
            if is_spilling {
                freed += cell.reweigh(shape);
            }
            if cell.is_empty() {
                freed -= i64::from(cell.counted);
                cells.take(id);
                index.release(id);
                return false;
            }
            true
        });
        self.kept -= gone;
        self.content_bytes = self.content_bytes.saturating_add_signed(freed as isize);
        self.forget_at = next;
    }

    /// Keeps the counter of state bytes up to date.
    pub(super) fn account(&mut self) {
        let kept = self.kept * self.shape.width() * size_of::<Accumulator>();
        let kept = self.grid.as_ref().map_or(kept, |grid| grid.bytes());
        let now = (self.cells.bytes() + kept + self.task_bytes) as u64;
        self.metrics.state_bytes.replace(self.state_bytes, now);
        self.state_bytes = now;
    }
}
