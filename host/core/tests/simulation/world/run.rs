//! What processes do in their world.

use wasmill_core::checkpoint::Name;

use crate::model::is_own;

use super::*;

impl World {
    /// A process has its listing.
    pub(super) fn list(
        &mut self,
        process: usize,
        names: &[String],
        from: RestoreFrom,
    ) -> Result<(), String> {
        let recovery = Recovery::new(self.scope.clone(), names).map_err(|e| e.to_string())?;
        let entries = names
            .iter()
            .filter_map(|name| match self.scope.parse(name) {
                Some(Name::Entry(position)) => Some(position.0),
                _ => None,
            });
        self.processes[process].listed = entries.max().unwrap_or(0);
        self.processes[process].state = State::Reading(recovery, from);
        self.recover(process)
    }

    /// A process has read an entry.
    pub(super) fn read(
        &mut self,
        process: usize,
        position: Position,
        bytes: Option<Vec<u8>>,
    ) -> Result<(), String> {
        let State::Reading(recovery, _) = &mut self.processes[process].state else {
            return Ok(());
        };
        if let Err(error) = recovery.read(position, Ok(bytes)) {
            // Between listing and reading, others may have gone on and deleted it.
            return self.fell_behind(process, &error);
        }
        self.recover(process)
    }

    /// What was listed is gone: fine if the log has gone on meanwhile; then one starts again.
    fn fell_behind(&mut self, process: usize, error: &RecoveryError) -> Result<(), String> {
        let process = &mut self.processes[process];
        process.state = State::Dead;
        if self.model.entries() > process.listed {
            return Ok(());
        }
        Err(error.to_string())
    }

    /// Reads on, or begins its attempt.
    fn recover(&mut self, process: usize) -> Result<(), String> {
        let State::Reading(recovery, _) = &self.processes[process].state else {
            return Ok(());
        };
        if let Some(position) = recovery.wants() {
            self.ask(process, Errand::Read(position));
            return Ok(());
        }
        let state = std::mem::replace(&mut self.processes[process].state, State::Dead);
        let State::Reading(recovery, from) = state else {
            return Ok(());
        };
        let recovered = match recovery.finish(&from) {
            Ok(recovered) => recovered,
            Err(error) => return self.fell_behind(process, &error),
        };
        if self.weather.decides && !self.is_settled(process, &from, &recovered)? {
            return Ok(());
        }
        let (sources, counters) = (self.weather.sources, self.weather.counters);
        let subtasks = (0..=sources + counters).map(|at| format!("subtask {at}"));
        let start = Start {
            scope: self.scope.clone(),
            settings: self.weather.settings,
            program: "simulation".into(),
            nonce: process as u64,
            key_hash: KeyHash {
                seed: 0,
                groups: KEYS,
            },
            operators: [("count".to_owned(), Identity::default())].into(),
            subtasks: subtasks.collect(),
            followers: SINKS.map(str::to_owned).into(),
            decider: self.weather.decides.then(|| SINKS[0].to_owned()),
            recovered,
        };
        let mut out = Vec::new();
        let coordinator = Coordinator::new(start, self.now, &mut out);
        self.processes[process].state = State::Running(Box::new(coordinator), None);
        self.act(process, out)
    }

    /// A coordinator looks at the time.
    pub(super) fn tick(&mut self) -> Result<(), String> {
        let Some(process) = self.active() else {
            return Ok(());
        };
        self.coordinate(process, Fact::Tick)
    }

    /// A letter arrives, or is lost.
    pub(super) fn deliver(&mut self) -> Result<(), String> {
        let Some(process) = self.active() else {
            return Ok(());
        };
        let letters = self.processes[process].letters.len();
        if letters == 0 {
            return Ok(());
        }
        let at = self.rng.index(letters);
        let (letter, has_overtaken) = self.processes[process].take(at);
        let taken = match letter {
            Letter::Fact(fact) => {
                let is_acknowledged = matches!(fact, Fact::Acknowledged { .. });
                let is_reordered = is_acknowledged && has_overtaken;
                self.counts.reordered_acknowledgements += u64::from(is_reordered);
                return self.coordinate(process, fact);
            }
            Letter::Inject(subtask, barrier) => {
                if self.fails(self.weather.lost_letter) {
                    self.counts.lost_barriers += 1;
                    return Ok(());
                }
                let job = self.job(process);
                job.and_then(|job| job.inject(subtask, barrier))
            }
            Letter::Abort(subtask, checkpoint) => {
                if let Some(job) = self.job(process) {
                    job.abort(subtask, checkpoint);
                }
                None
            }
        };
        self.take(process, taken);
        Ok(())
    }

