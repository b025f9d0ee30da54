//! An operator's state and timers by key, as they leave memory and come back.

use wasmill_core::timer::{Action, Change};

use super::{Operator, domain};
use crate::segment::{Address, Kind, Row, SegmentError};
use crate::state::{Kept, KeyIndex, KeyRows, KeyedStates, Resident, RestoreError, Restored};

impl Resident for Operator {
    fn kept(&self) -> Vec<Kept> {
        let mut kept = self
            .states
            .as_ref()
            .map_or_else(Vec::new, KeyedStates::kept);
        kept.extend(self.descriptor.timers.iter().map(|timer| Kept {
            address: Address {
                kind: Kind::Timer,
                name: timer.name.clone(),
            },
            ttl: None,
            timer: Some(domain(timer.time)),
        }));
        kept
    }

    fn write_key(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        if let Some(states) = &self.states {
            states.write_key(id, rows)?;
        }
        let timers = self.timers.as_ref().map(|timers| timers.pending(id));
        let mut timers = timers.unwrap_or_default().to_vec();
        timers.sort_unstable_by_key(|timer| (timer.timer, timer.time));
        let first = self.first_timer();
        for timer in timers {
            rows.push(first + timer.timer as usize, None, None, Some(timer.time))?;
        }
        Ok(())
    }

    fn take_row(
        &mut self,
        (id, row): (u32, &Row<'_>),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        // What may expire says when it was written.
        let clocks = Restored {
            watermark: self.watermark,
            now: 0,
        };
        let first = self.first_timer();
        if row.address >= first {
            let timer = u32::try_from(row.address - first).map_err(|_| RestoreError::Timers)?;
            return self.restore_timer(timer, (id, row), index);
        }
        let Some(states) = &mut self.states else {
            return Ok(());
        };
        match states.state_at(row.address) {
            Some(state) => states.restore(state, (id, row), clocks, index),
            None => Ok(()),
        }
    }

    fn drop_key(&mut self, id: u32, index: &mut KeyIndex) {
        if let Some(states) = &mut self.states {
            states.drop_key(id, index);
        }
        let Some(timers) = &mut self.timers else {
            return;
        };
        let delete = |timer| Change {
            key: id,
            timer,
            action: Action::Delete,
        };
        let deleted: Vec<Change> = timers.pending(id).iter().copied().map(delete).collect();
        if !deleted.is_empty() {
            timers
                .apply(&deleted)
                .expect("what is pending can be deleted");
            timers.applied().for_each(|(key, _)| index.release(key));
        }
    }

    fn bytes(&self) -> (usize, usize) {
        let states = self.states.as_ref();
        let all = states.map_or(0, KeyedStates::bytes);
        let content = states.map_or(0, KeyedStates::content_bytes);
        let timers = self.timers.as_ref().map_or(0, |timers| timers.bytes());
        (all - content + timers, content)
    }
}

impl Operator {
    /// The address of the first timer among those of [`Resident::kept`].
    fn first_timer(&self) -> usize {
        let states = self.states.as_ref();
        states.map_or(0, |states| states.kept_len())
    }
}
