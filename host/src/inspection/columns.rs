//! Names for columns that come from different places.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

/// Columns that are being gathered. No two have a name that SQL would take for the same.
#[derive(Debug, Default)]
pub(super) struct Columns(Vec<FieldRef>);

impl Columns {
    /// Adds a column; where another one has its name, it is called `PREFIX.NAME`.
    pub(super) fn add(&mut self, prefix: &str, field: &Field) {
        let mut name = field.name().clone();
        while self
            .0
            .iter()
            .any(|known| known.name().eq_ignore_ascii_case(&name))
        {
            name = format!("{prefix}.{name}");
        }
        let field = Field::new(name, field.data_type().clone(), field.is_nullable());
        self.0.push(Arc::new(field));
    }

    /// Adds a value: a struct as its fields, anything else as one column.
    pub(super) fn add_value(&mut self, name: &str, value: &Field) {
        match flattened(value) {
            Some(fields) => fields.iter().for_each(|field| self.add(name, field)),
            None => self.add(name, &value.clone().with_name(name)),
        }
    }

    /// All of them.
    pub(super) fn finish(self) -> SchemaRef {
        Arc::new(Schema::new(self.0))
    }
}

/// The fields of a struct that is always there.
pub(super) fn flattened(value: &Field) -> Option<&[FieldRef]> {
    match value.data_type() {
        DataType::Struct(fields) if !value.is_nullable() => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_columns_are_called_alike() {
        let field = |name: &str| Field::new(name, DataType::UInt8, false);
        let mut columns = Columns::default();
        columns.add("key", &field("n"));
        let value = Field::new_struct("value", vec![field("N"), field("sum")], false);
        columns.add_value("value", &value);
        columns.add_value("value", &field("x"));
        let schema = columns.finish();
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|it| it.name().as_str())
            .collect();
        assert_eq!(names, ["n", "value.N", "sum", "value"]);
    }
}
