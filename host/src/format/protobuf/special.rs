//! Messages that everybody takes for plain values: times, dates, decimals, and wrappers.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::plan::How;
use crate::format::{column::Values, scalar, time};

const MICROS: i64 = 1_000_000;
const NANOS_MAX: i32 = 999_999_999;
/// How many places a decimal may say that it has: messages about it print them.
const PLACES_MAX: i32 = 1_000;

/// What such a message is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Special {
    /// `google.protobuf.StringValue` and its like.
    Wrapped(How),
    /// `google.protobuf.Timestamp`: seconds, nanoseconds.
    Timestamp,
    /// `google.type.Date`: year, month, day.
    Date,
    /// `confluent.type.Decimal`: an unscaled number, its precision, its places.
    Decimal,
}

/// The fields of such a message.
pub(super) struct Parts {
    /// None is a wrapper.
    pub(super) of: Option<Special>,
    pub(super) fields: Vec<FieldDescriptor>,
}

/// What a message is for a column; none where it does not go there. Its fields are looked at, too:
/// anybody may call a message so.
pub(super) fn parts(of: &MessageDescriptor, kind: scalar::Kind) -> Option<Parts> {
    let (special, wanted): (_, &[Kind]) = match (of.full_name(), kind) {
        ("google.protobuf.Timestamp", scalar::Kind::Timestamp(_)) => {
            (Some(Special::Timestamp), &[Kind::Int64, Kind::Int32])
        }
        ("google.type.Date", scalar::Kind::Date) => (
            Some(Special::Date),
            &[Kind::Int32, Kind::Int32, Kind::Int32],
        ),
        ("confluent.type.Decimal", scalar::Kind::Decimal { .. }) => (
            Some(Special::Decimal),
            &[Kind::Bytes, Kind::Uint32, Kind::Int32],
        ),
        (name, _) => (None, std::slice::from_ref(wrapped(name)?)),
    };
    let fields = wanted.iter().zip(1..).map(|(kind, number)| {
        let field = of.get_field(number)?;
        let fits = field.kind() == *kind && !field.is_list() && !field.is_group();
        fits.then_some(field)
    });
    Some(Parts {
        of: special,
        fields: fields.collect::<Option<_>>()?,
    })
}

/// What a message of this name wraps.
fn wrapped(name: &str) -> Option<&'static Kind> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "DoubleValue" => &Kind::Double,
        "FloatValue" => &Kind::Float,
        "Int64Value" => &Kind::Int64,
        "UInt64Value" => &Kind::Uint64,
        "Int32Value" => &Kind::Int32,
        "UInt32Value" => &Kind::Uint32,
        "BoolValue" => &Kind::Bool,
        "StringValue" => &Kind::String,
        "BytesValue" => &Kind::Bytes,
        _ => return None,
    })
}

/// Pushes a time; what is finer than a microsecond is cut off, as it is in text.
pub(super) fn push_timestamp(values: &mut Values, seconds: i64, nanos: i32) -> Result<(), String> {
    if !(0..=NANOS_MAX).contains(&nanos) {
        return Err(format!("{nanos} nanoseconds are no part of a second"));
    }
    let micros = seconds.checked_mul(MICROS);
    let micros = micros.and_then(|micros| micros.checked_add(i64::from(nanos / 1000)));
    let Some(micros) = micros else {
        return Err(format!(
            "{seconds} seconds are beyond the range of timestamps"
        ));
    };
    scalar::push_whole(values, micros.into())
}

/// The places of a decimal.
pub(super) fn places(places: i32) -> Result<u32, String> {
    let is_sound = (0..=PLACES_MAX).contains(&places);
    let found = u32::try_from(places).ok().filter(|_| is_sound);
    found.ok_or_else(|| format!("a decimal has {places} places, where 0 to {PLACES_MAX} may be"))
}

/// Pushes a date.
pub(super) fn push_date(values: &mut Values, parts: [i32; 3]) -> Result<(), String> {
    let [year, month, day] = parts;
    let days = time::days_of(year.into(), month.into(), day.into());
    let days = days.ok_or_else(|| format!("year {year}, month {month}, day {day} is no date"))?;
    scalar::push_whole(values, days.into())
}
