//! What becomes of rows and results that plugins of aggregates failed on.

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::batch::Batch;
use wasmill_core::dead_letter::kind;
use wasmill_core::pipeline::Policy;

use super::super::draft::Draft;
use super::super::{Emitted, WindowError};
use super::Guests;
use crate::dead_letter::{Failure, Letters};
use crate::operator;

/// A row that failed.
pub(super) struct Failed {
    pub(super) row: u32,
    pub(super) kind: &'static str,
    pub(super) reason: String,
    pub(super) log: String,
    /// CPU time of the call that failed on it.
    pub(super) ran: Option<Duration>,
}

impl Guests {
    /// Treats rows that failed, which no window gets.
    pub(super) fn bury(
        &mut self,
        at: usize,
        batch: &Batch,
        failed: &[Failed],
        emitted: &mut Emitted,
    ) -> Result<(), WindowError> {
        let counted = self.failures.count(failed.len());
        let first = &failed[0];
        let (reason, aggregate) = (&first.reason, &self.all[at].name);
        let place = operator::place(batch, first.row as usize);
        let what = format!("aggregate `{aggregate}`: {reason}, {place}");
        counted.map_err(|budget| self.failed(format!("{what}; {budget}")))?;
        if self.failures.policy() == Policy::Fail {
            return Err(self.failed(format!(
                "{what}; mend the plugin or the row, or say `on-error: skip` or `on-error: {{ \
                 dead-letter: SINK }}`"
            )));
        }
        self.metrics.records_in.add(failed.len());
        let rejects = failed.iter().filter(|it| it.kind == kind::REJECT).count();
        self.metrics.rejected.add(rejects);
        let Policy::DeadLetter(stream) = self.failures.policy() else {
            self.metrics.lost.add(failed.len() - rejects);
            return Ok(());
        };
        let mut letters = Letters::new(&self.job);
        for row in failed {
            let failure = Failure {
                at: &self.operator,
                kind: row.kind,
                reason: &row.reason,
                plugin: Some(self.all[at].plugin.digest()),
                log: Some(&row.log),
                ran: row.ran,
            };
            let pushed = letters.push_row(&failure, batch, row.row as usize);
            pushed.map_err(|error| self.failed(error.to_string()))?;
        }
        self.metrics.dead_letters.add(failed.len());
        let rows: Vec<u32> = failed.iter().map(|it| it.row).collect();
        let lineage = batch.lineage.take(&rows.into());
        emitted.push((stream.0, Batch::new(letters.finish()?, lineage)));
        Ok(())
    }

    /// Results that are lost, as far as they are known.
    pub(super) fn bury_results(
        &mut self,
        draft: &Draft,
        lost: &[(usize, usize, Arc<str>)],
        emitted: &mut Emitted,
    ) -> Result<(), WindowError> {
        let Policy::DeadLetter(stream) = self.failures.policy() else {
            self.metrics.lost.add(lost.len());
            return Ok(());
        };
        let plain = draft.plain()?;
        let mut letters = Letters::new(&self.job);
        for (row, at, reason) in lost {
            let failure = Failure {
                at: &self.operator,
                kind: kind::FAULT,
                reason,
                plugin: Some(self.all[*at].plugin.digest()),
                log: None,
                ran: None,
            };
            let pushed = letters.push_row(&failure, &plain, *row);
            pushed.map_err(|error| self.failed(error.to_string()))?;
        }
        self.metrics.dead_letters.add(lost.len());
        let rows: Vec<u32> = lost.iter().map(|(row, ..)| *row as u32).collect();
        let lineage = plain.lineage.take(&rows.into());
        emitted.push((stream.0, Batch::new(letters.finish()?, lineage)));
        Ok(())
    }
}
