//! Reads a schema into rules. Schemas come from plugins, so their size is bounded and references
//! may loop.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::{Additional, Format, Rule, Schema, SchemaError, Type, format};
use crate::spelling;
use crate::{byte_size, duration};

/// The most rules of a schema.
const RULES_MAX: usize = 10_000;
/// The deepest nesting of a schema.
const DEPTH_MAX: usize = 64;

/// Keywords that check nothing.
const ANNOTATIONS: [&str; 14] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "default",
    "format",
    "x-order",
];

/// Keywords that check something and that we understand.
const CHECKS: [&str; 19] = [
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "additionalProperties",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
];

/// Reads a schema.
///
/// # Errors
/// If it uses a keyword that we do not understand (what is not checked must not look checked), a
/// reference that leads nowhere, or is too large.
pub(super) fn compile(json: &Json) -> Result<Schema, SchemaError> {
    let mut compiler = Compiler {
        document: json,
        rules: Vec::new(),
        by_pointer: HashMap::new(),
    };
    let root = compiler.rule(json, String::new(), 0)?;
    Ok(Schema {
        rules: compiler.rules,
        root,
    })
}

/// Rules so far. A rule is known by the pointer to its place, so that a reference to a rule that is
/// being read finds it, and recursion ends.
struct Compiler<'a> {
    document: &'a Json,
    rules: Vec<Rule>,
    by_pointer: HashMap<String, usize>,
}

/// An error at a place of the schema, a JSON pointer.
fn refuse<T>(path: &str, message: impl Into<String>) -> Result<T, SchemaError> {
    let path = if path.is_empty() { "/" } else { path };
    Err(SchemaError {
        path: path.into(),
        message: message.into(),
    })
}

impl<'a> Compiler<'a> {
    /// The index of the rule for the schema at `path`; its number is given out first, since it may
    /// refer to itself.
    fn rule(&mut self, json: &'a Json, path: String, depth: usize) -> Result<usize, SchemaError> {
        if let Some(index) = self.by_pointer.get(&path) {
            return Ok(*index);
        }
        if self.rules.len() >= RULES_MAX || depth > DEPTH_MAX {
            return refuse(&path, "the schema is too large");
        }
        let index = self.rules.len();
        self.rules.push(Rule::default());
        self.by_pointer.insert(path.clone(), index);
        self.rules[index] = match json {
            Json::Bool(allowed) => Rule {
                never: !allowed,
                ..Rule::default()
            },
            Json::Object(map) => self.object(map, &path, depth)?,
            _ => return refuse(&path, "a schema is an object, true or false"),
        };
        Ok(index)
    }

    /// A rule from its keywords.
    fn object(
        &mut self,
        map: &'a Map<String, Json>,
        path: &str,
        depth: usize,
    ) -> Result<Rule, SchemaError> {
        let mut rule = Rule::default();
        for (keyword, value) in map {
            self.keyword(&mut rule, (keyword, value), path, depth)?;
        }
        Ok(rule)
    }

    /// Adds what one keyword says to a rule.
    fn keyword(
        &mut self,
        rule: &mut Rule,
        (keyword, value): (&str, &'a Json),
        path: &str,
        depth: usize,
    ) -> Result<(), SchemaError> {
        let at = format!("{path}/{}", keyword.replace('~', "~0").replace('/', "~1"));
        match keyword {
            "type" => rule.types = Some(types(value, &at)?),
            "enum" => match value {
                Json::Array(choices) => rule.choices = Some(choices.clone()),
                _ => return refuse(&at, "`enum` is a list"),
            },
            "const" => rule.choices = Some(vec![value.clone()]),
            "minimum" => rule.minimum = Some(number(value, &at)?),
            "maximum" => rule.maximum = Some(number(value, &at)?),
            "exclusiveMinimum" => rule.above = Some(number(value, &at)?),
            "exclusiveMaximum" => rule.below = Some(number(value, &at)?),
            "minLength" => rule.chars.0 = Some(count(value, &at)?),
            "maxLength" => rule.chars.1 = Some(count(value, &at)?),
            "minItems" => rule.item_count.0 = Some(count(value, &at)?),
            "maxItems" => rule.item_count.1 = Some(count(value, &at)?),
            "items" => rule.items = Some(self.rule(value, at, depth + 1)?),
            "properties" => rule.properties = self.properties(value, &at, depth)?,
            "required" => rule.required = texts(value, &at)?,
            "additionalProperties" => {
                rule.additional = match value {
                    Json::Bool(true) => Additional::Allowed,
                    Json::Bool(false) => Additional::Refused,
                    _ => Additional::Like(self.rule(value, at, depth + 1)?),
                }
            }
            "anyOf" | "oneOf" => rule.any_of.extend(self.branches(value, &at, depth)?),
            "allOf" => rule.all_of.extend(self.branches(value, &at, depth)?),
            "$ref" => {
                let target = self.reference(value, &at, depth)?;
                rule.all_of.push(target);
            }
            "default" => rule.default = Some(value.clone()),
            "format" => rule.format = known_format(value),
            word if ANNOTATIONS.contains(&word) => {}
            word => return refuse(&at, unknown(word)),
        }
        Ok(())
    }

    /// The rules of a mapping's fields, in their order: messages list them so.
    fn properties(
        &mut self,
        value: &'a Json,
        path: &str,
        depth: usize,
    ) -> Result<indexmap::IndexMap<String, usize>, SchemaError> {
        let Json::Object(map) = value else {
            return refuse(path, "`properties` is an object");
        };
        let mut properties = indexmap::IndexMap::new();
        for (name, schema) in map {
            let at = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
            properties.insert(name.clone(), self.rule(schema, at, depth + 1)?);
        }
        Ok(properties)
    }

    /// The rules of alternatives, or of parts that all have to hold.
    fn branches(
        &mut self,
        value: &'a Json,
        path: &str,
        depth: usize,
    ) -> Result<Vec<usize>, SchemaError> {
        let Json::Array(branches) = value else {
            return refuse(path, "a list of schemas is missing");
        };
        let mut rules = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            rules.push(self.rule(branch, format!("{path}/{index}"), depth + 1)?);
        }
        Ok(rules)
    }

