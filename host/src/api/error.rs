//! Why a request is not answered as it was meant: a code for programs, a message and a remedy for
//! people.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// What every answer that is none says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}; {remedy}")]
pub struct ApiError {
    /// Which of the codes of docs/api.md.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// The body of such an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: ApiError,
}

/// What can be wrong, with the status that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    NotFound,
    MethodNotAllowed,
    InvalidBody,
    BodyTooLarge,
    BodyTooSlow,
    NoCheckpoints,
    NoSuchSavepoint,
    NotRunning,
    Ending,
    JobFailed,
    TooLong,
}

impl Code {
    fn parts(self) -> (&'static str, StatusCode) {
        match self {
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::InvalidBody => ("invalid-body", StatusCode::BAD_REQUEST),
            Self::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::BodyTooSlow => ("body-too-slow", StatusCode::REQUEST_TIMEOUT),
            Self::NoCheckpoints => ("no-checkpoints", StatusCode::CONFLICT),
            Self::NoSuchSavepoint => ("no-such-savepoint", StatusCode::NOT_FOUND),
            Self::NotRunning => ("not-running", StatusCode::CONFLICT),
            Self::Ending => ("ending", StatusCode::CONFLICT),
            Self::JobFailed => ("job-failed", StatusCode::CONFLICT),
            Self::TooLong => ("too-long", StatusCode::GATEWAY_TIMEOUT),
        }
    }
}

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Refused(StatusCode, ApiError);

impl Refused {
    /// What is wrong, and what to do.
    pub(super) fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (name, status) = code.parts();
        let error = ApiError {
            code: name.into(),
            message: message.into(),
            remedy: remedy.into(),
        };
        Self(status, error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        (status, Json(Refusal { error })).into_response()
    }
}
