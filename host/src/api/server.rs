//! Takes connections: from the same user, a bounded number, with deadlines for what they send.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use super::{
    Board,
    address::{self, AddressError, Listening},
    routes,
};
use crate::spawn;

/// Connections at a time; more wait.
const CONNECTIONS_MAX: u32 = 64;
/// How long a client may take for a request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Bytes that a request's head may have.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Headers that a request may have.
const HEADERS_MAX: usize = 64;
/// How long a connection may last: a little longer than an answer may be waited for.
const CONNECTION_TIME: Duration = Duration::from_secs(960);
/// How long those who wait for an answer are waited for when the job has ended.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// Between two looks at the counters.
const SAMPLE: Duration = Duration::from_secs(1);
/// Between two tries to take connections, where the system has no room for more.
const AGAIN: Duration = Duration::from_millis(200);

/// A socket and the task that serves it.
pub struct Server {
    listening: Listening,
    connections: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

impl Server {
    /// Begins to listen under a name in the folder of the user's sockets. Must be called on the
    /// runtime that will serve it.
    ///
    /// # Errors
    /// If that is not possible; the job runs all the same.
    pub fn start(board: Arc<Board>, name: &str) -> Result<Self, AddressError> {
        let (listener, listening) = address::listen(&address::folder()?, name)?;
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| UnixListener::from_std(listener));
        let listener = listener.map_err(|source| AddressError::Socket {
            path: listening.path.clone(),
            source,
        })?;
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
        let (closing, closed) = watch::channel(false);
        spawn::task(accept(listener, board, connections.clone(), closed));
        tracing::debug!(socket = %listening.path.display(), "listening");
        Ok(Self {
            listening,
            connections,
            closing,
        })
    }

    /// Takes no more connections, and lets those that are open come to their end.
    pub async fn close(self) {
        self.closing.send_replace(true);
        drop(self.listening);
        // Whoever is slower does not hold up the job's end.
        let all = self.connections.acquire_many(CONNECTIONS_MAX);
        let _ = tokio::time::timeout(CLOSE_TIME, all).await;
    }
}

async fn accept(
    listener: UnixListener,
    board: Arc<Board>,
    connections: Arc<Semaphore>,
    mut closed: watch::Receiver<bool>,
) {
    let router = routes::router(board.clone());
    let mut tick = tokio::time::interval(SAMPLE);
    loop {
        let next = async {
            let permit = connections.clone().acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            next = next => next,
            _ = tick.tick() => {
                board.sample();
                continue;
            }
            _ = closed.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => spawn::task(serve(stream, router.clone(), permit)),
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                spawn::rest(AGAIN).await;
            }
        }
    }
}

/// Serves one request of a connection.
async fn serve(stream: UnixStream, router: Router, permit: Option<OwnedSemaphorePermit>) {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own => {}
        peer => {
            let user = peer.ok().map(|peer| peer.uid());
            tracing::warn!(user, "another user's connection is refused");
            return;
        }
    }
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // What a client did wrong it has been told, as far as it listens.
    match tokio::time::timeout(CONNECTION_TIME, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
    drop(permit);
}
