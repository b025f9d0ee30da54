//! What a call emitted, as batches with their lineage.

use std::sync::Arc;

use arrow_array::UInt32Array;
use arrow_buffer::ScalarBuffer;
use wasmill_core::{
    batch::Batch,
    boundary::{CAUSE_TIMER, Effects, OutputRows},
    lineage::{Ancestor, Cause, Derived, Lineage, TimerCause},
};

use super::{
    Operator,
    call::{Keys, Rows},
    isolation::CallFailure,
};

impl Operator {
    /// Appends what a call emitted.
    pub(super) fn emit(
        &self,
        effects: &Effects<'_>,
        rows: Option<&Rows<'_>>,
        keys: Option<&Keys<'_>>,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), CallFailure> {
        for output in &effects.outputs {
            self.metrics.records_out.add(output.rows.num_rows());
            let causes = self.causes(output, effects, keys);
            let derived = Derived {
                operator: self.name.clone(),
                plugin: self.guest.digest.clone(),
                parent: rows
                    .map(|rows| rows.batch.lineage.clone())
                    .unwrap_or_default(),
                causes,
            };
            let len = output.rows.num_rows();
            let lineage = Lineage::whole(Ancestor::Derived(Arc::new(derived)), len);
            let batch = Batch {
                rows: output.rows.clone(),
                times: output
                    .times
                    .clone()
                    .or_else(|| caused(output, effects, rows, time_of)),
                clocks: caused(output, effects, rows, clock_of),
                hashes: None,
                ops: output.ops.clone(),
                lineage,
            };
            emitted.push((self.outputs[output.output], batch));
        }
        Ok(())
    }

    fn causes(
        &self,
        output: &OutputRows,
        effects: &Effects<'_>,
        keys: Option<&Keys<'_>>,
    ) -> Vec<Cause> {
        let (mut previous, mut ordinal) = (u32::MAX, 0);
        let mut cause = |cause: u32| {
            ordinal = if cause == previous { ordinal + 1 } else { 0 };
            previous = cause;
            if cause & CAUSE_TIMER == 0 {
                return Cause::Row {
                    row: cause,
                    ordinal,
                };
            }
            let fired = effects.timers[(cause & !CAUSE_TIMER) as usize];
            let key = keys.map(|keys| keys.index.key(keys.batch.ids[fired.key as usize]));
            Cause::Timer(Arc::new(TimerCause {
                key: key.unwrap_or_default().into(),
                name: self.descriptor.timers[fired.timer as usize]
                    .name
                    .as_str()
                    .into(),
                time: fired.time,
                ordinal,
            }))
        };
        output.causes.iter().map(|of| cause(*of)).collect()
    }

    /// The rows of a call at these positions, to be buried.
    pub(super) fn selected(rows: &Rows<'_>, at: &[u32]) -> Result<Batch, CallFailure> {
        rows.batch
            .take(&UInt32Array::from(at.to_vec()))
            .map_err(CallFailure::Rows)
    }
}

fn time_of(batch: &Batch) -> Option<&ScalarBuffer<i64>> {
    batch.times.as_ref()
}

fn clock_of(batch: &Batch) -> Option<&ScalarBuffer<i64>> {
    batch.clocks.as_ref()
}

/// An engine column of output rows: their cause's, and for timers the timer's time.
fn caused(
    output: &OutputRows,
    effects: &Effects<'_>,
    rows: Option<&Rows<'_>>,
    column: fn(&Batch) -> Option<&ScalarBuffer<i64>>,
) -> Option<ScalarBuffer<i64>> {
    let of_rows = match rows {
        Some(rows) => Some(column(rows.batch)?),
        None => None,
    };
    let value = |cause: &u32| match cause & CAUSE_TIMER {
        0 => of_rows.map(|column| column[*cause as usize]),
        _ => Some(effects.timers[(cause & !CAUSE_TIMER) as usize].time),
    };
    output
        .causes
        .iter()
        .map(value)
        .collect::<Option<Vec<_>>>()
        .map(Into::into)
}