    /// A subtask works.
    pub(super) fn work(&mut self) -> Result<(), String> {
        let Some(process) = self.active() else {
            return Ok(());
        };
        let mut rng = self.rng.clone();
        let job = self.job(process);
        let has_ended = job.as_ref().is_some_and(|job| job.has_ended());
        let taken = job.and_then(|job| job.work(&mut rng));
        self.rng = rng;
        self.take(process, taken);
        if has_ended && !self.processes[process].has_asked_to_finish {
            self.processes[process].has_asked_to_finish = true;
            return self.coordinate(process, Fact::Requested(Request::Finish));
        }
        Ok(())
    }

    fn job(&mut self, process: usize) -> Option<&mut Job> {
        match &mut self.processes[process].state {
            State::Running(_, Some(job)) => Some(job),
            _ => None,
        }
    }

    /// A snapshot goes to the store.
    fn take(&mut self, process: usize, taken: Option<Taken>) {
        if let Some(taken) = taken {
            self.tell("snapshot", u64::from(taken.subtask), taken.checkpoint.0);
            self.ask(process, Errand::Put(Box::new(taken)));
        }
    }

    /// A coordinator gets a fact.
    fn coordinate(&mut self, process: usize, fact: Fact) -> Result<(), String> {
        let now = self.now;
        let State::Running(coordinator, _) = &mut self.processes[process].state else {
            return Ok(());
        };
        let mut out = Vec::new();
        coordinator.step(now, fact, &mut out);
        self.act(process, out)
    }

    /// A process does what its coordinator wants.
    fn act(&mut self, process: usize, actions: Vec<Action>) -> Result<(), String> {
        for action in actions {
            match action {
                Action::Create { position, bytes } => self.write(process, position, bytes),
                Action::LookUp { position } => self.ask(process, Errand::LookUp(position)),
                Action::List => self.ask(process, Errand::List),
                Action::Delete { name } => self.ask(process, Errand::Delete(name)),
                Action::Apply { sink, manifest } => {
                    self.told(process, &sink, manifest.checkpoint)?;
                    self.ask(process, Errand::Apply(sink, manifest));
                }
                Action::Begin { attempt } => {
                    self.tell("begin", process as u64, attempt.0);
                    self.begin(process)?;
                }
                Action::Inject {
                    checkpoint,
                    is_last,
                    base,
                    since,
                    ..
                } => {
                    let barrier = Barrier {
                        checkpoint,
                        base,
                        since,
                        is_last,
                    };
                    self.tell("inject", process as u64, checkpoint.0);
                    self.tell_subtasks(process, |subtask| Letter::Inject(subtask, barrier));
                }
                Action::Abort { checkpoint, .. } => {
                    self.counts.aborted += 1;
                    self.tell("abort", process as u64, checkpoint.0);
                    self.aborted(process, checkpoint)?;
                    self.tell_subtasks(process, |subtask| Letter::Abort(subtask, checkpoint));
                }
                Action::Cut => {
                    self.tell("cut", process as u64, 0);
                    self.is_cut = true;
                    if let Some(job) = self.job(process) {
                        job.cut();
                    }
                }
                Action::Decided { manifest } => self.decided(process, &manifest)?,
                Action::End(end) => self.ended(process, &end)?,
            }
        }
        Ok(())
    }

    /// A sink is told once to apply something, and told nothing else before it has.
    fn told(&mut self, process: usize, sink: &str, checkpoint: CheckpointId) -> Result<(), String> {
        let told = &mut self.processes[process].told;
        let before = told.insert(sink.to_owned(), checkpoint);
        if before.is_some_and(|before| before >= checkpoint) {
            return Err(format!("`{sink}` is told {checkpoint} after {before:?}"));
        }
        Ok(())
    }

