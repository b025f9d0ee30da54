//! An operator without a sandbox, to measure what the sandbox costs.

use super::bindings::Fault;

/// The signature of `process`, linked in. It runs on the slot's thread and is trusted: nothing
/// stops it.
pub trait NativeOperator: Send {
    /// Processes one batch: rows to process, directory and arena in; directory and arena out.
    ///
    /// # Errors
    /// As a guest's fault.
    fn process(
        &mut self,
        rows: u32,
        directory: &[u32],
        arena: &[u64],
    ) -> Result<(Vec<u32>, Vec<u64>), Fault>;
}

impl<F> NativeOperator for F
where
    F: FnMut(u32, &[u32], &[u64]) -> Result<(Vec<u32>, Vec<u64>), Fault> + Send,
{
    fn process(
        &mut self,
        rows: u32,
        directory: &[u32],
        arena: &[u64],
    ) -> Result<(Vec<u32>, Vec<u64>), Fault> {
        self(rows, directory, arena)
    }
}
