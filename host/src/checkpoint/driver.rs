//! The loop that tells the coordinator what happens and does what it wants done.

mod catch_up;
mod decide;
mod error;
mod grant;
mod migrate;
mod recover;
mod report;
mod restore;
mod stored;
#[cfg(test)]
mod tests;
mod upload;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use async_channel::{Receiver, Sender, bounded};
use wasmill_core::checkpoint::{
    Action, AttemptError, AttemptId, CheckpointId, Coordinator, End, Fact, Identity, KeyHash,
    Manifest, Now, Position, Reason, Recovered, Scope, Settings, Start,
};
use wasmill_core::pipeline::Storage as Place;

use super::{
    Beginning, Ledger, Offers, Report, SinkOrder, SourceBarriers, Storage, Wish, wish::Waiting,
};
use crate::{
    clock,
    connector::{
        Share,
        sink::{DecidingSink, Fence},
    },
    crash_point::{CrashPoint, reach},
    exchange::gate::Barrier,
    spawn,
};

pub use error::CheckpointsError;
pub use migrate::{DryRun, dry_run};
pub use recover::{Found, read_log, recover};
pub use restore::{Detour, Restored, RestoredOperator};

/// Facts that may wait for the coordinator.
const FACTS_MAX: usize = 256;
/// How often an attempt tries to get its entry into the log while another one still decides.
const ENTER_TRIES: usize = 20;
/// Orders that may wait for a sink: more than it may have to apply.
const ORDERS_MAX: usize = 64;

/// What takes part in a job's checkpoints.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose log.
    pub scope: Scope,
    /// How often.
    pub settings: Settings,
    /// How keys become key groups.
    pub key_hash: KeyHash,
    /// The names of the sources.
    pub sources: Vec<String>,
    /// What each operator with state is, by uid.
    pub operators: BTreeMap<String, Identity>,
    /// The plugins that migrate states of older schemas.
    pub offers: Offers,
    /// What people call each subtask.
    pub subtasks: Vec<String>,
    /// The sinks that follow.
    pub followers: Vec<String>,
    /// Where their markers stand, as people name that, if it is not with the rows.
    pub markers: BTreeMap<String, String>,
    /// The one of them whose transactions decide, if there is one.
    pub decider: Option<DecidingSink>,
    /// Whether the job begins anew, whatever is stored.
    pub is_fresh: bool,
    /// Whether it goes on if another run begins at the same time. Of two that do not, one does.
    pub takes_over: bool,
    /// The attempt of this process that this one comes after: if another run has begun since, it
    /// is that one's job now.
    pub after: Option<AttemptId>,
    /// Otherwise, where it begins.
    pub beginning: Beginning,
    /// Where the storage lies, as people name it.
    pub location: String,
    /// The same, with how it is reached.
    pub place: Place,
}

/// The parts of a running job that the loop speaks to.
#[derive(Default)]
pub struct Handle {
    /// The barriers of each source.
    pub sources: Vec<Arc<SourceBarriers>>,
    /// Subtasks of sources.
    pub source_subtasks: usize,
    /// The sinks that follow.
    pub sinks: HashMap<String, Sender<SinkOrder>>,
    /// Has the sources' input end where it stands.
    pub cut: Option<Box<dyn Fn() + Send>>,
}

/// The checkpoints of one attempt.
pub struct Checkpoints {
    coordinator: Coordinator,
    storage: Storage,
    scope: Scope,
    attempt: AttemptId,
    begun_us: i64,
    actions: Vec<Action>,
    facts: (Sender<Fact>, Receiver<Fact>),
    reports: Receiver<Report>,
    /// What sinks have handed in and not applied, by sink and checkpoint.
    shares: HashMap<(String, CheckpointId), Share>,
    /// The newest decided checkpoint whose objects the next one may name.
    base: Option<Arc<Manifest>>,
    ended_sources: usize,
    has_begun: bool,
    /// The job's last checkpoint, once its barriers have set out: nobody sends any behind them.
    closing: Option<CheckpointId>,
    failed_sink: Option<String>,
    /// The sink whose transactions decide, and the manifest that is on its way there.
    decider: Option<String>,
    deciding: Option<decide::Deciding>,
    prepared: (Sender<Position>, Receiver<Position>),
    ledger: Arc<Ledger>,
    waiting: Waiting,
    /// Why it cannot go on, other than by the coordinator's word.
    failed: Option<CheckpointsError>,
    /// Where the markers of sinks stand.
    markers: BTreeMap<String, String>,
}

/// How an attempt begins.
pub enum Begun {
    /// The job has come to the end of its input before: what is left is that sinks catch up.
    Finished(Box<Checkpoints>, Arc<Manifest>),
    /// It runs, with what is restored.
    Running(Box<(Checkpoints, Restored)>),
}

