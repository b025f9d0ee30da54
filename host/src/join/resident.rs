//! The rows of single keys, as they leave memory and come back.

use wasmill_core::{
    join::{Fate, Side},
    timer::TimeDomain,
};

use super::{
    JoinOperator,
    image::{LISTS, encode},
};
use crate::{
    segment::{Address, Kind, Row, SegmentError},
    state::{Kept, KeyIndex, KeyRows, Resident, RestoreError},
};

impl Resident for JoinOperator {
    fn begin(&mut self) {
        self.join.be_scarce();
    }

    fn kept(&self) -> Vec<Kept> {
        let kept = |list: &str| Kept {
            address: Address {
                kind: Kind::List,
                name: list.into(),
            },
            ttl: None,
            timer: None,
        };
        LISTS.map(kept).into()
    }

    /// Rows that wait for a table never leave: their keys are busy.
    fn write_key(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        let mut value = Vec::new();
        for side in Side::BOTH {
            for (at, (row, fate)) in (0_u32..).zip(self.join.kept(id, side)) {
                encode(row, &self.name, &mut value)?;
                match fate {
                    Fate::Stays => {}
                    Fate::Expires(clock) => rows.until(clock),
                    Fate::Wakes(time) => rows.wake(TimeDomain::Event, time),
                }
                rows.push(side.index(), Some(&at.to_be_bytes()), Some(&value), None)?;
            }
        }
        Ok(())
    }

    fn take_row(
        &mut self,
        (id, row): (u32, &Row<'_>),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let list = row.address;
        if list >= LISTS.len() {
            return Err(RestoreError::Row {
                kind: Kind::List.name(),
                state: list.to_string(),
            });
        }
        self.take_back(list, (id, row), index)
    }

    fn taken(&mut self, due: Option<TimeDomain>) -> Result<(), RestoreError> {
        self.all_taken(due == Some(TimeDomain::Event))
    }

    fn is_busy(&self, id: u32) -> bool {
        let word = self.busy.get(id as usize / 64);
        word.is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    fn drop_key(&mut self, id: u32, index: &mut KeyIndex) {
        for _ in 0..self.join.take(id) {
            index.release(id);
        }
    }

    fn bytes(&self) -> (usize, usize) {
        let content = self.join.content_bytes();
        (self.join.page_bytes(), content)
    }
}

impl JoinOperator {
    /// A key has rows that have not been looked at.
    pub(super) fn set_busy(&mut self, id: u32) {
        let at = id as usize / 64;
        if at >= self.busy.len() {
            self.busy.resize((at + 1).next_power_of_two(), 0);
        }
        self.busy[at] |= 1 << (id % 64);
    }

    /// Rows have been looked at: only the keys of the others are busy.
    pub(super) fn note_busy(&mut self, index: Option<&KeyIndex>) {
        if !index.is_some_and(KeyIndex::is_spilling) {
            return;
        }
        self.busy.fill(0);
        let pending: Vec<u32> = self.join.pending().collect();
        pending.into_iter().for_each(|id| self.set_busy(id));
    }
}
