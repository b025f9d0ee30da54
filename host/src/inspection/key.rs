//! Keys, from bytes to people and back.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_schema::{DataType, Field};
use serde_json::{Map, Value as Json};
use wasmill_core::{
    checkpoint::{Identity, KeyHash},
    data_type,
    encoding::{self, Encoder, Form},
    key,
};

use super::InspectionError;

/// The columns of an operator's key.
#[derive(Debug, Clone)]
pub struct KeyColumns {
    operator: String,
    /// The key as one value: its encoding is that of its columns, one behind the other.
    whole: DataType,
    fields: Vec<Arc<Field>>,
}

impl KeyColumns {
    /// What a manifest says of an operator's key; `names` are its columns' where they are known.
    ///
    /// # Errors
    /// If the types are none.
    pub fn new(
        operator: &str,
        identity: &Identity,
        names: Option<&[String]>,
    ) -> Result<Self, InspectionError> {
        let text = identity.key.as_deref().unwrap_or_default();
        let types = match text {
            "" => Vec::new(),
            text => data_type::parse_all(text).map_err(|error| InspectionError::Schema {
                operator: operator.to_owned(),
                reason: format!("its key's types are none: {error}"),
            })?,
        };
        let count = types.len();
        let names = names.filter(|names| names.len() == count);
        let name = |at: usize| match (names, count) {
            (Some(names), _) => names[at].clone(),
            (None, 1) => "key".to_owned(),
            (None, _) => format!("key-{}", at + 1),
        };
        let fields = types.into_iter().enumerate();
        let fields: Vec<_> = fields
            .map(|(at, (of, nullable))| Arc::new(Field::new(name(at), of, nullable)))
            .collect();
        Ok(Self {
            operator: operator.to_owned(),
            whole: DataType::Struct(fields.clone().into()),
            fields,
        })
    }

    /// The columns.
    pub fn fields(&self) -> &[Arc<Field>] {
        &self.fields
    }

    /// Whether bytes are a key.
    pub fn is_key(&self, bytes: &[u8]) -> bool {
        encoding::validate(&self.whole, false, bytes).is_ok()
    }

    /// A key for people: an object of its columns, or its bytes where they are no key.
    pub fn to_json(&self, bytes: &[u8]) -> Json {
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let told = encoding::to_json(&self.whole, false, bytes);
        told.unwrap_or_else(|_| Json::String(hex()))
    }

    /// The columns of keys.
    pub(super) fn decode<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, encoding::EncodingError> {
        let keys = encoding::decode(&self.whole, false, keys.map(Some))?;
        Ok(keys.as_struct().columns().to_vec())
    }

    /// The bytes of a key that a person wrote: as JSON (a value, a list of the columns' values, an
    /// object), or as `column=value`, several with commas between.
    ///
    /// # Errors
    /// If it is no key.
    pub fn parse(&self, text: &str) -> Result<Vec<u8>, InspectionError> {
        let wrong = |reason: String| InspectionError::Key {
            operator: self.operator.clone(),
            text: text.to_owned(),
            reason: format!("{reason}; a key is {}", self.shape()),
        };
        if self.fields.is_empty() {
            return Err(wrong("the operator has no key".into()));
        }
        let object = self.object(text).map_err(wrong)?;
        let bytes = encoding::from_json(&self.whole, false, &Json::Object(object));
        let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
        self.canonical(&bytes)
            .map_err(|error| wrong(error.to_string()))
    }

    /// As the engine writes it: -0.0 and 0.0 are one key.
    fn canonical(&self, bytes: &[u8]) -> Result<Vec<u8>, encoding::EncodingError> {
        let columns = self.decode(std::iter::once(bytes))?;
        let mut key = Vec::new();
        for (column, field) in columns.iter().zip(&self.fields) {
            let column: &dyn Array = column.as_ref();
            Encoder::new(column, field.is_nullable(), Form::Key)?.push(0, &mut key);
        }
        Ok(key)
    }

    fn object(&self, text: &str) -> Result<Map<String, Json>, String> {
        let single = match &self.fields[..] {
            [field] => Some(field.name().clone()),
            _ => None,
        };
        let names = |values: Vec<Json>| {
            let names = self.fields.iter().map(|field| field.name().clone());
            match values.len() == self.fields.len() {
                true => Ok(names.zip(values).collect()),
                false => Err(format!("it has {} values", values.len())),
            }
        };
        match (serde_json::from_str::<Json>(text), single) {
            (Ok(Json::Object(object)), _) => Ok(object),
            (Ok(Json::Array(values)), _) => names(values),
            (Ok(value), Some(name)) if self.takes(0, &value) => Ok(Map::from_iter([(name, value)])),
            _ if text.contains('=') => self.pairs(text),
            // Text without quotes is what a shell leaves of it.
            (_, Some(name)) => Ok(Map::from_iter([(name, self.value(0, text))])),
            _ => Err("it has one value only".into()),
        }
    }

    fn pairs(&self, text: &str) -> Result<Map<String, Json>, String> {
        let mut object = Map::new();
        for pair in text.split(',') {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("`{pair}` is not `column=value`"))?;
            let at = self
                .fields
                .iter()
                .position(|field| field.name() == name.trim());
            let at = at.ok_or_else(|| format!("there is no key column `{}`", name.trim()))?;
            object.insert(name.trim().to_owned(), self.value(at, value));
        }
        Ok(object)
    }

    fn takes(&self, column: usize, value: &Json) -> bool {
        let field = &self.fields[column];
        encoding::from_json(field.data_type(), field.is_nullable(), value).is_ok()
    }

    /// The text of a column's value: JSON if that fits the column, else the text itself.
    fn value(&self, column: usize, text: &str) -> Json {
        let json = serde_json::from_str::<Json>(text);
        let json = json.ok().filter(|json| self.takes(column, json));
        json.unwrap_or_else(|| Json::String(text.to_owned()))
    }

    fn shape(&self) -> String {
        let columns = self.fields.iter().map(|field| {
            let of = data_type::print(field.data_type(), field.is_nullable());
            format!("{} ({of})", field.name())
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    /// The key group of a key's bytes.
    pub fn group(&self, bytes: &[u8], of: KeyHash) -> u16 {
        key::key_group(key::hash(bytes), of.groups)
    }
}
