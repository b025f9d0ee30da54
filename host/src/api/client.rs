//! Asks a running job of this user.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::{
    ApiError,
    address::{self, AddressError},
    error::Refusal,
    shape,
};
use crate::spawn;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long an answer may take that only tells how things stand.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// How long one may take that comes with a checkpoint or the job's end.
const WAIT_TIME: Duration = Duration::from_secs(1_000);

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody answers.
    #[error("`{}` does not answer: {reason}", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The answer is none of ours.
    #[error(
        "`{}` gives an answer that is none: {reason}; is it another version's?", path.display()
    )]
    Strange {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The job says no.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The sockets cannot be found.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// Somebody who asks a job.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// Of the job that listens at a path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// Asks how something is.
    ///
    /// # Errors
    /// If there is no answer, or it is an error.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new(), LOOK_TIME).await
    }

    /// Asks for something to be done, and waits until it is.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.strange(error))?;
        self.ask(Method::POST, path, body.into(), WAIT_TIME).await
    }

    /// Lets go of something.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::DELETE, path, Bytes::new(), WAIT_TIME)
            .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        time: Duration,
    ) -> Result<T, ClientError> {
        let answered = tokio::time::timeout(time, self.exchange(method, path, body)).await;
        let late = || self.silent(format!("nothing came within {} s", time.as_secs()));
        let (is_success, bytes) = answered.map_err(|_| late())??;
        if is_success {
            return serde_json::from_slice(&bytes).map_err(|error| self.strange(error));
        }
        let refusal: Refusal =
            serde_json::from_slice(&bytes).map_err(|error| self.strange(error))?;
        Err(refusal.error.into())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(bool, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.path).await;
        let stream = stream.map_err(|error: io::Error| self.silent(error))?;
        let connected = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connected.map_err(|error| self.silent(error))?;
        spawn::task(async move { drop(connection.await) });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "wasmill")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| self.strange(error))?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| self.silent(error))?;
        let is_success = answer.status().is_success();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| self.silent(error))?;
        Ok((is_success, body.to_bytes()))
    }

    fn silent(&self, reason: impl ToString) -> ClientError {
        ClientError::Silent {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }

    fn strange(&self, reason: impl ToString) -> ClientError {
        ClientError::Strange {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }
}

/// The running jobs of this user. One that ends while it is asked is left out.
///
/// # Errors
/// If the folder of sockets cannot be read.
pub async fn jobs() -> Result<Vec<(Client, shape::Job)>, ClientError> {
    let sockets = match address::folder() {
        Ok(folder) => address::sockets(&folder)?,
        Err(AddressError::Nowhere) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut jobs = Vec::new();
    for path in sockets {
        let client = Client::new(&path);
        match client.get::<shape::Job>("/v1/job").await {
            Ok(job) => jobs.push((client, job)),
            Err(error) => tracing::debug!(%error, "a socket is passed over"),
        }
    }
    jobs.sort_by(|(_, a), (_, b)| (&a.name, &a.pipeline).cmp(&(&b.name, &b.pipeline)));
    Ok(jobs)
}
