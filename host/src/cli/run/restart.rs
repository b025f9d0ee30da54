//! A job that fails is built again, if its pipeline's policy and the failure say so.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use wasmill_core::{
    checkpoint::Manifest,
    duration,
    plan::Plan,
    restart::{RestartAction, RestartFact, Restarts},
};

use super::{
    attempt::{Next, Session},
    listen::Listening,
    watch,
};
use crate::{
    checkpoint::CheckpointsError,
    cli::{
        complain,
        failure::{Failure, chain},
        load::Loaded,
    },
    clock,
    connector::ConnectorError,
    crash_point::{CrashPoint, reach},
    job::{self, Ended, JobError, Outcome, Plugins},
    metrics::Node,
    spawn,
};

/// How a run ended.
pub(super) enum Ran {
    /// The job has run, and a signal may have ended it.
    To(Box<Outcome>, Option<i32>),
    /// It had come to the end of its input before.
    Finished(Arc<Manifest>),
}

/// The signals that end a run.
pub(super) struct Signals {
    pub(super) interrupt: Signal,
    pub(super) terminate: Signal,
}

/// A pipeline that runs, again and again if need be.
pub(super) struct Running<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) plan: &'a Plan,
    pub(super) plugins: &'a Plugins,
    pub(super) session: Option<Session>,
    pub(super) listening: Listening,
}

/// What one attempt came to.
enum Attempted {
    Ran(Box<Outcome>, Option<i32>),
    Finished(Arc<Manifest>),
    /// It did not begin.
    Refused(JobError),
}

impl Running<'_> {
    /// Runs until the job is done, is stopped, or has failed for good.
    pub(super) fn run(&mut self, runtime: &Runtime, signals: &mut Signals) -> Result<Ran, Failure> {
        let seed = clock::wall_us().unsigned_abs() ^ u64::from(std::process::id());
        let mut restarts = Restarts::new(self.loaded.pipeline.restart, seed);
        let mut last: Option<Box<Outcome>> = None;
        let mut nodes = Vec::new();
        loop {
            let attempted = self.attempt(runtime, signals, (&mut nodes, &mut restarts))?;
            let error = match attempted {
                Attempted::Finished(manifest) => {
                    let Some(mut outcome) = last else {
                        return Ok(Ran::Finished(manifest));
                    };
                    // All that was left to do was that sinks bring out what is decided.
                    (outcome.summary.outcome, outcome.error) = (Ended::Done, None);
                    outcome.summary.error = None;
                    return Ok(Ran::To(outcome, None));
                }
                Attempted::Ran(mut outcome, signal) => {
                    outcome.summary.restarts = restarts.number();
                    if let Some(earlier) = &last {
                        outcome.summary.add_time(&earlier.summary);
                    }
                    if signal.is_some() || outcome.error.is_none() {
                        return Ok(Ran::To(outcome, signal));
                    }
                    last.insert(outcome).error.take()
                }
                Attempted::Refused(error) if last.is_none() => return Err(refusal(error)),
                Attempted::Refused(error) => Some(error),
            };
            let (Some(error), Some(mut outcome)) = (error, last.take()) else {
                return Err(Failure::Failed("a job ended without a reason".into()));
            };
            let failed = RestartFact::Failed(error.failure());
            let action = restarts.step(clock::monotonic_us(), failed);
            outcome.summary.restarts = restarts.number();
            match action {
                Some(RestartAction::Restart { after_us, number }) => {
                    let after = Duration::from_micros(after_us.unsigned_abs());
                    tell(&error, number, after);
                    if let Some(signal) = runtime.block_on(wait(after, signals)) {
                        outcome.summary.outcome = Ended::Stopped;
                        return Ok(Ran::To(outcome, Some(signal)));
                    }
                    last = Some(outcome);
                }
                Some(RestartAction::End(gave_up)) => {
                    if restarts.number() > 0 {
                        complain(&format!("wasmill: no further restart: {gave_up}"));
                    }
                    outcome.summary.error = Some(chain(&error));
                    outcome.error = Some(error);
                    return Ok(Ran::To(outcome, None));
                }
                None => return Err(Failure::failed(error)),
            }
        }
    }

    fn attempt(
        &mut self,
        runtime: &Runtime,
        signals: &mut Signals,
        (nodes, restarts): (&mut Vec<Node>, &mut Restarts),
    ) -> Result<Attempted, Failure> {
        let Loaded {
            pipeline, folder, ..
        } = self.loaded;
        let ends = EndAtSignal::new()?;
        let attempt = match &mut self.session {
            None => None,
            Some(session) => {
                let begun = session.begin(pipeline, self.plan, nodes.clone());
                match runtime.block_on(begun) {
                    Ok(Next::Run(attempt)) => Some(*attempt),
                    Ok(Next::Finished(manifest)) => return Ok(Attempted::Finished(manifest)),
                    Err(error) => return Ok(Attempted::Refused(error)),
                }
            }
        };
        // Sources that read and sinks that write may ask for the runtime.
        let entered = runtime.enter();
        let built = job::build(pipeline, self.plan, self.plugins, folder, attempt);
        drop((ends, entered));
        let job = match built {
            Ok(job) => job,
            Err(error) => return Ok(Attempted::Refused(error)),
        };
        reach(CrashPoint::Restored);
        *nodes = job.nodes().to_vec();
        restarts.step(clock::monotonic_us(), RestartFact::Running);
        let (outcome, signal) = runtime.block_on(async {
            self.listening.start();
            self.listening.attach(&job);
            watch(job, pipeline, signals).await
        })?;
        Ok(Attempted::Ran(Box::new(outcome), signal))
    }
}

