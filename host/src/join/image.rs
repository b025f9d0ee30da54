//! What a join keeps, as of a barrier, and the way back (`docs/formats/segment.md`).

use std::sync::Arc;

use wasmill_core::{
    batch::Batch,
    join::{self, KeptRow, Side},
    key::KeyGroupRange,
    lineage::trail,
};

use super::JoinOperator;
use crate::{
    segment::{Address, Kind, Put, Reader, SegmentError},
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
    /// What is kept now. Places of rows are copied, rows are not; `keys` is that of the task's
    /// keys, taken at the same barrier.
    pub fn image(&self, keys: Option<KeysImage>) -> JoinImage {
        JoinImage {
            operator: self.name.clone(),
            keys,
            rows: self.join.image(),
        }
    }

    /// Goes on from the clock that a checkpoint has for it, before the first row.
    pub fn restore_clock(&mut self, watermark: i64) {
        self.watermark = watermark;
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
        let mut gathered: [Gathered; 3] = Default::default();
        state::restore(from, index, &places, |index, id, (list, row)| {
            let list = *list;
            let value = row.value.ok_or_else(|| RestoreError::Row {
                kind: Kind::List.name(),
                state: LISTS[list].into(),
            })?;
            index.hold(id);
            gathered[list].push(id, value);
            match gathered[list].ids.len() {
                ROWS_MAX => self.put_back(list, std::mem::take(&mut gathered[list])),
                _ => Ok(()),
            }
        })?;
        for (list, gathered) in gathered.into_iter().enumerate() {
            self.put_back(list, gathered)?;
        }
        self.join.restored(self.watermark);
        self.account();
        Ok(())
    }

    fn put_back(&mut self, list: usize, gathered: Gathered) -> Result<(), RestoreError> {
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
struct Gathered {
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
    /// Writes the rows down: not on a slot.
    ///
    /// # Errors
    /// If a row is too large for a segment.
    pub fn encode(self, put: Put<'_>) -> Result<(), SegmentError> {
        if let Some(keys) = &self.keys {
            state::encode(keys, &[&self], &[], put)?;
        }
        Ok(())
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
        let mut put = |list: usize, rows: &mut dyn Iterator<Item = KeptRow<'_>>| {
            let (mut trail, mut value) = (Vec::new(), Vec::new());
            for (at, row) in (0_u32..).zip(rows) {
                trail.clear();
                value.clear();
                let (lineage, of) = row.lineage();
                trail::write(lineage, of, &mut trail);
                row.encode(&trail, &mut value)
                    .map_err(|source| SegmentError::Value {
                        operator: self.operator.to_string(),
                        source,
                    })?;
                out.push(list, Some(&at.to_be_bytes()), Some(&value), None)?;
            }
            Ok(())
        };
        put(0, &mut self.rows.rows(id, Side::Left))?;
        put(1, &mut self.rows.rows(id, Side::Right))?;
        put(WAITING, &mut self.rows.waiting(id))
    }
}
