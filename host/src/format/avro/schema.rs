//! Avro schemas, read without trust: a registry may answer anything.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// A type's place in [`Schema::types`]: schemas may contain themselves.
pub(crate) type TypeId = usize;

/// A schema and all types in it.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    pub(crate) types: Vec<Type>,
    pub(crate) root: TypeId,
}

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Type {
    pub(crate) kind: Kind,
    pub(crate) logical: Option<Logical>,
}

/// What a value is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Vec<Box<str>>),
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record(Vec<(Box<str>, TypeId)>),
}

/// What a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logical {
    Decimal(u32),
    Date,
    /// How many of its units are a second.
    Timestamp(i64),
    Uuid,
}

impl Schema {
    /// Reads a schema; `others` are those that it refers to by name, each before those that need
    /// it.
    pub(crate) fn parse(text: &str, others: &[String]) -> Result<Self, String> {
        let mut parser = Parser::default();
        for other in others {
            parser.text(other)?;
        }
        let root = parser.text(text)?;
        let types = parser.types.into_iter().collect::<Option<Vec<_>>>();
        let types = types.ok_or("a type in it is never said")?;
        Ok(Self { types, root })
    }

    pub(crate) fn at(&self, of: TypeId) -> &Type {
        &self.types[of]
    }

    /// A type in a message's words.
    pub(crate) fn told(&self, of: TypeId) -> String {
        let this = self.at(of);
        let base = match &this.kind {
            Kind::Null => "null".into(),
            Kind::Bool => "boolean".into(),
            Kind::Int => "int".into(),
            Kind::Long => "long".into(),
            Kind::Float => "float".into(),
            Kind::Double => "double".into(),
            Kind::Bytes => "bytes".into(),
            Kind::Text => "string".into(),
            Kind::Fixed(len) => format!("fixed({len})"),
            Kind::Enum(_) => "enum".into(),
            Kind::Array(_) => "array".into(),
            Kind::Map(_) => "map".into(),
            Kind::Record(_) => "record".into(),
            Kind::Union(branches) => {
                let all: Vec<String> = branches.iter().map(|it| self.told(*it)).collect();
                format!("[{}]", all.join(", "))
            }
        };
        match this.logical {
            None => base,
            Some(Logical::Decimal(scale)) => format!("{base} (decimal of {scale} places)"),
            Some(Logical::Date) => format!("{base} (date)"),
            Some(Logical::Timestamp(_)) => format!("{base} (timestamp)"),
            Some(Logical::Uuid) => format!("{base} (uuid)"),
        }
    }
}

/// A parser with the types that it has met.
#[derive(Default)]
struct Parser {
    /// None while a type's own text is being read.
    types: Vec<Option<Type>>,
    named: HashMap<String, TypeId>,
}

impl Parser {
    fn text(&mut self, text: &str) -> Result<TypeId, String> {
        let value =
            serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        self.value(&value, "")
    }

    fn value(&mut self, value: &Value, space: &str) -> Result<TypeId, String> {
        match value {
            Value::String(name) => self.name(name, space),
            Value::Array(branches) => {
                let mut types = Vec::new();
                for branch in branches {
                    if branch.is_array() {
                        return Err("a union stands in a union".into());
                    }
                    types.push(self.value(branch, space)?);
                }
                if types.is_empty() {
                    return Err("a union has no branches".into());
                }
                Ok(self.add(Kind::Union(types), None))
            }
            Value::Object(object) => self.object(object, space),
            other => Err(format!("`{other}` is no type")),
        }
    }

    fn add(&mut self, kind: Kind, logical: Option<Logical>) -> TypeId {
        self.types.push(Some(Type { kind, logical }));
        self.types.len() - 1
    }

    /// A primitive type, or one that was named before.
    fn name(&mut self, name: &str, space: &str) -> Result<TypeId, String> {
        if let Some(kind) = primitive(name) {
            return Ok(self.add(kind, None));
        }
        let full = full_name(name, space);
        let found = self.named.get(&full).or_else(|| self.named.get(name));
        found
            .copied()
            .ok_or_else(|| format!("there is no type `{name}`"))
    }

    fn object(&mut self, object: &Map<String, Value>, space: &str) -> Result<TypeId, String> {
        let Some(of) = object.get("type") else {
            return Err("an object without `type` stands where a type belongs".into());
        };
        let Value::String(of) = of else {
            // `{ "type": { ... } }` says the same as what is in it.
            return self.value(of, space);
        };
        match of.as_str() {
            "array" => {
                let items = object.get("items").ok_or("an array has no `items`")?;
                let items = self.value(items, space)?;
                Ok(self.add(Kind::Array(items), None))
            }
            "map" => {
                let values = object.get("values").ok_or("a map has no `values`")?;
                let values = self.value(values, space)?;
                Ok(self.add(Kind::Map(values), None))
            }
            "record" | "error" | "enum" | "fixed" => self.declared(object, of, space),
            other => match primitive(other) {
                Some(kind) => {
                    let logical = logical(object, &kind);
                    Ok(self.add(kind, logical))
                }
                None => self.name(other, space),
            },
        }
    }

