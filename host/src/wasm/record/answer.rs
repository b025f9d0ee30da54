//! The effects of many records as one answer.

use arrow_schema::SchemaRef;
use wasmill_core::{
    boundary::{Encoder, Group, Kind, ValueType, column},
    encoding,
};

use super::cell::{self, Cell};

/// Rows and rejects so far.
#[derive(Debug)]
pub(super) struct Answer {
    outputs: Vec<Output>,
    rejects: Texts,
    rejected_rows: Vec<u32>,
}

#[derive(Debug, Default)]
struct Output {
    causes: Vec<u32>,
    /// The encoded cells of each column.
    columns: Vec<Texts>,
}

/// Byte strings, one after the other.
#[derive(Debug, Default)]
struct Texts {
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Texts {
    fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }
}

impl Answer {
    pub(super) fn new(outputs: usize) -> Self {
        Self {
            outputs: (0..outputs).map(|_| Output::default()).collect(),
            rejects: Texts::default(),
            rejected_rows: Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        let emitted: usize = self.outputs.iter().map(|output| output.causes.len()).sum();
        (emitted + self.rejected_rows.len()) as u64
    }

    /// Bytes of all cells and reasons.
    pub(super) fn bytes(&self) -> usize {
        let columns = self.outputs.iter().flat_map(|output| &output.columns);
        let cells: usize = columns.map(|column| column.bytes.len()).sum();
        cells + self.rejects.bytes.len()
    }

    pub(super) fn reject(&mut self, row: usize, reason: &str) {
        self.rejected_rows.push(row as u32);
        self.rejects.bytes.extend(reason.as_bytes());
        self.rejects.ends.push(self.rejects.bytes.len());
    }

    /// Adds a row; the cells must fit the output's columns.
    pub(super) fn emit(
        &mut self,
        row: usize,
        output: usize,
        schema: &SchemaRef,
        cells: &[Cell],
    ) -> Result<(), String> {
        let fields = schema.fields();
        if cells.len() != fields.len() {
            return Err(format!(
                "output {output} has {} columns, {} cells were emitted",
                fields.len(),
                cells.len()
            ));
        }
        let output_rows = &mut self.outputs[output];
        output_rows
            .columns
            .resize_with(fields.len(), Texts::default);
        for ((field, cell), column) in fields.iter().zip(cells).zip(&mut output_rows.columns) {
            cell::push(field, cell, &mut column.bytes).map_err(|reason| {
                format!("output {output}, column `{}`: {reason}", field.name())
            })?;
            column.ends.push(column.bytes.len());
        }
        output_rows.causes.push(row as u32);
        Ok(())
    }

    pub(super) fn encode(&self, schemas: &[SchemaRef]) -> Result<Encoder, String> {
        let mut encoder = Encoder::new();
        for (ordinal, (output, schema)) in self.outputs.iter().zip(schemas).enumerate() {
            let rows = output.causes.len();
            if rows == 0 {
                continue;
            }
            encoder.begin(Group::Output, ordinal as u16, rows as u32);
            let mut number = 0;
            for (field, column) in schema.fields().iter().zip(&output.columns) {
                let values = (0..rows).map(|i| Some(column.get(i)));
                let array = encoding::decode(field.data_type(), field.is_nullable(), values)
                    .map_err(|error| error.to_string())?;
                encoder
                    .array(&mut number, field, array.as_ref())
                    .map_err(|error| error.to_string())?;
            }
            encoder.copy(column::CAUSE, Kind::Values, &output.causes);
        }
        if !self.rejected_rows.is_empty() {
            encoder.begin(Group::Rejects, 0, self.rejected_rows.len() as u32);
            variable(&mut encoder, 0, &self.rejects.ends, &self.rejects.bytes)?;
            encoder.copy(column::CAUSE, Kind::Values, &self.rejected_rows);
        }
        Ok(encoder)
    }
}

/// Writes the changed values of one state, in key order.
pub(super) fn encode_changes(
    encoder: &mut Encoder,
    state: usize,
    value_type: &ValueType,
    changed: &[(u32, Option<&[u8]>)],
) -> Result<(), String> {
    if changed.is_empty() {
        return Ok(());
    }
    encoder.begin(Group::StateChanges, state as u16, changed.len() as u32);
    let keys: Vec<u32> = changed.iter().map(|(key, _)| *key).collect();
    encoder.copy(0, Kind::Values, &keys);
    let bits = encoder.reserve(1, Kind::Validity, changed.len().div_ceil(8));
    bits.fill(0);
    for (i, (_, value)) in changed.iter().enumerate() {
        bits[i / 8] |= u8::from(value.is_some()) << (i % 8);
    }
    let Some(width) = value_type.width else {
        let mut texts = Texts::default();
        for (_, value) in changed {
            texts.bytes.extend(value.unwrap_or_default());
            texts.ends.push(texts.bytes.len());
        }
        return variable(encoder, 1, &texts.ends, &texts.bytes);
    };
    let room = encoder.reserve(1, Kind::Values, changed.len() * width);
    for (room, (key, value)) in room.chunks_exact_mut(width).zip(changed) {
        match value {
            None => room.fill(0),
            Some(value) if value.len() == width => room.copy_from_slice(value),
            Some(value) => {
                return Err(format!(
                    "state {state} of key {key} is {} bytes, its type takes {width}",
                    value.len()
                ));
            }
        }
    }
    Ok(())
}

fn variable(
    encoder: &mut Encoder,
    number: u32,
    ends: &[usize],
    bytes: &[u8],
) -> Result<(), String> {
    let mut offsets = vec![0];
    for end in ends {
        offsets.push(i32::try_from(*end).map_err(|_| "more than 2 GiB of text".to_owned())?);
    }
    encoder.copy(number, Kind::Offsets, &offsets);
    encoder.copy(number, Kind::Data, bytes);
    Ok(())
}
