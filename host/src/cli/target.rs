//! Which job's checkpoints a command looks at.

use std::{fs, path::Path, sync::Arc};

use clap::Args;
use wasmill_core::{
    checkpoint::{CheckpointId, Manifest},
    pipeline::{
        self, Storage,
        document::{CheckpointDocument, Document},
    },
};

use super::{
    failure::{Failure, chain},
    run::attempt,
};
use crate::inspection::{InspectionError, KeyNames, Log, Target};

#[derive(Args)]
pub(super) struct Arguments {
    /// The pipeline document, the name of its job, or a folder that holds a copy of one job's
    /// checkpoints.
    job: String,
    /// Where checkpoints are kept, if not where the document says; without either, in the user's
    /// data folder.
    #[arg(long, value_name = "PLACE")]
    storage: Option<String>,
    /// The number of the checkpoint; the newest if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint: Option<u64>,
}

/// A job whose checkpoints are looked at.
pub(super) struct Found {
    pub(super) log: Log,
    pub(super) checkpoint: Option<CheckpointId>,
    /// The document, if the job was named by it.
    document: Option<Document>,
}

impl Arguments {
    pub(super) fn find(&self) -> Result<Found, Failure> {
        let path = Path::new(&self.job);
        let is_name = !self.job.contains(['/', '.']) && !path.is_file();
        let mut document = None;
        let target = if self.job.contains("://") {
            Target::Store(Storage::parse(&self.job).map_err(Failure::invalid)?)
        } else if path.is_dir() && self.storage.is_none() {
            Target::Store(Storage::Folder(self.job.clone()))
        } else if is_name {
            Target::Job {
                job: self.job.clone(),
                storage: self.storage(None)?,
            }
        } else {
            let written = read(path)?;
            let kept = written.checkpoint.as_ref();
            let kept = kept.and_then(CheckpointDocument::on);
            let kept = kept.and_then(Storage::written).transpose();
            let storage = self.storage(kept.map_err(Failure::invalid)?.as_ref())?;
            let job = written.name.clone();
            document = Some(written);
            Target::Job { job, storage }
        };
        Ok(Found {
            log: Log::open(&target).map_err(failure)?,
            checkpoint: self.checkpoint.map(CheckpointId),
            document,
        })
    }

    fn storage(&self, kept: Option<&Storage>) -> Result<Storage, Failure> {
        attempt::place(kept, self.storage.as_deref())
    }
}

impl Found {
    /// The checkpoint that was asked for.
    pub(super) fn manifest(&self) -> Result<Arc<Manifest>, Failure> {
        self.log.checkpoint(self.checkpoint).map_err(failure)
    }

    /// What the document calls the columns of keys, by operator and by gate.
    pub(super) fn key_names(&self, manifest: &Manifest) -> KeyNames {
        let mut names = KeyNames::new();
        for uid in manifest.operators.keys() {
            if let Some(columns) = self.key_of(uid).or_else(|| key_of_gate(uid)) {
                names.insert(uid.clone(), columns);
            }
        }
        names
    }

    /// The columns by which an operator is keyed.
    fn key_of(&self, uid: &str) -> Option<Vec<String>> {
        let operator = self.document.as_ref()?.operators.get(uid)?;
        (!operator.key_by.is_empty()).then(|| operator.key_by.to_vec())
    }

    /// The gates that keep something for an operator: those of its key, where the key is known.
    pub(super) fn gates_of<'m>(
        &self,
        uid: &str,
        manifest: &'m Manifest,
    ) -> impl Iterator<Item = &'m str> {
        let columns = self.key_of(uid).map(|columns| columns.join("+"));
        let types = manifest.operators.get(uid);
        let types = types.and_then(|operator| operator.identity.key.clone());
        let own = uid.to_owned();
        manifest.operators.iter().filter_map(move |(name, gate)| {
            let is_gate = gate.identity.plugin.is_none() && *name != own;
            let is_alike = gate.identity.key == types;
            let is_by = match (&columns, key_of_gate(name)) {
                (Some(columns), Some(by)) => *columns == by.join("+"),
                (_, by) => by.is_some(),
            };
            (is_gate && is_alike && is_by).then_some(name.as_str())
        })
    }
}

/// The key's columns as the name of a gate tells them: `payments by account in event time`.
fn key_of_gate(name: &str) -> Option<Vec<String>> {
    let name = name.strip_suffix(" in event time").unwrap_or(name);
    let (_, columns) = name.split_once(" by ")?;
    Some(columns.split('+').map(str::to_owned).collect())
}

fn read(path: &Path) -> Result<Document, Failure> {
    let place = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Invalid(format!("{place}: cannot be read: {error}")))?;
    let written = pipeline::parse(&text).map_err(|errors| {
        let lines = errors.0.iter().map(|error| format!("{place}:{error}"));
        Failure::Invalid(lines.collect::<Vec<_>>().join("\nwasmill: "))
    })?;
    Ok(written.document().clone())
}

/// What was asked for wrongly, and what could not be done.
pub(super) fn failure(error: InspectionError) -> Failure {
    match error {
        InspectionError::NoJob { .. }
        | InspectionError::Several { .. }
        | InspectionError::NoCheckpoint { .. }
        | InspectionError::NoOperator { .. }
        | InspectionError::NoState { .. }
        | InspectionError::Key { .. }
        | InspectionError::Sql(_) => Failure::Invalid(chain(&error)),
        other => Failure::failed(other),
    }
}
