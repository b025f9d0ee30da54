//! Objects, as a store keeps them: whole, or cut off.

use std::collections::BTreeMap;

use wasmill_core::checkpoint::{Digest, ObjectRef, Position, Scope, Segment, SinkState};
use wasmill_core::key::KeyGroupRange;

use crate::model::{Counts, Row};

/// What stands where.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
}

impl Store {
    /// The bytes of an object as a manifest names it.
    pub(crate) fn whole(&self, scope: &Scope, object: &ObjectRef) -> Result<&[u8], String> {
        let name = scope.object(&object.name);
        let bytes = self
            .objects
            .get(&name)
            .ok_or(format!("`{name}`, which is not there"))?;
        if bytes.len() as u64 == object.bytes && Digest::of(bytes) == object.digest {
            Ok(bytes)
        } else {
            Err(format!("`{name}`, which is not whole"))
        }
    }

    /// Whether an entry of the log has a higher number.
    pub(crate) fn is_last(&self, scope: &Scope, position: Position) -> bool {
        let (from, log) = (
            scope.entry(position.next()),
            format!("{}log/", scope.prefix()),
        );
        let mut behind = self.objects.range(from..);
        behind
            .next()
            .is_none_or(|(name, _)| !name.starts_with(&log))
    }

    /// The state of some keys in segments that are known to be whole.
    pub(crate) fn counts(
        &self,
        scope: &Scope,
        segments: &[Segment],
        range: KeyGroupRange,
    ) -> Counts {
        let mut counts = Counts::new();
        for segment in segments {
            let bytes = self
                .whole(scope, &segment.object)
                .expect("it was looked at before");
            for (key, value) in decode_counts(bytes) {
                if range.contains(u16::from(key)) {
                    counts.insert(key, value);
                }
            }
        }
        counts
    }

    /// The rows for a sink, in objects that are known to be whole.
    pub(crate) fn rows(&self, scope: &Scope, sink: &SinkState) -> Vec<Row> {
        let objects = sink.parts.iter().flat_map(|part| &part.objects);
        let rows = objects.flat_map(|object| {
            decode_rows(self.whole(scope, object).expect("it was looked at before"))
        });
        rows.collect()
    }
}

pub(crate) fn encode_counts(counts: &Counts) -> Vec<u8> {
    let mut bytes = vec![b'c'];
    for (key, (rows, sum)) in counts {
        bytes.push(*key);
        bytes.extend_from_slice(&rows.to_le_bytes());
        bytes.extend_from_slice(&sum.to_le_bytes());
    }
    bytes
}

fn decode_counts(bytes: &[u8]) -> Counts {
    let entries = bytes[1..].chunks_exact(13).map(|entry| {
        let rows = u32::from_le_bytes(*entry[1..].first_chunk().expect("13 bytes"));
        let sum = u64::from_le_bytes(*entry[5..].first_chunk().expect("13 bytes"));
        (entry[0], (rows, sum))
    });
    entries.collect()
}

pub(crate) fn encode_rows<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<u8> {
    let mut bytes = vec![b'r'];
    for row in rows {
        bytes.push(row.source);
        bytes.extend_from_slice(&row.number.to_le_bytes());
    }
    bytes
}

fn decode_rows(bytes: &[u8]) -> Vec<Row> {
    let rows = bytes[1..].chunks_exact(5).map(|row| Row {
        source: row[0],
        number: u32::from_le_bytes(*row[1..].first_chunk().expect("five bytes")),
    });
    rows.collect()
}
