//! Containing failures of aggregates' plugins, as `operator` does it for its own: the row to blame
//! is found, treated by the policy, and left out of the window.
//!
//! A merge or a result that fails has no row to blame: what was merged are accumulators of many
//! rows. Then the window's result is lost, and said to be: it is left out, and stands in the dead
//! letters as far as it is known, unless the policy is to fail.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};
use wasmill_core::dead_letter::kind;
use wasmill_core::encoding;
use wasmill_core::pipeline::Policy;

use super::super::draft::Draft;
use super::super::folded::{Folded, Folds, Held, Merge};
use super::super::{Emitted, WindowError};
use super::call::{CallFailure, Guest, Input, of_bytes};
use super::letters::Failed;
use super::placement::{NONE, Placement};
use super::{Guests, held};
use crate::operator::OperatorError;
use crate::task::slot;

/// Accumulators of one call, at most.
const CALL_COUNT_MAX: usize = 4_096;
/// Bytes of accumulators in one call, unless one alone has more.
const CALL_BYTES_MAX: usize = 8 << 20;

/// A result, or why there is none.
type Outcome = Result<Box<[u8]>, Arc<str>>;

impl Guests {
    /// Has each plugin add the rows of a batch to the accumulators of their groups. Where rows
    /// failed, they have been treated by the policy, and the others are given back to begin anew.
    pub(super) async fn add(
        &mut self,
        input: &Input<'_>,
        placement: Placement,
        emitted: &mut Emitted,
    ) -> Result<Result<Vec<Folds>, Vec<u32>>, WindowError> {
        let groups: Arc<[u32]> = placement.groups.into();
        let mut all = Vec::new();
        for (at, before) in placement.before.iter().enumerate() {
            let mut values: Vec<Option<Held>> = before.iter().map(held).collect();
            let added = self.add_to(at, input, (&groups, &mut values));
            let mut failed = added.await?;
            if !failed.is_empty() {
                failed.sort_unstable_by_key(|failed| failed.row);
                self.bury(at, input.batch, &failed, emitted)?;
                let is_left = |row: &u32| failed.binary_search_by_key(row, |it| it.row).is_err();
                let rows = 0..input.batch.len() as u32;
                return Ok(Err(rows.filter(is_left).collect()));
            }
            let values = before.iter().zip(values).map(|(before, value)| {
                let is_same = before.as_ref().map(|before| before.held()) == value.as_ref();
                match is_same {
                    true => before.clone(),
                    false => value.map(Folded::of),
                }
            });
            let merges = self.all[at].merges.clone();
            let values = values.collect();
            all.push(Folds::new(
                groups.clone(),
                values,
                &placement.shares,
                merges,
            ));
        }
        Ok(Ok(all))
    }

    /// Has one plugin add the rows; gives those that failed.
    async fn add_to(
        &mut self,
        at: usize,
        input: &Input<'_>,
        (groups, values): (&[u32], &mut [Option<Held>]),
    ) -> Result<Vec<Failed>, WindowError> {
        // Rows that no window takes, and those whose accumulator is lost, need no call.
        let is_lost = |group: u32| matches!(values[group as usize], Some(Held::Lost(_)));
        let rows = (0..).zip(groups);
        let rows = rows.filter(|(_, group)| **group != NONE && !is_lost(**group));
        let rows: Vec<u32> = rows.map(|(row, _)| row).collect();
        let is_whole = rows.len() == input.batch.len();
        let own = match is_whole {
            true => input.batch.clone(),
            false => input.batch.take(&UInt32Array::from(rows.clone()))?,
        };
        let own_groups: Vec<u32> = rows.iter().map(|row| groups[*row as usize]).collect();
        let own_input = Input {
            batch: &own,
            columns: input.columns,
        };
        let mut failed = Vec::new();
        let mut work: Vec<Range<usize>> = chunks(0..rows.len(), self.rows_max);
        while let Some(range) = work.pop() {
            let guest = &mut self.all[at];
            if range.len() > 1 && guest.weight(&own_groups[range.clone()], values) > CALL_BYTES_MAX
            {
                work.extend(chunks(range.clone(), range.len().div_ceil(2)));
                continue;
            }
            let added = guest.add(&own_input, range.clone(), (&own_groups, values));
            let added = added.await;
            slot::breathe().await;
            let failure = match added {
                Ok(rejects) => {
                    failed.extend(rejects.into_iter().map(|(row, reason)| Failed {
                        row: rows[range.start + row],
                        kind: kind::REJECT,
                        reason,
                        log: String::new(),
                        ran: None,
                    }));
                    continue;
                }
                Err(failure) => self.noted(failure)?,
            };
            match blamed(&failure, range.len()) {
                Some(row) => {
                    failed.push(Failed {
                        row: rows[range.start + row],
                        kind: kind::FAULT,
                        reason: failure.reason(),
                        log: failure.log(),
                        ran: self.all[at].ran,
                    });
                    let row = range.start + row;
                    work.extend([row + 1..range.end, range.start..row]);
                }
                None => {
                    let count = failure.pieces(range.len());
                    work.extend(chunks(range.clone(), range.len().div_ceil(count)));
                }
            }
            work.retain(|range| !range.is_empty());
        }
        Ok(failed)
    }

