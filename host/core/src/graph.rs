//! Plans as people look at them: text, DOT, SVG. The same plan always gives the same picture.

mod dot;
mod svg;
mod text;

use std::time::Duration;

use crate::duration;
use crate::feature::Window;
use crate::pipeline::{OperatorId, OperatorKind, Pipeline, SinkId, SinkKind, SourceId, SourceKind};
use crate::plan::{FeaturePlan, Partition, Plan, Root, TaskPlan};

/// A plan in words, one task after the other.
pub fn text(pipeline: &Pipeline, plan: &Plan) -> String {
    text::render(&Drawing::new(pipeline, plan))
}

/// A plan in Graphviz's language.
pub fn dot(pipeline: &Pipeline, plan: &Plan) -> String {
    dot::render(&Drawing::new(pipeline, plan))
}

/// A plan as a picture for browsers.
pub fn svg(pipeline: &Pipeline, plan: &Plan) -> String {
    svg::render(&Drawing::new(pipeline, plan))
}

/// More operators than this are counted, not listed.
const LISTED_MAX: usize = 20;

/// What all pictures have in common.
struct Drawing {
    title: String,
    nodes: Vec<Node>,
    arrows: Vec<Arrow>,
}

/// A task.
struct Node {
    title: String,
    lines: Vec<String>,
}

/// An edge, from node to node.
struct Arrow {
    from: usize,
    to: usize,
    label: String,
}

impl Drawing {
    /// Names everything that is drawn; the forms only arrange it.
    fn new(pipeline: &Pipeline, plan: &Plan) -> Self {
        let arrows = plan.edges.iter().map(|edge| {
            let stream = plan.stream(edge.stream);
            let how = match &edge.partition {
                Partition::Hash(columns) => {
                    let name = |column: &usize| stream.schema.field(*column).name().as_str();
                    let names: Vec<&str> = columns.iter().map(name).collect();
                    match names.is_empty() {
                        true => "to one".into(),
                        false => format!("by {}", names.join(", ")),
                    }
                }
                Partition::Gather => "to one".into(),
                Partition::Rebalance => "evenly".into(),
                Partition::Broadcast => "to all".into(),
            };
            Arrow {
                from: edge.from.0,
                to: edge.to.0,
                label: format!("{} {how}", stream.name),
            }
        });
        let name = &pipeline.name;
        Self {
            title: format!(
                "{name}: parallelism {}, {} key groups",
                plan.parallelism, plan.key_groups
            ),
            nodes: plan.tasks.iter().map(|task| node(pipeline, task)).collect(),
            arrows: arrows.collect(),
        }
    }
}

/// A task with a line for each thing that runs in it.
fn node(pipeline: &Pipeline, task: &TaskPlan) -> Node {
    let mut lines = Vec::new();
    if let Root::Source(id) = &task.root {
        lines.push(source(pipeline, *id));
    }
    lines.extend(task.features.iter().map(|plan| feature(pipeline, plan)));
    let operators = task
        .operators
        .iter()
        .map(|plan| operator(pipeline, plan.operator));
    lines.extend(operators.take(LISTED_MAX));
    if task.operators.len() > LISTED_MAX {
        lines.push(format!(
            "and {} more operators",
            task.operators.len() - LISTED_MAX
        ));
    }
    let mut sinks: Vec<SinkId> = task.sinks.iter().map(|(id, _)| *id).collect();
    sinks.dedup();
    lines.extend(sinks.into_iter().map(|id| sink(pipeline, id)));
    Node {
        title: format!("{} ×{}", task.name, task.parallelism),
        lines,
    }
}

/// A feature with its aggregate, column and window.
fn feature(pipeline: &Pipeline, plan: &FeaturePlan) -> String {
    let feature = &plan.feature;
    let schema = plan
        .streams
        .first()
        .map(|stream| &pipeline.stream(*stream).schema);
    let column = match (feature.column, schema) {
        (Some(column), Some(schema)) => schema.field(column).name(),
        _ => "rows",
    };
    let window = match feature.window {
        Window::Over { us } => duration::print(Duration::from_micros(us.unsigned_abs())),
        Window::Rows(rows) => format!("{rows} rows"),
    };
    let aggregate = feature.aggregate.name();
    format!(
        "feature {}: {aggregate} of {column} over {window}",
        feature.name
    )
}

/// A source and where it reads.
fn source(pipeline: &Pipeline, id: SourceId) -> String {
    let source = pipeline.source(id);
    let kind = match &source.kind {
        SourceKind::File(file, _) => {
            format!("file {}", file.path.iter().collect::<Vec<_>>().join(", "))
        }
        SourceKind::Stdin(_) => "standard input".into(),
        SourceKind::Kafka(input, _) => match &input.before {
            Some(_) => format!("files, then topic {}", input.kafka.told_topics()),
            None => format!("topic {}", input.kafka.told_topics()),
        },
        SourceKind::Generator(..) => "generator".into(),
    };
    format!("source {}: {kind}", source.name)
}

/// An operator and what it does.
fn operator(pipeline: &Pipeline, id: OperatorId) -> String {
    let operator = pipeline.operator(id);
    let does = match &operator.kind {
        OperatorKind::Plugin(plugin) => plugin.plugin.clone(),
        OperatorKind::Window(windowing) => windowing.to_string(),
        OperatorKind::Join(join) => join.to_string(),
    };
    format!("operator {}: {does}", operator.name)
}

/// A sink and where it writes.
fn sink(pipeline: &Pipeline, id: SinkId) -> String {
    let sink = pipeline.sink(id);
    let kind = match &sink.kind {
        SinkKind::File(file, _) => format!("file {}", file.path),
        SinkKind::Stdout(_) => "standard output".into(),
        SinkKind::Kafka(kafka, _) => format!("topic {}", kafka.told_topic()),
        SinkKind::Sqlite(sqlite) => format!("table {} of {}", sqlite.table, sqlite.path),
        SinkKind::Postgres(postgres) => format!(
            "table {} of {}",
            postgres.told_table(),
            postgres.told_database()
        ),
        SinkKind::Discard => "discarded".into(),
    };
    format!("sink {}: {kind}", sink.name)
}

#[cfg(test)]
mod tests;
