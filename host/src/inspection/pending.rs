//! Rows of state that wait to become a record batch.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt16Array, UInt32Array,
    cast::AsArray,
};
use arrow_schema::Field;
use wasmill_core::{
    checkpoint::Part,
    encoding::{self, EncodingError},
};

use super::{InspectionError, KeptOf, Table, columns::flattened, windows};
use crate::{
    feature,
    format::base64,
    segment::{Address, Kind, Row},
    state,
};

/// Rows of one record batch.
const ROWS_MAX: usize = 8_192;
/// Bytes of keys and values in one record batch.
const BYTES_MAX: usize = 8 << 20;

/// The states of subtasks, and those that all of them have alike, out of an operator's parts.
pub(super) fn unkeyed(
    table: &Table,
    parts: &[Part],
    pending: &mut Pending,
) -> Result<(), InspectionError> {
    let address = Address {
        kind: Kind::Value,
        name: table.name.clone(),
    };
    for part in parts {
        let Some(text) = part.state.get("states").and_then(|it| it.get(&table.name)) else {
            continue;
        };
        let bytes = text
            .as_str()
            .and_then(|text| base64::decode(text.as_bytes()));
        let wrong = |what: &str| InspectionError::Value {
            place: format!("operator `{}`, subtask {}", table.operator, part.subtask),
            reason: format!("state `{}` is not {what}", table.name),
        };
        let bytes = bytes.ok_or_else(|| wrong("in base64"))?;
        let mut push = |entry, value| {
            let row = Row {
                key_group: part.subtask,
                key: &[],
                address: 0,
                entry,
                value: Some(value),
                time: None,
            };
            pending.push(&address, &row);
        };
        // What has keys of its own is a broadcast state.
        match table.entry {
            None => push(None, &bytes[..]),
            Some(_) => state::broadcast_entries(&bytes)
                .ok_or_else(|| wrong("what all subtasks have alike"))?
                .into_iter()
                .for_each(|(entry, value)| push(Some(entry), value)),
        }
    }
    Ok(())
}

/// Byte strings, one behind the other.
#[derive(Debug, Default)]
struct Strings {
    ends: Vec<usize>,
    data: Vec<u8>,
}

impl Strings {
    fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.ends.push(self.data.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.data[*start..*end])
    }
}

/// Rows of one table that wait to become a record batch.
#[derive(Debug, Default)]
pub(super) struct Pending {
    groups: Vec<u16>,
    names: Vec<String>,
    keys: Strings,
    entries: Strings,
    values: Strings,
    times: Vec<Option<i64>>,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// The bytes of keys, entries and values.
    pub(super) fn bytes(&self) -> usize {
        self.keys.data.len() + self.entries.data.len() + self.values.data.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= ROWS_MAX || self.bytes() >= BYTES_MAX
    }

    pub(super) fn push(&mut self, address: &Address, row: &Row<'_>) {
        self.groups.push(row.key_group);
        if matches!(address.kind, Kind::Timer | Kind::Feature) {
            self.names.push(address.name.clone());
        }
        self.keys.push(row.key);
        self.entries.push(row.entry.unwrap_or_default());
        self.values.push(row.value.unwrap_or_default());
        self.times.push(row.time);
    }

    /// The rows as the table's columns; none are left.
    pub(super) fn finish(&mut self, table: &Table) -> Result<RecordBatch, InspectionError> {
        let rows = std::mem::take(self);
        let columns = rows
            .columns(table)
            .map_err(|reason| rows.explain(table, reason))?;
        Ok(RecordBatch::try_new(table.schema.clone(), columns)?)
    }

    /// The columns; or why they cannot be had.
    fn columns(&self, table: &Table) -> Result<Vec<ArrayRef>, String> {
        let wrong = |error: EncodingError| error.to_string();
        let mut columns: Vec<ArrayRef> = match table.kept {
            KeptOf::Subtask => vec![Arc::new(UInt16Array::from(self.groups.clone()))],
            _ => table.key.decode(self.keys.iter()).map_err(wrong)?,
        };
        let timestamps = || {
            let times = TimestampMicrosecondArray::from(self.times.clone());
            Arc::new(times.with_timezone("UTC"))
        };
        if table.kept == KeptOf::List {
            let position = |entry: &[u8]| entry.try_into().map_or(0, u32::from_be_bytes);
            let positions: Vec<u32> = self.entries.iter().map(position).collect();
            columns.push(Arc::new(UInt32Array::from(positions)));
        }
        if let Some(entry) = &table.entry {
            columns.extend(decode(entry, self.entries.iter()).map_err(wrong)?);
        }
        match table.kept {
            KeptOf::Timers => {
                columns.push(Arc::new(StringArray::from_iter_values(&self.names)));
                columns.push(timestamps());
            }
            KeptOf::Features => {
                columns.push(Arc::new(StringArray::from_iter_values(&self.names)));
                let told = self.names.iter().zip(self.values.iter());
                let told = told.map(|(name, value)| feature::describe(name, value));
                let told = told.map(|json| json.map_or_else(String::new, |it| it.to_string()));
                columns.push(Arc::new(StringArray::from_iter_values(told)));
            }
            KeptOf::Windows => {
                if let Some(definition) = &table.windows {
                    let rows = self.entries.iter().zip(self.values.iter());
                    let told = windows::columns(definition, rows).map_err(wrong)?;
                    columns.extend(told.ok_or("a row is not what windows keep")?);
                }
            }
            KeptOf::Value | KeptOf::List | KeptOf::Map | KeptOf::Subtask => {
                if let Some(value) = &table.value {
                    columns.extend(decode(value, self.values.iter()).map_err(wrong)?);
                }
                if table.kept != KeptOf::Subtask {
                    columns.push(timestamps());
                }
            }
        }
        Ok(columns)
    }

    /// Finds the row that does not decode.
    fn explain(&self, table: &Table, reason: String) -> InspectionError {
        let is_wrong = |field: &Field, bytes: &[u8]| {
            encoding::validate(field.data_type(), field.is_nullable(), bytes).is_err()
        };
        let rows = self
            .keys
            .iter()
            .zip(self.entries.iter().zip(self.values.iter()));
        let mut guilty = rows.filter(|(key, (entry, value))| {
            (table.kept != KeptOf::Subtask && !table.key.is_key(key))
                || table
                    .entry
                    .as_ref()
                    .is_some_and(|field| is_wrong(field, entry))
                || table
                    .value
                    .as_ref()
                    .is_some_and(|field| is_wrong(field, value))
                || table
                    .windows
                    .as_ref()
                    .is_some_and(|definition| definition.describe(entry, value).is_none())
        });
        InspectionError::Value {
            place: table.place(guilty.next().map_or(&[], |(key, _)| key)),
            reason,
        }
    }
}

/// The columns of values: those of their fields where a struct is always there.
fn decode<'a>(
    field: &Field,
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<ArrayRef>, EncodingError> {
    let decoded = encoding::decode(field.data_type(), field.is_nullable(), values.map(Some))?;
    Ok(match flattened(field) {
        Some(_) => decoded.as_struct().columns().to_vec(),
        None => vec![decoded],
    })
}
