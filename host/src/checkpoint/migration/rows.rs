//! Keyed state through a migration: rows out of segments, and into a segment again.

use wasmill_core::{checkpoint::SegmentKind, key::KeyGroupRange};

use super::{Migration, MigrationError, ValueError, guest::Value, shown};
use crate::crash_point::{CrashPoint, reach};
use crate::segment::{Address, Kind, Reader, Row, SegmentError, Writer, for_each_row};

/// Under this name the segment that comes out is known to nobody.
const NAME: &str = "migrated";

/// A row of a key group.
struct Owned {
    key: Vec<u8>,
    address: usize,
    entry: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time: Option<i64>,
    /// The plugin has dropped it.
    is_dropped: bool,
}

/// Migrates the segments of an operator, a key group at a time: one base of all key groups comes
/// out.
pub(super) async fn migrate(
    migration: &mut Migration<'_>,
    segments: &[Reader],
    groups: u16,
) -> Result<Vec<Reader>, MigrationError> {
    let mut addresses: Vec<Address> = Vec::new();
    for address in segments.iter().flat_map(Reader::addresses) {
        if address.kind != Kind::Gone && !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    let jobs = addresses
        .iter()
        .map(|of| migration.job_of(of.kind, &of.name));
    let jobs: Vec<Option<usize>> = jobs.collect();
    if jobs.iter().all(Option::is_none) {
        return Ok(segments.to_vec());
    }
    let wrong = |migration: &Migration<'_>| {
        let (checkpoint, operator) = (migration.checkpoint, migration.operator.to_owned());
        move |source| MigrationError::Segment {
            checkpoint,
            operator: operator.clone(),
            source: Box::new(source),
        }
    };
    let range = KeyGroupRange::all(groups);
    let mut writer =
        Writer::new(SegmentKind::Base, range, &addresses, 0).map_err(wrong(migration))?;
    for key_group in 0..groups {
        let mut rows = read(segments, key_group, &addresses).map_err(wrong(migration))?;
        for job in 0..migration.jobs.len() {
            values(migration, job, &jobs, &mut rows).await?;
        }
        let rows = arrange(migration, rows, &addresses)?;
        for row in &rows {
            let row = Row {
                key_group,
                key: &row.key,
                address: row.address,
                entry: row.entry.as_deref(),
                value: row.value.as_deref(),
                time: row.time,
            };
            writer.push(row).map_err(wrong(migration))?;
        }
        if !rows.is_empty() {
            reach(CrashPoint::MidMigration);
        }
    }
    let encoded = writer.finish().map_err(wrong(migration))?;
    let segment = encoded.segment(NAME.into());
    let reader = Reader::open(encoded.bytes.into(), &segment).map_err(wrong(migration))?;
    Ok(vec![reader])
}

/// The rows of a key group, in the order of their keys.
fn read(
    segments: &[Reader],
    key_group: u16,
    addresses: &[Address],
) -> Result<Vec<Owned>, SegmentError> {
    let range = KeyGroupRange {
        start: key_group,
        end: key_group + 1,
    };
    let mut rows = Vec::new();
    for_each_row(segments, range, |address, row| {
        let of_row = addresses.iter().position(|known| known == address);
        rows.push(Owned {
            key: row.key.to_vec(),
            address: of_row.unwrap_or_default(),
            entry: row.entry.map(<[u8]>::to_vec),
            value: row.value.map(<[u8]>::to_vec),
            time: row.time,
            is_dropped: false,
        });
        Ok::<_, SegmentError>(())
    })?;
    Ok(rows)
}

/// Migrates the rows of one state.
async fn values(
    migration: &mut Migration<'_>,
    job: usize,
    jobs: &[Option<usize>],
    rows: &mut [Owned],
) -> Result<(), MigrationError> {
    let is_own = |row: &&mut Owned| jobs[row.address] == Some(job);
    let mut own: Vec<&mut Owned> = rows.iter_mut().filter(is_own).collect();
    let old = own.iter_mut().map(|row| Value {
        key: row.key.clone(),
        entry: row.entry.take(),
        value: row.value.take().unwrap_or_default(),
    });
    let old: Vec<Value> = old.collect();
    if old.is_empty() {
        return Ok(());
    }
    let types = migration.key;
    let place = |at: usize| format!("key {}", shown(types, &own[at].key));
    let new = migration.values(job, old, place).await?;
    for (row, new) in own.iter_mut().zip(new) {
        match new {
            None => row.is_dropped = true,
            Some(new) => {
                row.entry = new.entry;
                row.value = Some(new.value);
            }
        }
    }
    Ok(())
}

/// Puts the rows that are left of each key into a segment's order, and numbers the items of lists
/// anew.
fn arrange(
    migration: &Migration<'_>,
    mut rows: Vec<Owned>,
    addresses: &[Address],
) -> Result<Vec<Owned>, MigrationError> {
    rows.retain(|row| !row.is_dropped);
    // Timers have no entry and are sorted by time; other rows have no two times.
    let time = |row: &Owned| match addresses[row.address].kind {
        Kind::Timer => row.time,
        _ => None,
    };
    rows.sort_by(|a, b| {
        let order = |row: &Owned| (row.address, time(row));
        let keys = a.key.cmp(&b.key);
        keys.then_with(|| order(a).cmp(&order(b)))
            .then_with(|| a.entry.cmp(&b.entry))
    });
    let mut position = 0_u32;
    for at in 0..rows.len() {
        let (before, rest) = rows.split_at_mut(at);
        let row = &mut rest[0];
        let kind = addresses[row.address].kind;
        let is_same = |other: &Owned| other.key == row.key && other.address == row.address;
        let follows = before.last().filter(|before| is_same(before));
        position = follows.map_or(0, |_| position + 1);
        match (kind, follows) {
            (Kind::List, _) => row.entry = Some(position.to_be_bytes().to_vec()),
            (Kind::Map, Some(before)) if before.entry == row.entry => {
                let key = migration.key_text(&row.key);
                let job = migration.job_of(kind, &addresses[row.address].name);
                return Err(migration.wrong(job.unwrap_or_default(), key, ValueError::SameEntry));
            }
            _ => {}
        }
    }
    Ok(rows)
}
