//! Jobs: a plan brought to life on slots, and what became of it.

mod build;
mod failure;
mod live;
mod participants;
mod readers;
mod splits;
pub mod summary;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use async_channel::TrySendError;
use futures_util::{
    FutureExt,
    future::{Either, join_all, select},
};
use wasmill_core::checkpoint::{CheckpointId, Request};

use crate::{
    checkpoint::{Checkpoints, CheckpointsError, Handle, Wish},
    clock,
    connector::ConnectorError,
    metrics::Node,
    spawn,
    task::{
        chain::TaskError,
        gated::GatedTask,
        slot::{Slots, TaskClock},
        source::{Feed, SourceTask},
    },
};

pub use build::{Attempt, Plugins, build};
pub use live::{Live, SubtaskView, TaskView};
pub use participants::{followers, participants, scope};
pub use summary::{Ended, Summary};

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// A source or sink cannot be opened.
    #[error("`{name}`")]
    Open {
        /// The source or sink.
        name: String,
        /// Why.
        source: ConnectorError,
    },
    /// The plan and the machine do not fit; the message says what to change.
    #[error("{0}")]
    Build(String),
    /// The disk for keys that leave memory cannot be used; the message says what to do.
    #[error("{0}")]
    Disk(String),
    /// A task failed.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A sink failed.
    #[error("sink `{name}`")]
    Sink {
        /// The sink.
        name: String,
        /// Why.
        source: ConnectorError,
    },
    /// Checkpoints cannot be taken any more.
    #[error(transparent)]
    Checkpoints(#[from] CheckpointsError),
    /// A task panicked: a mistake of ours.
    #[error("a task panicked: {0}; this is a bug of wasmill, please report it")]
    Panic(String),
}

impl JobError {
    fn bug(error: impl std::error::Error) -> Self {
        Self::Build(format!(
            "{error}; this is a bug of wasmill, please report it"
        ))
    }
}

/// A subtask that has not started.
enum Subtask {
    Source(Box<SourceTask>, Box<Feed>),
    Gated(Box<GatedTask>),
}

/// A job that is ready to run.
pub struct Job {
    name: String,
    parallelism: usize,
    nodes: Vec<Node>,
    /// Each with its slot.
    subtasks: Vec<(usize, Arc<TaskClock>, Subtask)>,
    tasks: Vec<TaskView>,
    sinks: Vec<(String, JoinHandle<Result<(), ConnectorError>>)>,
    stop: Stop,
    failed: Arc<AtomicBool>,
    checkpoints: Option<(Checkpoints, Handle)>,
    asking: async_channel::Sender<Wish>,
    requests: async_channel::Receiver<Wish>,
    asked: Arc<Asked>,
}

/// What a job was asked for.
#[derive(Debug, Default)]
struct Asked {
    is_stopping: AtomicBool,
    is_draining: AtomicBool,
}

/// Ends the sources of a job: everything read is processed and written.
#[derive(Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    /// Have no more rows come in.
    cutters: Vec<Arc<dyn Fn() + Send + Sync>>,
    /// Have nobody wait for barriers any more.
    closers: Vec<Arc<dyn Fn() + Send + Sync>>,
}

/// Asks a job to end in an orderly way, and for savepoints on its way.
#[derive(Clone)]
pub struct Ending {
    stop: Stop,
    /// Where a job with checkpoints is asked for one.
    wishes: Option<async_channel::Sender<Wish>>,
    asked: Arc<Asked>,
}

impl Ending {
    /// Ends the job: what was read is processed and written. A job with checkpoints takes its last
    /// one, from which it goes on the next time. May be called more than once.
    pub fn end(&self) {
        self.ask(Request::Stop);
    }

    /// As [`Ending::end`], and the last checkpoint is a savepoint.
    pub fn end_with_savepoint(&self) {
        self.ask(Request::StopWithSavepoint);
    }

    fn ask(&self, request: Request) {
        self.asked.is_stopping.store(true, Ordering::Release);
        match &self.wishes {
            Some(_) => drop(self.wish(Wish::Take(request))),
            None => self.stop.stop(),
        }
    }

    /// Has the input end here: watermarks rise to their end, timers fire, and the job finishes as
    /// if there were no more rows. May be called more than once.
    pub fn drain(&self) {
        self.asked.is_draining.store(true, Ordering::Release);
        match self.wish(Wish::Drain) {
            Some(()) => {}
            None => self.stop.cut(),
        }
    }

    /// A savepoint, while the job goes on; what comes of it comes through the receiver, which is
    /// closed without a word if the job ends first. None if the job takes no checkpoints.
    pub fn savepoint(&self) -> Option<async_channel::Receiver<Result<CheckpointId, String>>> {
        let (answer, answered) = async_channel::bounded(1);
        self.wish(Wish::Savepoint(answer))?;
        Some(answered)
    }

    /// Lets go of a savepoint; the receiver tells whether it is gone already, or why it stays.
    pub fn dispose(
        &self,
        savepoint: CheckpointId,
    ) -> Option<async_channel::Receiver<Result<bool, String>>> {
        let (answer, answered) = async_channel::bounded(1);
        self.wish(Wish::Dispose(savepoint, answer))?;
        Some(answered)
    }

    fn wish(&self, wish: Wish) -> Option<()> {
        let wishes = self.wishes.as_ref()?;
        if let Err(TrySendError::Full(wish)) = wishes.try_send(wish) {
            let wishes = wishes.clone();
            // Where the job has ended, nobody wishes for anything any more.
            spawn::task(async move { drop(wishes.send(wish).await) });
        }
        Some(())
    }

