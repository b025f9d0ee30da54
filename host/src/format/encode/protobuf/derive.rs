//! The Protobuf schema of columns, and how their rows are written by it.
//!
//! A field keeps the number that it has in the newest version of the subject. What that version has
//! and the columns have not is reserved, so that no later version gives its number away.

mod numbers;

use std::collections::HashMap;

use arrow_schema::{DataType, Field as Column, Fields, Schema};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};
use wasmill_core::data_type;

use crate::format::{
    FormatError,
    encode::avro::{is_name, name_of},
};
use numbers::Numbers;

/// A message and its fields, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Message {
    name: String,
    pub(super) fields: Vec<Field>,
    /// What stands before the fields in the schema.
    reserved: String,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// Which column it is, or which child of a struct.
    pub(super) column: usize,
    pub(super) number: u32,
    name: String,
    pub(super) repeated: bool,
    /// Whether it says that it is null by being absent, and not that it is zero.
    pub(super) explicit: bool,
    pub(super) of: Of,
}

/// The type of a field.
#[derive(Debug)]
pub(super) enum Of {
    /// One of Protobuf's own.
    Plain(Kind),
    /// `google.protobuf.Timestamp`.
    Time,
    Message(Message),
}

/// The message of rows, and the text of its schema. `name` is the one that it shall have, or else
/// that of `earlier`, or else `own`.
pub(super) fn derive(
    schema: &Schema,
    (name, own): (Option<&str>, &str),
    earlier: Option<&MessageDescriptor>,
) -> Result<(Message, String), FormatError> {
    let name = name.or(earlier.map(MessageDescriptor::full_name));
    let name = name.unwrap_or(own);
    if !name.split('.').all(is_name) {
        return Err(FormatError::Name {
            name: name.into(),
            what: "name of a message",
            format: "Protobuf",
        });
    }
    let (package, base) = match name.rsplit_once('.') {
        Some((package, base)) => (Some(package), base),
        None => (None, name),
    };
    let message = message(schema.fields(), base, earlier)?;
    let mut text = String::from("syntax = \"proto3\";\n");
    if let Some(package) = package {
        text.push_str(&format!("package {package};\n"));
    }
    if message.has_times() {
        text.push_str("import \"google/protobuf/timestamp.proto\";\n");
    }
    message.print("", &mut text);
    Ok((message, text))
}

fn message(
    columns: &Fields,
    name: &str,
    earlier: Option<&MessageDescriptor>,
) -> Result<Message, FormatError> {
    let names = names(columns)?;
    let mut types: HashMap<String, &str> = HashMap::new();
    let mut numbers = Numbers::new(earlier);
    let mut fields = Vec::new();
    for (at, (column, name)) in columns.iter().zip(names.iter()).enumerate() {
        let before = earlier.and_then(|earlier| earlier.get_field_by_name(name));
        let mut of = field(column, name, before.as_ref(), earlier)?;
        if let Of::Message(message) = &of.of {
            let taken = types.insert(message.name.clone(), column.name());
            let field = names.iter().position(|name| *name == message.name);
            let field = field.map(|at| columns[at].name().as_str());
            if let Some(other) = taken.or(field) {
                return Err(clash(column.name(), other, &message.name));
            }
        }
        let keeps = before.filter(|before| of.follows(before, column.is_nullable()));
        // Readers of the earlier version take a field that is left out for absent, or for a default
        // of its own.
        of.explicit |= keeps
            .as_ref()
            .is_some_and(FieldDescriptor::supports_presence);
        fields.push((keeps.map(|before| before.number()), at, name.clone(), of));
    }
    for number in fields.iter().filter_map(|it| it.0) {
        numbers.keep(number);
    }
    let mut fields = fields
        .into_iter()
        .map(|(number, column, name, of)| {
            let number = match number {
                Some(number) => number,
                None => numbers.next().ok_or_else(|| {
                    unfit(columns[column].name(), "no number is left for a new field")
                })?,
            };
            Ok(Field {
                column,
                number,
                name,
                ..of
            })
        })
        .collect::<Result<Vec<_>, FormatError>>()?;
    fields.sort_by_key(|field| field.number);
    Ok(Message {
        name: name.into(),
        fields,
        reserved: numbers.reserved(&names),
    })
}

/// The names of columns as fields; no two may be the same, also in Protobuf's JSON.
fn names(columns: &Fields) -> Result<Vec<String>, FormatError> {
    let mut known: HashMap<String, &str> = HashMap::new();
    let names = columns.iter().map(|column| {
        let name = name_of(column.name());
        match known.insert(json_name(&name), column.name()) {
            Some(other) => Err(clash(column.name(), other, &name)),
            None => Ok(name),
        }
    });
    names.collect()
}

