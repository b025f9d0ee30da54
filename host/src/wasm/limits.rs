//! What an instance may use, and what happens when it wants more.

use std::{fmt, time::Duration};

use wasmill_core::pipeline;
use wasmtime::ResourceLimiter;

/// The limits of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, all memories together, in bytes.
    pub memory_bytes_max: usize,
    /// Elements of one table.
    pub table_elements_max: usize,
    /// CPU time of one call.
    pub cpu_max: Duration,
    /// Bytes that one call may hand to the host.
    pub output_bytes_max: usize,
    /// Rows that one call may emit or refuse.
    pub output_rows_max: u64,
    /// Log lines of one call.
    pub log_lines_max: u64,
    /// Log bytes of one call.
    pub log_bytes_max: u64,
    /// Different counters of one call.
    pub metrics_max: usize,
}

impl From<&pipeline::Limits> for Limits {
    /// A pipeline sets what its author knows of; the rest is the same for all.
    fn from(of: &pipeline::Limits) -> Self {
        Self {
            memory_bytes_max: usize::try_from(of.memory_bytes_max).unwrap_or(usize::MAX),
            table_elements_max: 100_000,
            cpu_max: Duration::from_micros(of.cpu_us_max),
            output_bytes_max: usize::try_from(of.output_bytes_max).unwrap_or(usize::MAX),
            output_rows_max: of.output_rows_max,
            log_lines_max: of.log_lines_max,
            log_bytes_max: 1 << 20,
            metrics_max: 100,
        }
    }
}

impl Default for Limits {
    /// Those of an operator whose pipeline sets none.
    fn default() -> Self {
        Self::from(&pipeline::Limits::default())
    }
}

/// A limit's name, as messages and pipeline documents spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Linear memory, in bytes.
    Memory,
    /// Elements of a table.
    Table,
    /// The call stack.
    Stack,
    /// CPU time of a call, in microseconds.
    Cpu,
    /// Bytes handed to the host in one call.
    OutputBytes,
    /// Rows emitted in one call.
    OutputRows,
    /// Log lines of a call.
    LogLines,
    /// Log bytes of a call.
    LogBytes,
    /// Different counters of a call.
    Metrics,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Table => "table",
            Self::Stack => "stack",
            Self::Cpu => "cpu-per-batch",
            Self::OutputBytes => "output-bytes",
            Self::OutputRows => "output-rows",
            Self::LogLines => "log-lines",
            Self::LogBytes => "log-bytes",
            Self::Metrics => "metrics",
        })
    }
}

/// A limit that was hit: what was wanted or used, and what was allowed, in the limit's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit `{limit}` exceeded: {used} of {budget}")]
pub(super) struct Exceeded {
    pub(super) limit: Limit,
    pub(super) used: u64,
    pub(super) budget: u64,
}

/// Says no to growth, and remembers that it did: the guest's trap that follows is then explained.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_bytes_max: usize,
    table_elements_max: usize,
    /// Bytes of all memories.
    memory_bytes: usize,
    pub(super) refused: Option<Exceeded>,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes_max,
            table_elements_max: limits.table_elements_max,
            memory_bytes: 0,
            refused: None,
        }
    }
}

/// Core instances, memories and tables of one component: Python's has more than 32.
const INSTANCES_MAX: usize = 200;

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes - current.min(self.memory_bytes) + desired;
        if total > self.memory_bytes_max {
            self.refused = Some(Exceeded {
                limit: Limit::Memory,
                used: total as u64,
                budget: self.memory_bytes_max as u64,
            });
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.table_elements_max {
            self.refused = Some(Exceeded {
                limit: Limit::Table,
                used: desired as u64,
                budget: self.table_elements_max as u64,
            });
            return Ok(false);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_grow_to_their_limits_and_no_further() {
        let limits = Limits {
            memory_bytes_max: 3 << 16,
            table_elements_max: 10,
            ..Limits::default()
        };
        let mut limiter = Limiter::new(&limits);
        assert!(limiter.table_growing(0, 10, None).expect("no trap"));
        assert!(limiter.refused.is_none());
        assert!(!limiter.table_growing(10, 11, None).expect("no trap"));
        let refused = limiter.refused.take().expect("it is remembered");
        assert_eq!(refused.limit, Limit::Table);
        assert_eq!((refused.used, refused.budget), (11, 10));
        // Of memories the sum counts.
        assert!(limiter.memory_growing(0, 1 << 16, None).expect("no trap"));
        assert!(limiter.memory_growing(0, 2 << 16, None).expect("no trap"));
        let grown = limiter.memory_growing(2 << 16, 3 << 16, None);
        assert!(!grown.expect("no trap"));
        let refused = limiter.refused.take().expect("it is remembered");
        assert_eq!(refused.limit, Limit::Memory);
        assert_eq!((refused.used, refused.budget), (4 << 16, 3 << 16));
    }
}
