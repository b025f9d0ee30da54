//! Columns: which type of PostgreSQL holds which of ours, and how a value goes over the wire.
//!
//! A column takes a type if it holds every value of it; `docs/formats/formats.md` has the table.
//! Where only most of them fit (a `u64` in a `bigint`, a text in a `varchar(20)`), each value is
//! looked at.

use arrow_schema::{DataType, Field};
use wasmill_core::{data_type, pipeline::document::EncodeJson};

use crate::format::encode::{View, Viewed};

/// Days from 1970 to 2000, where PostgreSQL's calendar begins.
const DAYS_TO_2000: i32 = 10_957;
/// The same in microseconds.
const US_TO_2000: i64 = DAYS_TO_2000 as i64 * 86_400_000_000;
/// The days that a `date` holds, counted from 2000: 4714 BC to 5874897.
const DAYS: std::ops::Range<i32> = -2_451_545..2_145_031_949;
/// The microseconds that a `timestamptz` holds, counted from 2000: 4714 BC to 294276.
const TIMES: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
/// Decimal digits of one digit of a `numeric`.
const GROUP: usize = 4;

/// How a value goes over the wire, and so what the column's type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Of any precision that is enough.
    Numeric,
    Date,
    /// With or without a zone: in UTC.
    Timestamp,
    /// At most so many characters.
    Text(Option<u32>),
    Bytea,
    Json,
    Jsonb,
}

/// A column of the table as the database describes it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) name: String,
    /// The type's name without its parameters.
    pub(super) base: String,
    /// The type as people write it.
    pub(super) told: String,
    /// The type's parameters, in PostgreSQL's packed form; -1: none.
    pub(super) modifier: i32,
    pub(super) is_not_null: bool,
    /// Whether a row may leave it out.
    pub(super) has_default: bool,
    /// Whether a row must leave it out.
    pub(super) is_generated: bool,
}

/// The type of a column that we make.
pub(super) fn declared(data_type: &DataType) -> (String, Wire) {
    let (sql, wire) = match data_type {
        DataType::Boolean => ("boolean", Wire::Bool),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => ("smallint", Wire::Int2),
        DataType::Int32 | DataType::UInt16 => ("integer", Wire::Int4),
        DataType::Int64 | DataType::UInt32 => ("bigint", Wire::Int8),
        DataType::UInt64 => ("numeric(20,0)", Wire::Numeric),
        DataType::Float32 => ("real", Wire::Float4),
        DataType::Float64 => ("double precision", Wire::Float8),
        DataType::Decimal128(precision, scale) => {
            return (format!("numeric({precision},{scale})"), Wire::Numeric);
        }
        DataType::Date32 => ("date", Wire::Date),
        DataType::Timestamp(..) => ("timestamp with time zone", Wire::Timestamp),
        DataType::Binary | DataType::FixedSizeBinary(_) => ("bytea", Wire::Bytea),
        DataType::List(_) | DataType::Struct(_) => ("jsonb", Wire::Jsonb),
        _ => ("text", Wire::Text(None)),
    };
    (sql.into(), wire)
}

/// How values of a type go into a column that is there; none if it does not take them.
pub(super) fn fitting(data_type: &DataType, found: &Found) -> Option<Wire> {
    let integer = match found.base.as_str() {
        "int2" => Some((Wire::Int2, 15)),
        "int4" => Some((Wire::Int4, 31)),
        "int8" => Some((Wire::Int8, 63)),
        _ => None,
    };
    // The bits of the largest value, and its decimal digits.
    let size = match data_type {
        DataType::Int8 => Some((7, 3)),
        DataType::UInt8 => Some((8, 3)),
        DataType::Int16 => Some((15, 5)),
        DataType::UInt16 => Some((16, 5)),
        DataType::Int32 => Some((31, 10)),
        DataType::UInt32 => Some((32, 10)),
        DataType::Int64 => Some((63, 19)),
        // Into a `bigint` each value is looked at.
        DataType::UInt64 => Some((63, 20)),
        _ => None,
    };
    if let Some((bits, digits)) = size {
        return match integer {
            Some((wire, room)) => (bits <= room).then_some(wire),
            None => numeric(found, digits, 0),
        };
    }
    match (data_type, found.base.as_str()) {
        (DataType::Boolean, "bool") => Some(Wire::Bool),
        (DataType::Float32, "float4") => Some(Wire::Float4),
        (DataType::Float32 | DataType::Float64, "float8") => Some(Wire::Float8),
        (DataType::Decimal128(precision, scale), _) => {
            let scale = i32::from(*scale);
            numeric(found, i32::from(*precision) - scale, scale)
        }
        (DataType::Date32, "date") => Some(Wire::Date),
        (DataType::Timestamp(..), "timestamptz" | "timestamp") => Some(Wire::Timestamp),
        (DataType::Utf8, "text") => Some(Wire::Text(None)),
        (DataType::Utf8, "varchar") => Some(Wire::Text(u32::try_from(found.modifier - 4).ok())),
        (DataType::Utf8 | DataType::Binary | DataType::FixedSizeBinary(_), "bytea") => {
            Some(Wire::Bytea)
        }
        (DataType::List(_) | DataType::Struct(_), "jsonb") => Some(Wire::Jsonb),
        (DataType::List(_) | DataType::Struct(_), "json" | "text") => Some(Wire::Json),
        _ => None,
    }
}

