//! Everything at once: processes, a store that fails, and the outside that sinks write to.

mod counters;
mod decider;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_core::checkpoint::{
    Action, AttemptError, CheckpointId, Coordinator, Created, Digest, End, Entry, Fact, Identity,
    KeyHash, LookedUp, Manifest, Notes, Now, Position, Reason, Recovery, RecoveryError, Request,
    RestoreFrom, Scope, Settings, Start, SubtaskIndex, Verdict,
};
use wasmill_core::key::KeyGroupRange;

use crate::job::{Barrier, Job, SINKS, Taken};
use crate::model::{KEYS, Landed, Model, Row, all};
use crate::process::{Letter, Process, State};
use crate::rng::{Rng, mix};
use crate::store::Store;
use decider::Broker;

pub(crate) use counters::Counters;

/// A failed upload, told to the coordinator.
fn declined(taken: &Taken) -> Fact {
    Fact::Declined {
        checkpoint: taken.checkpoint,
        subtask: SubtaskIndex(taken.subtask),
        reason: "the upload failed".into(),
    }
}

/// How a seed's world is.
pub(crate) struct Weather {
    sources: usize,
    counters: usize,
    rows: u32,
    settings: Settings,
    /// Chances in ten thousand, each time it could happen.
    unanswered: u64,
    slow: u64,
    careless: u64,
    partial: u64,
    lost_letter: u64,
    declined: u64,
    crash: u64,
    freeze: u64,
    takeover: u64,
    request: u64,
    /// Whether users restore older checkpoints or begin anew.
    goes_back: bool,
    /// Whether the first sink decides.
    decides: bool,
}

/// The process of a request whose answer nobody waits for.
const NOBODY: usize = usize::MAX;

/// Something that was asked of the store or of a sink's database.
struct Flight {
    process: usize,
    errand: Errand,
    stage: Stage,
    /// It takes at least until then.
    slow_until_us: i64,
}

enum Stage {
    /// On its way there.
    Sent,
    /// Done, and the answer on its way back.
    Answered(Answer),
}

#[derive(Clone)]
enum Errand {
    List,
    Read(Position),
    Create(Position, Vec<u8>),
    LookUp(Position),
    /// The second half of a look: what was found, and whether anything stands behind is yet to see.
    LookBehind(Position, Option<Digest>),
    /// The objects of a snapshot, one after the other.
    Put(Box<Taken>),
    Delete(String),
    Apply(String, Arc<Manifest>),
    /// To the deciding sink: end what others have open, and tell the notes.
    Settle,
    /// A manifest beside its objects.
    Prepare(Verdict, Vec<u8>),
    /// In the transactions of an epoch: rows and verdict.
    Commit(u64, Verdict),
    /// What was prepared for a verdict.
    Prepared(Verdict),
}

enum Answer {
    Listed(Vec<String>),
    Read(Position, Option<Vec<u8>>),
    Created(Position, Created),
    LookedUp(Position, LookedUp),
    Stored(Box<Taken>, bool),
    Deleted(String),
    Applied(String, CheckpointId),
    Settled(Notes),
    PreparedIs(Verdict, Option<Vec<u8>>),
    Decided(Verdict, Decision),
}

/// A sink's database: rows, and a marker in the same transaction.
#[derive(Default)]
struct Table {
    /// 0 before the first.
    marker: u64,
    rows: BTreeMap<Row, u32>,
}

/// What becomes of a checkpoint that a sink decides.
#[derive(Clone, Copy)]
enum Decision {
    Prepared,
    Committed,
    /// Another one has the sink by now, or nobody knows.
    Lost,
}

pub(crate) struct World {
    rng: Rng,
    weather: Weather,
    scope: Scope,
    now: Now,
    store: Store,
    model: Model,
    tables: BTreeMap<String, Table>,
    broker: Broker,
    processes: Vec<Process>,
    flights: Vec<Flight>,
    /// Nothing fails any more.
    is_calm: bool,
    /// Somebody goes back to this; until the log says so, nobody does anything else.
    going_back: Option<RestoreFrom>,
    pub(crate) is_finished: bool,
    /// Whether somebody has drained the job, perhaps in vain.
    is_cut: bool,
    pub(crate) trace: u64,
    /// What happened, in words, if anyone wants to know.
    pub(crate) told: Option<Vec<String>>,
    pub(crate) counts: Counters,
}

