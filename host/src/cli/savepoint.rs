//! `wasmill savepoint`.

mod stored;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wasmill_core::checkpoint::{CheckpointId, Reason};

use super::{failure::Failure, jobs, status};
use crate::api::shape::{Checkpoint, CheckpointList, Disposal, Nothing};

/// What `wasmill savepoint` takes.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The running job of which a savepoint is taken: its name, or its pipeline document.
    #[arg(value_name = "JOB|PIPELINE", required = true)]
    job: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// List the savepoints of a running job, or those that are stored for a pipeline.
    Ls {
        /// A running job's name, or a pipeline document.
        #[arg(value_name = "JOB|PIPELINE")]
        job: String,
        /// Print JSON, an object a line.
        #[arg(long)]
        json: bool,
    },
    /// Let go of a savepoint: its state is deleted.
    Dispose {
        /// A running job's name, or a pipeline document.
        #[arg(value_name = "JOB|PIPELINE")]
        job: String,
        /// The savepoint's number.
        savepoint: u64,
    },
    /// Copy a savepoint into another folder, from which `wasmill run --from` takes it.
    Copy {
        /// The pipeline document.
        pipeline: PathBuf,
        /// The savepoint's number.
        savepoint: u64,
        /// The folder; what the savepoint consists of gets the same names below it.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match (&arguments.command, &arguments.job) {
        (Some(Command::Ls { job, json }), _) => list(job, *json),
        (Some(Command::Dispose { job, savepoint }), _) => dispose(job, CheckpointId(*savepoint)),
        (
            Some(Command::Copy {
                pipeline,
                savepoint,
                to,
            }),
            _,
        ) => {
            let place = stored::copy(pipeline, CheckpointId(*savepoint), to)?;
            super::print(&format!("savepoint {savepoint} lies in {place}\n"))
        }
        (None, job) => create(job.as_deref().unwrap_or_default()),
    }
}

fn create(word: &str) -> Result<(), Failure> {
    let savepoint: Checkpoint = jobs::block_on(async {
        let (client, _) = jobs::one(word).await?;
        let created = client.post("/v1/job/savepoints", &Nothing {}).await;
        created.map_err(jobs::refused)
    })?;
    super::print(&format!(
        "savepoint {} lies in {}\n",
        savepoint.checkpoint, savepoint.place
    ))
}

fn list(word: &str, is_json: bool) -> Result<(), Failure> {
    let running = jobs::block_on(async {
        let Some((client, _)) = jobs::find(word).await? else {
            return Ok(None);
        };
        let list: CheckpointList = client
            .get("/v1/job/savepoints")
            .await
            .map_err(jobs::refused)?;
        Ok(Some(list.checkpoints))
    })?;
    let savepoints = match running {
        Some(savepoints) => savepoints,
        None => stored::list(word)?,
    };
    if is_json {
        let line = |savepoint: &Checkpoint| {
            serde_json::to_string(savepoint).expect("an answer is plain data") + "\n"
        };
        return super::print(&savepoints.iter().map(line).collect::<String>());
    }
    if savepoints.is_empty() {
        return super::print(&format!("`{word}` has no savepoints\n"));
    }
    let mut rows = vec![["NUMBER", "TAKEN", "SIZE", "PLACE"].map(String::from)];
    rows.extend(savepoints.iter().map(|savepoint| {
        [
            savepoint.checkpoint.to_string(),
            savepoint.triggered.clone(),
            status::bytes(savepoint.bytes),
            savepoint.place.clone(),
        ]
    }));
    super::print(&status::columns(&rows))
}

fn dispose(word: &str, savepoint: CheckpointId) -> Result<(), Failure> {
    let running = jobs::block_on(async {
        let Some((client, _)) = jobs::find(word).await? else {
            return Ok(None);
        };
        let path = format!("/v1/job/savepoints/{savepoint}");
        let disposed: Disposal = client.delete(&path).await.map_err(jobs::refused)?;
        Ok(Some(disposed.is_gone))
    })?;
    let is_gone = match running {
        Some(is_gone) => is_gone,
        None => {
            stored::dispose(word, savepoint)?;
            true
        }
    };
    super::print(&match is_gone {
        true => format!("savepoint {savepoint} is gone\n"),
        false => format!(
            "savepoint {savepoint} goes once a newer checkpoint is decided and its rows are out\n"
        ),
    })
}

/// What a checkpoint is called.
pub(super) fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Savepoint => "savepoint",
        Reason::Periodic | Reason::Final => "checkpoint",
    }
}
