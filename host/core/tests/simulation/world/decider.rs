//! A sink whose transactions decide: what its broker does, and what a process does about it.

use wasmill_core::checkpoint::{AttemptId, Recovered, Settled, settle};

use crate::process::Deciding;

use super::*;

/// Keeps a sink's notes, and lets only the newest producer commit.
#[derive(Default)]
pub(super) struct Broker {
    epoch: u64,
    notes: Notes,
}

impl World {
    /// A producer begins: those before it can commit no more.
    pub(super) fn settle(&mut self, process: usize) -> Notes {
        self.broker.epoch += 1;
        if process != NOBODY {
            self.processes[process].epoch = self.broker.epoch;
        }
        self.broker.notes
    }

    /// A transaction's commit: rows and verdict, or nothing.
    pub(super) fn commit(&mut self, epoch: u64, verdict: Verdict) -> Result<Decision, String> {
        if epoch != self.broker.epoch {
            return Ok(Decision::Lost);
        }
        let name = self.scope.object(&verdict.name());
        let bytes = self.store.objects.get(&name);
        let bytes = bytes.ok_or_else(|| format!("`{name}` is committed and not there"))?;
        let entry = Entry::decode(bytes).map_err(|error| error.to_string())?;
        let Entry::Checkpoint(manifest) = entry else {
            return Err(format!("`{name}` is no manifest"));
        };
        let table = &self.tables[SINKS[0]];
        if manifest.since.map_or(0, |since| since.0) != table.marker {
            return Err(format!(
                "checkpoint {} follows {:?}, and is committed behind {}",
                manifest.checkpoint, manifest.since, table.marker
            ));
        }
        let rows = self.store.rows(&self.scope, &manifest.sinks[SINKS[0]]);
        let table = self.tables.get_mut(SINKS[0]).expect("there is such a sink");
        table.marker = manifest.checkpoint.0;
        rows.into_iter()
            .for_each(|row| *table.rows.entry(row).or_default() += 1);
        self.broker.notes.verdict = Some(verdict);
        self.model.committed = Some((verdict.attempt, verdict.checkpoint));
        self.counts.committed += 1;
        self.tell("commit", verdict.checkpoint.0, verdict.attempt.0);
        Ok(Decision::Committed)
    }

    /// A process has the sink's notes: it reads the log again, which nobody changes behind them.
    pub(super) fn noted(&mut self, process: usize, notes: Notes) -> Result<(), String> {
        let State::Settling(from) = &self.processes[process].state else {
            return Ok(());
        };
        let from = from.clone();
        self.list_again(process, from, notes)
    }

    pub(super) fn list_again(
        &mut self,
        process: usize,
        from: RestoreFrom,
        notes: Notes,
    ) -> Result<(), String> {
        self.processes[process].notes = Some(notes);
        self.processes[process].state = State::Listing(from);
        self.ask(process, Errand::List);
        Ok(())
    }

    /// Whether a process brings the log up to the sink's notes.
    pub(super) fn is_entering(&self, process: usize) -> bool {
        matches!(self.processes[process].state, State::Entering(..))
    }

    /// Whoever has tried to enter something sees what the log is like now.
    pub(super) fn look_again(&mut self, process: usize) -> Result<(), String> {
        let State::Entering(from, notes) = &self.processes[process].state else {
            return Ok(());
        };
        let (from, notes) = (from.clone(), *notes);
        self.list_again(process, from, notes)
    }

    /// The sink's data are put back, and its notes with them.
    pub(super) fn put_back(&mut self, checkpoint: Option<CheckpointId>) {
        let cut = checkpoint.and_then(|checkpoint| self.model.cuts.get(&checkpoint));
        let taken = cut.map(|cut| cut.attempt);
        let verdict = taken.zip(checkpoint).map(|(attempt, checkpoint)| Verdict {
            attempt,
            checkpoint,
            digest: Digest::of(b""),
        });
        self.broker.notes = Notes { verdict, taken };
    }

    /// A checkpoint is decided: what was prepared for it is of no more use.
    pub(super) fn clear(&mut self, process: usize) {
        if let Some(deciding) = self.processes[process].deciding.take() {
            let name = self.scope.object(&deciding.verdict.name());
            self.ask(process, Errand::Delete(name));
        }
    }

