//! What random numbers derive from: where a call's rows come from, and what its keys are.

use wasmill_core::lineage::{Lineage, key_seed, row_seed};
use xxhash_rust::xxh3::xxh3_64;

/// The seeds of one call. They are computed when somebody asks: few guests do.
#[derive(Debug, Default)]
pub struct Seeds {
    /// Of the operator's name.
    operator: u64,
    rows: Lineage,
    keys: Vec<u64>,
    scratch: Vec<u8>,
}

impl Seeds {
    /// Of a call to the operator of that name, with no rows and no keys.
    pub fn new(operator: &str) -> Self {
        Self {
            operator: xxh3_64(operator.as_bytes()),
            ..Self::default()
        }
    }

    /// The call has these rows.
    pub fn set_rows(&mut self, rows: &Lineage) {
        self.rows = rows.clone();
    }

    /// The call has these keys, as their codec encodes them.
    pub fn set_keys(&mut self, keys: impl Iterator<Item = impl AsRef<[u8]>>) {
        let operator = self.operator;
        self.keys.clear();
        self.keys
            .extend(keys.map(|key| key_seed(operator, key.as_ref())));
    }

    /// Of a row; none if the call has not so many.
    pub(super) fn of_row(&mut self, row: u32) -> Option<u64> {
        let row = row as usize;
        (row < self.rows.len()).then(|| row_seed(self.operator, &self.rows, row, &mut self.scratch))
    }

    /// Of a key; none if the call has not so many.
    pub(super) fn of_key(&self, key: u32) -> Option<u64> {
        self.keys.get(key as usize).copied()
    }

    /// Of the whole call.
    pub(super) fn of_call(&mut self) -> u64 {
        let first = self.of_row(0).or_else(|| self.of_key(0));
        first.unwrap_or(self.operator)
    }
}
