//! Rows that waited for their time, in the order of it.

use wasmill_core::{batch::Batch, timer::TimeDomain, watermark};

use super::GatedTask;
use crate::task::chain::TaskError;

impl GatedTask {
    /// Runs the rows whose time has come, of all inputs in one order.
    pub(super) async fn release(&mut self, watermark: i64) -> Result<(), TaskError> {
        if self.merges_itself {
            return match self.spill {
                Some(_) => self.release_by_and_by(watermark).await,
                None => self.release_apart(watermark).await,
            };
        }
        loop {
            let sorters = self.inputs.iter().filter_map(|input| input.sorter.as_ref());
            let mut firsts: Vec<_> = sorters
                .filter_map(|sorter| sorter.first(watermark))
                .collect();
            firsts.sort_unstable();
            let Some((_, input)) = firsts.first() else {
                break;
            };
            let (input, rows_max) = (*input, self.rows_max);
            let Some(sorter) = &mut self.inputs[input].sorter else {
                break;
            };
            let due = sorter.release(watermark, firsts.get(1), rows_max)?;
            if let Some(due) = due {
                self.run_chain(input, due).await?;
            }
        }
        for sorter in self
            .inputs
            .iter_mut()
            .filter_map(|input| input.sorter.as_mut())
        {
            sorter.release(watermark, None, self.rows_max)?;
        }
        Ok(())
    }

    /// Runs the rows whose time has come, of one input after the other: each is in order by itself.
    pub(super) async fn release_apart(&mut self, watermark: i64) -> Result<(), TaskError> {
        for input in 0..self.inputs.len() {
            while let Some(sorter) = &mut self.inputs[input].sorter {
                let Some(due) = sorter.release(watermark, None, self.rows_max)? else {
                    break;
                };
                self.run_chain(input, due).await?;
            }
        }
        Ok(())
    }

    /// The same in small steps of time, where keys leave memory: those of rows that have not been
    /// merged must stay there.
    async fn release_by_and_by(&mut self, watermark: i64) -> Result<(), TaskError> {
        let rows_max = self.rows_max;
        // Up to where the rows of each input are out, but for some of this very time.
        let mut come = vec![watermark::START; self.inputs.len()];
        let mut clock = watermark::START;
        loop {
            let inputs = come.iter().copied().enumerate();
            let Some((input, least)) = inputs.min_by_key(|(_, time)| *time) else {
                return Ok(());
            };
            if least > clock {
                clock = least;
                self.chain.advance(clock, self.keyed.as_mut()).await?;
                self.wake_others(TimeDomain::Event, clock).await?;
                self.chain.outbox.send().await?;
                self.settle().await?;
            }
            if clock == watermark {
                return Ok(());
            }
            let sorter = self.inputs[input].sorter.as_mut();
            let due = sorter.map(|sorter| sorter.release(watermark, None, rows_max));
            let due = due.transpose()?.flatten();
            let last = |due: &Batch| due.times.as_ref().and_then(|times| times.last().copied());
            come[input] = due.as_ref().and_then(last).unwrap_or(watermark);
            if let Some(due) = due {
                self.run_chain(input, due).await?;
            }
        }
    }
}
