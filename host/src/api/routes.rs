//! What can be asked, and how it is answered.

use std::{sync::Arc, time::Duration};

use async_channel::Receiver;
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{Method, StatusCode, Uri},
    routing::{delete, get, post},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use wasmill_core::checkpoint::{CheckpointId, Reason};

use super::{
    Board,
    board::Phase,
    error::{Code, Refused},
    shape::{
        Checkpoint, CheckpointList, Disposal, Ending, Job, JobState, Nothing, Status, StopRequest,
    },
};
use crate::job::{Ended, Live};

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a client may take for it.
const BODY_TIME: Duration = Duration::from_secs(5);
/// How long an answer is waited for that comes with a checkpoint, or with the job's end.
const ANSWER_TIME: Duration = Duration::from_secs(900);

type Answer<T> = Result<Json<T>, Refused>;

/// Everything that can be asked.
pub(super) fn router(board: Arc<Board>) -> Router {
    Router::new()
        .route("/v1/job", get(job))
        .route("/v1/job/status", get(status))
        .route("/v1/job/checkpoints", get(checkpoints))
        .route("/v1/job/savepoints", get(savepoints).post(savepoint))
        .route("/v1/job/savepoints/{savepoint}", delete(dispose))
        .route("/v1/job/stop", post(stop))
        .route("/v1/job/drain", post(drain))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(board)
}

async fn job(State(board): State<Arc<Board>>) -> Json<Job> {
    Json(board.job())
}

async fn status(State(board): State<Arc<Board>>) -> Answer<Status> {
    // It asks the system how long files are.
    let looked = tokio::task::spawn_blocking(move || board.status()).await;
    let looked = looked.map_err(|error| {
        let remedy = "this is a bug of wasmill, please report it";
        Refused::new(Code::JobFailed, error.to_string(), remedy)
    });
    looked.map(Json)
}

async fn checkpoints(State(board): State<Arc<Board>>) -> Answer<CheckpointList> {
    kept(&board, |_| true)
}

async fn savepoints(State(board): State<Arc<Board>>) -> Answer<CheckpointList> {
    kept(&board, |checkpoint| checkpoint.reason == Reason::Savepoint)
}

fn kept(board: &Board, is_wanted: impl Fn(&Checkpoint) -> bool) -> Answer<CheckpointList> {
    let (live, _) = running(board)?;
    let ledger = live.checkpoints.ok_or_else(no_checkpoints)?.look();
    let all = ledger.kept.iter().map(Checkpoint::from);
    let checkpoints = all.filter(is_wanted).collect();
    Ok(Json(CheckpointList { checkpoints }))
}

async fn savepoint(
    State(board): State<Arc<Board>>,
    body: Body,
) -> Result<(StatusCode, Json<Checkpoint>), Refused> {
    let Nothing {} = read(body).await?;
    let (live, run) = running(&board)?;
    let ledger = live.checkpoints.clone().ok_or_else(no_checkpoints)?;
    goes_on(&board)?;
    let answered = live.ending.savepoint().ok_or_else(no_checkpoints)?;
    let number = answer(&board, run, &answered).await?.map_err(failed)?;
    let ledger = ledger.look();
    let mut all = ledger.kept.iter().chain(&ledger.newest);
    let found = all.find(|kept| kept.checkpoint == number);
    let savepoint = found.map(Checkpoint::from).ok_or_else(ended_first)?;
    Ok((StatusCode::CREATED, Json(savepoint)))
}

async fn dispose(
    State(board): State<Arc<Board>>,
    Path(savepoint): Path<String>,
) -> Answer<Disposal> {
    let (live, run) = running(&board)?;
    let number: Option<u64> = savepoint.parse().ok();
    let number = number.ok_or_else(|| {
        let remedy = "a savepoint is named by its number, GET /v1/job/savepoints lists them";
        let message = "that is no savepoint's number";
        Refused::new(Code::NoSuchSavepoint, message, remedy)
    })?;
    let answered = live.ending.dispose(CheckpointId(number));
    let answered = answered.ok_or_else(no_checkpoints)?;
    let disposed = answer(&board, run, &answered).await?;
    let is_gone = disposed.map_err(|message| {
        let remedy = "GET /v1/job/savepoints lists those that there are";
        Refused::new(Code::NoSuchSavepoint, message, remedy)
    })?;
    Ok(Json(Disposal {
        checkpoint: number,
        is_gone,
    }))
}

async fn stop(State(board): State<Arc<Board>>, body: Body) -> Answer<Ending> {
    let StopRequest { savepoint } = read(body).await?;
    let (live, run) = running(&board)?;
    if savepoint && live.checkpoints.is_none() {
        return Err(no_checkpoints());
    }
    goes_on(&board)?;
    match savepoint {
        true => live.ending.end_with_savepoint(),
        false => live.ending.end(),
    }
    end(&board, &live, run).await
}

async fn drain(State(board): State<Arc<Board>>, body: Body) -> Answer<Ending> {
    let Nothing {} = read(body).await?;
    let (live, run) = running(&board)?;
    goes_on(&board)?;
    live.ending.drain();
    end(&board, &live, run).await
}

