//! The socket of a running job.

use std::{path::Path, sync::Arc};

use wasmill_core::pipeline::Pipeline;

use crate::{
    api::{Board, Identity, Server, address},
    cli::{failure::Failure, jobs},
    job::{Ended, Job, Outcome},
};

/// A job's board, and the socket at which it is shown: from the first run of the job to the end of
/// the last.
pub(super) struct Listening {
    board: Arc<Board>,
    name: String,
    server: Option<Server>,
}

impl Listening {
    /// Nothing runs yet. `storage` is where checkpoints lie, as people name it.
    pub(super) fn new(pipeline: &Pipeline, document: &Path, storage: Option<String>) -> Self {
        let name = address::name(&pipeline.name, storage.as_deref(), std::process::id());
        let board = Board::new(Identity {
            name: pipeline.name.clone(),
            pipeline: jobs::absolute(document),
            storage,
        });
        Self {
            board,
            name,
            server: None,
        }
    }

    /// Listens, if it does not yet, on the runtime of whoever calls. A job that cannot runs all the
    /// same.
    pub(super) fn start(&mut self) {
        if self.server.is_some() {
            return;
        }
        match Server::start(self.board.clone(), &self.name) {
            Ok(server) => self.server = Some(server),
            Err(error) => tracing::warn!(
                %error,
                "the job cannot be asked for its status, for savepoints and to stop"
            ),
        }
    }

    /// A run of the job begins.
    pub(super) fn attach(&self, job: &Job) {
        self.board.attach(job.live());
    }

    /// The job has ended for good; `outcome` is none if nothing has run.
    pub(super) async fn end(self, outcome: Option<Result<&Outcome, &Failure>>) {
        let Some(outcome) = outcome else { return };
        let (ended, error) = match outcome {
            Ok(outcome) => (outcome.summary.outcome, outcome.summary.error.clone()),
            Err(failure) => (Ended::Failed, Some(failure.to_string())),
        };
        self.board.ended(ended, error);
        if let Some(server) = self.server {
            server.close().await;
        }
    }
}
