//! A job's log, read and not changed.

use std::{collections::BTreeSet, future::Future, ops::Range, sync::Arc};

use bytes::Bytes;
use tokio::runtime::Runtime;
use wasmill_core::{
    checkpoint::{CheckpointId, Kept, Manifest, ObjectRef, Recovery, RestoreFrom, Scope},
    key::KeyGroupRange,
    pipeline::Storage as Place,
    spelling,
};

use super::InspectionError;
use crate::checkpoint::{Storage, StorageError};

/// The tenant of every job, until there are several.
const TENANT: &str = "default";

/// What is said of an object that is not there.
pub(super) const GONE: &str = "is gone";

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A job, by its name, in a store.
    Job {
        /// The job.
        job: String,
        /// The store.
        storage: Place,
    },
    /// The only job of a store: a copy of a savepoint, say.
    Store(Place),
}

/// A store, read only.
pub struct Store {
    storage: Storage,
    runtime: Runtime,
}

/// A job's log, with what it says is kept.
pub struct Log {
    /// Where it lies.
    pub store: Arc<Store>,
    /// Whose it is.
    pub scope: Scope,
    /// The full names of all of the job's objects.
    pub names: Vec<String>,
}

/// What a log says.
pub struct Listed {
    /// The decided checkpoints that are kept and can be read, oldest first.
    pub kept: Vec<Kept>,
    /// Those that cannot.
    pub damaged: Vec<wasmill_core::checkpoint::Damage>,
}

