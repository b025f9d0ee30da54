//! Containing failures: find the row to blame, treat it by the policy, run the rest.
//!
//! A guest that fails usually names the row itself. Where it does not, the rows run again in pieces
//! and then one by one: every piece that succeeds takes effect, so the search costs a few extra
//! calls and never repeats an effect.

use std::{ops::Range, sync::Arc, time::Duration};

use arrow_array::ArrayRef;
use arrow_schema::ArrowError;
use wasmill_core::{
    batch::Batch,
    boundary::{DecodeError, Effects, EncodeError},
    dead_letter::kind,
    pipeline::{OperatorPolicy, Policy},
    timer::{TimeDomain, TimerError},
};

use super::{
    Keyed, Operator, OperatorError,
    call::{self, Keys, Rows},
};
use crate::{
    dead_letter::{Failure, LetterError, Letters},
    state::{BatchKeys, KeyIndex},
    wasm::{CallError, PIECES},
};

/// Why one call had no effect.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallFailure {
    #[error("{0}")]
    Start(#[source] CallError),
    #[error("{0}")]
    Call(#[source] CallError),
    #[error("the plugin returned buffers that do not keep to the contract: {0}")]
    Decode(#[source] DecodeError),
    #[error("the plugin's timers do not keep to the contract: {0}")]
    Timer(#[source] TimerError),
    #[error("the plugin left timers pending that were due")]
    Unfired,
    #[error("{0}")]
    Encode(#[source] EncodeError),
    #[error("{0}")]
    Rows(#[source] ArrowError),
    #[error("{0}")]
    Letters(#[source] LetterError),
    /// The policy ends the job over a refused row.
    #[error("{0}")]
    Refused(String),
}

impl CallFailure {
    fn row(&self) -> Option<usize> {
        match self {
            Self::Call(error) => error.row().map(|row| row as usize),
            _ => None,
        }
    }

    /// What is wrong, for who is told the row's place besides.
    fn reason(&self) -> String {
        match self {
            Self::Call(error) => error.reason(),
            other => other.to_string(),
        }
    }

    /// Into how many pieces so many rows are cut to find the one to blame.
    fn pieces(&self, rows: usize) -> usize {
        match self {
            Self::Call(error) => error.pieces(rows),
            _ => PIECES,
        }
    }

    /// Whether fewer rows or keys at once would do.
    fn is_too_large(&self) -> bool {
        matches!(self, Self::Encode(EncodeError::TooLarge { .. }))
    }

    fn log(&self) -> String {
        let lines = match self {
            Self::Call(error) => error.log(),
            _ => &[],
        };
        lines
            .iter()
            .map(|line| line.text.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The policy for rows that fail, and how many have.
pub struct Failures {
    policy: Policy,
    budget: Option<(u64, Option<u64>)>,
    failed: u64,
    /// Rows since the budget's stretch began.
    seen: u64,
}

impl Failures {
    /// No failures yet.
    pub fn new(policy: &OperatorPolicy) -> Self {
        Self {
            policy: policy.on_error,
            budget: policy.budget,
            failed: 0,
            seen: 0,
        }
    }

    /// What happens to a row that fails.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Counts rows among which so many may fail.
    pub fn see(&mut self, rows: usize) {
        self.seen += rows as u64;
        if let Some((_, Some(of))) = self.budget
            && self.seen >= of
        {
            (self.seen, self.failed) = (0, 0);
        }
    }

    /// Counts failed rows; says what is wrong when they are too many.
    ///
    /// # Errors
    /// If they are more than the budget allows.
    pub fn count(&mut self, rows: usize) -> Result<(), String> {
        self.failed += rows as u64;
        match self.budget {
            Some((most, _)) if self.failed > most => Err(format!(
                "{} rows failed and `error-budget` allows {most}",
                self.failed
            )),
            _ => Ok(()),
        }
    }
}

/// The rows of one batch on their way through an operator.
pub(super) struct Run<'a> {
    pub stream: usize,
    pub batch: &'a Batch,
    pub features: &'a [ArrayRef],
    pub emitted: &'a mut Vec<(usize, Batch)>,
}

impl Operator {
    /// Processes rows, whatever some of them do to the guest.
    pub(super) async fn isolate(
        &mut self,
        run: &mut Run<'_>,
        rows: Range<usize>,
        mut keyed: Option<&mut Keyed>,
    ) -> Result<(), OperatorError> {
        self.failures.see(rows.len());
        let mut work = vec![rows];
        while let Some(rows) = work.pop() {
            let Err(failure) = self.attempt(run, rows.clone(), keyed.as_deref_mut()).await else {
                continue;
            };
            if failure.is_too_large() && rows.len() > 1 {
                work.extend(pieces(rows, PIECES));
                continue;
            }
            let failure = self.noted(failure)?;
            if let CallFailure::Refused(message) = failure {
                return Err(self.failed(message));
            }
            let blamed = failure.row().filter(|row| *row < rows.len());
            match blamed.or_else(|| (rows.len() == 1).then_some(0)) {
                Some(row) => {
                    let row = rows.start + row;
                    self.bury(run, row, &failure)?;
                    work.push(row + 1..rows.end);
                    work.push(rows.start..row);
                }
                None => {
                    let count = failure.pieces(rows.len());
                    work.extend(pieces(rows, count));
                }
            }
            work.retain(|rows| !rows.is_empty());
        }
        Ok(())
    }

    /// Counts a failed call; an error where the plugin does not start.
    fn noted(&mut self, failure: CallFailure) -> Result<CallFailure, OperatorError> {
        self.metrics.faults.add(1);
        match failure {
            CallFailure::Start(source) => Err(OperatorError::Start {
                operator: self.name.clone(),
                source,
            }),
            failure => Ok(failure),
        }
    }

    async fn attempt(
        &mut self,
        run: &mut Run<'_>,
        rows: Range<usize>,
        keyed: Option<&mut Keyed>,
    ) -> Result<(), CallFailure> {
        let whole = rows.len() == run.batch.len();
        let some = (!whole).then(|| run.batch.slice(rows.start, rows.len()));
        let some_features: Vec<ArrayRef>;
        let features = if whole {
            run.features
        } else {
            let slice = |feature: &ArrayRef| feature.slice(rows.start, rows.len());
            some_features = run.features.iter().map(slice).collect();
            &some_features
        };
        let batch = some.as_ref().unwrap_or(run.batch);
        let called = Rows {
            stream: run.stream,
            batch,
            features,
        };
        let Some(keyed) = keyed else {
            return self.call(Some(called), None, run.emitted).await;
        };
        let some_keys = (!whole).then(|| call::keys_of(&keyed.keys, rows));
        let keys = Keys {
            index: &mut keyed.index,
            batch: some_keys.as_ref().unwrap_or(&keyed.keys),
        };
        self.call(Some(called), Some(keys), run.emitted).await
    }

    /// Fires the due timers of keys without rows, whatever some of them do to the guest.
    pub(super) async fn fire(
        &mut self,
        due: &[u32],
        (domain, clock): (TimeDomain, i64),
        index: &mut KeyIndex,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), OperatorError> {
        let mut work = vec![due];
        while let Some(due) = work.pop() {
            let mut keys = BatchKeys::default();
            for key in due {
                index.include(*key, &mut keys);
            }
            let batch = &keys;
            let called = self.call(None, Some(Keys { index, batch }), emitted).await;
            let called = called.and_then(|()| self.check_fired(due, domain, clock));
            let Err(failure) = called else { continue };
            if due.len() > 1 {
                let count = failure.pieces(due.len());
                work.extend(due.chunks(due.len().div_ceil(count)).rev());
                if failure.is_too_large() {
                    continue;
                }
            }
            let failure = self.noted(failure)?;
            if let [key] = due {
                self.lose_timers(*key, (domain, clock), &failure, index)?;
            }
        }
        Ok(())
    }

    /// A guest must fire what is due, or its keys would be woken for ever.
    fn check_fired(&self, due: &[u32], domain: TimeDomain, clock: i64) -> Result<(), CallFailure> {
        let timers = self.timers.as_ref();
        let is_left = |key: &&u32| timers.is_some_and(|timers| timers.is_due(**key, domain, clock));
        match due.iter().find(is_left) {
            None => Ok(()),
            Some(_) => Err(CallFailure::Unfired),
        }
    }

    /// A key whose timers cannot fire loses those that are due, if the policy lets rows go.
    fn lose_timers(
        &mut self,
        key: u32,
        (domain, clock): (TimeDomain, i64),
        failure: &CallFailure,
        index: &mut KeyIndex,
    ) -> Result<(), OperatorError> {
        let place = "while the timers of a key fired";
        self.failures
            .count(1)
            .map_err(|budget| self.failed(format!("{failure}, {place}; {budget}")))?;
        if self.failures.policy == Policy::Fail {
            return Err(self.failed(format!(
                "{failure}, {place}; mend the plugin, or say `on-error: skip` to lose the timers"
            )));
        }
        let timers = self.timers.as_mut().expect("timers were due");
        index.touch(key);
        for timer in timers.lose_due(key, domain, clock) {
            index.release(key);
            let name = &self.descriptor.timers[timer.timer as usize].name;
            tracing::warn!(operator = %self.name, timer = %name, time_us = timer.time,
                "a timer was lost: {failure}");
        }
        Ok(())
    }

    /// Treats one row that failed.
    fn bury(
        &mut self,
        run: &mut Run<'_>,
        row: usize,
        failure: &CallFailure,
    ) -> Result<(), OperatorError> {
        let (reason, place) = (failure.reason(), place(run.batch, row));
        self.failures
            .count(1)
            .map_err(|budget| self.failed(format!("{reason}, {place}; {budget}")))?;
        match self.failures.policy {
            Policy::Fail => Err(self.failed(format!(
                "{reason}, {place}; mend the plugin or the row, or say `on-error: skip` or \
                 `on-error: {{ dead-letter: SINK }}`"
            ))),
            Policy::Skip => {
                self.metrics.lost.add(1);
                Ok(())
            }
            Policy::DeadLetter(stream) => {
                self.metrics.dead_letters.add(1);
                let log = failure.log();
                let row = run.batch.slice(row, 1);
                let reasons = [reason.as_str()].into_iter();
                let batch = self
                    .letters(&row, (kind::FAULT, self.ran), reasons, &log)
                    .map_err(|error| self.failed(error.to_string()))?;
                run.emitted.push((stream.0, batch));
                Ok(())
            }
        }
    }

    /// Whether the rows that a call refused let the job go on.
    pub(super) fn check_rejects(
        &mut self,
        effects: &Effects<'_>,
        rows: Option<&Rows<'_>>,
    ) -> Result<(), CallFailure> {
        let rejects = &effects.rejects;
        let (Some(first), Some(rows)) = (rejects.rows.first(), rows) else {
            return Ok(());
        };
        let place = place(rows.batch, *first as usize);
        let reason = rejects.reason(0);
        if self.failures.policy == Policy::Fail {
            return Err(CallFailure::Refused(format!(
                "the plugin refused a row ({reason}), {place}; mend the row, or say \
                 `on-error: skip` or `on-error: {{ dead-letter: SINK }}`"
            )));
        }
        self.failures.count(rejects.len()).map_err(|budget| {
            CallFailure::Refused(format!(
                "the plugin refused a row ({reason}), {place}; {budget}"
            ))
        })
    }

    /// Treats the rows that a call refused.
    pub(super) fn bury_rejects(
        &self,
        effects: &Effects<'_>,
        rows: Option<&Rows<'_>>,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), CallFailure> {
        let rejects = &effects.rejects;
        let Some(rows) = rows.filter(|_| !rejects.is_empty()) else {
            return Ok(());
        };
        self.metrics.rejected.add(rejects.len());
        if let Policy::DeadLetter(stream) = self.failures.policy {
            self.metrics.dead_letters.add(rejects.len());
            let refused = Self::selected(rows, rejects.rows)?;
            let reasons = (0..rejects.len()).map(|at| rejects.reason(at));
            let batch = self
                .letters(&refused, (kind::REJECT, None), reasons, "")
                .map_err(CallFailure::Letters)?;
            emitted.push((stream.0, batch));
        }
        Ok(())
    }

    /// A dead letter for each row, of one reason each.
    fn letters<'a>(
        &self,
        rows: &Batch,
        (kind, ran): (&str, Option<Duration>),
        reasons: impl Iterator<Item = &'a str>,
        log: &str,
    ) -> Result<Batch, LetterError> {
        let mut letters = Letters::new(&self.job);
        for (row, reason) in reasons.enumerate() {
            let failure = Failure {
                at: &self.name,
                kind,
                reason,
                plugin: Some(&self.guest.digest),
                log: Some(log),
                ran,
            };
            letters.push_row(&failure, rows, row)?;
        }
        Ok(Batch::new(letters.finish()?, rows.lineage.clone()))
    }

    fn failed(&self, message: String) -> OperatorError {
        OperatorError::Failed {
            operator: self.name.clone(),
            message,
        }
    }
}

/// Cuts rows into so many pieces, the first one last: it is taken first.
fn pieces(rows: Range<usize>, count: usize) -> impl Iterator<Item = Range<usize>> {
    let size = rows.len().div_ceil(count);
    let starts = rows.clone().step_by(size).rev();
    starts.map(move |start| start..rows.end.min(start + size))
}

/// Where a row comes from, for people.
pub fn place(batch: &Batch, row: usize) -> Arc<str> {
    match batch.lineage.source(row) {
        Some((chunk, at)) => {
            let number = chunk.offset(at) + 1;
            format!("at row {number} of `{}`", chunk.split_name).into()
        }
        None => "at a row that a timer emitted".into(),
    }
}
