//! Rows that waited for their time, in the order of it.

use super::GatedTask;
use crate::task::chain::TaskError;

impl GatedTask {
    /// Runs the rows whose time has come, of all inputs in one order.
    pub(super) async fn release(&mut self, watermark: i64) -> Result<(), TaskError> {
        if self.merges_itself {
            return self.release_apart(watermark).await;
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
}
