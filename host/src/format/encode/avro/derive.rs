//! The Avro schema of columns.

use arrow_schema::{DataType, Field, Schema};
use serde_json::{Value, json};
use wasmill_core::data_type;

use crate::format::FormatError;

/// The schema of rows, as a record of this name.
pub(crate) fn schema_text(schema: &Schema, name: &str) -> Result<String, FormatError> {
    if !name.split('.').all(is_name) {
        return Err(unfit(name, "name of a record"));
    }
    // Names within it are those of the fields that lead there.
    let base = name.rsplit_once('.').map_or(name, |(_, own)| own);
    let fields = fields(schema.fields(), base)?;
    Ok(json!({ "type": "record", "name": name, "fields": fields }).to_string())
}

/// A name made of another one, such as a topic's.
pub(crate) fn name_of(topic: &str) -> String {
    let fit = |(at, char): (usize, char)| match char {
        'a'..='z' | 'A'..='Z' | '_' => char,
        '0'..='9' if at > 0 => char,
        _ => '_',
    };
    topic.chars().enumerate().map(fit).collect()
}

fn fields(fields: &arrow_schema::Fields, within: &str) -> Result<Vec<Value>, FormatError> {
    let each = fields.iter().map(|field| {
        if !is_name(field.name()) {
            return Err(unfit(field.name(), "name of a column"));
        }
        let of = nullable(field, within)?;
        let mut said = json!({ "name": field.name(), "type": of });
        if field.is_nullable() {
            said["default"] = Value::Null;
        }
        Ok(said)
    });
    each.collect()
}

fn nullable(field: &Field, within: &str) -> Result<Value, FormatError> {
    let of = plain(field, within)?;
    Ok(match field.is_nullable() {
        true => json!(["null", of]),
        false => of,
    })
}

fn plain(field: &Field, within: &str) -> Result<Value, FormatError> {
    let logical = |of: &str, name: &str| json!({ "type": of, "logicalType": name });
    let decimal = |precision: u8, scale: i8| {
        let mut decimal = logical("bytes", "decimal");
        decimal["precision"] = precision.into();
        decimal["scale"] = scale.into();
        decimal
    };
    let own = || format!("{within}_{}", field.name());
    Ok(match field.data_type() {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => json!("int"),
        DataType::UInt8 | DataType::UInt16 => json!("int"),
        DataType::Int64 | DataType::UInt32 => json!("long"),
        DataType::UInt64 => decimal(20, 0),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Decimal128(precision, scale) => decimal(*precision, *scale),
        DataType::Date32 => logical("int", "date"),
        DataType::Timestamp(..) => logical("long", "timestamp-micros"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("bytes"),
        DataType::FixedSizeBinary(size) => {
            json!({ "type": "fixed", "name": own(), "size": size })
        }
        DataType::List(item) => {
            // A list's item has no name of its own.
            let item = Field::new(field.name(), item.data_type().clone(), item.is_nullable());
            json!({ "type": "array", "items": nullable(&item, within)? })
        }
        DataType::Struct(children) => {
            let name = own();
            let fields = fields(children, &name)?;
            json!({ "type": "record", "name": name, "fields": fields })
        }
        other => {
            return Err(FormatError::Type {
                place: field.name().clone(),
                data_type: data_type::print(other, false),
            });
        }
    })
}

/// Whether a name is one in Avro and Protobuf.
pub(crate) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn unfit(name: &str, what: &'static str) -> FormatError {
    FormatError::Name {
        name: name.into(),
        what,
        format: "Avro",
    }
}