    /// Counts a failed call; an error where the plugin does not start.
    fn noted(&mut self, failure: CallFailure) -> Result<CallFailure, WindowError> {
        self.metrics.faults.add(1);
        match failure {
            CallFailure::Start(source) => Err(WindowError::Plugin(OperatorError::Start {
                operator: self.operator.clone(),
                source,
            })),
            failure => Ok(failure),
        }
    }

    /// Does the merges that wait, and computes results.
    pub(super) async fn settle(
        &mut self,
        drafts: Vec<Draft>,
        output: usize,
        emitted: &mut Emitted,
    ) -> Result<(), WindowError> {
        for at in 0..self.all.len() {
            let merges = self.all[at].merges.take();
            self.merge(at, &merges).await?;
        }
        for draft in drafts {
            self.compute(draft, output, emitted).await?;
        }
        Ok(())
    }

    async fn merge(&mut self, at: usize, merges: &[Merge]) -> Result<(), WindowError> {
        let mut work = chunks(0..merges.len(), CALL_COUNT_MAX);
        while let Some(range) = work.pop() {
            // What is merged with something lost is lost.
            let mut waiting: Vec<&Merge> = Vec::new();
            let mut bytes = 0;
            for merge in &merges[range.clone()] {
                let sides = [&merge.left, &merge.right].map(|side| side.known());
                let lost = sides.into_iter().flatten().find_map(|held| match held {
                    Held::Lost(reason) => Some(reason.clone()),
                    Held::Bytes(_) => None,
                });
                match lost {
                    Some(reason) => merge.into.settle(Held::Lost(reason)),
                    None if merge.into.known().is_none() => {
                        let sides = sides.into_iter().flatten().filter_map(of_bytes);
                        bytes += sides.map(<[u8]>::len).sum::<usize>();
                        waiting.push(merge);
                    }
                    None => {}
                }
            }
            if waiting.is_empty() {
                continue;
            }
            if bytes > CALL_BYTES_MAX && range.len() > 1 {
                work.extend(chunks(range.clone(), range.len().div_ceil(2)));
                continue;
            }
            let merged = self.all[at].merge(&waiting).await;
            slot::breathe().await;
            let Err(failure) = merged else { continue };
            let failure = self.noted(failure)?;
            match blamed(&failure, waiting.len()) {
                Some(pair) => {
                    let reason = self.lose(at, &failure, "accumulators were merged")?;
                    waiting[pair].into.settle(Held::Lost(reason));
                    work.push(range);
                }
                None => {
                    let size = range.len().div_ceil(failure.pieces(range.len()));
                    work.extend(chunks(range, size));
                }
            }
        }
        Ok(())
    }

    /// A merge or a result cannot be; the policy says whether that may be.
    fn lose(
        &mut self,
        at: usize,
        failure: &CallFailure,
        what: &str,
    ) -> Result<Arc<str>, WindowError> {
        let name = self.all[at].name.clone();
        let place = format!("while {what} for aggregate `{name}`");
        let counted = self.failures.count(1);
        counted.map_err(|budget| self.failed(format!("{failure}, {place}; {budget}")))?;
        if self.failures.policy() == Policy::Fail {
            return Err(self.failed(format!(
                "{failure}, {place}; mend the plugin, or say `on-error: skip` or `on-error: {{ \
                 dead-letter: SINK }}` to lose the window's result"
            )));
        }
        tracing::warn!(operator = %self.operator, aggregate = %name,
            "the result of a window is lost: {failure}");
        Ok(format!("{failure}, {place}").into())
    }

