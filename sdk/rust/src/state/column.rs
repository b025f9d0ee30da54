//! Encoded values as columns: back to back if their width is fixed, between offsets if it varies.
//!
//! All values of a state are copied once a batch into one run of bytes, and each is known by its
//! span: reading one allocates nothing. Taking a change back is the business of the state's handle.

use crate::arena::Put;
use crate::buffer::{Section, kind};
use crate::encode::decode;
use crate::{Malformed, State};

/// The key has a value.
pub(crate) const PRESENT: u8 = 1;
/// The value is not what the host sent.
pub(crate) const CHANGED: u8 = 2;

/// Where a value lies in its state's bytes.
pub(crate) type Span = (u32, u32);

/// The bytes of a span.
#[inline]
pub(crate) fn slice(bytes: &[u8], (start, end): Span) -> &[u8] {
    &bytes[start as usize..end as usize]
}

/// The value of these bytes, which the host has checked against its type. `what` and `name` say
/// where they stand, for the panic if they are none all the same.
#[inline]
pub(super) fn decoded<T: State>(bytes: &[u8], what: &str, name: &str) -> T {
    match decode(bytes) {
        Ok(value) => value,
        Err(malformed) => undecodable(&malformed, what, name),
    }
}

#[cold]
fn undecodable(malformed: &Malformed, what: &str, name: &str) -> ! {
    panic!("{what} `{name}` does not decode: {malformed}; its type may have changed")
}

/// Copies a column of `rows` encoded values behind `bytes` and says where each of them lies.
pub(crate) fn load<'a>(
    section: &Section<'a>,
    column: u32,
    rows: usize,
    width: Option<usize>,
    bytes: &mut Vec<u8>,
) -> Result<impl Fn(usize) -> Span + use<'a>, Malformed> {
    let base = bytes.len() as u32;
    let offsets = match width {
        Some(width) => {
            let values = section.bytes_of(column, kind::VALUES)?;
            if values.len() != rows * width {
                return Err(section.malformed(column, "values of another width"));
            }
            bytes.extend_from_slice(values);
            None
        }
        None => {
            let data = section.bytes_of(column, kind::DATA)?;
            let offsets = section.offsets(column, rows, Some(data.len()))?;
            bytes.extend_from_slice(data);
            Some(offsets)
        }
    };
    Ok(move |row: usize| match (offsets, width) {
        (Some(offsets), _) => {
            let (start, end) = (offsets.at(row) as u32, offsets.at(row + 1) as u32);
            (base + start, base + end)
        }
        (None, width) => {
            let width = width.unwrap_or(0);
            let start = base + (row * width) as u32;
            (start, start + width as u32)
        }
    })
}

/// Which rows of a column are present.
pub(crate) fn load_flags(
    section: &Section<'_>,
    column: u32,
    rows: usize,
    flags: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match section.bitmap(column, kind::VALIDITY, rows)? {
        None => flags.resize(rows, PRESENT),
        // Eight at a time: in a sandbox each turn of a loop looks at the clock.
        Some(bits) => {
            let end = flags.len() + rows;
            for byte in bits.iter().take(rows.div_ceil(8)) {
                flags
                    .extend_from_slice(&std::array::from_fn::<u8, 8, _>(|at| byte >> at & PRESENT));
            }
            flags.truncate(end);
        }
    }
    Ok(())
}

/// Lays out a column of numbers.
pub(crate) fn put_u32s(
    put: &mut impl Put,
    column: u32,
    kind: u32,
    numbers: impl Iterator<Item = u32> + Clone,
) {
    put.buffer(column, kind, numbers.clone().count() * 4, |out| {
        for (number, out) in numbers.zip(out.as_chunks_mut::<4>().0) {
            *out = number.to_le_bytes();
        }
    });
}

/// Lays out a validity bitmap, unless all rows are present.
pub(crate) fn put_validity(
    put: &mut impl Put,
    column: u32,
    present: impl Iterator<Item = bool> + Clone,
) {
    if present.clone().all(|present| present) {
        return;
    }
    let rows = present.clone().count();
    put.buffer(column, kind::VALIDITY, rows.div_ceil(8), |out| {
        for (row, present) in present.enumerate() {
            out[row / 8] |= u8::from(present) << (row % 8);
        }
    });
}

/// Lays out a column of encoded values; an absent value of fixed width is empty here and zero
/// there.
pub(crate) fn put_values<'v>(
    put: &mut impl Put,
    column: u32,
    width: Option<usize>,
    values: impl Iterator<Item = &'v [u8]> + Clone,
) {
    if let Some(width) = width {
        put.buffer(
            column,
            kind::VALUES,
            values.clone().count() * width,
            |out| {
                for (value, out) in values.zip(out.chunks_exact_mut(width.max(1))) {
                    if value.len() == width {
                        out.copy_from_slice(value);
                    }
                }
            },
        );
        return;
    }
    let ends = values.clone().scan(0, |end, value| {
        *end += value.len() as u32;
        Some(*end)
    });
    put_u32s(put, column, kind::OFFSETS, std::iter::once(0).chain(ends));
    let total = values.clone().map(<[u8]>::len).sum();
    put.buffer(column, kind::DATA, total, |mut out| {
        for value in values {
            let (here, rest) = out.split_at_mut(value.len());
            here.copy_from_slice(value);
            out = rest;
        }
    });
}