    /// A coordinator gives a checkpoint up.
    fn aborted(&mut self, process: usize, checkpoint: CheckpointId) -> Result<(), String> {
        match &self.processes[process].state {
            State::Running(coordinator, _) => self.model.aborted(coordinator.attempt(), checkpoint),
            _ => Ok(()),
        }
    }

    fn tell_subtasks(&mut self, process: usize, letter: impl Fn(u32) -> Letter) {
        let subtasks = self.weather.sources + self.weather.counters + 1;
        let letters = (0..subtasks as u32).map(letter);
        letters.for_each(|letter| self.processes[process].send(letter));
    }

    /// An attempt stands: the job is restored, and the sinks tell their markers.
    fn begin(&mut self, process: usize) -> Result<(), String> {
        let State::Running(coordinator, _) = &self.processes[process].state else {
            return Ok(());
        };
        let attempt = coordinator.attempt();
        let manifest = coordinator.newest().cloned();
        let shape = (
            self.weather.sources,
            self.weather.counters,
            self.weather.rows,
        );
        let scope = &self.scope;
        let job = Job::start((scope, attempt), shape, manifest.as_ref(), &self.store);
        let is_careless = self.fails(self.weather.careless);
        self.model.begun(attempt)?;
        let is_current = self.model.attempt() == attempt.0;
        match job {
            Ok(mut job) => {
                job.is_careless = is_careless;
                if let State::Running(_, place) = &mut self.processes[process].state {
                    *place = Some(Box::new(job));
                }
            }
            // What it restores may be gone if a later attempt has begun.
            Err(_) if !is_current => {
                self.processes[process].state = State::Dead;
                return Ok(());
            }
            Err(error) => return Err(format!("attempt {attempt} cannot restore {error}")),
        }
        if self.weather.decides && !self.open(process, attempt, manifest.as_deref()) {
            return Ok(());
        }
        for sink in SINKS {
            let marker = self.tables[sink].marker;
            let fact = Fact::Applied {
                sink: sink.to_owned(),
                marker: (marker > 0).then_some(CheckpointId(marker)),
            };
            self.processes[process].send(Letter::Fact(fact));
        }
        Ok(())
    }

    /// A coordinator believes that a checkpoint is decided.
    fn decided(&mut self, process: usize, manifest: &Arc<Manifest>) -> Result<(), String> {
        let place = &manifest.place;
        self.tell("decided", process as u64, manifest.checkpoint.0);
        let bytes = Entry::Checkpoint(Box::new(manifest.as_ref().clone())).encode();
        if !self.model.has(place.position, Digest::of(&bytes)) {
            return Err(format!(
                "attempt {} believes in checkpoint {} at {}, where something else stood",
                place.attempt, manifest.checkpoint, place.position
            ));
        }
        self.clear(process);
        self.counts.savepoints += u64::from(manifest.reason == Reason::Savepoint);
        let is_shared = manifest.objects().any(|it| !is_own(manifest, &it.name));
        self.counts.shared += u64::from(is_shared);
        Ok(())
    }

    fn ended(&mut self, process: usize, end: &End) -> Result<(), String> {
        let state = std::mem::replace(&mut self.processes[process].state, State::Dead);
        let attempt = match state {
            State::Running(coordinator, _) => coordinator.attempt().0,
            _ => 0,
        };
        self.tell("end", process as u64, attempt);
        match end {
            End::Done { is_finished, .. } => {
                self.is_finished |= *is_finished;
                self.counts.stops += 1;
                Ok(())
            }
            End::Broken(AttemptError::Fenced { .. }) => {
                self.counts.fenced += 1;
                Ok(())
            }
            End::Broken(AttemptError::Failures { .. }) => {
                self.counts.failed += 1;
                Ok(())
            }
            // Another attempt has gone on, and this one has not found out otherwise yet.
            End::Broken(AttemptError::SinkAhead { .. }) if attempt != self.model.attempt() => {
                Ok(())
            }
            End::Broken(error) => Err(error.to_string()),
        }
    }