impl Checkpoints {
    /// Begins an attempt: reads what is stored, and writes the attempt's entry into the log, which
    /// ends every earlier one.
    ///
    /// # Errors
    /// If the storage cannot be used, or what is in it cannot be restored into this job.
    pub async fn begin(
        storage: Storage,
        plan: Plan,
        reports: Receiver<Report>,
    ) -> Result<Begun, CheckpointsError> {
        let mut found = decide::settled(&storage, &plan).await?;
        // Nobody is thrown out for a run that cannot go on.
        let mut restored = match found.recovered.is_finished() {
            true => None,
            false => Some(migrate::load(&storage, &plan, &found).await?.0),
        };
        for _ in 0..ENTER_TRIES {
            let recovered = found.recovered.clone();
            let last = recovered.manifest.clone();
            let last = last.filter(|_| recovered.is_finished());
            let mut checkpoints = Self::new(storage.clone(), &plan, recovered, reports.clone());
            if let Some(manifest) = last {
                return Ok(Begun::Finished(Box::new(checkpoints), manifest));
            }
            match checkpoints.enter().await {
                Ok(()) => {
                    let restored = match restored {
                        Some(restored) => restored,
                        None => migrate::load(&storage, &plan, &found).await?.0,
                    };
                    return Ok(Begun::Running(Box::new((checkpoints, restored))));
                }
                Err(AttemptError::Fenced { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // Whoever runs has decided another checkpoint while this one read. It is tried again
            // with what is stored now, and without reading all of it first: that may take longer
            // than the next one.
            let before = found.recovered.attempt;
            found = decide::settled(&storage, &plan).await?;
            restored = None;
            if found.recovered.attempt != before && !plan.takes_over {
                break;
            }
        }
        let entry = plan.scope.entry(found.recovered.position);
        Err(AttemptError::Fenced { entry }.into())
    }

    /// The checkpoints of an attempt that is not in the log yet.
    fn new(storage: Storage, plan: &Plan, recovered: Recovered, reports: Receiver<Report>) -> Self {
        let attempt = recovered.attempt;
        let decider = plan.decider.as_ref();
        let decider = decider.map(|decider| decider.sink.name.clone());
        let ledger = grant::ledger(plan, &recovered);
        let start = Start {
            scope: plan.scope.clone(),
            settings: plan.settings,
            program: concat!("wasmill ", env!("CARGO_PKG_VERSION")).into(),
            nonce: RandomState::new().hash_one(clock::monotonic_us()),
            key_hash: plan.key_hash,
            operators: plan.operators.clone(),
            subtasks: plan.subtasks.clone(),
            followers: plan.followers.clone(),
            decider: decider.clone(),
            recovered,
        };
        let mut actions = Vec::new();
        let coordinator = Coordinator::new(start, now(), &mut actions);
        let checkpoints = Self {
            coordinator,
            storage,
            scope: plan.scope.clone(),
            attempt,
            begun_us: clock::wall_us(),
            actions,
            facts: bounded(FACTS_MAX),
            reports,
            shares: HashMap::new(),
            base: None,
            ended_sources: 0,
            has_begun: false,
            closing: None,
            failed_sink: None,
            decider,
            deciding: None,
            prepared: bounded(1),
            ledger,
            waiting: Waiting::default(),
            failed: None,
            markers: plan.markers.clone(),
        };
        checkpoints.keep();
        checkpoints
    }

    /// Writes the attempt's entry into the log.
    async fn enter(&mut self) -> Result<(), AttemptError> {
        let nobody = Handle::default();
        while !self.has_begun {
            if let Some(End::Broken(error)) = self.act(&nobody).await {
                return Err(error);
            }
            if !self.has_begun {
                self.wait_for_fact().await;
            }
        }
        Ok(())
    }

    /// The attempt's number.
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// What tells the outputs which attempt this is.
    pub fn fence(&self) -> Fence {
        Fence {
            attempt: self.attempt,
            begun_us: self.begun_us,
        }
    }

    /// Takes checkpoints until the job's last one, or until it cannot go on.
    ///
    /// # Errors
    /// If the attempt cannot go on: the job must end at once.
    pub async fn run(
        mut self,
        job: Handle,
        wishes: Receiver<Wish>,
    ) -> Result<(), CheckpointsError> {
        loop {
            match self.act(&job).await {
                Some(End::Broken(error)) => return Err(self.broken(error)),
                Some(End::Done { .. }) => return Ok(()),
                None => {}
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            self.keep();
            let wake = self.wake();
            let (facts, reports) = (self.facts.1.clone(), self.reports.clone());
            let prepared = self.prepared.1.clone();
            tokio::select! {
                Ok(position) = prepared.recv() => self.have_committed(position, &job).await,
                fact = facts.recv() => if let Ok(fact) = fact { self.tell(fact) },
                // Where all subtasks have ended nobody reports any more: others are waited for.
                Ok(report) = reports.recv() => self.report(report, &job),
                Ok(wish) = wishes.recv() => self.grant(wish),
                () = spawn::rest(wake) => self.tell(Fact::Tick),
            }
            if let Some(sink) = self.failed_sink.take() {
                return Err(CheckpointsError::SinkFailed(sink));
            }
        }
    }

    /// How long until the coordinator wants to be told the time.
    fn wake(&self) -> Duration {
        let at = self.coordinator.wake_at_us().unwrap_or(i64::MAX);
        let rest = at.saturating_sub(now().monotonic_us).max(0);
        // A clock that is asked once an hour needs no care for what is beyond its range.
        Duration::from_micros(rest as u64).min(Duration::from_secs(3_600))
    }

    async fn wait_for_fact(&mut self) {
        let wake = self.wake();
        let facts = self.facts.1.clone();
        tokio::select! {
            fact = facts.recv() => if let Ok(fact) = fact { self.tell(fact) },
            () = spawn::rest(wake) => self.tell(Fact::Tick),
        }
    }

    fn tell(&mut self, fact: Fact) {
        self.coordinator.step(now(), fact, &mut self.actions);
    }

    /// Does what the coordinator wants done. Gives how the attempt ends, if it does.
    async fn act(&mut self, job: &Handle) -> Option<End> {
        let mut end = None;
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Begin { .. } => self.has_begun = true,
                Action::End(how) => {
                    if matches!(how, End::Done { .. }) {
                        reach(CrashPoint::FinalApplied);
                    }
                    end = Some(how);
                }
                Action::Inject {
                    checkpoint,
                    is_last,
                    base,
                    reason,
                    ..
                } => {
                    let is_savepoint = reason == Reason::Savepoint;
                    self.ledger.triggered(checkpoint, reason, is_last);
                    self.closing = is_last.then_some(checkpoint);
                    let barrier = Barrier {
                        checkpoint,
                        base,
                        is_last,
                    };
                    inject(job, barrier);
                    if is_savepoint {
                        reach(CrashPoint::SavepointBegun);
                    }
                }
                Action::Abort { checkpoint, reason } => {
                    self.ledger.aborted(&reason);
                    tracing::warn!(%checkpoint, reason, "a checkpoint was given up");
                    self.shares.retain(|(_, of), _| *of != checkpoint);
                    self.forgo(checkpoint, job).await;
                    if self.closing == Some(checkpoint) {
                        let failures = 1;
                        let error = AttemptError::Failures { failures, reason };
                        end = Some(End::Broken(error));
                    }
                }
                Action::Cut => job.cut.iter().for_each(|cut| cut()),
                Action::Decided { manifest } => self.decided(&manifest, job).await,
                Action::Apply { sink, manifest } => self.apply(&sink, &manifest, job).await,
                Action::Create { position, bytes } => self.write(position, bytes),
                Action::LookUp { position } => self.look_up(position),
                Action::List => self.list(),
                Action::Delete { name } => self.delete(name),
            }
        }
        end
    }

    async fn decided(&mut self, manifest: &Arc<Manifest>, job: &Handle) {
        let checkpoint = manifest.checkpoint;
        if manifest.reason != Reason::Savepoint {
            self.base = Some(manifest.clone());
        }
        tracing::debug!(%checkpoint, "a checkpoint is decided");
        self.entered();
        reach(CrashPoint::Decided);
        if self.closing.is_some() {
            reach(CrashPoint::FinalDecided);
        }
        let (_, underway) = self.ledger.decided(manifest);
        if manifest.reason == Reason::Savepoint && underway.is_some_and(|it| !it.is_last) {
            reach(CrashPoint::SavepointDecided);
            self.waiting.answer(checkpoint);
        }
        job.sources
            .iter()
            .for_each(|source| source.decided(manifest));
        for orders in job.sinks.values() {
            // A sink that is gone has failed, and its own error says why.
            let _ = orders.send(SinkOrder::Decided(checkpoint)).await;
            reach(CrashPoint::DecidedTold);
        }
    }

    /// Hands a sink what a decided checkpoint names for it.
    async fn apply(&mut self, sink: &str, manifest: &Arc<Manifest>, job: &Handle) {
        let checkpoint = manifest.checkpoint;
        let known = self.shares.remove(&(sink.to_owned(), checkpoint));
        let share = match known {
            Some(share) => Ok(share),
            None => self.share(sink, manifest).await,
        };
        let Some(orders) = job.sinks.get(sink) else {
            return;
        };
        match share {
            Ok(share) => {
                let _ = orders.send(SinkOrder::Apply(checkpoint, share)).await;
            }
            Err(error) => self.failed = Some(error),
        }
    }
}

/// The way of orders to a sink that follows.
pub fn orders() -> (Sender<SinkOrder>, Receiver<SinkOrder>) {
    bounded(ORDERS_MAX)
}

/// Has the sources send a barrier.
fn inject(job: &Handle, barrier: Barrier) {
    reach(CrashPoint::BeforeBarrier);
    job.sources.iter().for_each(|source| source.ask(barrier));
    reach(CrashPoint::AfterBarrier);
    if barrier.is_last {
        reach(CrashPoint::FinalBarrier);
    }
}

fn now() -> Now {
    Now {
        monotonic_us: clock::monotonic_us(),
        wall_us: clock::wall_us(),
    }
}