    /// A type with a name.
    fn declared(
        &mut self,
        object: &Map<String, Value>,
        of: &str,
        space: &str,
    ) -> Result<TypeId, String> {
        let name = text(object, "name").ok_or_else(|| format!("{of} has no name"))?;
        let own = text(object, "namespace").unwrap_or(space);
        let full = full_name(name, own);
        let space = full.rsplit_once('.').map_or("", |(space, _)| space);
        let id = self.types.len();
        self.types.push(None);
        if self.named.insert(full.clone(), id).is_some() {
            return Err(format!("the type `{full}` is declared twice"));
        }
        for alias in object
            .get("aliases")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(alias) = alias.as_str() {
                self.named.entry(full_name(alias, space)).or_insert(id);
            }
        }
        let kind = match of {
            "enum" => {
                Kind::Enum(symbols(object).ok_or_else(|| format!("`{full}` has no symbols"))?)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| u32::try_from(size).ok());
                let size = size.ok_or_else(|| format!("`{full}` has no size"))?;
                Kind::Fixed(size as usize)
            }
            _ => Kind::Record(self.fields(object, &full, space)?),
        };
        let logical = logical(object, &kind);
        self.types[id] = Some(Type { kind, logical });
        Ok(id)
    }

    fn fields(
        &mut self,
        object: &Map<String, Value>,
        full: &str,
        space: &str,
    ) -> Result<Vec<(Box<str>, TypeId)>, String> {
        let fields = object.get("fields").and_then(Value::as_array);
        let mut known: Vec<(Box<str>, TypeId)> = Vec::new();
        for field in fields.ok_or_else(|| format!("`{full}` has no fields"))? {
            let object = field.as_object();
            let name = object.and_then(|object| text(object, "name"));
            let name = name.ok_or_else(|| format!("a field of `{full}` has no name"))?;
            if known.iter().any(|(other, _)| **other == *name) {
                return Err(format!("`{full}` has two fields `{name}`"));
            }
            let of = object.and_then(|object| object.get("type"));
            let of = of.ok_or_else(|| format!("the field `{name}` of `{full}` has no type"))?;
            known.push((name.into(), self.value(of, space)?));
        }
        Ok(known)
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn symbols(object: &Map<String, Value>) -> Option<Vec<Box<str>>> {
    let symbols = object.get("symbols")?.as_array()?;
    symbols
        .iter()
        .map(|it| it.as_str().map(Into::into))
        .collect()
}

fn full_name(name: &str, space: &str) -> String {
    match (name.contains('.'), space) {
        (true, _) | (_, "") => name.into(),
        _ => format!("{space}.{name}"),
    }
}

fn primitive(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Bool,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::Text,
        _ => return None,
    })
}

/// What a type means: as Avro says it, or Kafka Connect for Debezium. One that does not go with its
/// type means nothing, as Avro has it.
fn logical(object: &Map<String, Value>, kind: &Kind) -> Option<Logical> {
    let said = text(object, "logicalType").or_else(|| text(object, "connect.name"))?;
    let number = |key: &str| object.get(key).map_or(Some(0), Value::as_u64);
    Some(match (said, kind) {
        ("decimal", Kind::Bytes | Kind::Fixed(_)) => {
            Logical::Decimal(u32::try_from(number("scale")?).ok()?)
        }
        ("date" | "io.debezium.time.Date", Kind::Int) => Logical::Date,
        ("timestamp-millis" | "local-timestamp-millis", Kind::Long)
        | ("io.debezium.time.Timestamp", Kind::Long) => Logical::Timestamp(1_000),
        ("timestamp-micros" | "local-timestamp-micros", Kind::Long)
        | ("io.debezium.time.MicroTimestamp", Kind::Long) => Logical::Timestamp(1_000_000),
        ("timestamp-nanos" | "local-timestamp-nanos", Kind::Long)
        | ("io.debezium.time.NanoTimestamp", Kind::Long) => Logical::Timestamp(1_000_000_000),
        ("uuid", Kind::Text | Kind::Fixed(16)) => Logical::Uuid,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_refer_to_each_other_by_name() {
        let text = r#"{ "type": "record", "name": "a.b.Node", "fields": [
            { "name": "next", "type": ["null", "Node"] },
            { "name": "id", "type": { "type": "fixed", "name": "Id", "size": 16,
                                      "logicalType": "uuid" } },
            { "name": "other", "type": "a.b.Id" },
            { "name": "x", "type": "c.Given" } ] }"#;
        let given = r#"{ "type": "enum", "name": "Given", "namespace": "c", "symbols": ["A"] }"#;
        let schema = Schema::parse(text, &[given.into()]).expect("it is sound");
        let Kind::Record(fields) = &schema.at(schema.root).kind else {
            panic!("{schema:?}");
        };
        let Kind::Union(branches) = &schema.at(fields[0].1).kind else {
            panic!("{schema:?}");
        };
        assert_eq!(branches[1], schema.root);
        assert_eq!(fields[1].1, fields[2].1);
        assert_eq!(schema.at(fields[1].1).logical, Some(Logical::Uuid));
        assert_eq!(schema.told(fields[3].1), "enum");
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for (text, part) in [
            ("{", "no JSON"),
            ("17", "no type"),
            ("\"text\"", "there is no type `text`"),
            ("[]", "no branches"),
            ("[[\"int\"]]", "stands in a union"),
            (r#"{ "type": "array" }"#, "no `items`"),
            (r#"{ "type": "fixed", "name": "f", "size": -1 }"#, "no size"),
            (r#"{ "type": "record", "fields": [] }"#, "no name"),
            (r#"{ "type": "record", "name": "r" }"#, "no fields"),
            (
                r#"{ "type": "record", "name": "r", "fields": [
                    { "name": "a", "type": "int" }, { "name": "a", "type": "int" }] }"#,
                "two fields `a`",
            ),
            (&"[".repeat(10_000), "no JSON"),
        ] {
            let error = Schema::parse(text, &[]).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }
}
