//! State of an older schema becomes state of the plugin's before the job goes on from it.
//!
//! It happens between reading a checkpoint and beginning the attempt, so that a migration that
//! fails has changed nothing. What comes out are segments as a checkpoint of the new version would
//! have them: whoever restores them need not know.

mod guest;
mod rows;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value as Json;
use wasmill_core::{
    checkpoint::{CheckpointId, Digest, Manifest, Migrated, Part},
    data_type,
    descriptor::{Descriptor, Kind, State},
    encoding::{self, EncodingError},
};

use super::driver::RestoredOperator;
use crate::{
    format::base64,
    segment::SegmentError,
    wasm::{CallError, InstanceOptions, Plugin},
};

use guest::{Guest, Value};

/// A plugin that migrates states of its operator.
#[derive(Clone)]
pub struct Offer {
    /// The plugin.
    pub plugin: Plugin,
    /// What it says of its states.
    pub descriptor: Arc<Descriptor>,
    /// What its instances may use.
    pub options: InstanceOptions,
}

/// The offers of a job, by operator's uid.
pub type Offers = BTreeMap<String, Offer>;

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offer({})", self.plugin.digest())
    }
}

impl Offer {
    /// The ids of the older schemas from which a state is migrated.
    pub fn ids(state: &State) -> Vec<Digest> {
        let offered = state.migrations.iter();
        offered
            .filter_map(|migration| Digest::parse(&migration.schema_id))
            .collect()
    }
}

/// Why state could not be migrated. The checkpoint is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The plugin failed at a value.
    #[error(
        "checkpoint {checkpoint} cannot be migrated: state `{state}`, {key}; the checkpoint is as \
         it was: mend the migration, or go on with the plugin that wrote it"
    )]
    Value {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The state, as `OPERATOR.STATE`.
        state: String,
        /// Whose value it was.
        key: String,
        /// What happened.
        #[source]
        source: Box<ValueError>,
    },
    /// The plugin does not start.
    #[error("checkpoint {checkpoint} cannot be migrated: operator `{operator}` does not start")]
    Start {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The operator.
        operator: String,
        /// Why.
        #[source]
        source: Box<CallError>,
    },
    /// What is stored cannot be read, or what came out cannot be written.
    #[error("checkpoint {checkpoint} cannot be migrated: operator `{operator}`")]
    Segment {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The operator.
        operator: String,
        /// Why.
        #[source]
        source: Box<SegmentError>,
    },
}

/// What is wrong with the migration of one value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The plugin failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It returned something else.
    #[error("what the plugin made of it is not of the type `{of}`: {source}")]
    Type {
        /// The type.
        of: String,
        /// Why not.
        source: EncodingError,
    },
    /// It gave two entries of a map one key.
    #[error("two entries of the map got the same key")]
    SameEntry,
    /// What is stored is no value.
    #[error("what is stored is not in base64")]
    Base64,
}

/// What was migrated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigratedState {
    /// Which state, from what to what.
    pub what: Migrated,
    /// Values, items and entries.
    pub values: u64,
    /// Those that the plugin dropped.
    pub dropped: u64,
}

/// A state that is being migrated.
struct Job<'a> {
    what: &'a Migrated,
    state: &'a State,
    /// Its position in the descriptor.
    number: u32,
    /// That of the older type in its `migrates-from`.
    migration: u32,
    values: u64,
    dropped: u64,
}

/// Migrates what an operator restores.
struct Migration<'a> {
    checkpoint: CheckpointId,
    operator: &'a str,
    /// The types of the key's columns.
    key: Option<&'a str>,
    jobs: Vec<Job<'a>>,
    guest: Guest<'a>,
}

/// Migrates all states that ask for it, in place.
///
/// # Errors
/// If one value cannot be; then nothing counts of what was done.
pub(super) async fn migrate(
    manifest: &Manifest,
    operators: &mut BTreeMap<String, RestoredOperator>,
    migrated: &[Migrated],
    offers: &Offers,
) -> Result<Vec<MigratedState>, MigrationError> {
    let groups = manifest.key_hash.groups;
    let mut told = Vec::new();
    for (operator, state) in operators {
        let own: Vec<&Migrated> = migrated
            .iter()
            .filter(|it| it.operator == *operator)
            .collect();
        let Some(offer) = offers.get(operator).filter(|_| !own.is_empty()) else {
            continue;
        };
        let identity = manifest.operators.get(operator).map(|it| &it.identity);
        let mut migration = Migration {
            checkpoint: manifest.checkpoint,
            operator,
            key: identity.and_then(|identity| identity.key.as_deref()),
            jobs: own
                .into_iter()
                .filter_map(|what| job(what, offer))
                .collect(),
            guest: Guest::new(offer),
        };
        state.segments = rows::migrate(&mut migration, &state.segments, groups).await?;
        for (part, _) in &mut state.parts {
            migration.part(part).await?;
        }
        told.extend(migration.jobs.into_iter().map(|job| MigratedState {
            what: job.what.clone(),
            values: job.values,
            dropped: job.dropped,
        }));
    }
    Ok(told)
}

fn job<'a>(what: &'a Migrated, offer: &'a Offer) -> Option<Job<'a>> {
    let mut states = offer.descriptor.states.iter().zip(0..);
    let (state, number) = states.find(|(state, _)| state.name == what.state)?;
    let mut ids = Offer::ids(state).into_iter().zip(0..);
    let (_, migration) = ids.find(|(id, _)| *id == what.from.id)?;
    Some(Job {
        what,
        state,
        number,
        migration,
        values: 0,
        dropped: 0,
    })
}