/// Why the first attempt did not begin: somebody is there to mend that.
fn refusal(error: JobError) -> Failure {
    let of_connector = match &error {
        JobError::Open { source, .. } => Some(source),
        JobError::Checkpoints(CheckpointsError::Sink { source, .. }) => Some(&**source),
        _ => None,
    };
    match of_connector {
        _ if error.is_fenced() => Failure::fenced(error),
        None | Some(ConnectorError::Away { .. } | ConnectorError::GaveUp { .. }) => {
            Failure::failed(error)
        }
        Some(_) => Failure::invalid(error),
    }
}

fn tell(error: &JobError, number: u32, after: Duration) {
    // Times with chance in them are odd.
    let after = Duration::from_millis((after.as_millis() as u64).max(1));
    complain(&format!(
        "wasmill: {}; restart {number} in {}, from the newest checkpoint",
        chain(error),
        duration::print(after)
    ));
}

/// Waits, unless a signal comes.
async fn wait(time: Duration, signals: &mut Signals) -> Option<i32> {
    match signals.or(spawn::rest(time)).await {
        Err(Failure::Stopped(signal)) => Some(signal),
        _ => None,
    }
}

/// Ends the process at a signal, for as long as it is held: while connections are opened, which
/// may wait in libraries that nobody can wake. Nothing runs yet that would have to be stopped in
/// order.
struct EndAtSignal {
    /// Ends the thread that waits for signals: nobody else is awake meanwhile.
    over: Option<oneshot::Sender<()>>,
    waiting: Option<JoinHandle<()>>,
}

impl EndAtSignal {
    fn new() -> Result<Self, Failure> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_io().build().map_err(Failure::failed)?;
        let entered = runtime.enter();
        let mut signals = Signals::new()?;
        drop(entered);
        let (over, is_over) = oneshot::channel::<()>();
        let waiting = spawn::thread("signals", move || {
            let signalled = runtime.block_on(signals.or(is_over));
            if let Err(stopped @ Failure::Stopped(signal)) = signalled {
                complain(&stopped.to_string());
                std::process::exit(128 + signal);
            }
        });
        Ok(Self {
            over: Some(over),
            waiting: Some(waiting),
        })
    }
}

impl Drop for EndAtSignal {
    /// Waits for the thread: a signal that comes later must find it gone, since it would end the
    /// process under a job that runs.
    fn drop(&mut self) {
        self.over.take();
        if let Some(waiting) = self.waiting.take() {
            // It cannot panic, and nothing would follow from it.
            let _ = waiting.join();
        }
    }
}

impl Signals {
    /// Those that come from now on.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::failed)?,
            terminate: signal(SignalKind::terminate()).map_err(Failure::failed)?,
        })
    }

    /// What a future gives, unless a signal comes first. Nothing runs yet that would have to be
    /// stopped in order.
    pub(super) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            _ = self.interrupt.recv() => Err(Failure::Stopped(2)),
            _ = self.terminate.recv() => Err(Failure::Stopped(15)),
        }
    }
}
