//! A small job in place of tasks: a source that counts, an operator that remembers how far, a sink
//! that follows. Its state and its rows are functions of the position, so that every copy of either
//! can be told from a wrong one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::json;
use tokio::runtime::Runtime;
use wasmill_core::{
    checkpoint::{
        CheckpointId, Identity, KeyHash, Request, Scope, Segment, Settings, SourceState,
        SplitState, SubtaskIndex,
    },
    key::KeyGroupRange,
    pipeline::Storage as Place,
};

use super::super::{Begun, Checkpoints, CheckpointsError, Handle, Plan, Restored, orders};
use crate::{
    checkpoint::{
        Beginning, Encoded, Image, Offers, Report, SinkOrder, SourceBarriers, StateImage, Storage,
        TaskImage, Wish, reports,
        storage::faults::{FaultyStore, Luck},
    },
    connector::{Share, Spooled},
    exchange::gate::Barrier,
    segment::Put,
    spawn,
};

/// The sink's name.
pub(super) const SINK: &str = "out";
/// Starts under bad luck that may be refused, one after the other.
const TRIES_MAX: usize = 200;
/// Rows between two barriers are fewer.
const ROWS: u64 = 6;
/// Someone wants a savepoint at one barrier of so many, and has had enough of one.
const SAVEPOINT_EVERY: u64 = 4;
const DISPOSAL_EVERY: u64 = 12;

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With its last checkpoint.
    Drained,
    /// With a savepoint.
    Stopped,
    /// Like `kill -9`: what is on its way is gone.
    Killed,
    /// By a successor, while what is on its way may still arrive.
    Overtaken,
    /// The machine is off.
    PowerCut,
}

/// What is true of the job, whatever the store makes of it.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// How far each checkpoint had come that is known to be decided.
    positions: BTreeMap<CheckpointId, u64>,
    /// Those of them that are savepoints, and that nobody has disposed of.
    pub(super) savepoints: BTreeSet<CheckpointId>,
    /// Savepoints that were taken, those of them with which the job stopped, and those of which
    /// somebody wanted to dispose.
    pub(super) taken: usize,
    pub(super) stopped: usize,
    pub(super) disposed: usize,
    /// What the sink has brought out, and its marker.
    output: Vec<u64>,
    marker: Option<CheckpointId>,
    pub(super) decided: usize,
    pub(super) cuts: usize,
    /// Why starts were refused.
    pub(super) refused: Vec<String>,
    /// Whether decided checkpoints may be gone, and how often some were.
    pub(super) may_lose: bool,
    pub(super) lost: usize,
}

/// A runtime for one life.
pub(super) fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

/// Who takes part.
pub(super) fn plan() -> Plan {
    let scope = Scope::new("default", "job", KeyGroupRange::all(128));
    Plan {
        scope: scope.expect("good names"),
        settings: Settings {
            interval_us: Some(1_000),
            timeout_us: 10_000_000,
            pause_us: 0,
            retry_us: 1_000,
            failures_max: 10,
            retained: 3,
            unapplied_max: 4,
        },
        key_hash: KeyHash {
            seed: 0,
            groups: 128,
        },
        sources: vec!["count".into()],
        operators: BTreeMap::from([("far".into(), Identity::default())]),
        subtasks: vec!["count".into(), "far".into(), SINK.into()],
        followers: vec![SINK.into()],
        markers: BTreeMap::new(),
        decider: None,
        is_fresh: false,
        after: None,
        takes_over: false,
        beginning: Beginning::default(),
        offers: Offers::default(),
        location: "memory".into(),
        place: Place::Folder("memory".into()),
    }
}

/// The operator's state at a position.
fn state(position: u64) -> Vec<u8> {
    let bytes = (0..500).flat_map(|at: u64| (position + at * at).to_le_bytes());
    position.to_le_bytes().into_iter().chain(bytes).collect()
}

