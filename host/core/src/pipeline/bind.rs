//! Binds the columns of streams to those that a plugin reads.

use arrow_schema::{Field, Schema};

use super::operator::{ColumnBinding, ColumnOrigin};
use crate::boundary::can_widen;
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
    // A feature hides a column of its name; the document must not have both.
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
    if !can_widen(found.data_type(), wanted.data_type()) {
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

/// The type of a field as documents write it.
fn print(field: &Field) -> String {
    data_type::print(field.data_type(), field.is_nullable())
}

/// A column that the plugin reads and nobody gives, with the nearest that is there.
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

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::*;

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
