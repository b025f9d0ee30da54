//! The features of a task over all its streams.

use arrow_schema::Schema;
use wasmill_core::{feature::Feature, pipeline::StreamId, plan::TaskPlan};

use super::Builder;
use crate::{
    feature::FeatureSet,
    job::{JobError, readers},
};

/// A task's features, which cover the rows of every stream of its gate alike.
pub(super) struct Covered {
    /// By the positions that the task's operators know.
    pub features: FeatureSet,
    /// For each stream of the gate, where it has the columns that the features read.
    pub columns: Vec<Vec<usize>>,
}

impl Covered {
    /// None if the task has no features.
    ///
    /// # Errors
    /// If a stream lacks a column that a feature reads, or has it with another type.
    pub(super) fn new(builder: &Builder<'_>, task: &TaskPlan) -> Result<Option<Self>, JobError> {
        let Some(first) = task.features.first() else {
            return Ok(None);
        };
        // Declarations are bound to the first stream.
        let bound = &builder.plan.stream(first.streams[0]).schema;
        let mut read: Vec<usize> = task
            .features
            .iter()
            .filter_map(|plan| plan.feature.column)
            .collect();
        read.sort_unstable();
        read.dedup();
        let features: Vec<Feature> = task
            .features
            .iter()
            .map(|plan| Feature {
                column: plan
                    .feature
                    .column
                    .and_then(|column| read.binary_search(&column).ok()),
                ..plan.feature.clone()
            })
            .collect();
        let schema = bound.project(&read).map_err(JobError::bug)?;
        let columns = builder
            .gate_streams(task)
            .into_iter()
            .map(|stream| columns(builder, (task, stream), &schema))
            .collect::<Result<_, _>>()?;
        let features = FeatureSet::new(features, &schema)
            .map_err(|error| JobError::Build(readers::explain(&error)))?;
        Ok(Some(Self { features, columns }))
    }
}

/// Where a stream that reaches the task has the columns of a schema.
fn columns(
    builder: &Builder<'_>,
    (task, stream): (&TaskPlan, StreamId),
    wanted: &Schema,
) -> Result<Vec<usize>, JobError> {
    let schema = &builder.plan.stream(stream).schema;
    let carried = builder.carried(task, stream);
    let schema = match carried {
        Some(carried) => &schema.project(carried).map_err(JobError::bug)?,
        None => schema.as_ref(),
    };
    let place = |field: &arrow_schema::FieldRef| {
        let (at, found) = schema.column_with_name(field.name())?;
        (found.data_type() == field.data_type()).then_some(at)
    };
    let missing = |field: &arrow_schema::FieldRef| {
        JobError::Build(format!(
            "a feature reads the column `{}` ({}), which the stream `{}` does not have; give all \
             streams of one input the columns that its features read",
            field.name(),
            field.data_type(),
            builder.pipeline.stream(stream).name,
        ))
    };
    let fields = wanted.fields().iter();
    fields
        .map(|field| place(field).ok_or_else(|| missing(field)))
        .collect()
}
