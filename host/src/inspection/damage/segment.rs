//! What is wrong with a segment, row by row.

use wasmill_core::{
    checkpoint::{KeyHash, Segment},
    key::KeyGroupRange,
};

use super::Damage;
use crate::{
    inspection::{InspectionError, KeyColumns, Table, stretch::Pieces},
    segment::{Address, Kind, Row, SegmentError},
};

/// Damages of one object that are told one by one.
const TOLD_MAX: usize = 100;
/// Rows of one batch.
const BATCH_ROWS_MAX: usize = 1 << 16;
/// What stands behind the last batch.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// What is wrong with one object.
pub(super) struct Damages<'a> {
    name: &'a str,
    found: Vec<Damage>,
    more: usize,
}

impl<'a> Damages<'a> {
    pub(super) fn new(name: &'a str) -> Self {
        Self {
            name,
            found: Vec::new(),
            more: 0,
        }
    }

    pub(super) fn add(&mut self, place: &str, what: impl Into<String>) {
        if self.found.len() >= TOLD_MAX {
            self.more += 1;
            return;
        }
        let place = match place {
            "" => self.name.to_owned(),
            place => format!("{}: {place}", self.name),
        };
        let what = what.into();
        self.found.push(Damage { place, what });
    }

    pub(super) fn finish(mut self) -> Vec<Damage> {
        if self.more > 0 {
            self.found.push(Damage {
                place: self.name.to_owned(),
                what: format!("{} more damages", self.more),
            });
        }
        self.found
    }
}

/// A segment that is being read.
pub(super) struct Reading<'a> {
    pub(super) pieces: &'a Pieces<'a>,
    pub(super) key: &'a KeyColumns,
    pub(super) tables: &'a [&'a Table],
    pub(super) key_hash: KeyHash,
}

/// The place of a row in its segment's order.
type Order = (Vec<u8>, usize, Vec<u8>, i64);

impl Reading<'_> {
    /// Reads all key groups; gives the number of rows.
    pub(super) fn groups(
        &self,
        segment: &Segment,
        damages: &mut Damages<'_>,
    ) -> Result<u64, InspectionError> {
        if !self.pieces.has_groups() {
            if !segment.offsets.is_empty() {
                damages.add(
                    "",
                    "the manifest says that its key groups begin where they cannot",
                );
            }
            return self.group(None, segment.range, damages);
        }
        if !self.pieces.tail().starts_with(&END) {
            damages.add("", "its messages do not end where the manifest says");
        }
        let mut rows = 0;
        for group in segment.range.start..segment.range.end {
            rows += self.group(Some(group), segment.range, damages)?;
        }
        Ok(rows)
    }

    /// Reads one key group, or all of them where it is not known where each begins.
    fn group(
        &self,
        group: Option<u16>,
        range: KeyGroupRange,
        damages: &mut Damages<'_>,
    ) -> Result<u64, InspectionError> {
        let own = group.map_or(range, |start| KeyGroupRange {
            start,
            end: start + 1,
        });
        let piece = match self.pieces.piece(own) {
            Ok(piece) => piece,
            Err(InspectionError::Segment { source, .. }) => {
                damages.add(&self.at(&source, own), source.to_string());
                return Ok(0);
            }
            Err(InspectionError::Object { reason, .. }) => {
                damages.add("", format!("it {reason}"));
                return Ok(0);
            }
            Err(error) => return Err(error),
        };
        let Some(reader) = piece else { return Ok(0) };
        let (mut count, mut before) = (0, None);
        let every = KeyGroupRange::all(u16::MAX);
        for rows in reader.rows(every) {
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => {
                    damages.add(&self.at(&error, own), error.to_string());
                    break;
                }
            };
            if rows.len() > BATCH_ROWS_MAX {
                damages.add(&place(own), format!("a batch has {} rows", rows.len()));
            }
            if !own.contains(rows.key_group()) {
                let what = format!("rows of key group {} stand there", rows.key_group());
                damages.add(&place(own), what);
            }
            for at in 0..rows.len() {
                let row = rows.get(at);
                let address = &reader.addresses()[row.address];
                self.row(address, &row, &mut before, damages);
            }
            count += rows.len() as u64;
        }
        Ok(count)
    }

    fn row(
        &self,
        address: &Address,
        row: &Row<'_>,
        before: &mut Option<(u16, Order)>,
        damages: &mut Damages<'_>,
    ) {
        let place = || {
            let key = self.key.to_json(row.key);
            let (kind, name) = (address.kind.name(), &address.name);
            format!("key group {}, key {key}, {kind} `{name}`", row.key_group)
        };
        let is_key = self.key.fields().is_empty() || self.key.is_key(row.key);
        if !is_key {
            damages.add(&place(), "the key is not of the operator's key type");
        }
        let group = self.key.group(row.key, self.key_hash);
        if group != row.key_group {
            damages.add(&place(), format!("the key belongs to key group {group}"));
        }
        match self.tables.iter().find(|table| table.holds(address)) {
            // That a key is gone; a base's head does not name it.
            None if address.kind == Kind::Gone => {}
            None => damages.add(&place(), "the manifest knows no such state"),
            Some(table) => {
                if let Err(what) = table.check(address, row) {
                    damages.add(&place(), format!("the row {what}"));
                }
            }
        }
        let entry = row.entry.unwrap_or_default().to_vec();
        let time = match address.kind {
            Kind::Timer => row.time.unwrap_or_default(),
            _ => 0,
        };
        let order = (row.key_group, (row.key.to_vec(), row.address, entry, time));
        if let Some(before) = before
            && *before >= order
        {
            let what = match *before == order {
                true => "the row stands there twice",
                false => "the row stands behind one that comes after it",
            };
            damages.add(&place(), what);
        }
        *before = Some(order);
    }

    /// Where an error is: an excerpt counts bytes from its own start.
    fn at(&self, error: &SegmentError, groups: KeyGroupRange) -> String {
        let SegmentError::Content { at, .. } = error else {
            return place(groups);
        };
        let head = self.pieces.head_len();
        match self.pieces.span(groups) {
            Some(span) if *at >= head => {
                let at = span.start + (*at - head) as u64;
                format!("{}, at byte {at} of the file", place(groups))
            }
            _ => place(groups),
        }
    }
}

fn place(groups: KeyGroupRange) -> String {
    match groups.end - groups.start {
        1 => format!("key group {}", groups.start),
        _ => format!("key groups {} to {}", groups.start, groups.end - 1),
    }
}
