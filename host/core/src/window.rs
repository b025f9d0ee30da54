//! Windows: each key's rows are cut into stretches of event time, and aggregated over each.
//!
//! Time is cut into **panes**, so that a row is added to one of them whatever the number of windows
//! it lies in; a window's result is merged from its panes ([`Assigner`]). Which rows a window holds
//! depends on the input alone: a row counts for the result that the watermark gives out iff its own
//! clock has not come to the window's end, and for a correction otherwise. So results depend
//! neither on how rows are cut into batches, nor on parallelism, nor on speed.

mod aggregate;
mod assigner;
mod definition;
mod document;
mod plugin;

use std::fmt;
use std::sync::Arc;

use arrow_schema::SchemaRef;

pub use aggregate::{Aggregate, AggregateError, Function};
pub use assigner::{Assigner, Slices};
pub use definition::defined;
pub use document::{
    AggregateSpec, Corrections, CumulativeWindow, EarlyDocument, GlobalWindow, QuantileSpec,
    SessionWindow, SlidingWindow, TopSpec, TriggerDocument, TumblingSpec, TumblingWindow,
    WindowDocument, WindowMistake,
};

pub use plugin::{AggregatePlugin, why_merged};

use crate::pipeline::OperatorPolicy;

/// The column with a window's first microsecond.
pub const START_COLUMN: &str = "window-start";
/// The column with the first microsecond behind a window.
pub const END_COLUMN: &str = "window-end";
/// The column that counts a result's corrections, where they are rows of their own.
pub const REVISION_COLUMN: &str = "revision";

/// The windows of an operator and what is computed over them, known to be sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Windowing {
    /// Which windows.
    pub assigner: Assigner,
    /// What is computed, a column each.
    pub aggregates: Vec<Aggregate>,
    /// When a result is given out.
    pub trigger: Trigger,
    /// How long behind its end a window still takes late rows, in microseconds.
    pub lateness_us: i64,
    /// How a result that changes is given out.
    pub corrections: Corrections,
    /// The columns of results: the key, the window's bounds if it has any, the aggregates, and the
    /// revision if corrections are rows of their own.
    pub schema: SchemaRef,
    /// How many of them are the key.
    pub keys: usize,
    /// What happens to rows on which a plugin of an aggregate fails.
    pub policy: OperatorPolicy,
}

/// When a window's result is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trigger {
    /// A window ends after so many rows of its key; none: when the watermark has passed its end.
    pub count: Option<u64>,
    /// What there is so far is given out whenever so much processing time has gone by, in
    /// microseconds.
    pub early_us: Option<i64>,
}

impl Trigger {
    /// When the watermark has passed a window's end.
    pub fn of_watermark() -> Self {
        Self {
            count: None,
            early_us: None,
        }
    }
}

impl Windowing {
    /// The plugins of its aggregates, in their order.
    pub fn plugins(&self) -> impl Iterator<Item = (&Aggregate, &Arc<AggregatePlugin>)> {
        let aggregates = self.aggregates.iter();
        aggregates.filter_map(|aggregate| Some((aggregate, aggregate.plugin.as_ref()?)))
    }

    /// Whether results may change after they were given out.
    pub fn has_corrections(&self) -> bool {
        self.lateness_us > 0 || self.trigger.early_us.is_some()
    }

    /// Whether its rows are rows of a changelog.
    pub fn is_changelog(&self) -> bool {
        self.has_corrections() && self.corrections == Corrections::Changelog
    }

    /// Whether results have the columns of the window's bounds.
    pub fn has_bounds(&self) -> bool {
        self.assigner != Assigner::Global
    }

    /// Whether rows need their event time and the watermark as of each of them.
    pub fn follows_time(&self) -> bool {
        self.assigner != Assigner::Global
    }
}

impl fmt::Display for Windowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.assigner)?;
        for (at, aggregate) in self.aggregates.iter().enumerate() {
            let separator = if at == 0 { ": " } else { ", " };
            write!(f, "{separator}{}", aggregate.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
