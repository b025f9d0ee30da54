//! Reading keys and encoded values out of sections.

use crate::Malformed;
use crate::buffer::Section;
use crate::encode::encode;
use crate::rows::Shape;
use crate::state::column;

/// The canonical bytes of a key column's value.
pub(super) fn key_bytes(value: Option<&[u8]>, shape: Shape, kind: &str, bytes: &mut Vec<u8>) {
    if kind.ends_with('?') {
        bytes.push(u8::from(value.is_some()));
    }
    let Some(value) = value else {
        return;
    };
    let float = |value: &[u8]| value.try_into().map(f64::from_le_bytes).unwrap_or_default();
    match (shape, kind.trim_end_matches('?')) {
        (Shape::Bytes, _) => bytes.extend(encode(value)),
        // Adding zero makes +0.0 of -0.0.
        (_, "f64") => bytes.extend(encode(&(float(value) + 0.0))),
        _ => bytes.extend_from_slice(value),
    }
}

pub(super) fn read_u32s(section: &Section<'_>, column: u32) -> Result<Vec<u32>, Malformed> {
    let values = section.fixed::<4>(column, section.rows())?;
    Ok(values
        .iter()
        .map(|value| u32::from_le_bytes(*value))
        .collect())
}

pub(super) fn read_values(
    section: &Section<'_>,
    column: u32,
    rows: usize,
    width: Option<usize>,
) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut bytes = Vec::new();
    let span = column::load(section, column, rows, width, &mut bytes)?;
    Ok((0..rows)
        .map(|row| column::slice(&bytes, span(row)).to_vec())
        .collect())
}

pub(super) fn read_optional(
    section: &Section<'_>,
    column: u32,
    rows: usize,
    width: Option<usize>,
) -> Result<Vec<Option<Vec<u8>>>, Malformed> {
    let mut flags = Vec::new();
    column::load_flags(section, column, rows, &mut flags)?;
    let values = read_values(section, column, rows, width)?
        .into_iter()
        .zip(flags);
    Ok(values
        .map(|(value, flag)| (flag == column::PRESENT).then_some(value))
        .collect())
}