impl Weather {
    fn new(rng: &mut Rng) -> Self {
        let is_fair = rng.chance(1_000);
        let mut rough = |max: u64| {
            let is_off = rng.chance(3_000);
            let chance = rng.below(max);
            if is_fair || is_off { 0 } else { chance }
        };
        let (unanswered, partial, lost_letter) = (rough(2_500), rough(1_500), rough(800));
        let (declined, crash, freeze) = (rough(500), rough(60), rough(80));
        let (takeover, request) = (rough(60), rough(60));
        let slow = rough(2_000);
        let careless = rough(2_000);
        let goes_back = !is_fair && rng.chance(2_000);
        let decides = rng.chance(5_000);
        let mut weather = Self {
            sources: 1 + rng.index(3),
            counters: 1 + rng.index(3),
            rows: 40 + rng.below(120) as u32,
            settings: Settings {
                interval_us: Some(300 + rng.below(700) as i64),
                timeout_us: 6_000 + rng.below(20_000) as i64,
                pause_us: rng.below(300) as i64,
                retry_us: 50 + rng.below(200) as i64,
                failures_max: rng.below(6) as u32,
                retained: 1 + rng.index(3),
                unapplied_max: 1 + rng.index(3),
            },
            unanswered,
            slow,
            careless,
            partial,
            lost_letter,
            declined,
            crash,
            freeze,
            takeover,
            request,
            goes_back,
            decides,
        };
        if weather.is_fair() {
            // There every checkpoint must come about, however slow.
            weather.settings.timeout_us = 1_000_000;
        }
        weather
    }

    /// Whether nothing fails under this seed.
    pub(crate) fn is_fair(&self) -> bool {
        let chances = [
            self.unanswered,
            self.partial,
            self.lost_letter,
            self.declined,
        ];
        let more = [
            self.careless,
            self.crash,
            self.freeze,
            self.takeover,
            self.request,
        ];
        chances.iter().chain(&more).all(|chance| *chance == 0) && !self.goes_back
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let weather = Weather::new(&mut rng);
        let range = KeyGroupRange::all(KEYS);
        let scope = Scope::new("default", "sim", range).expect("good names");
        let model = Model::new(scope.clone(), weather.settings.retained);
        let mut world = Self {
            rng,
            weather,
            scope,
            now: Now {
                monotonic_us: 0,
                wall_us: 0,
            },
            store: Store::default(),
            model,
            tables: SINKS.map(|sink| (sink.to_owned(), Table::default())).into(),
            broker: Broker::default(),
            processes: Vec::new(),
            flights: Vec::new(),
            is_calm: false,
            going_back: None,
            is_finished: false,
            is_cut: false,
            trace: 0,
            told: None,
            counts: Counters::default(),
        };
        world.start(RestoreFrom::Newest);
        world
    }

    pub(crate) fn weather(&self) -> &Weather {
        &self.weather
    }

    /// From here on nothing fails. What froze stays as it is: it may have been dead all along.
    pub(crate) fn calm(&mut self) {
        self.is_calm = true;
        self.tell("calm", 0, 0);
    }