impl Store {
    /// The store at a place.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(place: &Place) -> Result<Self, InspectionError> {
        let storage = Storage::existing(place)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Ok(Self {
            storage,
            runtime: runtime?,
        })
    }

    fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, InspectionError> {
        Ok(self.runtime.block_on(work)?)
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Bytes>, InspectionError> {
        self.wait(self.storage.get(name))
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<String>, InspectionError> {
        let mut names = self.wait(self.storage.list(prefix))?;
        names.sort_unstable();
        Ok(names)
    }

    /// A stretch of an object, all of it.
    pub(super) fn range(&self, name: &str, range: Range<u64>) -> Result<Bytes, InspectionError> {
        let wanted = range.end.saturating_sub(range.start);
        let bytes = self.wait(self.storage.get_range(name, range))?;
        match bytes.len() as u64 == wanted {
            true => Ok(bytes),
            false => Err(object(name, "ends before its manifest says")),
        }
    }

    /// Whether an object is there, and is what its manifest says.
    pub(super) fn check(&self, name: &str, is: &ObjectRef) -> Result<(), InspectionError> {
        let found = self.wait(self.storage.digest(name))?;
        let (bytes, digest) = found.ok_or_else(|| object(name, GONE))?;
        if bytes != is.bytes {
            let reason = format!("has {bytes} bytes, and {} were written", is.bytes);
            return Err(object(name, reason));
        }
        match digest == is.digest {
            true => Ok(()),
            false => {
                let reason = format!("has the digest {digest}, and {} was written", is.digest);
                Err(object(name, reason))
            }
        }
    }
}

pub(super) fn object(name: &str, reason: impl Into<String>) -> InspectionError {
    InspectionError::Object {
        name: name.to_owned(),
        reason: reason.into(),
    }
}

impl Log {
    /// Finds a job's log.
    ///
    /// # Errors
    /// If there is none, or the store cannot be listed.
    pub fn open(target: &Target) -> Result<Self, InspectionError> {
        let (place, job) = match target {
            Target::Job { job, storage } => (storage, Some(job.as_str())),
            Target::Store(place) => (place, None),
        };
        let store = Arc::new(Store::open(place)?);
        let (tenant, job) = match job {
            Some(job) => (TENANT.to_owned(), job.to_owned()),
            None => only_job(&store.list("")?)?,
        };
        let prefix = format!("{tenant}/{job}/");
        let names = store.list(&prefix)?;
        let ranges: BTreeSet<&str> = names
            .iter()
            .filter_map(|name| name.strip_prefix(&prefix)?.split_once('/'))
            .map(|(range, _)| range)
            .collect();
        let range = match (ranges.first(), ranges.iter().nth(1)) {
            (Some(range), None) => range_of(range),
            (Some(first), Some(second)) => {
                let names = format!("{prefix}{first}, {prefix}{second}");
                return Err(InspectionError::Several { names });
            }
            (None, _) => None,
        };
        let Some(range) = range else {
            let hint = other_jobs(&store.list("")?, &job);
            return Err(InspectionError::NoJob { job, hint });
        };
        let scope = Scope::new(&tenant, &job, range);
        let scope = scope.map_err(|_| InspectionError::NoJob {
            job,
            hint: String::new(),
        })?;
        Ok(Self {
            store,
            scope,
            names,
        })
    }

    /// What the log says is kept.
    ///
    /// # Errors
    /// If its last entry cannot be read.
    pub fn listed(&self) -> Result<Listed, InspectionError> {
        let mut recovery = Recovery::new(self.scope.clone(), &self.names)?;
        while let Some(position) = recovery.wants() {
            let bytes = self.store.get(&self.scope.entry(position));
            let bytes = bytes.map(|bytes| bytes.map(|bytes| bytes.to_vec()));
            recovery.read(position, bytes.map_err(|error| error.to_string()))?;
        }
        let recovered = recovery.finish(&RestoreFrom::Nothing)?;
        Ok(Listed {
            kept: recovered.kept,
            damaged: recovered.damaged,
        })
    }

    /// A decided checkpoint, by its number or the newest one.
    ///
    /// # Errors
    /// If it is not there, or cannot be read.
    pub fn checkpoint(
        &self,
        number: Option<CheckpointId>,
    ) -> Result<Arc<Manifest>, InspectionError> {
        let listed = self.listed()?;
        let numbers = listed.kept.iter().map(|kept| kept.decided.checkpoint);
        let damaged = listed.damaged.iter().map(|it| it.decided.checkpoint);
        let newest = numbers.clone().chain(damaged).max();
        let job = || self.scope.job().to_owned();
        let checkpoint = number.or(newest);
        let checkpoint = checkpoint.ok_or_else(|| InspectionError::Nothing { job: job() })?;
        let is_it = |kept: &&Kept| kept.decided.checkpoint == checkpoint;
        if let Some(kept) = listed.kept.iter().find(is_it) {
            return Ok(Arc::clone(&kept.manifest));
        }
        let mut damaged = listed.damaged.into_iter();
        if let Some(damage) = damaged.find(|it| it.decided.checkpoint == checkpoint) {
            let reason = damage.reason;
            return Err(InspectionError::Manifest { checkpoint, reason });
        }
        let kept: Vec<String> = numbers.map(|number| number.to_string()).collect();
        let kept = match kept.is_empty() {
            true => "none".to_owned(),
            false => kept.join(", "),
        };
        Err(InspectionError::NoCheckpoint { checkpoint, kept })
    }
}

/// The key groups that a folder's name tells.
fn range_of(name: &str) -> Option<KeyGroupRange> {
    let (first, last) = name.split_once('-')?;
    let (start, last) = (first.parse().ok()?, last.parse::<u16>().ok()?);
    let end = last.checked_add(1)?;
    let range = KeyGroupRange { start, end };
    // Another way to write a number would be another folder.
    let is_ours = start < end && name == format!("{start}-{last}");
    is_ours.then_some(range)
}

/// Tenants and jobs that objects belong to.
fn jobs(names: &[String]) -> BTreeSet<(String, String)> {
    let job = |name: &String| {
        let mut steps = name.split('/');
        let (tenant, job, range) = (steps.next()?, steps.next()?, steps.next()?);
        let is_ours = matches!(steps.next(), Some("log" | "objects"));
        (is_ours && range_of(range).is_some()).then(|| (tenant.to_owned(), job.to_owned()))
    };
    names.iter().filter_map(job).collect()
}

fn only_job(names: &[String]) -> Result<(String, String), InspectionError> {
    let jobs = jobs(names);
    let all: Vec<String> = jobs.iter().map(|(_, job)| job.clone()).collect();
    let mut jobs = jobs.into_iter();
    match (jobs.next(), jobs.next()) {
        (Some(job), None) => Ok(job),
        (None, _) => Err(InspectionError::NoJob {
            job: "*".into(),
            hint: String::new(),
        }),
        _ => Err(InspectionError::Several {
            names: all.join(", "),
        }),
    }
}

fn other_jobs(names: &[String], job: &str) -> String {
    let jobs = jobs(names);
    let names = jobs.iter().map(|(_, job)| job.as_str());
    let hint = spelling::hint(job, names);
    hint.map(|hint| format!(" ({hint})")).unwrap_or_default()
}
