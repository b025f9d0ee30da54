//! Where checkpoints are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a store that speaks S3 is reached, for `storage: s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct S3Document {
    /// Where it listens, such as `http://127.0.0.1:7070`; Amazon's own if not given.
    pub endpoint: Option<String>,
    /// The region, `us-east-1` if not given.
    pub region: Option<String>,
    /// The access key's id. Without `access-key` and `secret-key` credentials come from where
    /// programs of Amazon look for them: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, the machine.
    pub access_key: Option<SecretDocument>,
    /// The secret access key.
    pub secret_key: Option<SecretDocument>,
    /// The session's token, where credentials are for a while.
    pub session_token: Option<SecretDocument>,
}

/// Where a secret is found; it is never written into a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretDocument {
    /// In a variable of the environment.
    Env(String),
    /// In a file, relative to the folder in which wasmill runs.
    File(String),
}
