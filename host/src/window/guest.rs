//! Aggregates that plugins compute.
//!
//! A batch goes through these steps: its rows are put into groups, one for each accumulator that
//! they belong to ([`placement`]); each plugin adds the rows to the groups' accumulators in one
//! call; rows that a plugin refused or failed on are taken out, and the rest begins anew, so that
//! all aggregates of a window are over the same rows; then the rows are added to windows like any
//! others, which for a plugin's aggregate means to put the group's accumulator in its place. Merges
//! and results that windows ask for meanwhile wait, and are computed before control goes back.

mod call;
mod contain;
mod letters;
mod placement;

use std::sync::Arc;

use arrow_array::UInt32Array;
use serde_json::json;
use wasmill_core::batch::Batch;
use wasmill_core::pipeline::{self, ColumnOrigin};
use wasmill_core::window::{AggregatePlugin, Windowing};

use self::call::{Guest, Input};
use super::folded::{Folds, Held};
use super::shape::Shape;
use super::{Emitted, Parts, WindowError, WindowOperator};
use crate::metrics::NodeMetrics;
use crate::operator::{self, Failures, Keyed, Make};
use crate::state::BatchKeys;

/// The plugins of a window's aggregates.
pub(super) struct Guests {
    job: Arc<str>,
    operator: Arc<str>,
    all: Vec<Guest>,
    failures: Failures,
    rows_max: usize,
    metrics: Arc<NodeMetrics>,
}

impl Guests {
    /// The plugins, if there are any. Their instances are made at the first call.
    pub(super) fn new(
        spec: &pipeline::Operator,
        (windowing, shape): (&Windowing, &Shape),
        parts: &Parts,
    ) -> Option<Box<Self>> {
        let operator: Arc<str> = spec.name.as_str().into();
        let slots = shape.slots.iter().enumerate();
        let slots = slots.filter_map(|(at, slot)| Some((at, slot.merges.clone()?)));
        let used = windowing.plugins().zip(&parts.plugins).zip(slots);
        let all = used.map(|(((aggregate, used), plugin), slot)| {
            let subtask = (usize::from(parts.subtask), parts.subtasks);
            let context = context((&spec.name, &aggregate.name), used, subtask);
            let make = Make::Plugin(plugin.clone());
            let plugin = operator::Guest::new(make, context, &used.limits);
            let names = (&operator, aggregate.name.as_str());
            Guest::new(names, slot, used, plugin, &parts.metrics)
        });
        let all: Vec<Guest> = all.collect();
        (!all.is_empty()).then(|| {
            Box::new(Self {
                job: parts.job.clone(),
                failures: Failures::new(&windowing.policy),
                rows_max: spec.batch.rows_max as usize,
                metrics: parts.metrics.clone(),
                operator,
                all,
            })
        })
    }
}

/// What an aggregate's plugin learns in the only subtask of its operator.
pub fn first_context(names: (&str, &str), used: &AggregatePlugin) -> String {
    context(names, used, (0, 1))
}

/// What the plugin of an operator's aggregate learns when it starts.
fn context(
    (operator, aggregate): (&str, &str),
    used: &AggregatePlugin,
    (subtask, subtasks): (usize, usize),
) -> String {
    json!({
        "context": 1, "operator": operator, "aggregate": aggregate,
        "subtask": subtask, "subtasks": subtasks,
        "config": used.config, "inputs": [],
    })
    .to_string()
}

