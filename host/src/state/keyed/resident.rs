//! The states of single keys, as they leave memory and come back.

use wasmill_core::descriptor::Ttl;

use super::{Column, KeyedStates};
use crate::segment::{Address, Kind, SegmentError};
use crate::state::{Kept, KeyIndex, KeyRows};

impl KeyedStates {
    /// What is kept by key, in the order of [`KeyedStates::write_key`].
    pub fn kept(&self) -> Vec<Kept> {
        let states = self.states.iter().zip(&self.columns);
        let kept = states.filter_map(|(state, column)| {
            let name = state.name.clone();
            let kind = column.kind()?;
            Some(Kept {
                address: Address { kind, name },
                ttl: column.ttl(),
                timer: None,
            })
        });
        kept.collect()
    }

    /// How many addresses [`KeyedStates::kept`] has.
    pub fn kept_len(&self) -> usize {
        let columns = self.columns.iter();
        columns.filter(|column| column.kind().is_some()).count()
    }

    /// The state that an address is about: a position among all, also those that are not by key.
    pub fn state_at(&self, address: usize) -> Option<usize> {
        let columns = self.columns.iter().enumerate();
        let mut by_key = columns.filter(|(_, column)| column.kind().is_some());
        by_key.nth(address).map(|(state, _)| state)
    }

    /// Gives all that a key has, expired values too.
    ///
    /// # Errors
    /// If a row is too large.
    pub fn write_key(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        let mut scratch = Vec::new();
        let columns = self.columns.iter().filter(|column| column.kind().is_some());
        for (address, column) in columns.enumerate() {
            match column {
                Column::Fixed(column, _) => {
                    scratch.clear();
                    if let Some(time) = column.read(id, &mut scratch) {
                        rows.push(address, None, Some(&scratch), time)?;
                    }
                }
                Column::Var(column, _) => {
                    if let Some((value, time)) = column.read(id) {
                        rows.push(address, None, Some(value), time)?;
                    }
                }
                Column::List(column, _) => {
                    for ((item, time), at) in column.read(id).zip(0_u32..) {
                        rows.push(address, Some(&at.to_be_bytes()), Some(item), time)?;
                    }
                }
                Column::Map(column, ..) => {
                    // In the order of segments: a record may become one unread.
                    let mut entries: Vec<_> = column.read(id).collect();
                    entries.sort_unstable();
                    for (entry, value, time) in entries {
                        rows.push(address, Some(entry), Some(value), time)?;
                    }
                }
                Column::Operator(..) | Column::Broadcast(..) => {}
            }
        }
        Ok(())
    }

    /// Takes all that a key has out of memory.
    pub fn drop_key(&mut self, id: u32, index: &mut KeyIndex) {
        for column in &mut self.columns {
            match column {
                Column::Fixed(column, _) => column.evict(id, index),
                Column::Var(column, _) => column.evict(id, index),
                Column::List(column, _) => column.evict(id, index),
                Column::Map(column, ..) => column.clear(id, index),
                Column::Operator(..) | Column::Broadcast(..) => {}
            }
        }
    }

    /// Memory behind the pages, which each key has of its own.
    pub fn content_bytes(&self) -> usize {
        let of = |column: &Column| match column {
            Column::Var(column, _) => column.content_bytes(),
            Column::List(column, _) => column.content_bytes(),
            Column::Map(column, ..) => column.content_bytes(),
            Column::Fixed(..) | Column::Operator(..) | Column::Broadcast(..) => 0,
        };
        self.columns.iter().map(of).sum()
    }
}

impl Column {
    /// The kind of its rows; none if it is not by key.
    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Fixed(..) | Self::Var(..) => Some(Kind::Value),
            Self::List(..) => Some(Kind::List),
            Self::Map(..) => Some(Kind::Map),
            Self::Operator(..) | Self::Broadcast(..) => None,
        }
    }

    pub(super) fn ttl(&self) -> Option<Ttl> {
        match self {
            Self::Fixed(_, ttl) | Self::Var(_, ttl) | Self::List(_, ttl) | Self::Map(_, ttl, _) => {
                *ttl
            }
            Self::Operator(..) | Self::Broadcast(..) => None,
        }
    }
}