    /// Whether the job was asked to stop, and whether its input was cut off.
    pub fn is_asked(&self) -> (bool, bool) {
        let asked = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        (
            asked(&self.asked.is_stopping),
            asked(&self.asked.is_draining),
        )
    }
}

impl Stop {
    /// Has the input end here. May be called more than once.
    fn cut(&self) {
        self.flag.store(true, Ordering::Release);
        self.cutters.iter().for_each(|cut| cut());
    }

    /// Stops the job. May be called more than once.
    fn stop(&self) {
        self.cut();
        self.closers.iter().for_each(|close| close());
    }
}

/// How a job ended.
pub struct Outcome {
    /// The counters at the end.
    pub summary: Summary,
    /// The first error, if the job failed.
    pub error: Option<JobError>,
}

impl Job {
    /// A handle that stops the job.
    pub fn ending(&self) -> Ending {
        Ending {
            stop: self.stop.clone(),
            wishes: self.checkpoints.is_some().then(|| self.asking.clone()),
            asked: self.asked.clone(),
        }
    }

    /// What may be watched of it.
    pub fn live(&self) -> Live {
        let checkpoints = self.checkpoints.as_ref();
        Live {
            name: self.name.clone(),
            parallelism: self.parallelism,
            nodes: self.nodes.clone(),
            tasks: self.tasks.clone(),
            checkpoints: checkpoints.map(|(checkpoints, _)| checkpoints.ledger().clone()),
            ending: self.ending(),
        }
    }

    /// The sources, operators and sinks with their counters, which live as long as anybody reads
    /// them.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Runs to the end, or until it is stopped or fails.
    pub async fn run(self) -> Outcome {
        let (start, cpu) = (clock::monotonic(), clock::process_cpu());
        let slots = Slots::start(self.parallelism);
        let tasks: Vec<_> = self
            .subtasks
            .into_iter()
            .map(|(slot, clock, subtask)| {
                let failed = self.failed.clone();
                slots.spawn(slot, clock, supervise(subtask, failed, self.stop.clone()))
            })
            .collect();
        let stop = Halt {
            stop: self.stop.clone(),
            failed: self.failed.clone(),
        };
        let tasks = async {
            let results = join_all(tasks).await;
            results
                .into_iter()
                .filter_map(Result::err)
                .reduce(prefer_cause)
        };
        let mut error = match self.checkpoints {
            None => tasks.await,
            Some(checkpoints) => with_checkpoints(tasks, checkpoints, self.requests, stop).await,
        };
        for (name, sink) in self.sinks {
            // A sink that failed explains why its senders found it gone.
            match sink.join() {
                Ok(Ok(())) => {}
                Ok(Err(source)) => error = Some(JobError::Sink { name, source }),
                Err(panic) => error = Some(JobError::Panic(panic_message(&*panic))),
            }
        }
        drop(slots);
        let mut summary = Summary::new(&self.name, &self.nodes, elapsed(start), cpu_since(cpu));
        summary.parallelism = self.parallelism;
        summary.outcome = match &error {
            Some(_) => Ended::Failed,
            None if self.asked.is_stopping.load(Ordering::Acquire) => Ended::Stopped,
            None if self.asked.is_draining.load(Ordering::Acquire) => Ended::Drained,
            None => Ended::Done,
        };
        summary.error = error.as_ref().map(|error| readers::explain(error));
        Outcome { summary, error }
    }
}

/// Ends a job that cannot go on.
struct Halt {
    stop: Stop,
    failed: Arc<AtomicBool>,
}

/// Runs the tasks to their end while checkpoints are taken, and the last checkpoint behind them.
async fn with_checkpoints(
    tasks: impl Future<Output = Option<JobError>>,
    (checkpoints, handle): (Checkpoints, Handle),
    requests: async_channel::Receiver<Wish>,
    halt: Halt,
) -> Option<JobError> {
    let taking = checkpoints.run(handle, requests);
    futures_util::pin_mut!(tasks, taking);
    match select(tasks, taking).await {
        Either::Left((Some(error), _)) => Some(error),
        Either::Left((None, taking)) => taking.await.err().map(Into::into),
        Either::Right((Ok(()), tasks)) => tasks.await,
        Either::Right((Err(error), tasks)) => {
            halt.failed.store(true, Ordering::Release);
            halt.stop.stop();
            tasks.await;
            Some(error.into())
        }
    }
}

/// Runs a subtask; whatever ends it early ends the job.
async fn supervise(
    mut subtask: Subtask,
    failed: Arc<AtomicBool>,
    stop: Stop,
) -> Result<(), JobError> {
    let ended = match &mut subtask {
        Subtask::Gated(task) => AssertUnwindSafe(task.run()).catch_unwind().await,
        Subtask::Source(task, feed) => AssertUnwindSafe(task.run(feed)).catch_unwind().await,
    };
    let result = match ended {
        Ok(result) => result.map_err(JobError::Task),
        Err(panic) => Err(JobError::Panic(panic_message(&*panic))),
    };
    if result.is_err() {
        // Before the senders are dropped: receivers must not take this for the end of their input.
        failed.store(true, Ordering::Release);
        stop.stop();
    }
    drop(subtask);
    result
}

/// Of two errors the one that explains the other.
fn prefer_cause(first: JobError, second: JobError) -> JobError {
    match first {
        JobError::Task(TaskError::Gone(_) | TaskError::Lost(_)) => second,
        _ => first,
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

fn elapsed(start: Instant) -> Duration {
    clock::monotonic() - start
}

fn cpu_since(start: Duration) -> Duration {
    clock::process_cpu().saturating_sub(start)
}