    /// Computes the columns of plugins, and appends the results that there are.
    async fn compute(
        &mut self,
        mut draft: Draft,
        output: usize,
        emitted: &mut Emitted,
    ) -> Result<(), WindowError> {
        let waiting = draft.take_waiting();
        let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
        for (at, accumulators) in waiting.iter().enumerate() {
            outcomes.push(self.results(at, accumulators).await?);
        }
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        for row in 0..draft.len() {
            let mut of = outcomes.iter().enumerate();
            match of.find_map(|(at, all)| Some((at, all[row].as_ref().err()?.clone()))) {
                None => kept.push(row as u32),
                Some((at, reason)) => lost.push((row, at, reason)),
            }
        }
        if !lost.is_empty() {
            self.bury_results(&draft, &lost, emitted)?;
            draft = draft.take(&UInt32Array::from(kept.clone()))?;
        }
        let mut computed: Vec<ArrayRef> = Vec::new();
        for (guest, outcomes) in self.all.iter().zip(&outcomes) {
            let bytes = kept
                .iter()
                .map(|row| outcomes[*row as usize].as_deref().ok());
            let (of, nullable) = (guest.result.data_type(), guest.result.is_nullable());
            let decoded = encoding::decode(of, nullable, bytes);
            computed.push(decoded.map_err(|source| WindowError::Results {
                operator: self.operator.clone(),
                source,
            })?);
        }
        if !kept.is_empty() {
            self.metrics.records_out.add(kept.len());
            emitted.push((output, draft.batch_with(computed)?));
        }
        Ok(())
    }

    /// The results of accumulators, whatever some of them do to the plugin.
    async fn results(
        &mut self,
        at: usize,
        accumulators: &[Option<Arc<Folded>>],
    ) -> Result<Vec<Outcome>, WindowError> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; accumulators.len()];
        for (outcome, folded) in outcomes.iter_mut().zip(accumulators) {
            if let Some(Held::Lost(reason)) = folded.as_ref().map(|it| it.held()) {
                if self.failures.policy() == Policy::Fail {
                    return Err(self.failed(format!(
                        "the result of a window was lost before: {reason}; say `on-error: skip` \
                         to go on without it"
                    )));
                }
                *outcome = Some(Err(reason.clone()));
            }
        }
        let mut work = chunks(0..accumulators.len(), CALL_COUNT_MAX);
        while let Some(range) = work.pop() {
            let (mut rows, mut bytes, mut size) = (Vec::new(), Vec::new(), 0);
            for row in range.clone().filter(|row| outcomes[*row].is_none()) {
                let of = accumulators[row].as_ref();
                let of = of.and_then(|folded| of_bytes(folded.held()));
                size += of.map_or(0, <[u8]>::len);
                rows.push(row);
                bytes.push(of);
            }
            if rows.is_empty() {
                continue;
            }
            if size > CALL_BYTES_MAX && range.len() > 1 {
                work.extend(chunks(range.clone(), range.len().div_ceil(2)));
                continue;
            }
            let results = self.all[at].results(&bytes).await;
            slot::breathe().await;
            let failure = match results {
                Ok(results) => {
                    for (row, result) in rows.into_iter().zip(results) {
                        outcomes[row] = Some(Ok(result));
                    }
                    continue;
                }
                Err(failure) => self.noted(failure)?,
            };
            match blamed(&failure, rows.len()) {
                Some(row) => {
                    let reason = self.lose(at, &failure, "a result was computed")?;
                    outcomes[rows[row]] = Some(Err(reason));
                    work.push(range);
                }
                None => {
                    let size = range.len().div_ceil(failure.pieces(range.len()));
                    work.extend(chunks(range, size));
                }
            }
        }
        let known = outcomes
            .into_iter()
            .map(|it| it.unwrap_or_else(|| Err("none".into())));
        Ok(known.collect())
    }

    pub(super) fn failed(&self, message: String) -> WindowError {
        WindowError::Plugin(OperatorError::Failed {
            operator: self.operator.clone(),
            message,
        })
    }
}

impl Guest {
    /// How many bytes of accumulators a call for these rows sends, where widths vary.
    fn weight(&self, groups: &[u32], values: &[Option<Held>]) -> usize {
        if self.width.is_some() {
            return 0;
        }
        let mut groups = groups.to_vec();
        groups.sort_unstable();
        groups.dedup();
        let bytes = groups.iter().map(|group| {
            let held = values[*group as usize].as_ref();
            held.and_then(of_bytes).map_or(0, <[u8]>::len)
        });
        bytes.sum()
    }
}

/// The position to blame: the one that the guest names, or the only one.
fn blamed(failure: &CallFailure, count: usize) -> Option<usize> {
    let named = failure.row().filter(|row| *row < count);
    named.or_else(|| (count == 1).then_some(0))
}

/// A stretch in pieces of a size, the first one last.
fn chunks(range: Range<usize>, size: usize) -> Vec<Range<usize>> {
    let starts = range.clone().step_by(size.max(1));
    let pieces = starts.map(|start| start..range.end.min(start + size.max(1)));
    let mut pieces: Vec<Range<usize>> = pieces.collect();
    pieces.reverse();
    pieces
}
