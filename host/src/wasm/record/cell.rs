//! One value of a column, as authors without an SDK see it.

use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use serde_json::Value as Json;
use wasmill_core::{
    data_type,
    encoding::{self, Encoder, Form},
};
use wasmtime::component::{ComponentType, Lift, Lower};

/// One value of a column.
#[derive(Debug, Clone, PartialEq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(in crate::wasm) enum Cell {
    #[component(name = "null")]
    Null,
    #[component(name = "bool")]
    Bool(bool),
    #[component(name = "signed")]
    Signed(i64),
    #[component(name = "unsigned")]
    Unsigned(u64),
    #[component(name = "float")]
    Float(f64),
    #[component(name = "decimal")]
    Decimal(String),
    #[component(name = "timestamp")]
    Timestamp(i64),
    #[component(name = "text")]
    Text(String),
    #[component(name = "octets")]
    Octets(Vec<u8>),
}

/// A column whose rows become cells, by way of their state encoding: it has a form for every type.
#[derive(Debug)]
pub(super) struct Column {
    data_type: DataType,
    array: ArrayRef,
}

impl Column {
    pub(super) fn new(field: &Field, array: ArrayRef) -> Result<Self, String> {
        Encoder::new(array.as_ref(), false, Form::State).map_err(|error| error.to_string())?;
        Ok(Self {
            data_type: field.data_type().clone(),
            array,
        })
    }

    pub(super) fn cell(&self, row: usize) -> Cell {
        if self.array.is_null(row) {
            return Cell::Null;
        }
        let mut bytes = Vec::new();
        if let Ok(encoder) = Encoder::new(self.array.as_ref(), false, Form::State) {
            encoder.push(row, &mut bytes);
        }
        from_bytes(&self.data_type, bytes)
    }
}

/// The cell of one encoded value that is present.
fn from_bytes(data_type: &DataType, bytes: Vec<u8>) -> Cell {
    let signed = || {
        let sign = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if sign { 0xFF } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(&bytes);
        i64::from_le_bytes(wide)
    };
    let unsigned = || {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(&bytes);
        u64::from_le_bytes(wide)
    };
    match data_type {
        DataType::Boolean => Cell::Bool(bytes == [1]),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Cell::Signed(signed())
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            Cell::Unsigned(unsigned())
        }
        DataType::Float32 => Cell::Float(f32::from_bits(unsigned() as u32).into()),
        DataType::Float64 => Cell::Float(f64::from_bits(unsigned())),
        DataType::Timestamp(..) => Cell::Timestamp(signed()),
        DataType::Decimal128(..) => match encoding::to_json(data_type, false, &bytes) {
            Ok(Json::String(text)) => Cell::Decimal(text),
            _ => Cell::Octets(bytes),
        },
        // Both begin with the length.
        DataType::Utf8 => Cell::Text(String::from_utf8_lossy(&bytes[4..]).into_owned()),
        DataType::Binary => Cell::Octets(bytes[4..].to_vec()),
        _ => Cell::Octets(bytes),
    }
}

/// Appends a cell in the state encoding of its column: `T?` if the column is nullable.
pub(super) fn push(field: &Field, cell: &Cell, bytes: &mut Vec<u8>) -> Result<(), String> {
    if field.is_nullable() {
        bytes.push(u8::from(*cell != Cell::Null));
    }
    if *cell == Cell::Null {
        return match field.is_nullable() {
            true => Ok(()),
            false => Err("null where the column is not nullable".into()),
        };
    }
    let done = to_bytes(field.data_type(), cell, bytes);
    done.ok_or_else(|| {
        let wanted = data_type::print(field.data_type(), field.is_nullable());
        format!("{cell:.80?} is no {wanted}")
    })
}

/// Appends a cell that is not null; none if it is not of the type.
fn to_bytes(data_type: &DataType, cell: &Cell, bytes: &mut Vec<u8>) -> Option<()> {
    match (data_type, cell) {
        (DataType::Boolean, Cell::Bool(value)) => bytes.push(u8::from(*value)),
        (DataType::Int8, Cell::Signed(v)) => bytes.extend(i8::try_from(*v).ok()?.to_le_bytes()),
        (DataType::Int16, Cell::Signed(v)) => bytes.extend(i16::try_from(*v).ok()?.to_le_bytes()),
        (DataType::Int32, Cell::Signed(v)) => bytes.extend(i32::try_from(*v).ok()?.to_le_bytes()),
        (DataType::Int64, Cell::Signed(v)) | (DataType::Timestamp(..), Cell::Timestamp(v)) => {
            bytes.extend(v.to_le_bytes());
        }
        (DataType::UInt8, Cell::Unsigned(v)) => bytes.extend(u8::try_from(*v).ok()?.to_le_bytes()),
        (DataType::UInt16, Cell::Unsigned(v)) => {
            bytes.extend(u16::try_from(*v).ok()?.to_le_bytes());
        }
        (DataType::UInt32, Cell::Unsigned(v)) => {
            bytes.extend(u32::try_from(*v).ok()?.to_le_bytes());
        }
        (DataType::UInt64, Cell::Unsigned(v)) => bytes.extend(v.to_le_bytes()),
        (DataType::Float32, Cell::Float(v)) => bytes.extend((*v as f32).to_le_bytes()),
        (DataType::Float64, Cell::Float(v)) => bytes.extend(v.to_le_bytes()),
        (DataType::Decimal128(..), Cell::Decimal(text)) => {
            let text = Json::String(text.clone());
            bytes.extend(encoding::from_json(data_type, false, &text).ok()?);
        }
        (DataType::Utf8, Cell::Text(text)) => {
            bytes.extend(u32::try_from(text.len()).ok()?.to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        (DataType::Binary, Cell::Octets(octets)) => {
            bytes.extend(u32::try_from(octets.len()).ok()?.to_le_bytes());
            bytes.extend(octets);
        }
        (
            DataType::Date32
            | DataType::FixedSizeBinary(_)
            | DataType::List(_)
            | DataType::Struct(_),
            Cell::Octets(octets),
        ) => {
            encoding::validate(data_type, false, octets).ok()?;
            bytes.extend(octets);
        }
        _ => return None,
    }
    Some(())
}