async fn not_found(uri: Uri) -> Refused {
    let path: String = uri.path().chars().take(100).collect();
    let message = format!("there is no `{}`", path.escape_debug());
    Refused::new(
        Code::NotFound,
        message,
        "docs/api.md lists all that there is",
    )
}

async fn not_allowed(method: Method, uri: Uri) -> Refused {
    let message = format!("`{}` does not take {method}", uri.path());
    let remedy = "docs/api.md says what it takes; the header `allow` does, too";
    Refused::new(Code::MethodNotAllowed, message, remedy)
}

/// A body of JSON; none is as good as an empty object.
async fn read<T: DeserializeOwned + Default>(body: Body) -> Result<T, Refused> {
    let read = tokio::time::timeout(BODY_TIME, to_bytes(body, BODY_BYTES_MAX)).await;
    let read = read.map_err(|_| {
        let message = format!("the body did not come within {} s", BODY_TIME.as_secs());
        Refused::new(Code::BodyTooSlow, message, "send it at once")
    })?;
    let bytes = read.map_err(|_| {
        let message = format!("the body is longer than {BODY_BYTES_MAX} bytes, or was cut off");
        Refused::new(Code::BodyTooLarge, message, "send what docs/api.md shows")
    })?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    // An empty list would pass for a structure of defaults.
    let object: Result<Map<String, Value>, _> = serde_json::from_slice(&bytes);
    let read = object.and_then(|object| T::deserialize(Value::Object(object)));
    read.map_err(|error| {
        let message = format!("the body is not what it should be: {error}");
        Refused::new(Code::InvalidBody, message, "send what docs/api.md shows")
    })
}

/// The run that goes on, and which it is.
fn running(board: &Board) -> Result<(Live, u64), Refused> {
    let phase = board.phase().borrow().clone();
    match (phase, board.live()) {
        (Phase::Running(run), Some(live)) => Ok((live, run)),
        (Phase::Ended(..), _) => Err(ended_first()),
        _ => {
            let message = "the job is being started";
            Err(Refused::new(
                Code::NotRunning,
                message,
                "ask again in a moment",
            ))
        }
    }
}

/// A job that is about to end takes no more requests.
fn goes_on(board: &Board) -> Result<(), Refused> {
    let word = match board.word() {
        JobState::Stopping => "is stopping",
        JobState::Draining => "is being drained",
        JobState::Starting | JobState::Running | JobState::Ended => return Ok(()),
    };
    let message = format!("the job {word} already");
    Err(Refused::new(Code::Ending, message, "wait for its end"))
}

/// Waits for an answer, as long as the run goes on that is to give it.
async fn answer<T>(board: &Board, run: u64, answered: &Receiver<T>) -> Result<T, Refused> {
    let mut phase = board.phase();
    let over = phase.wait_for(|phase| *phase != Phase::Running(run));
    let answered = async {
        tokio::select! {
            biased;
            answer = answered.recv() => answer.map_err(|_| ended_first()),
            _ = over => Err(ended_first()),
        }
    };
    let answered = tokio::time::timeout(ANSWER_TIME, answered).await;
    answered.map_err(|_| too_long())?
}

/// Waits for the end of a run that was asked to end.
async fn end(board: &Board, live: &Live, run: u64) -> Answer<Ending> {
    let mut phase = board.phase();
    let over = phase.wait_for(|phase| *phase != Phase::Running(run));
    let over = tokio::time::timeout(ANSWER_TIME, over).await;
    let phase = match over.map_err(|_| too_long())? {
        Ok(phase) => phase.clone(),
        Err(_) => return Err(ended_first()),
    };
    let outcome = match phase {
        Phase::Ended(Ended::Failed, error) => return Err(failed(error.unwrap_or_default())),
        Phase::Ended(Ended::Done, _) => "done",
        Phase::Ended(Ended::Stopped, _) => "stopped",
        Phase::Ended(Ended::Drained, _) => "drained",
        Phase::Starting | Phase::Running(_) => {
            let message = "it failed on the way, and is started again";
            return Err(Refused::new(
                Code::JobFailed,
                message,
                "see its log, and ask again",
            ));
        }
    };
    let newest = live
        .checkpoints
        .as_ref()
        .and_then(|ledger| ledger.look().newest);
    Ok(Json(Ending {
        outcome: outcome.into(),
        checkpoint: newest.as_ref().map(Checkpoint::from),
    }))
}

fn no_checkpoints() -> Refused {
    let remedy = "say `checkpoint: {}` in its document, and run it again";
    Refused::new(Code::NoCheckpoints, "the job takes no checkpoints", remedy)
}

fn ended_first() -> Refused {
    let remedy = "`wasmill savepoint ls` shows what is stored";
    Refused::new(Code::NotRunning, "the job has ended", remedy)
}

fn failed(error: String) -> Refused {
    let message = format!("the job failed: {error}");
    Refused::new(
        Code::JobFailed,
        message,
        "see its log; it goes on from its newest checkpoint",
    )
}

fn too_long() -> Refused {
    let message = format!("that takes longer than {} s", ANSWER_TIME.as_secs());
    let remedy = "it goes on; GET /v1/job/status shows how far it is";
    Refused::new(Code::TooLong, message, remedy)
}
