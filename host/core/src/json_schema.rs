//! A small JSON Schema (2020-12): enough to check documents and operators' configurations, with the
//! place of each mistake and the nearest right word.
//!
//! Understood are `type`, `enum`, `const`, `minimum`, `maximum`, `exclusiveMinimum`,
//! `exclusiveMaximum`,
//! `minLength`, `maxLength`, `items`, `minItems`, `maxItems`, `properties`, `required`,
//! `additionalProperties`, `anyOf`, `oneOf` (as `anyOf`), `allOf`, `default`, `format` (only ours)
//! and local `$ref`. Annotations are ignored. Any other keyword is refused when the schema is read,
//! so that nothing passes because a check was silently left out.

mod check;
mod compile;

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::tree::Node;

pub use check::Mistake;
pub(crate) use check::is_name;

/// Why a schema was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SchemaError {
    /// Where in the schema, as a JSON pointer.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A schema that was read and found sound.
#[derive(Debug, Clone)]
pub struct Schema {
    rules: Vec<Rule>,
    root: usize,
}

/// What one node must fulfil; other rules are named by their index.
#[derive(Debug, Clone, Default)]
struct Rule {
    types: Option<Vec<Type>>,
    /// Of `enum` and `const`.
    choices: Option<Vec<Json>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    above: Option<f64>,
    below: Option<f64>,
    chars: (Option<u64>, Option<u64>),
    items: Option<usize>,
    item_count: (Option<u64>, Option<u64>),
    properties: IndexMap<String, usize>,
    required: Vec<String>,
    additional: Additional,
    any_of: Vec<usize>,
    all_of: Vec<usize>,
    default: Option<Json>,
    format: Option<Format>,
    never: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

#[derive(Debug, Clone, Copy, Default)]
enum Additional {
    #[default]
    Allowed,
    Refused,
    Like(usize),
}

/// Texts of our own whose form is checked where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Duration,
    SignedDuration,
    ByteSize,
    DataType,
    Name,
    Secret,
}

/// The names of texts whose form the checker knows besides durations and amounts of memory.
pub mod format {
    /// A column's type, such as `decimal(12,2)`.
    pub const DATA_TYPE: &str = "wasmill-type";
    /// A name: `[a-z][a-z0-9_-]{0,62}`.
    pub const NAME: &str = "wasmill-name";
    /// A reference to a secret, which does not stand in the document itself.
    pub const SECRET: &str = "wasmill-secret";
}

impl Schema {
    /// Reads a schema; it may come from a stranger.
    pub fn compile(json: &Json) -> Result<Self, SchemaError> {
        compile::compile(json)
    }

    /// Everything in a document that the schema does not allow, in the document's order; none if it
    /// fits.
    ///
    /// ```
    /// use wasmill_core::{json_schema::Schema, tree};
    ///
    /// let schema = serde_json::json!({
    ///     "type": "object", "additionalProperties": false,
    ///     "properties": { "min-amount": { "type": "number", "minimum": 0 } },
    /// });
    /// let schema = Schema::compile(&schema).expect("a schema");
    /// let document = tree::parse("min-amount: 5\nmax: 7").expect("YAML");
    /// let mistakes = schema.check(&document);
    /// assert_eq!((mistakes[0].position.line, mistakes[0].path.to_string().as_str()), (2, "max"));
    /// ```
    pub fn check(&self, node: &Node) -> Vec<Mistake> {
        check::check(self, node)
    }

    /// A document with the defaults of absent properties filled in, where the schema names them.
    ///
    /// ```
    /// use serde_json::json;
    /// use wasmill_core::json_schema::Schema;
    ///
    /// let schema = json!({ "properties": { "max": { "type": "integer", "default": 5 } } });
    /// let schema = Schema::compile(&schema).expect("a schema");
    /// assert_eq!(schema.with_defaults(&json!({})), json!({ "max": 5 }));
    /// ```
    #[must_use]
    pub fn with_defaults(&self, json: &Json) -> Json {
        self.fill(self.root, json, 0)
    }

    fn fill(&self, rule: usize, json: &Json, depth: usize) -> Json {
        let rule = &self.rules[rule];
        match json {
            Json::Object(map) if depth < check::DEPTH_MAX => {
                let mut filled = map.clone();
                for parent in &rule.all_of {
                    if let Json::Object(more) = self.fill(*parent, json, depth + 1) {
                        filled.extend(more);
                    }
                }
                for (name, property) in &rule.properties {
                    match (map.get(name), &self.default_of(*property)) {
                        (Some(value), _) => {
                            filled.insert(name.clone(), self.fill(*property, value, depth + 1));
                        }
                        (None, Some(default)) => {
                            filled.insert(name.clone(), (*default).clone());
                        }
                        (None, None) => {}
                    }
                }
                Json::Object(filled)
            }
            other => other.clone(),
        }
    }

    fn default_of(&self, rule: usize) -> Option<&Json> {
        self.rules[rule].default.as_ref()
    }
}

/// The whole number that a value of type `integer` stands for.
fn is_whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
}

#[cfg(test)]
mod tests;