impl WindowOperator {
    /// Adds rows of a stream to their windows, and appends those that are too late.
    ///
    /// # Errors
    /// If a sum overflows, or a plugin fails and the policy is to fail.
    pub async fn process(
        &mut self,
        stream: usize,
        batch: &Batch,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<(), WindowError> {
        let Some(keyed) = keyed else { return Ok(()) };
        let Some(mut guests) = self.guests.take() else {
            let keys = (&mut keyed.index, &keyed.keys);
            return self.add_batch((stream, batch), keys, &[], emitted);
        };
        let done = self.process_with(&mut guests, (stream, batch), keyed, emitted);
        let done = done.await;
        self.guests = Some(guests);
        done
    }

    async fn process_with(
        &mut self,
        guests: &mut Guests,
        (stream, batch): (usize, &Batch),
        keyed: &mut Keyed,
        emitted: &mut Emitted,
    ) -> Result<(), WindowError> {
        let Some((_, binding)) = self.bindings.get(&stream) else {
            return Ok(());
        };
        let columns = binding
            .columns
            .iter()
            .filter_map(|bound| match bound.origin {
                ColumnOrigin::Stream(at) => Some(at),
                ColumnOrigin::Feature(_) | ColumnOrigin::Null => None,
            });
        let columns: Vec<usize> = columns.collect();
        guests.failures.see(batch.len());
        let slots: Vec<usize> = guests.all.iter().map(|guest| guest.slot).collect();
        // The batch without rows that failed, if any did.
        let mut left: Option<(Batch, BatchKeys)> = None;
        let folds: Vec<Folds> = loop {
            let (batch, keys) = match &left {
                Some((batch, keys)) => (batch, keys),
                None => (batch, &keyed.keys),
            };
            let placement = self.place(batch, keys, &slots);
            let input = Input {
                batch,
                columns: &columns,
            };
            let added = guests.add(&input, placement, emitted);
            match added.await? {
                Ok(folds) => break folds,
                Err(others) => left = Some(select(batch, keys, others)?),
            }
        };
        let (batch, keys) = match &left {
            Some((batch, keys)) => (batch, keys),
            None => (batch, &keyed.keys),
        };
        let keys = (&mut keyed.index, keys);
        self.add_batch((stream, batch), keys, &folds, emitted)?;
        drop(folds);
        let drafts = std::mem::take(&mut self.drafts);
        guests.settle(drafts, self.output, emitted).await?;
        self.weigh_merged();
        Ok(())
    }

    /// Moves the event-time clock: appends the results of windows that are over. `true` means that
    /// there is more to come: then it is called again with the same clock, before any row.
    ///
    /// # Errors
    /// As for [`WindowOperator::process`].
    pub async fn advance(
        &mut self,
        watermark: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<bool, WindowError> {
        let has_more = self.end_windows(watermark, keyed, emitted)?;
        self.settle(emitted).await?;
        Ok(has_more)
    }

    /// Gives out what there is so far, where it is time for that.
    ///
    /// # Errors
    /// As for [`WindowOperator::process`].
    pub async fn tick(
        &mut self,
        now: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<(), WindowError> {
        self.give_early(now, keyed, emitted)?;
        self.settle(emitted).await
    }

    /// Has plugins do what waits for them.
    async fn settle(&mut self, emitted: &mut Emitted) -> Result<(), WindowError> {
        let Some(mut guests) = self.guests.take() else {
            return Ok(());
        };
        let drafts = std::mem::take(&mut self.drafts);
        let done = guests.settle(drafts, self.output, emitted).await;
        self.guests = Some(guests);
        self.weigh_merged();
        done
    }
}

/// Some of a batch's rows, with their keys.
fn select(
    batch: &Batch,
    keys: &BatchKeys,
    rows: Vec<u32>,
) -> Result<(Batch, BatchKeys), WindowError> {
    let mut some = BatchKeys::default();
    some.ids.clone_from(&keys.ids);
    let of = rows.iter().map(|row| keys.row_to_key[*row as usize]);
    some.row_to_key.extend(of);
    Ok((batch.take(&UInt32Array::from(rows))?, some))
}

/// The accumulator that a group begins with.
fn held(before: &Option<Arc<super::folded::Folded>>) -> Option<Held> {
    before.as_ref().map(|folded| folded.held().clone())
}

#[cfg(test)]
mod tests;