    /// Whether a process may begin its attempt; if not, it has asked for something first.
    pub(super) fn is_settled(
        &mut self,
        process: usize,
        from: &RestoreFrom,
        recovered: &Recovered,
    ) -> Result<bool, String> {
        let Some(notes) = self.processes[process].notes else {
            self.processes[process].state = State::Settling(from.clone());
            self.ask(process, Errand::Settle);
            return Ok(false);
        };
        if *from != RestoreFrom::Newest {
            return Ok(true);
        }
        match settle(&self.scope, recovered, (SINKS[0], "the broker"), &notes) {
            Ok(Settled::Entered) => Ok(true),
            Ok(Settled::Ahead(verdict)) => {
                let state = State::Entering(from.clone(), notes);
                self.processes[process].state = state;
                self.ask(process, Errand::Prepared(verdict));
                Ok(false)
            }
            // Others have gone on since the notes were read.
            Err(_) if self.processes[process].epoch != self.broker.epoch => {
                self.processes[process].state = State::Dead;
                Ok(false)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// What is prepared goes to the end of the log as it is now.
    pub(super) fn enter(
        &mut self,
        process: usize,
        verdict: Verdict,
        bytes: Option<Vec<u8>>,
    ) -> Result<(), String> {
        let State::Entering(from, _) = &self.processes[process].state else {
            return Ok(());
        };
        let from = from.clone();
        let recovered = self.read_log(&from);
        let is_overtaken = self.processes[process].epoch != self.broker.epoch;
        let (Some(bytes), Some(recovered)) = (bytes, recovered) else {
            // Its writer has entered it, and removed what it needs no more.
            let is_in = self.model.cuts.contains_key(&verdict.checkpoint);
            return match is_in || is_overtaken {
                true => self.look_again(process),
                false => Err(format!("{} is not there", verdict.name())),
            };
        };
        if Digest::of(&bytes) != verdict.digest {
            return Err(format!("{} is another", verdict.name()));
        }
        let entry = Entry::decode(&bytes).map_err(|error| error.to_string())?;
        let Entry::Checkpoint(manifest) = entry else {
            return Err(format!("{} is no manifest", verdict.name()));
        };
        if self.model.cuts.contains_key(&manifest.checkpoint) {
            return self.look_again(process);
        }
        self.counts.entered += 1;
        let (position, place) = (recovered.position, &manifest.place);
        let bytes = match place.position == position && place.previous == recovered.previous {
            true => bytes,
            false => {
                self.counts.renumbered += 1;
                let replaced = manifest.replaced(&recovered);
                Entry::Checkpoint(Box::new(replaced)).encode()
            }
        };
        self.ask(process, Errand::Create(position, bytes));
        Ok(())
    }

    /// The log as it stands, read in one go.
    fn read_log(&self, from: &RestoreFrom) -> Option<Recovered> {
        let names: Vec<String> = self.store.objects.keys().cloned().collect();
        let mut recovery = Recovery::new(self.scope.clone(), &names).ok()?;
        while let Some(position) = recovery.wants() {
            let bytes = self.store.objects.get(&self.scope.entry(position));
            recovery.read(position, Ok(bytes.cloned())).ok()?;
        }
        recovery.finish(from).ok()
    }

    /// An attempt opens the sink: it takes it over, unless the newest verdict is another than what
    /// the attempt goes on from.
    pub(super) fn open(
        &mut self,
        process: usize,
        attempt: AttemptId,
        base: Option<&Manifest>,
    ) -> bool {
        self.settle(process);
        let notes = self.broker.notes;
        let verdict = notes.verdict.map(|verdict| verdict.checkpoint);
        let since = base.map(|base| base.checkpoint);
        let is_known = notes.taken >= notes.verdict.map(|verdict| verdict.attempt);
        let table = self.tables[SINKS[0]].marker;
        let agrees = verdict == since || (is_known && since.map_or(0, |it| it.0) == table);
        if notes.taken > Some(attempt) || !agrees {
            self.tell("not ours", process as u64, attempt.0);
            self.processes[process].state = State::Dead;
            return false;
        }
        self.broker.notes.taken = Some(attempt);
        true
    }

    /// An entry is to be created, a manifest behind its commit.
    pub(super) fn write(&mut self, process: usize, position: Position, bytes: Vec<u8>) {
        let manifest = match Entry::decode(&bytes) {
            Ok(Entry::Checkpoint(manifest)) if self.weather.decides => manifest,
            _ => return self.ask(process, Errand::Create(position, bytes)),
        };
        if let Some(deciding) = &self.processes[process].deciding
            && deciding.position == position
        {
            if deciding.is_committed {
                self.ask(process, Errand::Create(position, bytes));
            }
            return;
        }
        let verdict = Verdict {
            attempt: manifest.place.attempt,
            checkpoint: manifest.checkpoint,
            digest: Digest::of(&bytes),
        };
        self.processes[process].deciding = Some(Deciding {
            position,
            verdict,
            bytes: bytes.clone(),
            is_committed: false,
        });
        self.ask(process, Errand::Prepare(verdict, bytes));
    }

    /// What has become of a manifest that is being decided.
    pub(super) fn decide(
        &mut self,
        process: usize,
        verdict: Verdict,
        decision: Decision,
    ) -> Result<(), String> {
        let epoch = self.processes[process].epoch;
        let Some(deciding) = &mut self.processes[process].deciding else {
            return Ok(());
        };
        if deciding.verdict != verdict || deciding.is_committed {
            return Ok(());
        }
        match decision {
            Decision::Prepared => self.ask(process, Errand::Commit(epoch, verdict)),
            Decision::Committed => {
                deciding.is_committed = true;
                let (position, bytes) = (deciding.position, deciding.bytes.clone());
                self.ask(process, Errand::Create(position, bytes));
            }
            Decision::Lost => {
                self.tell("lost", process as u64, verdict.checkpoint.0);
                self.processes[process].state = State::Dead;
            }
        }
        Ok(())
    }

    /// A commit without an answer: a new producer, behind which it cannot happen any more, asks
    /// whether it has; unless another attempt has taken the sink over.
    pub(super) fn unsure(&mut self, process: usize, verdict: Verdict) -> Result<(), String> {
        if self.broker.notes.taken != Some(verdict.attempt) {
            return self.decide(process, verdict, Decision::Lost);
        }
        self.settle(process);
        let is_committed = self.broker.notes.verdict == Some(verdict);
        let decision = match is_committed {
            true => Decision::Committed,
            false => Decision::Lost,
        };
        self.decide(process, verdict, decision)
    }
}
