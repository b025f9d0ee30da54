//! What can leave memory key by key.

use wasmill_core::descriptor::Ttl;
use wasmill_core::timer::TimeDomain;

use crate::segment::{Address, Row, SegmentError};
use crate::state::image::KeyRows;
use crate::state::{KeyIndex, RestoreError};

/// What is known of the rows of an address beside its name.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The address.
    pub address: Address,
    /// How long its values live; none: for ever.
    pub ttl: Option<Ttl>,
    /// A timer's domain.
    pub timer: Option<TimeDomain>,
}

/// Something that a task keeps by key, and that can leave memory key by key.
pub trait Resident: Send {
    /// From now on keys may leave memory.
    fn begin(&mut self) {}

    /// What its rows are about, in the order in which [`Resident::write_key`] gives them.
    fn kept(&self) -> Vec<Kept>;

    /// Gives all rows of a key.
    ///
    /// # Errors
    /// If one is too large.
    fn write_key(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError>;

    /// Takes a row back; its address counts among its own.
    ///
    /// # Errors
    /// If it is not what was given.
    fn take_row(&mut self, row: (u32, &Row<'_>), index: &mut KeyIndex) -> Result<(), RestoreError>;

    /// All rows of some keys have been given back. `due` says that they are here because of a time,
    /// which the clock of its domain has passed without them.
    ///
    /// # Errors
    /// If they are not what was given.
    fn taken(&mut self, _due: Option<TimeDomain>) -> Result<(), RestoreError> {
        Ok(())
    }

    /// Whether a key must stay in memory for now.
    fn is_busy(&self, _id: u32) -> bool {
        false
    }

    /// Frees what is kept of a key, and releases it as often as it is held for that.
    fn drop_key(&mut self, id: u32, index: &mut KeyIndex);

    /// Memory of the pages that keys share, and memory behind them that each key has of its own.
    fn bytes(&self) -> (usize, usize);
}

/// All that a task keeps by key, in an order that never changes.
pub type Residents<'a> = Vec<&'a mut dyn Resident>;