    /// One thing happens.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.counts.steps += 1;
        let us = 1 + self.rng.below(15) as i64;
        self.pass(us);
        match self.rng.below(100) {
            0..35 => self.fly(),
            35..42 => self.tick(),
            42..58 => self.deliver(),
            58..97 => self.work(),
            _ => self.disturb(),
        }
    }

    /// The end of a run: the outside has every row once.
    pub(crate) fn check_end(&self) -> Result<(), String> {
        let all = vec![self.weather.rows; self.weather.sources];
        let last = self.model.cuts.last_key_value();
        let rows = last.map_or_else(Vec::new, |(_, cut)| cut.rows.clone());
        if rows != all && !self.is_cut {
            return Err(format!(
                "the job ends at {rows:?}, and nobody has drained it"
            ));
        }
        for (sink, table) in &self.tables {
            self.check_table(sink, table, &rows)?;
        }
        Ok(())
    }

    fn pass(&mut self, us: i64) {
        self.now.monotonic_us += us;
        // A clock on the wall that jumps by up to a year: it may decide nothing.
        // Within a second it stands still, so that machines write the same at different times.
        let second = (self.now.monotonic_us / 1_000_000).unsigned_abs();
        let jump = second.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 18;
        self.now.wall_us = jump as i64 - (1 << 45);
    }

    /// Adds to the trace.
    fn tell(&mut self, what: &str, a: u64, b: u64) {
        let word = what.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
        self.trace = mix(self.trace ^ word ^ a.rotate_left(17) ^ b.rotate_left(39));
        if let Some(told) = &mut self.told {
            told.push(format!("{:>8} {what} {a} {b}", self.now.monotonic_us));
        }
    }

    fn fails(&mut self, chance: u64) -> bool {
        !self.is_calm && self.rng.chance(chance)
    }

    /// A process that gets time.
    fn active(&mut self) -> Option<usize> {
        let active = (0..self.processes.len()).filter(|at| self.processes[*at].is_active());
        let active: Vec<usize> = active.collect();
        (!active.is_empty()).then(|| active[self.rng.index(active.len())])
    }

    fn start(&mut self, from: RestoreFrom) {
        self.tell("start", self.processes.len() as u64, 0);
        let process = self.processes.len();
        self.processes.push(Process::new(from));
        self.ask(process, Errand::List);
    }

    fn ask(&mut self, process: usize, errand: Errand) {
        let stage = Stage::Sent;
        self.send(process, errand, stage);
    }

    /// Something sets out, and may take its time; for what nobody waits for, very long.
    fn send(&mut self, process: usize, errand: Errand, stage: Stage) {
        let mut slow_until_us = self.now.monotonic_us;
        if self.fails(self.weather.slow) {
            self.counts.slow += 1;
            let is_apply = matches!(errand, Errand::Apply(..));
            slow_until_us += self.rng.below(if is_apply { 15_000 } else { 3_000 }) as i64;
        }
        if process == NOBODY {
            slow_until_us += self.rng.below(40_000) as i64;
        }
        self.flights.push(Flight {
            process,
            errand,
            stage,
            slow_until_us,
        });
    }

    /// A request reaches the store, or its answer whoever asked.
    fn fly(&mut self) -> Result<(), String> {
        if self.flights.is_empty() {
            return Ok(());
        }
        let at = self.rng.index(self.flights.len());
        if self.flights[at].slow_until_us > self.now.monotonic_us {
            return Ok(());
        }
        let flight = self.flights.swap_remove(at);
        let process = flight.process;
        match flight.stage {
            Stage::Answered(answer) => {
                if self.processes[process].is_alive() && self.processes[process].is_frozen {
                    let stage = Stage::Answered(answer);
                    self.flights.push(Flight { stage, ..flight });
                    return Ok(());
                }
                self.answered(process, answer)
            }
            Stage::Sent => self.arrive(process, flight.errand),
        }
    }

    /// A request reaches the store, unless it is lost.
    fn arrive(&mut self, process: usize, errand: Errand) -> Result<(), String> {
        if !self.fails(self.weather.unanswered) {
            let answer = self.perform(process, errand)?;
            // A request that was told as unanswered, and is done after all, has nobody to tell.
            if let Some(answer) = answer.filter(|_| process != NOBODY) {
                self.send(process, Errand::List, Stage::Answered(answer));
            }
            return Ok(());
        }
        let copy = errand.clone();
        match self.rng.below(3) {
            // Lost on the way there.
            0 => self.counts.lost_requests += 1,
            // Late.
            1 => {
                self.counts.late_requests += 1;
                self.ask(NOBODY, copy);
            }
            // Lost on the way back.
            _ => {
                self.counts.lost_answers += 1;
                self.perform(NOBODY, copy)?;
            }
        }
        self.unanswered(process, errand)
    }

    /// Whoever asked learns that there is no answer.
    fn unanswered(&mut self, process: usize, errand: Errand) -> Result<(), String> {
        if process == NOBODY || !self.processes[process].is_alive() {
            return Ok(());
        }
        let fact = match errand {
            // These are asked again by whoever needs them.
            Errand::List
            | Errand::Read(_)
            | Errand::Apply(..)
            | Errand::Settle
            | Errand::Prepare(..)
            | Errand::Prepared(_) => {
                self.ask(process, errand);
                return Ok(());
            }
            Errand::Commit(_, verdict) => return self.unsure(process, verdict),
            Errand::Create(..) if self.is_entering(process) => return self.look_again(process),
            Errand::Create(position, _) => Fact::Created {
                position,
                created: Created::Unknown,
            },
            Errand::LookUp(position) | Errand::LookBehind(position, _) => Fact::LookedUp {
                position,
                looked_up: LookedUp::Unknown,
            },
            Errand::Put(taken) => declined(&taken),
            Errand::Delete(name) => Fact::NotDeleted(name),
        };
        self.processes[process].send(Letter::Fact(fact));
        Ok(())
    }

    /// The store or a database does what it was asked for.
    fn perform(&mut self, process: usize, errand: Errand) -> Result<Option<Answer>, String> {
        Ok(Some(match errand {
            Errand::List => {
                let prefix = self.scope.job_prefix();
                let names = self
                    .store
                    .objects
                    .keys()
                    .filter(|name| name.starts_with(&prefix));
                Answer::Listed(names.cloned().collect())
            }
            Errand::Read(position) => {
                let bytes = self.store.objects.get(&self.scope.entry(position));
                Answer::Read(position, bytes.cloned())
            }
            Errand::Create(position, bytes) => {
                let created = self.create(position, bytes)?;
                Answer::Created(position, created)
            }
            Errand::LookUp(position) => {
                let bytes = self.store.objects.get(&self.scope.entry(position));
                let found = bytes.map(|bytes| Digest::of(bytes));
                self.ask(process, Errand::LookBehind(position, found));
                return Ok(None);
            }
            Errand::LookBehind(position, found) => {
                let is_last = self.store.is_last(&self.scope, position);
                let looked_up = match found {
                    Some(digest) => LookedUp::Found { digest, is_last },
                    None => LookedUp::Absent { is_last },
                };
                Answer::LookedUp(position, looked_up)
            }
            Errand::Put(taken) => self.put(taken),
            Errand::Delete(name) => {
                let markers = self.tables.values().map(|table| CheckpointId(table.marker));
                if self.store.objects.contains_key(&name) {
                    let markers: Vec<CheckpointId> = markers.collect();
                    self.counts.outlived += self.model.deleting(&name, &markers)?;
                    self.store.objects.remove(&name);
                    self.counts.deleted += 1;
                    self.tell(&name, 0, 0);
                }
                Answer::Deleted(name)
            }
            Errand::Apply(sink, manifest) => {
                let marker = self.apply(&sink, &manifest)?;
                Answer::Applied(sink, marker)
            }
            Errand::Settle => Answer::Settled(self.settle(process)),
            Errand::Prepare(verdict, bytes) => {
                let name = self.scope.object(&verdict.name());
                self.store.objects.insert(name, bytes);
                Answer::Decided(verdict, Decision::Prepared)
            }
            Errand::Commit(epoch, verdict) => {
                let decision = self.commit(epoch, verdict)?;
                Answer::Decided(verdict, decision)
            }
            Errand::Prepared(verdict) => {
                let name = self.scope.object(&verdict.name());
                Answer::PreparedIs(verdict, self.store.objects.get(&name).cloned())
            }
        }))
    }

    fn create(&mut self, position: Position, bytes: Vec<u8>) -> Result<Created, String> {
        let name = self.scope.entry(position);
        if self.store.objects.contains_key(&name) {
            return Ok(Created::Exists);
        }
        let landed = self.model.landed(position, &bytes, &self.store)?;
        match (landed, Entry::decode(&bytes)) {
            (Landed::Ghost, _) => self.counts.ghosts += 1,
            (Landed::Stands, Ok(Entry::Attempt(_))) => self.counts.attempts += 1,
            (Landed::Stands, _) => self.counts.decided += 1,
        }
        if let Ok(Entry::Attempt(start)) = Entry::decode(&bytes) {
            let base = start.base.map(|base| base.decided.checkpoint);
            let wanted = self.going_back.as_ref().map(|from| match from {
                RestoreFrom::Checkpoint(checkpoint) => Some(*checkpoint),
                _ => None,
            });
            // One that was still on its way may come in between: then one tries again.
            if wanted == Some(base) {
                self.going_back = None;
            }
        }
        self.tell(&name, bytes.len() as u64, 0);
        self.store.objects.insert(name, bytes);
        Ok(Created::Done)
    }

    /// Uploads what a subtask has taken; it may break off.
    fn put(&mut self, mut taken: Box<Taken>) -> Answer {
        for (name, bytes) in std::mem::take(&mut taken.uploads) {
            if self.fails(self.weather.partial) {
                self.counts.partial += 1;
                let len = self.rng.index(bytes.len());
                self.store.objects.insert(name, bytes[..len].to_vec());
                return Answer::Stored(taken, false);
            }
            self.store.objects.insert(name, bytes);
        }
        Answer::Stored(taken, true)
    }

    /// A sink's transaction: rows and marker, or nothing where the marker says that it is done.
    fn apply(&mut self, sink: &str, manifest: &Manifest) -> Result<CheckpointId, String> {
        let checkpoint = manifest.checkpoint;
        let table = &self.tables[sink];
        if table.marker >= checkpoint.0 {
            // A sink that decides tells of what it is told to, and not of what it is deciding.
            return Ok(match self.weather.decides {
                true => checkpoint,
                false => CheckpointId(table.marker),
            });
        }
        if manifest.since.is_some_and(|since| since.0 > table.marker) {
            return Err(format!(
                "`{sink}` was told to apply {checkpoint}, which follows {:?}, and is at {}",
                manifest.since, table.marker
            ));
        }
        for object in manifest.objects() {
            self.store
                .whole(&self.scope, object)
                .map_err(|e| format!("`{sink}` needs {e}"))?;
        }
        let rows = self.store.rows(&self.scope, &manifest.sinks[sink]);
        let table = self.tables.get_mut(sink).expect("there is such a sink");
        table.marker = checkpoint.0;
        rows.into_iter()
            .for_each(|row| *table.rows.entry(row).or_default() += 1);
        self.tell("apply", checkpoint.0, 0);
        let rows = self.model.cuts[&checkpoint].rows.clone();
        self.check_table(sink, &self.tables[sink], &rows)?;
        Ok(checkpoint)
    }

    /// Readers see exactly the rows before a decided checkpoint's barriers.
    fn check_table(&self, sink: &str, table: &Table, rows: &[u32]) -> Result<(), String> {
        let expected = all(rows).count();
        let twice = table.rows.iter().find(|(_, count)| **count != 1);
        let lost = all(rows).find(|row| !table.rows.contains_key(row));
        if twice.is_some() || lost.is_some() || table.rows.len() != expected {
            return Err(format!(
                "`{sink}` at {} has {} rows of {expected}, lost {lost:?}, twice {twice:?}",
                table.marker,
                table.rows.len()
            ));
        }
        Ok(())
    }

    /// An answer reaches whoever asked.
    fn answered(&mut self, process: usize, answer: Answer) -> Result<(), String> {
        if !self.processes[process].is_alive() {
            return Ok(());
        }
        let fact = match answer {
            Answer::Listed(names) => {
                if let State::Listing(from) = &self.processes[process].state {
                    let from = from.clone();
                    return self.list(process, &names, from);
                }
                Fact::Listed(names)
            }
            Answer::Read(position, bytes) => return self.read(process, position, bytes),
            Answer::Settled(notes) => return self.noted(process, notes),
            Answer::PreparedIs(verdict, bytes) => {
                return self.enter(process, verdict, bytes);
            }
            Answer::Decided(verdict, decision) => return self.decide(process, verdict, decision),
            Answer::Created(position, created) => {
                if self.is_entering(process) {
                    return self.look_again(process);
                }
                Fact::Created { position, created }
            }
            Answer::LookedUp(position, looked_up) => Fact::LookedUp {
                position,
                looked_up,
            },
            Answer::Stored(taken, true) if !self.fails(self.weather.declined) => {
                Fact::Acknowledged {
                    checkpoint: taken.checkpoint,
                    subtask: SubtaskIndex(taken.subtask),
                    snapshot: Box::new(taken.snapshot),
                }
            }
            Answer::Stored(taken, is_whole) => {
                self.counts.declined += u64::from(is_whole);
                declined(&taken)
            }
            Answer::Deleted(name) => Fact::Deleted(name),
            Answer::Applied(sink, marker) => Fact::Applied {
                sink,
                marker: Some(marker),
            },
        };
        let is_acknowledged = matches!(fact, Fact::Acknowledged { .. });
        let is_loss = is_acknowledged || matches!(fact, Fact::Declined { .. });
        if is_loss && self.fails(self.weather.lost_letter) {
            self.counts.lost_acknowledgements += u64::from(is_acknowledged);
        } else {
            self.processes[process].send(Letter::Fact(fact));
        }
        Ok(())
    }
}
