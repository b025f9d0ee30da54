//! Binds the columns of streams to those that a plugin reads.

use arrow_schema::{DataType, Field, Schema};

use super::operator::{ColumnBinding, ColumnOrigin};
use crate::data_type;
use crate::feature::Feature;
use crate::spelling;

/// Why a column cannot be bound: what is wrong, and what would be right.
pub(super) type Refusal = (String, Option<String>);

/// Where a column that the plugin reads comes from.
pub(super) fn column(
    wanted: &Field,
    schema: &Schema,
    features: &[Feature],
) -> Result<ColumnBinding, Refusal> {
    let feature = features
        .iter()
        .position(|feature| feature.name == *wanted.name());
    let (origin, found) = match (feature, schema.index_of(wanted.name())) {
        (Some(index), _) => (ColumnOrigin::Feature(index), features[index].field()),
        (None, Ok(index)) => (ColumnOrigin::Stream(index), schema.field(index).clone()),
        (None, Err(_)) if wanted.is_nullable() => {
            return Ok(ColumnBinding {
                origin: ColumnOrigin::Null,
                to: wanted.clone(),
                widened: false,
            });
        }
        (None, Err(_)) => return Err(missing(wanted, schema, features)),
    };
    if !widens(found.data_type(), wanted.data_type()) {
        let message = format!(
            "the plugin reads `{}` as {}, and the stream has {}",
            wanted.name(),
            print(wanted),
            print(&found)
        );
        return Err((
            message,
            Some("declare the column with the plugin's type".into()),
        ));
    }
    if found.is_nullable() && !wanted.is_nullable() {
        let message = format!(
            "the plugin reads `{}` as {}, and the stream's {} may be null",
            wanted.name(),
            print(wanted),
            print(&found)
        );
        let remedy = "declare the column without `?`, or let the plugin read it with `?`";
        return Err((message, Some(remedy.into())));
    }
    Ok(ColumnBinding {
        origin,
        widened: found.data_type() != wanted.data_type(),
        to: wanted.clone(),
    })
}

fn print(field: &Field) -> String {
    data_type::print(field.data_type(), field.is_nullable())
}

fn missing(wanted: &Field, schema: &Schema, features: &[Feature]) -> Refusal {
    let columns = schema.fields().iter().map(|field| field.name().as_str());
    let names = columns.chain(features.iter().map(|feature| feature.name.as_str()));
    let message = format!(
        "the plugin reads a column `{}` of type {}, and the stream has none",
        wanted.name(),
        print(wanted)
    );
    let remedy = match spelling::nearest(wanted.name(), names) {
        Some(near) => format!("rename the column `{near}`, or add one"),
        None => "add the column to the source's format, or a feature of that name".into(),
    };
    (message, Some(remedy))
}

/// Whether every value of one type is a value of the other, without loss.
pub(super) fn widens(from: &DataType, to: &DataType) -> bool {
    if from == to {
        return true;
    }
    match (from, to) {
        (DataType::Float32, DataType::Float64) => true,
        (DataType::Decimal128(p, s), DataType::Decimal128(wide_p, wide_s)) => {
            let whole = i16::from(*p) - i16::from(*s);
            let wide_whole = i16::from(*wide_p) - i16::from(*wide_s);
            wide_s >= s && wide_whole >= whole
        }
        _ => match (integer(from), to) {
            (Some((bits, _)), DataType::Float64) => bits <= 32,
            (Some((bits, _)), DataType::Float32) => bits <= 16,
            (Some((bits, signed)), _) => match integer(to) {
                Some((wide, true)) => wide > bits || (wide == bits && signed),
                Some((wide, false)) => wide >= bits && !signed,
                None => false,
            },
            (None, _) => false,
        },
    }
}

/// Bits of an integer type, and whether it has a sign.
fn integer(data_type: &DataType) -> Option<(u8, bool)> {
    Some(match data_type {
        DataType::Int8 => (8, true),
        DataType::Int16 => (16, true),
        DataType::Int32 => (32, true),
        DataType::Int64 => (64, true),
        DataType::UInt8 => (8, false),
        DataType::UInt16 => (16, false),
        DataType::UInt32 => (32, false),
        DataType::UInt64 => (64, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_widen_only_where_nothing_is_lost() {
        let check = |from: &str, to: &str, wanted: bool| {
            let of = |text: &str| data_type::parse(text).expect("a type").0;
            assert_eq!(widens(&of(from), &of(to)), wanted, "{from} to {to}");
        };
        check("u8", "u8", true);
        check("u8", "i16", true);
        check("u8", "i8", false);
        check("i8", "u64", false);
        check("i32", "i64", true);
        check("i64", "i32", false);
        check("u32", "f64", true);
        check("i64", "f64", false);
        check("f32", "f64", true);
        check("f64", "f32", false);
        check("decimal(12,2)", "decimal(14,4)", true);
        check("decimal(12,2)", "decimal(12,4)", false);
        check("string", "bytes", false);
        check("date", "timestamp", false);
    }

    #[test]
    fn absent_columns_become_null_where_the_plugin_allows() {
        let schema = Schema::new(vec![Field::new("amount", DataType::Int64, true)]);
        let note = Field::new("note", DataType::Utf8, true);
        let bound = column(&note, &schema, &[]).expect("it is nullable");
        assert_eq!(bound.origin, ColumnOrigin::Null);
        let strict = Field::new("amuont", DataType::Int64, false);
        let (message, remedy) = column(&strict, &schema, &[]).expect_err("it is missing");
        assert!(message.contains("`amuont` of type i64"), "{message}");
        assert!(
            remedy
                .expect("a remedy")
                .contains("rename the column `amount`")
        );
        let strict = Field::new("amount", DataType::Int64, false);
        let (message, _) = column(&strict, &schema, &[]).expect_err("it may be null");
        assert!(message.contains("may be null"), "{message}");
    }
}
