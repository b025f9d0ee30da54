//! Which columns an edge carries: rows are copied when they are dealt to subtasks, so what nobody
//! behind the edge reads stays behind.

use super::{EdgeId, Partition, Plan, TaskPlan};
use crate::pipeline::{
    ColumnOrigin, InputBinding, Pipeline, Policy, Producer, SourceKind, StreamId,
};

/// Fills in the columns of every edge.
pub(super) fn fill(pipeline: &Pipeline, plan: &mut Plan) {
    for at in 0..plan.edges.len() {
        let columns = carried(pipeline, plan, EdgeId(at));
        plan.edges[at].columns = columns;
    }
}

/// The columns of an edge. Rows that are not dealt by key are not copied, so all columns go along.
fn carried(pipeline: &Pipeline, plan: &Plan, id: EdgeId) -> Vec<usize> {
    let edge = plan.edge(id);
    let task = plan.task(edge.to);
    let count = plan.stream(edge.stream).schema.fields().len();
    let Partition::Hash(keys) = &edge.partition else {
        return (0..count).collect();
    };
    if shows_whole_rows(pipeline, plan, task, edge.stream) {
        return (0..count).collect();
    }
    let mut is_read = vec![false; count];
    keys.iter().for_each(|at| is_read[*at] = true);
    for operator in &task.operators {
        let operator = pipeline.operator(operator.operator);
        let inputs = operator.inputs.iter();
        for input in inputs.filter(|input| input.stream == edge.stream) {
            columns_of(input).for_each(|at| is_read[at] = true);
        }
    }
    for feature in task.features.iter() {
        // A feature is bound to its first stream; the others have the column by the same name.
        let bound = &plan.stream(feature.streams[0]).schema;
        let column = feature.feature.column.map(|at| bound.field(at).name());
        let of_stream = plan.stream(edge.stream).schema.clone();
        let found = column.and_then(|name| of_stream.index_of(name).ok());
        found.into_iter().for_each(|at| is_read[at] = true);
    }
    let read: Vec<usize> = (0..count).filter(|at| is_read[*at]).collect();
    match read.is_empty() {
        // Rows without columns cannot be counted.
        true => (0..count.min(1)).collect(),
        false => read,
    }
}

/// The columns of the stream that an operator's input reads.
fn columns_of(input: &InputBinding) -> impl Iterator<Item = usize> {
    let bound = input.columns.iter().chain(&input.keys);
    let read = bound.filter_map(|column| match column.origin {
        ColumnOrigin::Stream(at) => Some(at),
        ColumnOrigin::Feature(_) | ColumnOrigin::Null => None,
    });
    read.chain(input.key_columns.iter().copied())
}

/// Whether rows of the stream leave the task as they came: late ones, and dead letters of rows that
/// have no bytes to go back to.
fn shows_whole_rows(pipeline: &Pipeline, plan: &Plan, task: &TaskPlan, stream: StreamId) -> bool {
    let operators = || {
        let operators = task.operators.iter();
        operators.filter(|operator| operator.inputs.contains(&stream))
    };
    let mut late = operators().flat_map(|operator| operator.late_of(stream));
    if late.any(|late| plan.stream(late).is_read) {
        return true;
    }
    let has_bytes = match plan.stream(stream).producer {
        Producer::Source(source) | Producer::SourceLate(source) => {
            !matches!(pipeline.source(source).kind, SourceKind::Generator(_, None))
        }
        _ => false,
    };
    let lettered = |policy: Policy| matches!(policy, Policy::DeadLetter(_));
    let mut policies = operators().map(|it| pipeline.operator(it.operator).on_error());
    !has_bytes && policies.any(lettered)
}
