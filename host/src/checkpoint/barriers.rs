//! The barriers of one source: how its subtasks, which share splits, cut all of them consistently.
//!
//! The job asks for a barrier; each subtask notices at its next step, or while it waits for a turn,
//! and sends it. A split is cut at the first turn in which somebody notices: from then on the rows
//! of its turns lie behind the barrier, and whoever takes such a turn has sent the barrier before.
//! When the last subtask has sent it nothing before it can come any more, so what has not been cut
//! yet is cut where it stands.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use wasmill_core::{
    checkpoint::{CheckpointId, Manifest, SourceState, SplitState},
    watermark::SplitWatermark,
};

use crate::{
    connector::Position,
    exchange::{gate::Barrier, turn::Turns},
    metrics::SplitMetrics,
};

/// A split as its subtasks share it: whose turn it is, and how far it has come.
pub type SplitTurns = Turns<Progress>;

/// How far a split has come.
#[derive(Debug)]
pub struct Progress {
    /// Its watermark.
    pub watermark: SplitWatermark,
    /// Right behind the last row that was handed on.
    position: Position,
    /// The last barrier that cut it, and how far it had come there.
    cut: CheckpointId,
    state: Option<SplitState>,
    /// Where it is told, for those who watch.
    metrics: Arc<SplitMetrics>,
}

impl Progress {
    /// A split that goes on at a position.
    pub fn new(watermark: SplitWatermark, position: Position, metrics: Arc<SplitMetrics>) -> Self {
        metrics.reach(position.rows, position.bytes);
        metrics.watermark.set(watermark.watermark());
        if position.is_end {
            metrics.end();
        }
        Self {
            watermark,
            position,
            cut: CheckpointId(0),
            state: None,
            metrics,
        }
    }

    /// Cuts the split for a barrier, unless that has been done.
    fn cut_at(&mut self, barrier: Option<Barrier>) {
        let Some(barrier) = barrier.filter(|barrier| barrier.checkpoint > self.cut) else {
            return;
        };
        self.cut = barrier.checkpoint;
        self.state = Some(SplitState {
            position: self.position.to_json(),
            watermark: self.watermark.watermark(),
        });
    }

    /// Rows up to here were handed on.
    pub fn reach(&mut self, position: Position) {
        let until = self.position.until;
        self.position = Position { until, ..position };
        self.metrics.reach(position.rows, position.bytes);
    }

    /// Tells its watermark to those who watch.
    pub fn tell(&self) {
        self.metrics.watermark.set(self.watermark.watermark());
    }

    /// No rows will come any more.
    pub fn end(&mut self) {
        self.position.is_end = true;
        self.metrics.end();
    }
}

/// What the subtasks of a source share to send barriers.
pub struct SourceBarriers {
    /// The newest barrier that was asked for.
    wanted: Mutex<Option<Barrier>>,
    /// Its number, to be seen without the lock.
    number: AtomicU64,
    wakers: Vec<AtomicWaker>,
    is_closed: AtomicBool,
    /// How many subtasks have sent it.
    sent: Mutex<(CheckpointId, usize)>,
    /// Where the splits stood that the job goes on from: a barrier may come before they are opened.
    known: BTreeMap<String, SplitState>,
    /// Every split that was opened, by name.
    splits: Mutex<BTreeMap<String, Arc<SplitTurns>>>,
    /// Whom to tell where a decided checkpoint has the splits, and the source's name.
    told: Mutex<Option<(String, Told)>>,
}

/// Takes where a decided checkpoint has the splits of a source.
pub(super) type Told = Box<dyn Fn(&SourceState) + Send>;

impl SourceBarriers {
    /// For a source of so many subtasks that begins.
    pub fn new(subtasks: usize) -> Self {
        Self::going_on(subtasks, BTreeMap::new())
    }

    /// For one that goes on from where these splits stood.
    pub fn going_on(subtasks: usize, known: BTreeMap<String, SplitState>) -> Self {
        Self {
            known,
            wanted: Mutex::new(None),
            number: AtomicU64::new(0),
            wakers: (0..subtasks).map(|_| AtomicWaker::new()).collect(),
            is_closed: AtomicBool::new(false),
            sent: Mutex::new((CheckpointId(0), 0)),
            splits: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Has somebody be told of decided checkpoints.
    pub fn tell(&self, source: &str, told: Told) {
        *self.told.lock() = Some((source.into(), told));
    }

    /// A checkpoint is decided.
    pub fn decided(&self, manifest: &Manifest) {
        if let Some((source, told)) = &*self.told.lock()
            && let Some(state) = manifest.sources.get(source)
        {
            told(state);
        }
    }

    /// Has every subtask send this barrier at its next step.
    pub fn ask(&self, barrier: Barrier) {
        *self.wanted.lock() = Some(barrier);
        self.number.store(barrier.checkpoint.0, Ordering::Release);
        self.wakers.iter().for_each(AtomicWaker::wake);
    }

    /// A split was opened.
    pub fn open(&self, name: &str, turns: &Arc<SplitTurns>) {
        self.splits.lock().insert(name.into(), turns.clone());
    }

    /// The barrier that is wanted, if it is newer than what was sent.
    #[inline]
    pub fn newer(&self, sent: CheckpointId) -> Option<Barrier> {
        if self.number.load(Ordering::Acquire) == sent.0 {
            return None;
        }
        *self.wanted.lock()
    }

    /// Cuts a split in one of its turns, if a barrier is wanted. Gives the barrier behind which the
    /// turn's rows lie, if the subtask has not sent it.
    pub fn cut(&self, progress: &mut Progress, sent: CheckpointId) -> Option<Barrier> {
        progress.cut_at(self.newer(progress.cut));
        let barrier = self.newer(sent)?;
        (barrier.checkpoint <= progress.cut).then_some(barrier)
    }

    /// Waits until a barrier is wanted that the subtask has not sent; none once the job fails.
    pub async fn wanted(&self, subtask: usize, sent: CheckpointId) -> Option<Barrier> {
        std::future::poll_fn(|context| {
            self.wakers[subtask].register(context.waker());
            if self.is_closed.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            self.newer(sent)
                .map_or(Poll::Pending, |barrier| Poll::Ready(Some(barrier)))
        })
        .await
    }

    /// A split has gone without rows for too long, which it will still have when the job goes on
    /// from the next checkpoint.
    pub fn idle(&self, split: u32) {
        for turns in self.splits.lock().values() {
            turns.look(|progress| {
                if progress.position.split == split {
                    progress.position.is_idle = true;
                }
            });
        }
    }

    /// The job fails: nobody waits for barriers any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.wakers.iter().for_each(AtomicWaker::wake);
    }

    /// A subtask has sent a barrier. Gives, to the last one, where every split stood.
    pub fn sent(&self, barrier: Barrier) -> Option<SourceState> {
        let mut sent = self.sent.lock();
        if barrier.checkpoint > sent.0 {
            *sent = (barrier.checkpoint, 0);
        } else if barrier.checkpoint < sent.0 {
            return None;
        }
        sent.1 += 1;
        (sent.1 == self.wakers.len()).then(|| self.states(barrier))
    }

    fn states(&self, barrier: Barrier) -> SourceState {
        let mut state = SourceState {
            splits: self.known.clone(),
        };
        for (name, turns) in self.splits.lock().iter() {
            let split = turns.look(|progress| {
                progress.cut_at(Some(barrier));
                progress.state.clone()
            });
            if let Some(split) = split {
                state.splits.insert(name.clone(), split);
            }
        }
        state
    }
}
