//! Where checkpoints are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::SecretReference;

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
    pub access_key: Option<SecretReference>,
    /// The secret access key.
    pub secret_key: Option<SecretReference>,
    /// The session's token, where credentials are for a while.
    pub session_token: Option<SecretReference>,
}