/// The type of a column. Its number and place are not known yet.
fn field(
    column: &Column,
    name: &str,
    before: Option<&FieldDescriptor>,
    within: Option<&MessageDescriptor>,
) -> Result<Field, FormatError> {
    let (repeated, data_type) = match column.data_type() {
        DataType::List(item) => {
            let reason = match (item.data_type(), column.is_nullable(), item.is_nullable()) {
                (DataType::List(_), _, _) => "Protobuf has no lists of lists",
                (_, true, _) => "Protobuf has no lists that may be null; declare it without `?`",
                (_, _, true) => "a list of Protobuf has no nulls in it; declare its items so",
                _ => "",
            };
            if !reason.is_empty() {
                return Err(unfit(column.name(), reason));
            }
            (true, item.data_type())
        }
        other => (false, other),
    };
    let of = match data_type {
        DataType::Timestamp(..) => Of::Time,
        DataType::Struct(children) => {
            let before = before.map(FieldDescriptor::kind);
            let before = before.as_ref().and_then(Kind::as_message);
            // A type that is declared elsewhere is declared here from now on.
            let own = before.filter(|before| before.parent_message().as_ref() == within);
            let own = own.map(|before| before.name().to_owned());
            let name = own.unwrap_or_else(|| type_name(name));
            Of::Message(message(children, &name, before)?)
        }
        other => Of::Plain(plain(other).ok_or_else(|| FormatError::Type {
            place: column.name().clone(),
            data_type: data_type::print(other, false),
        })?),
    };
    Ok(Field {
        column: 0,
        number: 0,
        name: String::new(),
        repeated,
        explicit: column.is_nullable() || !matches!(of, Of::Plain(_)),
        of,
    })
}

fn plain(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Boolean => Kind::Bool,
        DataType::Int8 | DataType::Int16 | DataType::Int32 => Kind::Int32,
        DataType::Int64 => Kind::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Kind::Uint32,
        DataType::UInt64 => Kind::Uint64,
        DataType::Float32 => Kind::Float,
        DataType::Float64 => Kind::Double,
        DataType::Decimal128(..) | DataType::Date32 | DataType::Utf8 => Kind::String,
        DataType::Binary | DataType::FixedSizeBinary(_) => Kind::Bytes,
        _ => return None,
    })
}

impl Field {
    /// Whether it may have the number of an earlier field: readers of both read the same bytes.
    fn follows(&self, before: &FieldDescriptor, is_nullable: bool) -> bool {
        // Of several members of a `oneof` they see the last one alone.
        let choice = before.containing_oneof();
        let is_choice = choice.is_some_and(|choice| choice.fields().len() > 1);
        if is_choice || (is_nullable && before.cardinality() == Cardinality::Required) {
            return false;
        }
        if self.repeated != before.is_list() || before.is_map() || before.is_group() {
            return false;
        }
        let well_known = |of: &MessageDescriptor| of.package_name().starts_with("google.protobuf");
        match (&self.of, before.kind()) {
            (Of::Plain(own), other) => family(own) == family(&other),
            (Of::Time, Kind::Message(other)) => other.full_name() == "google.protobuf.Timestamp",
            (Of::Message(_), Kind::Message(other)) => !well_known(&other),
            _ => false,
        }
    }

    fn type_name(&self) -> String {
        match &self.of {
            Of::Plain(kind) => format!("{kind:?}").to_lowercase(),
            Of::Time => ".google.protobuf.Timestamp".into(),
            Of::Message(message) => message.name.clone(),
        }
    }
}

/// Types of one family may follow each other, as Protobuf promises.
fn family(kind: &Kind) -> u8 {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => 0,
        Kind::Sint32 | Kind::Sint64 => 1,
        Kind::Fixed32 | Kind::Sfixed32 => 2,
        Kind::Fixed64 | Kind::Sfixed64 => 3,
        Kind::String | Kind::Bytes => 4,
        Kind::Float => 5,
        Kind::Double => 6,
        Kind::Message(_) => 7,
    }
}

impl Message {
    fn has_times(&self) -> bool {
        self.fields.iter().any(|field| match &field.of {
            Of::Plain(_) => false,
            Of::Time => true,
            Of::Message(message) => message.has_times(),
        })
    }

    fn print(&self, indent: &str, text: &mut String) {
        let inner = format!("{indent}  ");
        let mut line = |indent: &str, words: &str| {
            for part in [indent, words, "\n"] {
                text.push_str(part);
            }
        };
        line(indent, &format!("message {} {{", self.name));
        for words in self.reserved.lines() {
            line(&inner, words);
        }
        for field in &self.fields {
            let label = match (field.repeated, field.explicit, &field.of) {
                (true, _, _) => "repeated ",
                (_, true, Of::Plain(_)) => "optional ",
                _ => "",
            };
            let of = field.type_name();
            line(
                &inner,
                &format!("{label}{of} {} = {};", field.name, field.number),
            );
        }
        for field in &self.fields {
            if let Of::Message(message) = &field.of {
                message.print(&inner, text);
            }
        }
        text.push_str(indent);
        text.push_str("}\n");
    }
}

/// A field's name in Protobuf's JSON.
fn json_name(name: &str) -> String {
    let mut text = String::new();
    let mut is_next_upper = false;
    for char in name.chars() {
        match (char, is_next_upper) {
            ('_', _) => is_next_upper = true,
            (_, true) => {
                text.push(char.to_ascii_uppercase());
                is_next_upper = false;
            }
            _ => text.push(char),
        }
    }
    text
}

/// The name of the message that a field is.
fn type_name(field: &str) -> String {
    let name = json_name(&format!("_{field}"));
    match is_name(&name) {
        true => name,
        false => format!("_{name}"),
    }
}

fn clash(column: &str, other: &str, name: &str) -> FormatError {
    let reason = format!("the name `{name}` is that of the column `{other}` too; rename one");
    unfit(column, &reason)
}

fn unfit(place: &str, reason: &str) -> FormatError {
    FormatError::Column {
        place: place.into(),
        format: "Protobuf",
        reason: reason.into(),
    }
}