/// How far what was restored had come, if its parts agree; none if there is nothing.
pub(super) fn position(restored: &Restored) -> Option<u64> {
    let manifest = restored.manifest.as_ref()?;
    let source = &manifest.sources["count"].splits["all"].position;
    let source = source.as_u64().expect("a position");
    let (_, bytes) = &restored.operators["far"].parts[0];
    let bytes = bytes.as_ref().expect("state has bytes");
    assert_eq!(
        bytes[..],
        state(source),
        "the state is that of the position"
    );
    Some(source)
}

/// The rows of a share.
pub(super) fn rows(share: &Share) -> Vec<u64> {
    let mut rows = Vec::new();
    for object in &share.objects {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut object.reader(), &mut text).expect("rows are text");
        rows.extend(
            text.lines()
                .map(|line| line.parse::<u64>().expect("a row is a number")),
        );
    }
    rows
}

struct Position(u64);

impl Image for Position {
    fn encode(self: Box<Self>, _earlier: &[Segment], _put: Put<'_>) -> Result<Encoded, String> {
        Ok(Encoded {
            kept: Vec::new(),
            parts: vec![(json!({}), vec![state(self.0).into()])],
        })
    }
}

impl Model {
    /// The newest checkpoint that is known to be decided.
    pub(super) fn newest(&self) -> Option<CheckpointId> {
        self.positions.keys().next_back().copied()
    }

    /// How far a checkpoint had come.
    pub(super) fn position(&self, checkpoint: CheckpointId) -> Option<u64> {
        self.positions.get(&checkpoint).copied()
    }

    /// Each row came out, once and in its order, up to where the sink's marker says.
    pub(super) fn check(&self, seed: u64) {
        let all: Vec<u64> = (1..=self.output.len() as u64).collect();
        assert_eq!(self.output, all, "seed {seed}");
        let marker = self.marker.expect("something was decided");
        let position = self.position(marker);
        assert_eq!(position, Some(all.len() as u64), "seed {seed}");
    }

    /// A life of the job, until so many checkpoints of it are decided.
    pub(super) fn live(&mut self, store: &Arc<FaultyStore>, ending: Ending, checkpoints: u64) {
        let runtime = runtime();
        let lived = runtime.block_on(Life::begin(self, store));
        let Some((life, checkpoints_of)) = lived else {
            return;
        };
        runtime.block_on(life.run(checkpoints_of, ending, checkpoints));
        if ending == Ending::Overtaken {
            // What it has sent may arrive while the next one lives.
            let late = std::time::Duration::from_millis(store.below(4));
            runtime.block_on(spawn::rest(late));
        }
        drop(runtime);
        if ending == Ending::PowerCut {
            self.cuts += 1;
            store.cut_power();
        }
    }

    /// A life that begins, and then can read and write nothing; gives what it fails of.
    pub(super) fn starve(&mut self, store: &Arc<FaultyStore>) -> Result<(), CheckpointsError> {
        let runtime = runtime();
        runtime.block_on(async {
            let (life, checkpoints) = Life::begin(self, store).await.expect("it may begin");
            store.set_luck(Luck {
                errors: 1_000,
                ..Luck::GOOD
            });
            let (_asking, requests) = async_channel::bounded(1);
            life.tell_marker().await;
            checkpoints.run(life.handle(), requests).await
        })
    }
}

/// What people outside want, and what they are answered.
struct Wishes {
    asking: async_channel::Sender<Wish>,
    savepoints: Answers<CheckpointId>,
    disposals: Answers<bool>,
}

/// The way of answers to whoever waits for them.
type Answers<T> = (
    async_channel::Sender<Result<T, String>>,
    async_channel::Receiver<Result<T, String>>,
);

impl Wishes {
    fn new() -> (Self, async_channel::Receiver<Wish>) {
        let (asking, requests) = async_channel::bounded(1);
        let wishes = Self {
            asking,
            savepoints: async_channel::bounded(1),
            disposals: async_channel::bounded(1),
        };
        (wishes, requests)
    }
}

