//! `wasmill stop` and `wasmill drain`.

use clap::Args;

use super::{failure::Failure, jobs};
use crate::api::shape::{Ending, Nothing, StopRequest};

/// What `wasmill stop` takes.
#[derive(Args)]
pub(super) struct Arguments {
    /// A running job's name, or its pipeline document.
    #[arg(value_name = "JOB|PIPELINE")]
    job: String,
    /// Let its last checkpoint be a savepoint, which is kept until it is disposed of.
    #[arg(long)]
    savepoint: bool,
}

/// What `wasmill drain` takes.
#[derive(Args)]
pub(super) struct DrainArguments {
    /// A running job's name, or its pipeline document.
    #[arg(value_name = "JOB|PIPELINE")]
    job: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let request = StopRequest {
        savepoint: arguments.savepoint,
    };
    end(&arguments.job, "/v1/job/stop", &request)
}

pub(super) fn drain(arguments: &DrainArguments) -> Result<(), Failure> {
    end(&arguments.job, "/v1/job/drain", &Nothing {})
}

/// Waits until the job has ended, and tells what it goes on from.
fn end(word: &str, path: &str, request: &impl serde::Serialize) -> Result<(), Failure> {
    let (name, ending) = jobs::block_on(async {
        let (client, job) = jobs::one(word).await?;
        let ending: Ending = client.post(path, request).await.map_err(jobs::refused)?;
        Ok((job.name, ending))
    })?;
    let how = match ending.outcome.as_str() {
        "drained" => "is drained and finished",
        "stopped" => "is stopped",
        _ => "has come to the end of its input",
    };
    let mut text = format!("`{name}` {how}");
    if let Some(last) = ending.checkpoint {
        let what = super::savepoint::word(last.reason);
        text += &format!("; {what} {} lies in {}", last.checkpoint, last.place);
    }
    super::print(&format!("{text}\n"))
}
