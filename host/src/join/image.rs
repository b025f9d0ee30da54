//! What a join keeps, as of a barrier, and the way back (`docs/formats/segment.md`).

use std::sync::Arc;

use wasmill_core::{
    batch::Batch,
    checkpoint::Segment,
    join::{self, KeptRow, Side},
    key::KeyGroupRange,
    lineage::trail,
};

use super::JoinOperator;
use crate::{
    segment::{Address, Kind, Put, Reader, Row, SegmentError},
    state::{self, KeyIndex, KeyRows, KeyedImage, KeysImage, RestoreError},
};

/// The lists of a key, by the numbers of their addresses.
pub const LISTS: [&str; 3] = ["left", "right", "waiting"];
/// Rows that wait for a table.
const WAITING: usize = 2;
/// Rows that are put back at once.
const ROWS_MAX: usize = 4_096;

/// The rows of one subtask's join as of a barrier: taken on the slot, encoded elsewhere.
pub struct JoinImage {
    operator: Arc<str>,
    keys: Option<KeysImage>,
    rows: join::JoinImage,
}

impl JoinOperator {
    /// What is kept now. Nothing is copied before it changes, but for the places of rows that wait
    /// for a table; `keys` is that of the task's keys, taken at the same barrier.
    pub fn image(&mut self, keys: Option<KeysImage>) -> JoinImage {
        JoinImage {
            operator: self.name.clone(),
            keys,
            rows: self.join.image(),
        }
    }

    /// Goes on from the clock that a checkpoint has for it, before the first row.
    pub fn restore_clock(&mut self, watermark: i64) {
        self.watermark = watermark;
        self.join.restore_clock(watermark);
    }

    /// Puts back the rows of some key groups, before the first row. `segments` are those of its
    /// uid in the manifest's order.
    ///
    /// # Errors
    /// If a segment is not what the format says.
    pub fn restore_keys(
        &mut self,
        from: (&[Reader], KeyGroupRange),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let list = |of: &Address| {
            let mut lists = LISTS.iter();
            lists.position(|list| of.kind == Kind::List && of.name == **list)
        };
        let places = state::places(from.0, list);
        state::restore(from, index, &places, |index, id, (list, row)| {
            self.take_back(*list, (id, row), index)
        })?;
        self.all_taken(false)?;
        self.note_busy(Some(index));
        self.account();
        Ok(())
    }

    /// Takes a row of a list that comes back; it is there once [`JoinOperator::all_taken`] has been
    /// called.
    pub(super) fn take_back(
        &mut self,
        list: usize,
        (id, row): (u32, &Row<'_>),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let value = row.value.ok_or_else(|| RestoreError::Row {
            kind: Kind::List.name(),
            state: LISTS[list].into(),
        })?;
        index.hold(id);
        if self.returned.last() != Some(&id) {
            self.returned.push(id);
        }
        self.gathered[list].push(id, value);
        match self.gathered[list].ids.len() {
            ROWS_MAX => self.put_back(list),
            _ => Ok(()),
        }
    }

    /// All rows of some keys have come back. `is_due` says that the last move of the clock has not
    /// reached them yet.
    pub(super) fn all_taken(&mut self, is_due: bool) -> Result<(), RestoreError> {
        if self.returned.is_empty() {
            return Ok(());
        }
        for list in 0..LISTS.len() {
            self.put_back(list)?;
        }
        let mut keys = std::mem::take(&mut self.returned);
        keys.sort_unstable();
        keys.dedup();
        self.join.restored(&keys, is_due);
        Ok(())
    }

    fn put_back(&mut self, list: usize) -> Result<(), RestoreError> {
        let gathered = std::mem::take(&mut self.gathered[list]);
        if gathered.ids.is_empty() {
            return Ok(());
        }
        let side = if list == 1 { Side::Right } else { Side::Left };
        let schema = &self.sides[side.index()].schema;
        let has_times = self.has_times[side.index()];
        let decoded = join::decode_entries(schema, has_times, gathered.values());
        let wrong = |source| RestoreError::Value {
            state: LISTS[list].into(),
            source,
        };
        let (batch, trails, matched) = decoded.map_err(wrong)?;
        let lineage = trail::read(trails.iter().flatten()).ok_or_else(|| RestoreError::Row {
            kind: Kind::List.name(),
            state: LISTS[list].into(),
        })?;
        let batch = Batch { lineage, ..batch };
        let matched = (list != WAITING).then_some(&matched[..]);
        self.join.restore(side, (batch, &gathered.ids), matched);
        Ok(())
    }
}

/// Rows of one list, as bytes.
#[derive(Default)]
pub(super) struct Gathered {
    ids: Vec<u32>,
    ends: Vec<usize>,
    data: Vec<u8>,
}

impl Gathered {
    fn push(&mut self, id: u32, value: &[u8]) {
        self.ids.push(id);
        self.data.extend_from_slice(value);
        self.ends.push(self.data.len());
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let bounds = starts.zip(&self.ends);
        bounds.map(|(start, end)| &self.data[*start..*end])
    }
}

impl JoinImage {
    /// Writes down what has changed since what a checkpoint named, or all: not on a slot. Gives
    /// the earlier segments that still count.
    ///
    /// # Errors
    /// If a row is too large for a segment.
    pub fn encode(self, earlier: &[Segment], put: Put<'_>) -> Result<Vec<Segment>, SegmentError> {
        match &self.keys {
            Some(keys) => state::encode(keys, &[&self], earlier, put),
            None => Ok(Vec::new()),
        }
    }
}

impl KeyedImage for JoinImage {
    fn addresses(&self) -> Vec<Address> {
        let address = |name: &str| Address {
            kind: Kind::List,
            name: name.into(),
        };
        LISTS.map(address).into()
    }

    fn ids(&self, tell: &mut dyn FnMut(u32)) {
        self.rows.keys().for_each(tell);
    }

    fn write(&self, id: u32, out: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        for side in Side::BOTH {
            write(side.index(), self.rows.rows(id, side), &self.operator, out)?;
        }
        write(WAITING, self.rows.waiting(id), &self.operator, out)
    }
}

/// Writes the rows of one list.
fn write<'a>(
    list: usize,
    rows: impl Iterator<Item = KeptRow<'a>>,
    operator: &Arc<str>,
    out: &mut KeyRows<'_>,
) -> Result<(), SegmentError> {
    let mut value = Vec::new();
    for (at, row) in (0_u32..).zip(rows) {
        encode(row, operator, &mut value)?;
        out.push(list, Some(&at.to_be_bytes()), Some(&value), None)?;
    }
    Ok(())
}

/// A row's bytes.
pub(super) fn encode(
    row: KeptRow<'_>,
    operator: &Arc<str>,
    value: &mut Vec<u8>,
) -> Result<(), SegmentError> {
    value.clear();
    let mut trail = Vec::new();
    let (lineage, of) = row.lineage();
    trail::write(lineage, of, &mut trail);
    let encoded = row.encode(&trail, value);
    encoded.map_err(|source| SegmentError::Value {
        operator: operator.to_string(),
        source,
    })
}
