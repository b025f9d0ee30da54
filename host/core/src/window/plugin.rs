//! Aggregates that a plugin computes.

use std::fmt;
use std::sync::Arc;

use arrow_schema::Field;

use super::Assigner;
use crate::data_type;
use crate::descriptor::{self, Descriptor};
use crate::pipeline::Limits;

/// A plugin, and how an aggregate uses it.
#[derive(Debug, Clone)]
pub struct AggregatePlugin {
    /// The plugin as the document names it.
    pub plugin: String,
    /// What the plugin says about itself.
    pub descriptor: Arc<Descriptor>,
    /// Of that, what makes it an aggregate.
    pub aggregate: descriptor::Aggregate,
    /// Its configuration, with defaults.
    pub config: serde_json::Value,
    /// What one instance may use.
    pub limits: Limits,
    /// For each column that the plugin reads, the column of the stream; none where it gets nulls.
    pub of: Vec<Option<Field>>,
    /// The same by their positions among the columns that the operator reads.
    pub columns: Vec<Option<usize>>,
}

impl AggregatePlugin {
    /// Whether the plugin reads the event time of rows.
    pub fn reads_time(&self) -> bool {
        self.descriptor.inputs.iter().any(|input| input.time)
    }
}

impl PartialEq for AggregatePlugin {
    /// What its accumulators are of, which is what its state hangs on.
    fn eq(&self, other: &Self) -> bool {
        self.plugin == other.plugin
            && self.aggregate == other.aggregate
            && self.config == other.config
            && self.limits == other.limits
            && self.of == other.of
            && self.columns == other.columns
    }
}

impl fmt::Display for AggregatePlugin {
    /// The plugin's name, the columns, and what it keeps; neither its file, its version nor its
    /// configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.descriptor.name)?;
        for (at, column) in self.of.iter().enumerate() {
            let separator = if at == 0 { " of" } else { "," };
            match column {
                None => write!(f, "{separator} null")?,
                Some(field) => {
                    let of = data_type::print(field.data_type(), field.is_nullable());
                    write!(f, "{separator} {} {of}", field.name())?;
                }
            }
        }
        let kept = &self.aggregate.accumulator;
        let kept = data_type::print(kept.data_type(), kept.is_nullable());
        write!(f, " keeping {kept}")
    }
}

/// Why windows of this kind merge accumulators, in words; none where they never do.
pub fn why_merged(assigner: Assigner, lateness_us: i64) -> Option<&'static str> {
    match assigner {
        Assigner::Session { .. } => Some("sessions that meet become one"),
        Assigner::Aligned(slices) if !slices.is_tumbling() => {
            Some("windows that overlap are merged from the panes they share")
        }
        Assigner::Aligned(_) | Assigner::Global if lateness_us > 0 => {
            Some("late rows are merged into windows that are over")
        }
        Assigner::Aligned(_) | Assigner::Global => None,
    }
}
