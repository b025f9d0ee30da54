//! Binds an aggregate that a plugin computes to its plugin and its columns.

use std::sync::Arc;

use arrow_schema::{Field, Schema};

use super::Builder;
use crate::descriptor::Descriptor;
use crate::pipeline::{Limits, StreamId, bind};
use crate::tree::{Node, Path};
use crate::window::{Aggregate, AggregatePlugin, AggregateSpec, Function};

/// A sound aggregate; none, with the mistakes noted, if there are any. Its columns are those of the
/// first stream; positions come later.
pub(super) fn aggregate(
    builder: &mut Builder<'_>,
    (path, name, spec): (&Path, &str, &AggregateSpec),
    streams: &[StreamId],
) -> Option<Aggregate> {
    let reference = spec.plugin.as_deref().unwrap_or_default();
    let at = path.key("plugin");
    let descriptor = match (builder.plugins)(reference) {
        Ok(descriptor) => descriptor,
        Err(message) => {
            builder.wrong(&at, &format!("aggregate `{name}`: {message}"), None);
            return None;
        }
    };
    let Some(kept) = descriptor.aggregate.clone() else {
        let message = format!("aggregate `{name}`: `{reference}` is an operator, no aggregate");
        let remedy = "use it in an operator of its own, with `plugin`";
        builder.wrong(&at, &message, Some(remedy));
        return None;
    };
    let of = columns(builder, (path, name, spec), &descriptor, streams);
    let config = config(builder, (path, spec), &descriptor);
    let is_timeless = |id: &StreamId| !builder.streams[id.0].has_time;
    if descriptor.inputs[0].time && streams.iter().any(is_timeless) {
        let message = format!("aggregate `{name}`: the plugin reads event time, and there is none");
        builder.wrong(&at, &message, Some("declare `event-time` at the source"));
    }
    Some(Aggregate {
        name: name.into(),
        function: Function::Plugin,
        column: None,
        input: None,
        data_type: kept.result.data_type().clone(),
        nullable: kept.result.is_nullable(),
        plugin: Some(Arc::new(AggregatePlugin {
            plugin: reference.into(),
            aggregate: kept,
            config,
            limits: spec
                .limits
                .as_ref()
                .map_or_else(Limits::default, Into::into),
            of: of?,
            columns: Vec::new(),
            descriptor,
        })),
    })
}

/// The stream's column for each that the plugin reads.
fn columns(
    builder: &mut Builder<'_>,
    (path, name, spec): (&Path, &str, &AggregateSpec),
    descriptor: &Descriptor,
    streams: &[StreamId],
) -> Option<Vec<Option<Field>>> {
    let schema = builder.streams[streams.first()?.0].schema.clone();
    let wanted = descriptor.inputs[0].schema.fields();
    let names: Vec<&str> = match &spec.of {
        Some(of) => of.iter().collect(),
        None => wanted.iter().map(|field| field.name().as_str()).collect(),
    };
    if names.len() != wanted.len() {
        let all: Vec<String> = wanted.iter().map(|it| format!("`{}`", it.name())).collect();
        let message = format!(
            "aggregate `{name}`: the plugin reads {} columns, and `of` has {}",
            wanted.len(),
            names.len()
        );
        let remedy = format!("name the stream's columns for {}", all.join(", "));
        builder.wrong(&path.key("of"), &message, Some(&remedy));
        return None;
    }
    let path = match &spec.of {
        Some(_) => path.key("of"),
        None => path.key("plugin"),
    };
    let mut columns = Vec::new();
    for (field, column) in wanted.iter().zip(names) {
        let is_there = schema.index_of(column).is_ok();
        // A column that is named is meant, also where the plugin could do without.
        if spec.of.is_some() && !is_there {
            missing(builder, &path, (name, column), &schema);
            continue;
        }
        let field = field.as_ref().clone().with_name(column);
        match bind::column(&field, &schema, &[]) {
            Ok(_) => columns.push(schema.field_with_name(column).ok().cloned()),
            Err((message, remedy)) => {
                let message = format!("aggregate `{name}`: {message}");
                builder.wrong(&path, &message, remedy.as_deref());
            }
        }
    }
    (columns.len() == wanted.len()).then_some(columns)
}

fn missing(builder: &mut Builder<'_>, path: &Path, (name, column): (&str, &str), schema: &Schema) {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let hint = crate::spelling::hint(column, names);
    let message = format!("aggregate `{name}`: there is no column `{column}`");
    builder.wrong(path, &message, hint.as_deref());
}

/// The configuration, held against the plugin's own schema.
fn config(
    builder: &mut Builder<'_>,
    (path, spec): (&Path, &AggregateSpec),
    descriptor: &Descriptor,
) -> serde_json::Value {
    let empty = serde_json::Value::Object(serde_json::Map::new());
    let at = path.key("config");
    let written = builder.tree.at(&at).filter(|_| spec.config.is_some());
    let node = written.cloned().unwrap_or_else(|| Node {
        position: builder.tree.locate(path),
        ..Node::from_json(&empty)
    });
    for mistake in descriptor.config.check(&node) {
        let mut place = at.clone();
        place.0.extend(mistake.path.0);
        let mut error = builder.at(&place, &mistake.message, mistake.remedy.as_deref());
        error.position = mistake.position;
        builder.errors.push(error);
    }
    descriptor.config.with_defaults(&node.to_json())
}