impl Migration<'_> {
    /// A state of a subtask, which is not by key.
    async fn part(&mut self, part: &mut Part) -> Result<(), MigrationError> {
        for at in 0..self.jobs.len() {
            let job = &self.jobs[at];
            let name = job.state.name.clone();
            if job.state.kind.is_keyed() {
                continue;
            }
            let subtask = format!("subtask {}", part.subtask);
            let Some(text) = part.state.get("states").and_then(|it| it.get(&name)) else {
                continue;
            };
            let bytes = text
                .as_str()
                .and_then(|text| base64::decode(text.as_bytes()));
            let bytes = bytes.ok_or_else(|| self.wrong(at, subtask.clone(), ValueError::Base64))?;
            let value = Value {
                key: Vec::new(),
                entry: None,
                value: bytes,
            };
            let migrated = self.values(at, vec![value], |_| subtask.clone()).await?;
            let Some(states) = part.state.get_mut("states").and_then(Json::as_object_mut) else {
                continue;
            };
            match migrated.into_iter().next().flatten() {
                Some(new) => {
                    let mut text = Vec::new();
                    base64::encode(&new.value, &mut text);
                    let text = String::from_utf8_lossy(&text).into_owned();
                    states.insert(name, text.into());
                }
                None => drop(states.remove(&name)),
            }
        }
        Ok(())
    }

    /// Migrates values of one state; none in the places of those that are dropped.
    async fn values(
        &mut self,
        at: usize,
        old: Vec<Value>,
        place: impl Fn(usize) -> String,
    ) -> Result<Vec<Option<Value>>, MigrationError> {
        let job = &self.jobs[at];
        let (number, migration, is_map) = (job.number, job.migration, job.state.key.is_some());
        let (field, key) = (job.state.value.clone(), job.state.key.clone());
        let count = old.len() as u64;
        let called = self.guest.migrate((number, migration), is_map, &old).await;
        let new = called.map_err(|failed| match failed {
            guest::Failed::Start(source) => MigrationError::Start {
                checkpoint: self.checkpoint,
                operator: self.operator.to_owned(),
                source: Box::new(source),
            },
            guest::Failed::At(position, source) => {
                self.wrong(at, place(position), ValueError::Call(source))
            }
        })?;
        for (position, value) in new.iter().enumerate() {
            let Some(value) = value else { continue };
            let valid = |field: &arrow_schema::Field, bytes: &[u8]| {
                let (of, nullable) = (field.data_type(), field.is_nullable());
                encoding::validate(of, nullable, bytes).map_err(|source| ValueError::Type {
                    of: data_type::print(of, nullable),
                    source,
                })
            };
            let entry = key.as_ref().zip(value.entry.as_deref());
            let valid = entry
                .map_or(Ok(()), |(key, entry)| valid(key, entry))
                .and_then(|()| valid(&field, &value.value));
            valid.map_err(|source| self.wrong(at, place(position), source))?;
        }
        let job = &mut self.jobs[at];
        job.values += count;
        job.dropped += new.iter().filter(|value| value.is_none()).count() as u64;
        Ok(new)
    }

    fn wrong(&self, at: usize, key: String, source: ValueError) -> MigrationError {
        MigrationError::Value {
            checkpoint: self.checkpoint,
            state: format!("{}.{}", self.operator, self.jobs[at].state.name),
            key,
            source: Box::new(source),
        }
    }

    /// A key, for people.
    fn key_text(&self, key: &[u8]) -> String {
        format!("key {}", shown(self.key, key))
    }

    /// The state that rows of a kind and name belong to, if it is migrated.
    fn job_of(&self, kind: crate::segment::Kind, name: &str) -> Option<usize> {
        use crate::segment::Kind as Row;
        self.jobs.iter().position(|job| {
            let is_kind = matches!(
                (job.state.kind, kind),
                (Kind::Value | Kind::Reducing | Kind::Aggregating, Row::Value)
                    | (Kind::List, Row::List)
                    | (Kind::Map, Row::Map)
            );
            is_kind && job.state.name == name
        })
    }
}

/// A key as JSON: the value of its column, or a list of them.
fn shown(types: Option<&str>, key: &[u8]) -> String {
    let hex = || key.iter().map(|byte| format!("{byte:02x}")).collect();
    let types = types.and_then(|types| data_type::parse_all(types).ok());
    let Some(types) = types else { return hex() };
    let fields = types.into_iter().enumerate();
    let fields: Vec<_> = fields
        .map(|(at, (of, nullable))| arrow_schema::Field::new(at.to_string(), of, nullable))
        .collect();
    let whole = arrow_schema::DataType::Struct(fields.into());
    match encoding::to_json(&whole, false, key) {
        Ok(Json::Object(columns)) if columns.len() == 1 => columns
            .into_iter()
            .map(|(_, value)| value.to_string())
            .collect(),
        Ok(Json::Object(columns)) => {
            Json::Array(columns.into_iter().map(|(_, value)| value).collect()).to_string()
        }
        _ => hex(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_as_they_are_written() {
        assert_eq!(shown(Some("u64"), &7_u64.to_le_bytes()), "7");
        let both = [&[1, 2, 0, 0, 0][..], b"ab"].concat();
        assert_eq!(shown(Some("u8, string"), &both), r#"[1,"ab"]"#);
        assert_eq!(shown(Some("u8"), &[1, 2]), "0102");
        assert_eq!(shown(None, &[255]), "ff");
    }
}
