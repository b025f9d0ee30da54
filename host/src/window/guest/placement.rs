//! Which rows of a batch belong to which accumulator, before they are added to windows.
//!
//! The rules are those by which windows take rows; a group of rows is never wider than one
//! accumulator, and of sessions, which may yet meet, each group is a part that is merged.

use std::collections::HashMap;
use std::sync::Arc;

use wasmill_core::batch::Batch;
use wasmill_core::window::{Assigner, Slices};

use super::super::accumulator::Accumulator;
use super::super::aligned::Pane;
use super::super::folded::{Folded, Share};
use super::super::{Rows, WindowOperator, id_of};
use crate::state::BatchKeys;

/// The group of a row that no window takes.
pub(super) const NONE: u32 = u32::MAX;

/// The groups of a batch's rows.
pub(super) struct Placement {
    /// The group of each row.
    pub(super) groups: Vec<u32>,
    /// How each group gets into its accumulator.
    pub(super) shares: Vec<Share>,
    /// For each plugin what each group's accumulator holds so far.
    pub(super) before: Vec<Vec<Option<Arc<Folded>>>>,
}

/// What rows of one group have in common: the key, the place in time, and of late rows the clock.
type Group = (u32, i64, Option<i64>);

/// Groups as they are found.
struct Finder<'a> {
    placement: Placement,
    known: HashMap<Group, u32>,
    /// The group of the row before, which is often the next one's too.
    last: Option<(Group, u32)>,
    /// The plugins' places among a pane's accumulators.
    slots: &'a [usize],
}

impl Finder<'_> {
    /// The group of a row that takes the place of what an accumulator holds so far.
    fn whole<'c>(&mut self, group: Group, before: impl FnOnce() -> Option<&'c [Accumulator]>) {
        let number = match self.last {
            Some((last, number)) if last == group => number,
            _ => match self.known.get(&group) {
                Some(number) => *number,
                None => {
                    let number = self.add(Share::Whole, before());
                    self.known.insert(group, number);
                    number
                }
            },
        };
        self.last = Some((group, number));
        self.placement.groups.push(number);
    }

    fn add(&mut self, share: Share, before: Option<&[Accumulator]>) -> u32 {
        let number = self.placement.shares.len() as u32;
        self.placement.shares.push(share);
        for (of, slot) in self.placement.before.iter_mut().zip(self.slots) {
            of.push(match before.map(|all| &all[*slot]) {
                Some(Accumulator::Plugin(folded)) => folded.clone(),
                _ => None,
            });
        }
        number
    }
}

impl WindowOperator {
    /// Finds the groups of a batch's rows; `slots` are the plugins' places among the accumulators
    /// of a pane.
    pub(super) fn place(&self, batch: &Batch, keys: &BatchKeys, slots: &[usize]) -> Placement {
        let mut finder = Finder {
            placement: Placement {
                groups: Vec::with_capacity(batch.len()),
                shares: Vec::new(),
                before: vec![Vec::new(); slots.len()],
            },
            known: HashMap::new(),
            last: None,
            slots,
        };
        let rows = Rows {
            batch,
            columns: Vec::new(),
            times: batch.times.as_deref().unwrap_or_default(),
            clocks: batch.clocks.as_deref().unwrap_or_default(),
            input: 0,
            needs_places: false,
        };
        match self.windowing.assigner {
            Assigner::Aligned(slices) => self.place_aligned(&rows, keys, slices, &mut finder),
            Assigner::Session { gap_us, max_us } => {
                self.place_in_sessions(&rows, keys, (gap_us, max_us), &mut finder);
            }
            Assigner::Global => self.place_global(&rows, keys, &mut finder),
        }
        finder.placement.groups.resize(batch.len(), NONE);
        finder.placement
    }

    fn place_aligned(
        &self,
        rows: &Rows<'_>,
        keys: &BatchKeys,
        slices: Slices,
        finder: &mut Finder<'_>,
    ) {
        let lateness = self.windowing.lateness_us;
        for (row, time) in rows.times.iter().enumerate() {
            let of = Pane::new(&slices, *time);
            let clock = rows.clock(row, self.watermark);
            let is_late = clock >= of.first;
            if is_late && of.last.saturating_add(lateness) <= clock {
                finder.placement.groups.push(NONE);
                continue;
            }
            let id = id_of(keys, row);
            let cell = self.cells.get(id);
            let late_at = is_late.then_some(clock);
            finder.whole((id, of.start, late_at), || match late_at {
                Some(clock) => cell?.waiting((clock, of.start)),
                None => cell?.panes.get(of.start, &self.shape),
            });
        }
    }

    fn place_in_sessions(
        &self,
        rows: &Rows<'_>,
        keys: &BatchKeys,
        (gap, max): (i64, i64),
        finder: &mut Finder<'_>,
    ) {
        let lateness = self.windowing.lateness_us;
        // Rows of a key that follow each other are in one session, whatever else is.
        let mut chains: HashMap<u32, (u32, (i64, i64))> = HashMap::new();
        for (row, time) in rows.times.iter().enumerate() {
            let clock = rows.clock(row, self.watermark);
            let own = Assigner::session_of(*time, gap, max);
            if own.1.saturating_add(lateness) <= clock {
                finder.placement.groups.push(NONE);
                continue;
            }
            let id = id_of(keys, row);
            if *time < clock {
                let cell = self.cells.get(id);
                let group = (id, *time, Some(clock));
                finder.whole(group, || cell?.waiting((clock, *time)));
                continue;
            }
            let chain = chains.get(&id).copied();
            let known = chain.filter(|(_, of)| Assigner::is_one_session(*of, own, max));
            let (number, of) = match known {
                Some((number, of)) => (number, (of.0.min(own.0), of.1.max(own.1))),
                None => (finder.add(Share::Part, None), own),
            };
            chains.insert(id, (number, of));
            finder.placement.groups.push(number);
        }
    }

    fn place_global(&self, rows: &Rows<'_>, keys: &BatchKeys, finder: &mut Finder<'_>) {
        let mut seen: HashMap<u32, u64> = HashMap::new();
        for row in 0..rows.batch.len() {
            let id = id_of(keys, row);
            let cell = self.cells.get(id);
            let global = cell.and_then(|cell| cell.global.as_deref());
            let mut window = 0;
            if let Some(count) = self.windowing.trigger.count {
                let before = || global.map_or(0, |it| super::super::shape::rows(&it.accumulators));
                let number = seen.entry(id).or_insert_with(before);
                window = *number / count.max(1);
                *number += 1;
            }
            let group = (id, i64::try_from(window).unwrap_or(i64::MAX), None);
            finder.whole(group, || {
                let first = global.filter(|_| window == 0);
                first.map(|global| &*global.accumulators)
            });
        }
    }
}
