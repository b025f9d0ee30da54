//! A key's record on disk: all rows of all that a task keeps of it. Local scratch, written and read
//! by one process: no format that anybody else sees.
//!
//! ```text
//! | i64 event-time clock, i64 processing time: of no use once both have passed
//! | i64 event-time clock: what is due before it has been done | row | row | ...
//! row: | u16 address | u8 parts | u32 length, entry | u32 length, value | i64 time |
//! ```

use wasmill_core::descriptor::Ttl;
use wasmill_core::key::Keys;
use wasmill_core::timer::TimeDomain;

use super::split;
use crate::segment::{Row, SegmentError};
use crate::state::image::TakeRow;

/// The clocks.
const HEAD: usize = 24;

const ENTRY: u8 = 1;
const VALUE: u8 = 2;
const TIME: u8 = 4;

/// What is known of an address beside its name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct About {
    /// Its values live so long; none: for ever.
    pub(super) ttl: Option<Ttl>,
    /// It is a timer's, of this domain.
    pub(super) timer: Option<TimeDomain>,
}

/// Writes a record.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    about: &'a [About],
    bytes: Vec<u8>,
    /// Until when it is of use: by event time, and by processing time.
    until: (i64, i64),
    /// The next row's own.
    row_until: Option<i64>,
    /// The earliest timer of each domain.
    pub(super) wakes: [Option<i64>; 2],
    /// Something is due that is no timer: it has to be known whether it has been done.
    pub(super) is_timely: bool,
}

/// Where a domain stands among two.
pub(super) fn place(domain: TimeDomain) -> usize {
    match domain {
        TimeDomain::Event => 0,
        TimeDomain::Processing => 1,
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(about: &'a [About]) -> Self {
        Self {
            about,
            bytes: vec![0; HEAD],
            until: (i64::MIN, i64::MIN),
            row_until: None,
            wakes: [None, None],
            is_timely: false,
        }
    }

    /// Whether nothing is kept of the key.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == HEAD
    }

    /// The record of a key for which all has been done that was due before a clock.
    pub(super) fn finish(mut self, done: i64) -> Vec<u8> {
        self.bytes[..8].copy_from_slice(&self.until.0.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&self.until.1.to_le_bytes());
        self.bytes[16..HEAD].copy_from_slice(&done.to_le_bytes());
        self.bytes
    }

    fn note_wake(&mut self, domain: TimeDomain, time: i64) {
        let wake = &mut self.wakes[place(domain)];
        *wake = Some(wake.map_or(time, |known| known.min(time)));
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("a row is below 1 GiB");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// A record is of use as long as any of its rows is.
    fn live(&mut self, row: Row<'_>) {
        let ends = |ttl: Ttl| row.time.map(|time| time.saturating_add(ttl.after_us));
        let ttl = self.about[row.address].ttl;
        match (self.row_until.take(), ttl.map(|ttl| (ttl.time, ends(ttl)))) {
            (Some(until), _) | (None, Some((TimeDomain::Event, Some(until)))) => {
                self.until.0 = self.until.0.max(until);
            }
            (None, Some((TimeDomain::Processing, Some(until)))) => {
                self.until.1 = self.until.1.max(until);
            }
            _ => self.until = (i64::MAX, i64::MAX),
        }
    }
}

impl TakeRow for Writer<'_> {
    fn take(&mut self, row: Row<'_>) -> Result<(), SegmentError> {
        self.live(row);
        if let (Some(domain), Some(time)) = (self.about[row.address].timer, row.time) {
            self.note_wake(domain, time);
        }
        let part = |bit: u8, is_there: bool| if is_there { bit } else { 0 };
        let parts = part(ENTRY, row.entry.is_some())
            | part(VALUE, row.value.is_some())
            | part(TIME, row.time.is_some());
        let address = u16::try_from(row.address);
        let count = row.address;
        let address = address.map_err(|_| SegmentError::TooManyNames { count })?;
        self.bytes.extend_from_slice(&address.to_le_bytes());
        self.bytes.push(parts);
        row.entry
            .into_iter()
            .for_each(|entry| self.put_bytes(entry));
        row.value
            .into_iter()
            .for_each(|value| self.put_bytes(value));
        if let Some(time) = row.time {
            self.bytes.extend_from_slice(&time.to_le_bytes());
        }
        Ok(())
    }

    fn until(&mut self, clock: i64) {
        self.row_until = Some(clock);
    }

    fn wake(&mut self, domain: TimeDomain, time: i64) {
        self.is_timely |= domain == TimeDomain::Event;
        self.note_wake(domain, time);
    }
}

/// The keys of some places; none if one is damaged.
pub(super) fn keys_of(places: &[Vec<u8>], is_word: bool) -> Option<Keys> {
    let keys = places.iter().map(|place| split(place).map(|(_, key)| key));
    if is_word {
        let word = |key: Option<&[u8]>| Some(u64::from_le_bytes(key?.try_into().ok()?));
        return Some(Keys::Words(
            keys.map(word).collect::<Option<Vec<u64>>>()?.into(),
        ));
    }
    let (mut offsets, mut data) = (vec![0], Vec::new());
    for key in keys {
        data.extend_from_slice(key?);
        offsets.push(u32::try_from(data.len()).ok()?);
    }
    Some(Keys::Bytes { offsets, data })
}

/// Whether a record is of no use at an event-time clock and a processing time.
pub(in crate::state) fn is_over(record: &[u8], (event, processing): (i64, i64)) -> bool {
    let Some((until, rest)) = record.split_first_chunk() else {
        return false;
    };
    let Some((until_too, _)) = rest.split_first_chunk() else {
        return false;
    };
    i64::from_le_bytes(*until) <= event && i64::from_le_bytes(*until_too) <= processing
}

/// Before which event-time clock all has been done that was due; none if the record is damaged.
pub(super) fn done(record: &[u8]) -> Option<i64> {
    let bytes = record.get(16..HEAD)?.try_into().ok()?;
    Some(i64::from_le_bytes(bytes))
}

/// The rows of a record, of a key; each may be none if the record is damaged.
pub(super) fn rows<'a>(
    (key_group, key): (u16, &'a [u8]),
    record: &'a [u8],
) -> impl Iterator<Item = Option<Row<'a>>> {
    let mut rest = record.get(HEAD..).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let row = take_row((key_group, key), &mut rest);
        if row.is_none() {
            rest = &[];
        }
        Some(row)
    })
}

fn take_row<'a>((key_group, key): (u16, &'a [u8]), rest: &mut &'a [u8]) -> Option<Row<'a>> {
    let (address, after) = rest.split_first_chunk()?;
    let (parts, after) = after.split_first()?;
    *rest = after;
    let mut bytes = |bit: u8| -> Option<Option<&'a [u8]>> {
        if parts & bit == 0 {
            return Some(None);
        }
        let (len, after) = rest.split_first_chunk()?;
        let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        *rest = after;
        Some(Some(bytes))
    };
    let (entry, value) = (bytes(ENTRY)?, bytes(VALUE)?);
    let mut time = None;
    if parts & TIME != 0 {
        let (word, after) = rest.split_first_chunk()?;
        *rest = after;
        time = Some(i64::from_le_bytes(*word));
    }
    Some(Row {
        key_group,
        key,
        address: usize::from(u16::from_le_bytes(*address)),
        entry,
        value,
        time,
    })
}
