//! The running job that a command is about.

use std::path::Path;

use wasmill_core::pipeline;

use super::failure::Failure;
use crate::api::{
    client::{self, Client, ClientError},
    shape::Job,
};

/// A runtime for the few requests of a command.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(Failure::failed)?.block_on(future)
}

/// The running jobs of this user.
pub(super) async fn all() -> Result<Vec<(Client, Job)>, Failure> {
    client::jobs().await.map_err(Failure::failed)
}

/// The job of a name, or of a pipeline document; an error names those that run.
pub(super) async fn one(word: &str) -> Result<(Client, Job), Failure> {
    match find(word).await? {
        Some(found) => Ok(found),
        None => Err(Failure::Failed(missing(word, &all().await?))),
    }
}

/// The job of a name, or of a pipeline document, if it runs.
pub(super) async fn find(word: &str) -> Result<Option<(Client, Job)>, Failure> {
    let named = named(word)?;
    let mut jobs = all().await?;
    jobs.retain(|(_, job)| named.fits(job));
    if jobs.len() > 1 {
        let pipelines = jobs.iter().map(|(_, job)| format!("`{}`", job.pipeline));
        let pipelines: Vec<_> = pipelines.collect();
        return Err(Failure::Invalid(format!(
            "{} jobs are called `{word}`: say the path of the one that is meant, {}",
            jobs.len(),
            pipelines.join(" or ")
        )));
    }
    Ok(jobs.pop())
}

/// What a word names.
struct Named {
    name: String,
    /// The document's absolute path.
    document: Option<String>,
}

impl Named {
    fn fits(&self, job: &Job) -> bool {
        job.name == self.name && self.document.as_ref().is_none_or(|it| *it == job.pipeline)
    }
}

/// A path leads to a document; everything else is a job's name.
fn named(word: &str) -> Result<Named, Failure> {
    let path = Path::new(word);
    if !path.is_file() {
        return Ok(Named {
            name: word.into(),
            document: None,
        });
    }
    let read = |error| Failure::Invalid(format!("`{word}` cannot be read: {error}"));
    let text = std::fs::read_to_string(path).map_err(read)?;
    let written = pipeline::parse(&text)
        .map_err(|errors| Failure::Invalid(format!("`{word}` is no pipeline: {errors}")))?;
    Ok(Named {
        name: written.document().name.clone(),
        document: Some(absolute(path)),
    })
}

/// A document's path as its job tells it.
pub(super) fn absolute(path: &Path) -> String {
    let full = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    full.display().to_string()
}

fn missing(word: &str, jobs: &[(Client, Job)]) -> String {
    let names: Vec<String> = jobs
        .iter()
        .map(|(_, job)| format!("`{}`", job.name))
        .collect();
    match names.is_empty() {
        true => format!("no job `{word}` runs, and no other of this user either"),
        false => format!("no job `{word}` runs; running are {}", names.join(", ")),
    }
}

/// Why a job did not do what it was asked.
pub(super) fn refused(error: ClientError) -> Failure {
    Failure::failed(error)
}
