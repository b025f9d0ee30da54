//! What the socket's side knows of its job.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{sample::Samples, shape};
use crate::{
    clock,
    job::{Ended, Live},
};

/// Whose socket it is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The pipeline's name.
    pub name: String,
    /// Its document, as an absolute path.
    pub pipeline: String,
    /// Where its checkpoints lie, if it takes any.
    pub storage: Option<String>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing runs yet, or nothing for now.
    Starting,
    /// It runs; how often it has been started says which run of it.
    Running(u64),
    /// It has ended, and how; with why, if it failed.
    Ended(Ended, Option<String>),
}

/// The job as of now. Whoever runs it tells when a run of it begins, and when it has ended for
/// good.
pub struct Board {
    identity: Identity,
    started_us: i64,
    began_us: i64,
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    samples: Samples,
    runs: u64,
}

impl Board {
    /// Nothing runs yet.
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self {
            identity,
            started_us: clock::wall_us(),
            began_us: clock::monotonic_us(),
            state: Mutex::default(),
            phase: watch::channel(Phase::Starting).0,
        })
    }

    /// A run of the job begins: its first one, or one after a failure.
    pub fn attach(&self, live: Live) {
        let mut state = self.state.lock();
        state.samples = Samples::new(&live);
        state.live = Some(live);
        state.runs += 1;
        self.phase.send_replace(Phase::Running(state.runs));
    }

    /// The job has ended for good.
    pub fn ended(&self, ended: Ended, error: Option<String>) {
        self.phase.send_replace(Phase::Ended(ended, error));
    }

    /// Remembers the counters, so that rates can be told.
    pub(super) fn sample(&self) {
        let State { live, samples, .. } = &mut *self.state.lock();
        if let Some(live) = live {
            samples.add(live);
        }
    }

    /// The run of the job, if one goes on.
    pub(super) fn live(&self) -> Option<Live> {
        match *self.phase.borrow() {
            Phase::Running(_) => self.state.lock().live.clone(),
            _ => None,
        }
    }

    /// How far it is, now and as that changes.
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Whose job it is.
    pub(super) fn job(&self) -> shape::Job {
        let Identity {
            name,
            pipeline,
            storage,
        } = self.identity.clone();
        let live = self.state.lock().live.clone();
        shape::Job {
            name,
            pipeline,
            storage,
            state: self.word(),
            parallelism: live.as_ref().map(|live| live.parallelism),
            attempt: live
                .and_then(|live| live.checkpoints)
                .and_then(|ledger| ledger.look().attempt)
                .map(|attempt| attempt.0),
            process: std::process::id(),
            program: concat!("wasmill ", env!("CARGO_PKG_VERSION")).into(),
            started: shape::time(self.started_us),
            uptime_seconds: shape::seconds(clock::monotonic_us() - self.began_us),
        }
    }

    /// How far it is, in a word.
    pub(super) fn word(&self) -> shape::JobState {
        let asked = self.live().map(|live| live.ending.is_asked());
        match (&*self.phase.borrow(), asked) {
            (Phase::Ended(..), _) => shape::JobState::Ended,
            (Phase::Starting, _) | (_, None) => shape::JobState::Starting,
            (_, Some((_, true))) => shape::JobState::Draining,
            (_, Some((true, _))) => shape::JobState::Stopping,
            (_, Some(_)) => shape::JobState::Running,
        }
    }

    /// Everything that its counters tell.
    pub(super) fn status(&self) -> shape::Status {
        let job = self.job();
        let looked = {
            let State { live, samples, .. } = &mut *self.state.lock();
            live.clone().map(|live| {
                samples.add(&live);
                (live, samples.clone())
            })
        };
        // Files are asked for their length without the lock: a store may take its time.
        match looked {
            Some((live, samples)) => samples.status(job, &live),
            None => shape::Status::of(job),
        }
    }
}
