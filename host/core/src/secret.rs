//! Secrets: a document says where one is to be found, and never what it is.
//!
//! A [`SecretReference`] may be printed, stored and compared. A [`SecretText`] is what was found:
//! it has no `Display` and no serialized form, and its `Debug` says nothing, so that it cannot get
//! into a log, an error, a summary or a checkpoint by accident.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::json_schema::format;

/// Where a secret is to be found: `{ env: NAME }` or `{ file: PATH }`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretReference {
    /// In a variable of the environment.
    Env(String),
    /// In a file, relative to the folder in which wasmill runs.
    File(String),
}

/// A text that may be secret: as it is, or where it is to be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TextOrSecret {
    /// The text itself.
    Text(String),
    /// Where it is to be found.
    Secret(SecretReference),
}

/// A secret that was found.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Takes a secret in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the client that needs it and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl SecretReference {
    /// The variable or the file as people read it: "the variable `NAME`".
    pub fn place(&self) -> String {
        match self {
            Self::Env(name) => format!("the variable `{name}`"),
            Self::File(path) => format!("the file `{path}`"),
        }
    }
}

impl TextOrSecret {
    /// Where the secret is to be found, if it is one.
    pub fn reference(&self) -> Option<&SecretReference> {
        match self {
            Self::Text(_) => None,
            Self::Secret(reference) => Some(reference),
        }
    }
}

impl JsonSchema for SecretReference {
    fn schema_name() -> Cow<'static, str> {
        "SecretReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = |name: &str, description: &str| {
            json_schema!({
                "type": "object",
                "additionalProperties": false,
                "required": [name],
                "properties": {
                    name: { "type": "string", "minLength": 1, "description": description },
                },
            })
        };
        json_schema!({
            "description": "Where a secret is to be found. It never stands in the document.",
            "format": format::SECRET,
            "oneOf": [
                one("env", "The variable of the environment that holds it."),
                one("file", "The file that holds it, relative to where wasmill runs."),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_schema;
    use crate::tree;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        password: Option<SecretReference>,
        url: Option<TextOrSecret>,
    }

    fn mistakes(document: &str) -> String {
        let schema = schemars::schema_for!(Fields);
        let schema = json_schema::Schema::compile(schema.as_value()).expect("a schema");
        let found = schema.check(&tree::parse(document).expect("YAML"));
        let lines = found.iter().map(|mistake| {
            let remedy = mistake.remedy.as_deref().unwrap_or_default();
            format!("{}: {}; {remedy}", mistake.path, mistake.message)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_secret_is_a_reference() {
        for sound in [
            "password: { env: PGPASSWORD }",
            "password: { file: /run/secrets/password }",
            "url: postgres://localhost/bank",
            "url: { env: DATABASE_URL }",
            "password: null",
        ] {
            assert_eq!(mistakes(sound), "", "{sound}");
        }
        let fields = r#"{ "password": { "env": "A" }, "url": { "file": "a" } }"#;
        let fields: Fields = serde_json::from_str(fields).expect("two references");
        let password = fields.password.expect("it is given");
        assert_eq!(password.place(), "the variable `A`");
        let url = fields.url.expect("it is given");
        assert_eq!(url.reference(), Some(&SecretReference::File("a".into())));
    }

    #[test]
    fn a_secret_that_stands_in_the_document_is_refused_and_not_repeated() {
        for literal in ["hunter2", "2222222", "[hunter2]", "true"] {
            let found = mistakes(&format!("password: {literal}"));
            assert!(
                found.contains("write `{ env: NAME }` or `{ file: PATH }`"),
                "{found}"
            );
            assert!(
                !found.contains("hunter2") && !found.contains("222"),
                "{found}"
            );
        }
        for (document, part) in [
            ("url: 5432", "put it in quotes"),
            ("password: { enw: A }", "did you mean `env`?"),
            (
                "password: { env: A, file: b }",
                "there is no field `file` here",
            ),
            ("password: { env: \"\" }", "0 characters are too few"),
        ] {
            let found = mistakes(document);
            assert!(found.contains(part), "{found}");
        }
    }

    #[test]
    fn a_secret_that_was_found_does_not_show() {
        let secret = SecretText::new("hunter2");
        assert_eq!(
            format!("{secret:?} {:#?}", Some(&secret))
                .matches("hunter2")
                .count(),
            0
        );
        assert_eq!(secret.expose(), "hunter2");
    }
}