    /// The rule that `$ref` leads to, inside the same document: nothing is fetched.
    fn reference(
        &mut self,
        value: &'a Json,
        path: &str,
        depth: usize,
    ) -> Result<usize, SchemaError> {
        let pointer = value.as_str().and_then(|text| text.strip_prefix('#'));
        let Some(pointer) = pointer else {
            return refuse(
                path,
                "only references into the same schema, `#/$defs/NAME`, are followed",
            );
        };
        match self.document.pointer(pointer) {
            Some(target) => self.rule(target, pointer.into(), depth + 1),
            None => refuse(path, format!("`#{pointer}` leads nowhere")),
        }
    }
}

/// What is said of a keyword that we do not know.
fn unknown(word: &str) -> String {
    let hint = spelling::nearest(word, CHECKS.into_iter().chain(ANNOTATIONS));
    let hint = hint.map_or_else(
        || format!("use {}", CHECKS.join(", ")),
        |right| format!("did you mean `{right}`?"),
    );
    format!("the keyword `{word}` is not understood; {hint}")
}

/// The types of `type`, one or a list.
fn types(value: &Json, path: &str) -> Result<Vec<Type>, SchemaError> {
    let names = match value {
        Json::String(name) => vec![name.clone()],
        _ => texts(value, path)?,
    };
    let of = |name: &String| match name.as_str() {
        "null" => Ok(Type::Null),
        "boolean" => Ok(Type::Boolean),
        "integer" => Ok(Type::Integer),
        "number" => Ok(Type::Number),
        "string" => Ok(Type::String),
        "array" => Ok(Type::Array),
        "object" => Ok(Type::Object),
        other => refuse(path, format!("there is no type `{other}`")),
    };
    names.iter().map(of).collect()
}

/// A list of texts.
fn texts(value: &Json, path: &str) -> Result<Vec<String>, SchemaError> {
    let items = value.as_array().map(Vec::as_slice);
    let texts: Option<Vec<String>> = items.and_then(|items| {
        let text = |item: &Json| item.as_str().map(str::to_owned);
        items.iter().map(text).collect()
    });
    match texts {
        Some(texts) => Ok(texts),
        None => refuse(path, "a list of texts is missing"),
    }
}

/// A number that limits something.
fn number(value: &Json, path: &str) -> Result<f64, SchemaError> {
    match value.as_f64() {
        Some(number) if number.is_finite() => Ok(number),
        _ => refuse(path, "a number is missing"),
    }
}

/// A whole number that limits a length.
fn count(value: &Json, path: &str) -> Result<u64, SchemaError> {
    match value.as_u64() {
        Some(count) => Ok(count),
        None => refuse(path, "a whole number is missing"),
    }
}

/// Formats of others (`uint64`, `date-time`) are annotations.
fn known_format(value: &Json) -> Option<Format> {
    match value.as_str()? {
        duration::FORMAT => Some(Format::Duration),
        duration::SIGNED_FORMAT => Some(Format::SignedDuration),
        byte_size::FORMAT => Some(Format::ByteSize),
        format::DATA_TYPE => Some(Format::DataType),
        format::NAME => Some(Format::Name),
        format::SECRET => Some(Format::Secret),
        _ => None,
    }
}