    /// Something goes wrong, or somebody does something.
    pub(super) fn disturb(&mut self) -> Result<(), String> {
        let alive = self
            .processes
            .iter()
            .filter(|process| process.is_active())
            .count();
        if alive == 0 {
            return self.restart();
        }
        if self.is_calm {
            return Ok(());
        }
        // Each of the chances is meant for a step; only a few in a hundred come here.
        const SCARCITY: u64 = 33;
        if self.rng.chance(self.weather.crash * SCARCITY)
            && let Some(process) = self.active()
        {
            self.tell("crash", process as u64, 0);
            self.counts.crashes += 1;
            self.processes[process].state = State::Dead;
            self.processes[process].letters.clear();
        }
        let is_going = self.going_back.is_some();
        if !is_going && self.rng.chance(self.weather.freeze * SCARCITY) {
            let at = self.rng.index(self.processes.len());
            self.freeze_or_wake(at);
        }
        if !is_going && self.rng.chance(self.weather.takeover * SCARCITY) && alive < 3 {
            self.counts.takeovers += 1;
            self.start(RestoreFrom::Newest);
        }
        if self.rng.chance(self.weather.request * SCARCITY)
            && let Some(process) = self.active()
        {
            return self.ask_for_something(process);
        }
        Ok(())
    }

    fn freeze_or_wake(&mut self, at: usize) {
        let process = &mut self.processes[at];
        process.is_frozen ^= true;
        self.counts.freezes += u64::from(process.is_alive() && process.is_frozen);
        if let State::Running(coordinator, _) = &process.state {
            let is_over = coordinator.attempt().0 < self.model.attempt();
            self.counts.zombies += u64::from(is_over && !process.is_frozen);
        }
    }

    fn ask_for_something(&mut self, process: usize) -> Result<(), String> {
        let fact = match self.rng.below(7) {
            0..3 => Fact::Requested(Request::Savepoint),
            3 => Fact::Requested(Request::StopWithSavepoint),
            4 => Fact::Requested(Request::Stop),
            5 if self.rng.chance(2_000) => Fact::Draining,
            _ => {
                let savepoints = self.model.cuts.iter();
                let savepoints = savepoints.filter(|(_, cut)| cut.reason == Reason::Savepoint);
                let Some(checkpoint) = savepoints.map(|(checkpoint, _)| *checkpoint).next_back()
                else {
                    return Ok(());
                };
                self.model.disposed.insert(checkpoint);
                Fact::Disposed(checkpoint)
            }
        };
        self.coordinate(process, fact)
    }

    /// Somebody starts the job again; sometimes from where it stood before.
    fn restart(&mut self) -> Result<(), String> {
        if self.is_finished {
            return Ok(());
        }
        if let Some(from) = self.going_back.clone() {
            self.start(from);
            return Ok(());
        }
        let is_quiet = self.processes.iter().all(|process| !process.is_alive());
        if self.weather.goes_back && is_quiet && self.fails(3_000) {
            return self.go_back();
        }
        self.start(RestoreFrom::Newest);
        Ok(())
    }

    /// The job begins anew or from an older checkpoint, and its sinks' data are put back with it.
    fn go_back(&mut self) -> Result<(), String> {
        let is_harmless =
            |errand: &Errand| !matches!(errand, Errand::Apply(..) | Errand::Delete(_));
        self.flights.retain(|flight| is_harmless(&flight.errand));
        // Whoever puts data back has ended whatever could still commit to it.
        self.settle(NOBODY);
        let standing = self.model.cuts.iter();
        let standing = standing.filter(|(_, cut)| self.model.stands(cut.position));
        let standing: Vec<CheckpointId> = standing.map(|(checkpoint, _)| *checkpoint).collect();
        let at = self.rng.index(standing.len() + 1);
        let (from, rows, marker) = match standing.get(at) {
            Some(checkpoint) => {
                let rows = self.model.cuts[checkpoint].rows.clone();
                (RestoreFrom::Checkpoint(*checkpoint), rows, checkpoint.0)
            }
            None => (RestoreFrom::Nothing, Vec::new(), 0),
        };
        self.tell("go back", marker, 0);
        self.counts.went_back += 1;
        for table in self.tables.values_mut() {
            table.marker = marker;
            table.rows = all(&rows).map(|row| (row, 1)).collect();
        }
        self.put_back((marker > 0).then_some(CheckpointId(marker)));
        self.going_back = Some(from.clone());
        self.start(from);
        Ok(())
    }
}
