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
    /// relative to the folder in which wasmill runs.
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

/// Options of Avro and Protobuf that are written. The schema is made of the columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncodeRegistered {
    /// The schema registry in whose wire format the records are written.
    pub registry: RegistryDocument,
    /// The name under which the registry has the versions of the schema; `TOPIC-value` if not
    /// given.
    pub subject: Option<String>,
    /// The record's or message's name in the schema, such as `shop.Order`; made of the topic's if
    /// not given.
    pub name: Option<String>,
    /// Whether the schema is added to the registry where it is not there. Without that the job
    /// fails at its start if it is not.
    #[serde(default = "yes")]
    pub register: bool,
}

fn yes() -> bool {
    true
}

impl EncodeRegistered {
    /// The name under which the registry has the versions of the schema.
    pub fn subject_of(&self, topic: Option<&str>) -> String {
        let own = || format!("{}-value", topic.unwrap_or_default());
        self.subject.clone().unwrap_or_else(own)
    }
}

/// A file with a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SchemaFile {
    /// Its path, relative to the document's folder: an Avro schema as JSON, or a `.proto` file,
    /// which finds what it imports in its own folder.
    pub file: String,
    /// Protobuf: the message that the records are, such as `shop.Order`. It may be left out where
    /// the file has only one.
    pub message: Option<String>,
}