/// An attempt at work.
struct Life<'a> {
    model: &'a mut Model,
    store: Arc<FaultyStore>,
    barriers: Arc<SourceBarriers>,
    reports: async_channel::Sender<Report>,
    orders: (
        async_channel::Sender<SinkOrder>,
        async_channel::Receiver<SinkOrder>,
    ),
    /// How far it has come, and what it has handed in.
    position: u64,
    handed: HashMap<CheckpointId, u64>,
    /// What was handed in for the last barrier of all.
    closing: Option<CheckpointId>,
    /// The newest decided checkpoint, and how far it had come.
    since: Option<CheckpointId>,
    since_position: u64,
    decided: u64,
}

impl<'a> Life<'a> {
    /// Goes on from what is stored; none if that is refused for good.
    async fn begin(model: &'a mut Model, store: &Arc<FaultyStore>) -> Option<(Self, Checkpoints)> {
        for _ in 0..TRIES_MAX {
            let (sender, receiver) = reports();
            let begun = Checkpoints::begin(Storage::faulty(store), plan(), receiver).await;
            let (checkpoints, restored) = match begun {
                Ok(Begun::Running(running)) => *running,
                Ok(Begun::Finished(..)) => panic!("its input has no end"),
                Err(error) => {
                    model.refused.push(error.to_string());
                    if model.may_lose {
                        return None;
                    }
                    continue;
                }
            };
            let since = restored
                .manifest
                .as_ref()
                .map(|manifest| manifest.checkpoint);
            let position = position(&restored).unwrap_or(0);
            if since < model.newest() {
                assert!(model.may_lose, "{since:?} of {:?}", model.newest());
                model.lost += 1;
                return None;
            }
            if let Some(checkpoint) = since {
                // It may have been decided when nobody lived to learn of it.
                let known = *model.positions.entry(checkpoint).or_insert(position);
                assert_eq!(known, position, "{checkpoint} is what it was");
            }
            let life = Self {
                model,
                store: Arc::clone(store),
                barriers: Arc::new(SourceBarriers::new(1)),
                reports: sender,
                orders: orders(),
                position,
                handed: HashMap::new(),
                closing: None,
                since,
                since_position: position,
                decided: 0,
            };
            return Some((life, checkpoints));
        }
        panic!(
            "{TRIES_MAX} starts in a row were refused: {:?}",
            model.refused.last()
        );
    }

    fn handle(&self) -> Handle {
        Handle {
            sources: vec![Arc::clone(&self.barriers)],
            source_subtasks: 1,
            sinks: HashMap::from([(SINK.into(), self.orders.0.clone())]),
            cut: None,
        }
    }

    async fn tell_marker(&self) {
        let (sink, marker) = (SINK.to_owned(), self.model.marker);
        let _ = self.reports.send(Report::Applied { sink, marker }).await;
    }

    async fn run(mut self, checkpoints: Checkpoints, ending: Ending, enough: u64) {
        let (wishes, requests) = Wishes::new();
        let taking = checkpoints.run(self.handle(), requests);
        self.tell_marker().await;
        tokio::pin!(taking);
        let mut sent = CheckpointId(0);
        let orders = self.orders.1.clone();
        loop {
            let barriers = Arc::clone(&self.barriers);
            tokio::select! {
                // An attempt that cannot go on ends; the next one goes on.
                done = &mut taking => {
                    if done.is_ok() && ending == Ending::Stopped {
                        self.model.stopped += 1;
                        self.saved(self.closing.expect("the last barrier has passed"));
                    }
                    break;
                }
                order = orders.recv() => self.obey(order.expect("its sender lives")).await,
                barrier = barriers.wanted(0, sent) => {
                    let barrier = barrier.expect("nobody closes it");
                    sent = barrier.checkpoint;
                    while let Ok(order) = orders.try_recv() {
                        self.obey(order).await;
                    }
                    self.snapshot(barrier).await;
                    self.wish(&wishes);
                }
            }
            self.take_answers(&wishes);
            if self.decided >= enough {
                let last = match ending {
                    Ending::Drained => Request::Stop,
                    Ending::Stopped => Request::StopWithSavepoint,
                    // Sinks, too, may be behind.
                    _ => break,
                };
                drop(wishes.asking.try_send(Wish::Take(last)));
            }
        }
        // Whoever was told of a savepoint has it, whatever has become of the job.
        self.take_answers(&wishes);
    }

