//! Where the schemas of Avro and Protobuf come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::DurationText;
use crate::secret::{SecretReference, TextOrSecret};

/// How long a registry may be away, in microseconds, if not given.
const GIVE_UP_AFTER_US: i64 = 600_000_000;

/// A schema registry with the interface of Confluent's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistryDocument {
    /// Where it is: `http://HOST:PORT` or `https://HOST`, with a path if it has one.
    pub url: String,
    /// The user, where it asks for one; `{ env: NAME }` and `{ file: PATH }` are possible.
    pub user: Option<TextOrSecret>,
    /// The user's password, by reference: `{ env: NAME }` or `{ file: PATH }`.
    pub password: Option<SecretReference>,
    /// A file with the certificates (PEM) of authorities to trust beside those of the machine,
    /// relative to the document's folder.
    pub ca: Option<String>,
    /// How long it may be away before the job fails; 10m if not given.
    pub give_up_after: Option<DurationText>,
}

impl RegistryDocument {
    /// How long it may be away before the job fails, in microseconds.
    pub fn give_up_after_us(&self) -> i64 {
        self.give_up_after
            .map_or(GIVE_UP_AFTER_US, |time| time.as_us())
    }
}

/// A file with a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SchemaFile {
    /// Its path, relative to the document's folder: an Avro schema, a `.proto` file (what it
    /// imports stands in the same folder) or a set of descriptors as `protoc` writes it.
    pub file: String,
}