/// Whether a column is a `numeric` with room for so many digits before and behind the point.
fn numeric(found: &Found, whole: i32, scale: i32) -> Option<Wire> {
    if found.base != "numeric" {
        return None;
    }
    // The packed form: precision in the high half, scale in the low one, 4 on top.
    let packed = found.modifier - 4;
    let (precision, places) = (packed >> 16 & 0xffff, packed & 0x7ff);
    let fits = found.modifier < 0 || (places >= scale && precision - places >= whole);
    fits.then_some(Wire::Numeric)
}

/// What is wanted of a column, as people write it.
pub(super) fn wanted(field: &Field) -> String {
    let ours = data_type::print(field.data_type(), field.is_nullable());
    format!(
        "{ours}, for which {} is wanted",
        declared(field.data_type()).0
    )
}

/// Writes a value with its length; the message says why it does not fit.
pub(super) fn put(
    column: &Viewed<'_>,
    row: usize,
    wire: Wire,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if column.array.is_null(row) {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Ok(());
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    put_value(column, row, wire, out)?;
    let len = i32::try_from(out.len() - at - 4);
    let len = len.map_err(|_| "a value is longer than 2 GiB".to_owned())?;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

fn put_value(column: &Viewed<'_>, row: usize, wire: Wire, out: &mut Vec<u8>) -> Result<(), String> {
    match &column.view {
        View::Bool(values) => out.push(values.value(row).into()),
        View::I8(values) => return put_integer(values[row].into(), wire, out),
        View::I16(values) => return put_integer(values[row].into(), wire, out),
        View::I32(values) => return put_integer(values[row].into(), wire, out),
        View::I64(values) => return put_integer(values[row].into(), wire, out),
        View::U8(values) => return put_integer(values[row].into(), wire, out),
        View::U16(values) => return put_integer(values[row].into(), wire, out),
        View::U32(values) => return put_integer(values[row].into(), wire, out),
        View::U64(values) => return put_integer(values[row].into(), wire, out),
        View::F32(values) if wire == Wire::Float4 => {
            out.extend_from_slice(&values[row].to_be_bytes());
        }
        View::F32(values) => out.extend_from_slice(&f64::from(values[row]).to_be_bytes()),
        View::F64(values) => out.extend_from_slice(&values[row].to_be_bytes()),
        View::Decimal(values, scale) => put_numeric(values[row], *scale as usize, out),
        View::Date(values) => {
            let days = values[row].checked_sub(DAYS_TO_2000);
            let days = days.filter(|days| DAYS.contains(days));
            let days = days.ok_or_else(|| "a `date` ends before that year".to_owned())?;
            out.extend_from_slice(&days.to_be_bytes());
        }
        View::Timestamp(values) => {
            let time = values[row].checked_sub(US_TO_2000);
            let time = time.filter(|time| TIMES.contains(time));
            let time = time.ok_or_else(|| "a `timestamptz` ends before that year".to_owned())?;
            out.extend_from_slice(&time.to_be_bytes());
        }
        View::Text(values) => return put_text(values.value(row), wire, out),
        View::Octets(values) => out.extend_from_slice(values.value(row)),
        View::Fixed(values) => out.extend_from_slice(values.value(row)),
        View::List(..) | View::Struct(_) => {
            if wire == Wire::Jsonb {
                // The version of its form.
                out.push(1);
            }
            column.write(row, &EncodeJson::default(), out);
        }
    }
    Ok(())
}

fn put_text(text: &str, wire: Wire, out: &mut Vec<u8>) -> Result<(), String> {
    if let Wire::Text(Some(most)) = wire
        && text.len() > most as usize
        && text.chars().count() > most as usize
    {
        return Err(format!("a text is longer than {most} characters"));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn put_integer(value: i128, wire: Wire, out: &mut Vec<u8>) -> Result<(), String> {
    let too_large = |_| format!("{value} is too large for it");
    match wire {
        Wire::Int2 => {
            out.extend_from_slice(&i16::try_from(value).map_err(too_large)?.to_be_bytes());
        }
        Wire::Int4 => {
            out.extend_from_slice(&i32::try_from(value).map_err(too_large)?.to_be_bytes());
        }
        Wire::Int8 => {
            out.extend_from_slice(&i64::try_from(value).map_err(too_large)?.to_be_bytes());
        }
        _ => put_numeric(value, 0, out),
    }
    Ok(())
}

/// Writes a `numeric`: digits of base 10,000, without zeros at either end, and where the point is.
fn put_numeric(unscaled: i128, scale: usize, out: &mut Vec<u8>) {
    // As text, so that whole groups of four digits lie on both sides of the point.
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(unscaled.unsigned_abs()).as_bytes();
    let behind = scale.div_ceil(GROUP) * GROUP;
    let before = digits.len().saturating_sub(scale).div_ceil(GROUP) * GROUP;
    let mut text = [b'0'; 96];
    let end = before + scale;
    text[end - digits.len()..end].copy_from_slice(digits);
    let groups = text[..before + behind].chunks_exact(GROUP);
    let group = |group: &[u8]| {
        group
            .iter()
            .fold(0_u16, |sum, it| sum * 10 + u16::from(it - b'0'))
    };
    let mut values = [0_u16; 24];
    let count = groups.len();
    groups
        .map(group)
        .zip(&mut values)
        .for_each(|(from, to)| *to = from);
    let first = values[..count].iter().position(|it| *it != 0);
    let last = values[..count].iter().rposition(|it| *it != 0);
    let (first, values) = match (first, last) {
        (Some(first), Some(last)) => (first, &values[first..=last]),
        _ => (0, &values[..0]),
    };
    let weight = match values {
        [] => 0,
        _ => (before / GROUP) as i16 - 1 - first as i16,
    };
    let sign: u16 = if unscaled < 0 { 0x4000 } else { 0 };
    out.extend_from_slice(&(values.len() as u16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(scale as u16).to_be_bytes());
    values
        .iter()
        .for_each(|it| out.extend_from_slice(&it.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(base: &str, modifier: i32) -> Found {
        Found {
            name: "c".into(),
            base: base.into(),
            told: base.into(),
            modifier,
            is_not_null: false,
            has_default: false,
            is_generated: false,
        }
    }

    #[test]
    fn a_column_takes_what_it_holds_all_of() {
        let numeric = |precision: i32, scale: i32| found("numeric", (precision << 16 | scale) + 4);
        let check = |ours: &str, found: &Found, expected: Option<Wire>| {
            let (ours, _) = data_type::parse(ours).expect("a type");
            let wire = fitting(&ours, found);
            assert_eq!(wire, expected, "{ours} into {found:?}");
        };
        check("i16", &found("int2", -1), Some(Wire::Int2));
        check("u16", &found("int2", -1), None);
        check("u16", &found("int8", -1), Some(Wire::Int8));
        check("i64", &found("int4", -1), None);
        check("u64", &found("int8", -1), Some(Wire::Int8));
        check("u64", &found("numeric", -1), Some(Wire::Numeric));
        check("u64", &numeric(20, 0), Some(Wire::Numeric));
        check("u64", &numeric(19, 0), None);
        check("u32", &numeric(10, 0), Some(Wire::Numeric));
        check("u32", &numeric(9, 0), None);
        check("decimal(12,2)", &numeric(12, 2), Some(Wire::Numeric));
        check("decimal(12,2)", &numeric(12, 3), None);
        check("decimal(12,2)", &numeric(13, 3), Some(Wire::Numeric));
        check("decimal(12,2)", &found("float8", -1), None);
        check("f64", &found("float4", -1), None);
        check("f32", &found("float8", -1), Some(Wire::Float8));
        check("string", &found("varchar", 24), Some(Wire::Text(Some(20))));
        check("string", &found("varchar", -1), Some(Wire::Text(None)));
        check("string", &found("uuid", -1), None);
        check("string", &found("bytea", -1), Some(Wire::Bytea));
        check("bytes", &found("text", -1), None);
        check("timestamp", &found("timestamp", -1), Some(Wire::Timestamp));
        check("list<u8>", &found("json", -1), Some(Wire::Json));
    }

    /// The digits, and what stands before them: their number, the weight of the first, the sign,
    /// the digits behind the point.
    fn numeric(value: i128, scale: usize) -> (Vec<u16>, [u16; 4]) {
        let mut out = Vec::new();
        put_numeric(value, scale, &mut out);
        let words = out
            .chunks_exact(2)
            .map(|it| u16::from_be_bytes([it[0], it[1]]));
        let words: Vec<u16> = words.collect();
        (
            words[4..].to_vec(),
            [words[0], words[1], words[2], words[3]],
        )
    }

    #[test]
    fn numbers_have_their_digits_around_the_point() {
        let minus_one = u16::MAX;
        assert_eq!(numeric(0, 2), (vec![], [0, 0, 0, 2]));
        assert_eq!(numeric(1230, 2), (vec![12, 3000], [2, 0, 0, 2]));
        assert_eq!(numeric(-5, 2), (vec![500], [1, minus_one, 0x4000, 2]));
        assert_eq!(numeric(5, 9), (vec![5000], [1, minus_one - 2, 0, 9]));
        assert_eq!(numeric(12_0000, 0), (vec![12], [1, 1, 0, 0]));
        let (digits, head) = numeric(u64::MAX.into(), 0);
        assert_eq!(
            (digits, head),
            (vec![1844, 6744, 737, 955, 1615], [5, 4, 0, 0])
        );
        let nines = 10_i128.pow(38) - 1;
        assert_eq!(numeric(nines, 0).0.len(), 10);
        assert_eq!(numeric(nines, 38).1, [10, minus_one, 0, 38]);
        assert_eq!(numeric(nines, 37).1, [11, 0, 0, 37]);
    }
}
