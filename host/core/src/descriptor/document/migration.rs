//! Older types of a state, as they are written.

use arrow_schema::Field;
use schemars::JsonSchema;
use serde::Deserialize;

use super::StateDocument;
use crate::data_type;
use crate::descriptor::{Kind, Migration, schema_id};

/// Older schemas of a state from which it is migrated.
const MIGRATIONS_MAX: usize = 64;

/// An older schema of a state as it is written; the kind is the state's own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MigrationDocument {
    #[serde(rename = "type")]
    #[schemars(extend("format" = "wasmill-type"))]
    data_type: String,
    #[schemars(extend("format" = "wasmill-type"))]
    key: Option<String>,
}

impl StateDocument {
    /// The older schemas, each once and none of them the state's own.
    pub(super) fn migrations(
        &self,
        key: Option<&Field>,
        own_id: &str,
    ) -> Result<Vec<Migration>, String> {
        if self.migrates_from.len() > MIGRATIONS_MAX {
            return Err(format!(
                "at most {MIGRATIONS_MAX} of `migrates-from` are allowed"
            ));
        }
        if self.kind == Kind::Broadcast && !self.migrates_from.is_empty() {
            return Err(
                "migrates-from: states that all subtasks have alike are not migrated".into(),
            );
        }
        let mut migrations: Vec<Migration> = Vec::new();
        for from in &self.migrates_from {
            let field = |name: &str, text: &str| {
                let field = data_type::parse_field(name, text);
                field.map_err(|error| format!("migrates-from: {error}"))
            };
            let value = field("value", &from.data_type)?;
            let key = match (&from.key, key) {
                (Some(text), Some(_)) => Some(field("key", text)?),
                (Some(_), None) => return Err("migrates-from: only maps have a `key`".into()),
                (None, own) => own.cloned(),
            };
            let schema_id = schema_id(self.kind, key.as_ref(), &value);
            if schema_id == own_id {
                return Err("migrates-from: it has the state's own type".into());
            }
            if migrations.iter().any(|known| known.schema_id == schema_id) {
                let text = &from.data_type;
                return Err(format!("migrates-from: `{text}` stands twice"));
            }
            migrations.push(Migration {
                value,
                key,
                schema_id,
            });
        }
        Ok(migrations)
    }
}