    /// People want a savepoint now and then, and have had enough of one.
    fn wish(&mut self, wishes: &Wishes) {
        if self.store.below(SAVEPOINT_EVERY) == 0 {
            let wish = Wish::Savepoint(wishes.savepoints.0.clone());
            drop(wishes.asking.try_send(wish));
        }
        let oldest = self.model.savepoints.first().copied();
        if let Some(oldest) = oldest.filter(|_| self.store.below(DISPOSAL_EVERY) == 0) {
            let wish = Wish::Dispose(oldest, wishes.disposals.0.clone());
            if wishes.asking.try_send(wish).is_ok() {
                self.model.savepoints.remove(&oldest);
                self.model.disposed += 1;
            }
        }
    }

    fn take_answers(&mut self, wishes: &Wishes) {
        while let Ok(savepoint) = wishes.savepoints.1.try_recv() {
            self.saved(savepoint.expect("nothing but a decided one is told of"));
        }
        while let Ok(disposed) = wishes.disposals.1.try_recv() {
            // An error of the store may have kept its manifest from being read.
            let is_unread = |reason: &String| reason.contains("could not be read");
            let is_fair = disposed.as_ref().map_or_else(is_unread, |_| true);
            assert!(
                is_fair || self.model.may_lose,
                "a savepoint that stands can be disposed of: {disposed:?}"
            );
        }
    }

    /// A savepoint is decided.
    fn saved(&mut self, savepoint: CheckpointId) {
        let position = self.handed[&savepoint];
        self.model.positions.insert(savepoint, position);
        self.model.savepoints.insert(savepoint);
        self.model.taken += 1;
    }

    async fn obey(&mut self, order: SinkOrder) {
        match order {
            SinkOrder::Decided(checkpoint) => {
                self.decided += 1;
                self.model.decided += 1;
                self.since = Some(checkpoint);
                self.since_position = self.handed[&checkpoint];
                let position = self.since_position;
                self.model.positions.insert(checkpoint, position);
            }
            SinkOrder::Apply(checkpoint, share) => {
                let since = share.state["since"].as_u64().map(CheckpointId);
                assert_eq!(since, self.model.marker, "shares follow each other");
                self.model.output.extend(rows(&share));
                self.model.marker = Some(checkpoint);
                let (sink, marker) = (SINK.to_owned(), Some(checkpoint));
                let _ = self.reports.send(Report::Applied { sink, marker }).await;
            }
            SinkOrder::Commit(_) | SinkOrder::Aborted(_) => unreachable!("no sink decides here"),
        }
    }

    /// What the three subtasks hand in at a barrier.
    async fn snapshot(&mut self, barrier: Barrier) {
        self.position += 1 + self.store.below(ROWS);
        self.handed.insert(barrier.checkpoint, self.position);
        self.closing = barrier.is_last.then_some(barrier.checkpoint);
        let split = SplitState {
            position: json!(self.position),
            watermark: 0,
        };
        let splits = BTreeMap::from([("all".to_owned(), split)]);
        let rows = (self.since_position + 1..=self.position).map(|row| format!("{row}\n"));
        let share = Share {
            state: json!({ "since": self.since }),
            objects: vec![Spooled::Memory(rows.collect::<String>().into())],
        };
        let images = [
            TaskImage {
                source: Some(("count".into(), SourceState { splits })),
                ..TaskImage::default()
            },
            TaskImage {
                operators: vec![StateImage {
                    uid: "far".into(),
                    watermark: 0,
                    subtask: 0,
                    image: Box::new(Position(self.position)),
                }],
                ..TaskImage::default()
            },
            TaskImage {
                sink: Some((SINK.into(), share)),
                ..TaskImage::default()
            },
        ];
        for (image, at) in images.into_iter().zip(0..) {
            let subtask = SubtaskIndex(at);
            let _ = self
                .reports
                .send(Report::Snapshot {
                    barrier,
                    subtask,
                    image,
                })
                .await;
        }
    }
}
