//! A table of a PostgreSQL database.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::DurationText;
use crate::secret::{SecretReference, TextOrSecret};

/// A table of a PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PostgresSink {
    /// The database: `postgres://USER@HOST:PORT/DATABASE?sslmode=require`, or where that is to be
    /// found, if it contains the password.
    pub url: TextOrSecret,
    /// The user, if the URL does not say it.
    pub user: Option<TextOrSecret>,
    /// Where the password is to be found.
    pub password: Option<SecretReference>,
    /// The schema of the table; the first of the user's `search_path` if not given.
    pub schema: Option<String>,
    /// The table; made if it is not there.
    pub table: String,
    /// The columns of the primary key: a row replaces the one with the same key. Without it rows
    /// are added.
    #[serde(default)]
    pub upsert: Vec<String>,
    /// How long the database may be away before the job fails; 10m if not given.
    pub give_up_after: Option<DurationText>,
}
