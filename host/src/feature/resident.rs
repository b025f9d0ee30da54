//! What features remember of single keys, as it leaves memory and comes back.

use super::FeatureSet;
use super::compute::KeyFeatures;
use crate::segment::{Kind, Row, SegmentError};
use crate::state::{Kept, KeyIndex, KeyRows, Resident, RestoreError};

impl Resident for FeatureSet {
    fn kept(&self) -> Vec<Kept> {
        let addresses = self.plan.addresses().into_iter();
        let kept = addresses.map(|address| Kept {
            address,
            ttl: None,
            timer: None,
        });
        kept.collect()
    }

    fn write_key(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        match self.keys.get(id).filter(|cell| cell.is_used()) {
            Some(cell) => self.plan.write(cell, rows),
            None => Ok(()),
        }
    }

    fn take_row(
        &mut self,
        (id, row): (u32, &Row<'_>),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        if self.places.is_empty() {
            let addresses = self.plan.addresses().into_iter();
            let places = addresses.filter_map(|of| Some((self.plan.place(&of)?, of.name)));
            self.places = places.collect();
        }
        let places = std::mem::take(&mut self.places);
        let place = places.get(row.address);
        let taken = place.and_then(|(place, _)| self.restore_row(place, (id, row), index));
        let taken = taken.ok_or_else(|| RestoreError::Row {
            kind: Kind::Feature.name(),
            state: place.map(|(_, name)| name.clone()).unwrap_or_default(),
        });
        self.places = places;
        taken
    }

    fn drop_key(&mut self, id: u32, index: &mut KeyIndex) {
        if self.keys.get(id).is_some_and(KeyFeatures::is_used) {
            self.bytes -= self.keys.take(id).counted();
            index.release(id);
        }
    }

    fn bytes(&self) -> (usize, usize) {
        (self.keys.bytes(), self.bytes)
    }
}
