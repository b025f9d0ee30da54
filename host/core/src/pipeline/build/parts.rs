//! What each part of an operator's document says, whether or not the others are sound: the plugin,
//! the streams, the key, a feature, the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Schema};

use super::Builder;
use crate::descriptor::Descriptor;
use crate::feature::{Feature, FeatureSpec};
use crate::pipeline::StreamId;
use crate::pipeline::document::{InputDocument, OperatorDocument};
use crate::spelling;
use crate::tree::{Node, Path};

impl Builder<'_> {
    /// The plugin's own description of itself. Of an operator that lost a field, `unstable` may be
    /// the one: then nothing is said of it.
    pub(super) fn plugin(
        &mut self,
        path: &Path,
        document: &OperatorDocument,
        is_marred: bool,
    ) -> Option<Arc<Descriptor>> {
        let path = path.key("plugin");
        let plugin = document.plugin.as_deref().unwrap_or_default();
        match (self.plugins)(plugin) {
            Ok(descriptor) if descriptor.aggregate.is_some() => {
                let message = format!("`{plugin}` is an aggregate, which is part of a window");
                let remedy = "write `window: { ... }` and `aggregates: { NAME: { plugin: ... } }`";
                self.wrong(&path, &message, Some(remedy));
                None
            }
            Ok(descriptor) => {
                if !document.unstable && !is_marred && !descriptor.unstable.is_empty() {
                    let what = descriptor.unstable.join(", ");
                    let message = format!("the plugin uses unstable parts of the contract: {what}");
                    self.wrong(&path, &message, Some("allow them with `unstable: true`"));
                }
                Some(descriptor)
            }
            Err(message) => {
                self.wrong(&path, &message, None);
                None
            }
        }
    }

    /// The streams of an operator, each with the number of the input it feeds; none if one is
    /// unknown.
    pub(super) fn inputs(
        &mut self,
        path: &Path,
        document: &OperatorDocument,
        descriptor: Option<&Descriptor>,
    ) -> Option<Vec<(usize, StreamId)>> {
        let path = path.key("input");
        let names = match &document.input {
            InputDocument::Named(map) => return self.named_inputs(&path, map, descriptor),
            InputDocument::One(name) => vec![name.as_str()],
            InputDocument::Union(names) => names.iter().map(String::as_str).collect(),
        };
        let wanted = names.len();
        let found = self.find_all(&path, names.into_iter());
        if let Some(descriptor) = descriptor.filter(|descriptor| descriptor.inputs.len() > 1) {
            let inputs: Vec<&str> = descriptor.inputs.iter().map(|i| i.name.as_str()).collect();
            let message = format!("the plugin has {} inputs", inputs.len());
            let remedy = format!(
                "write a mapping from {} to streams",
                spelling::list(&inputs)
            );
            self.wrong(&path, &message, Some(&remedy));
            return None;
        }
        (found.len() == wanted && wanted > 0).then(|| found.into_iter().map(|id| (0, id)).collect())
    }

    /// A stream for each input of the plugin: inputs that it does not have, and those that nobody
    /// feeds, are mistakes. Without the plugin only the streams can be looked for.
    fn named_inputs(
        &mut self,
        path: &Path,
        map: &BTreeMap<String, String>,
        descriptor: Option<&Descriptor>,
    ) -> Option<Vec<(usize, StreamId)>> {
        let mut bound = Vec::new();
        for (input, stream) in map {
            let at = path.key(input);
            let found = self.find(&at, stream);
            let Some(inputs) = descriptor.map(|descriptor| &descriptor.inputs) else {
                continue;
            };
            let Some(number) = inputs.iter().position(|known| known.name == *input) else {
                let names = inputs.iter().map(|known| known.name.as_str());
                let hint = spelling::hint(input, names);
                let message = format!("the plugin has no input `{input}`");
                self.wrong(&at, &message, hint.as_deref());
                continue;
            };
            bound.extend(found.map(|stream| (number, stream)));
        }
        for input in &descriptor?.inputs {
            if !map.contains_key(&input.name) {
                let message = format!("the plugin's input `{}` has no stream", input.name);
                self.wrong(path, &message, Some("add it to the mapping"));
            }
        }
        bound.sort_unstable();
        (bound.len() == map.len()).then_some(bound)
    }

    /// What can be said of an operator whose plugin nobody knows: its own columns and features.
    pub(super) fn without_plugin(
        &mut self,
        path: &Path,
        document: &OperatorDocument,
        streams: &[(usize, StreamId)],
    ) {
        for (_, stream) in streams {
            let schema = self.streams[stream.0].schema.clone();
            self.key_columns(path, &document.key_by, &schema);
        }
        for (name, spec) in &document.features {
            self.feature(&path.key("features").key(name), (name, spec), streams);
        }
    }

    /// A feature over all streams of the operator, which must agree: it is computed over their
    /// union, so its column has to mean the same, and be of the same type, in each of them.
    pub(super) fn feature(
        &mut self,
        path: &Path,
        (name, spec): (&str, &FeatureSpec),
        streams: &[(usize, StreamId)],
    ) -> Option<Feature> {
        // The feature as of the first stream, and the type of the column that it reads.
        let mut bound: Option<(Feature, Option<DataType>)> = None;
        for (_, stream) in streams {
            let stream = &self.streams[stream.0];
            if stream.schema.index_of(name).is_ok() {
                let message = format!("the stream has a column `{name}` already");
                self.wrong(path, &message, Some("choose another name"));
                return None;
            }
            let feature = match spec.bind(name, &stream.schema, stream.has_time) {
                Ok(feature) => feature,
                Err(error) => {
                    let path = error.field.map_or(path.clone(), |field| path.key(field));
                    let message = format!("feature `{name}`: {error}");
                    self.wrong(&path, &message, error.remedy.as_deref());
                    return None;
                }
            };
            let read = feature.column.map(|at| stream.schema.field(at));
            let read = read.map(|field| field.data_type().clone());
            let Some((first, first_read)) = &bound else {
                bound = Some((feature, read));
                continue;
            };
            let is_same = Feature {
                column: first.column,
                ..feature
            } == *first;
            if !is_same || read != *first_read {
                let message = "the streams have the feature's column with different types";
                let remedy = "give the streams of a union the same columns";
                self.wrong(path, message, Some(remedy));
                return None;
            }
        }
        bound.map(|(feature, _)| feature)
    }

    /// The columns that rows are grouped by.
    pub(super) fn key_columns(
        &mut self,
        path: &Path,
        key_by: &[String],
        schema: &Schema,
    ) -> Vec<usize> {
        self.key_columns_at(&path.key("key-by"), key_by, schema)
    }

    /// The columns of a list of names, which stands at `path`.
    pub(super) fn key_columns_at(
        &mut self,
        path: &Path,
        key_by: &[String],
        schema: &Schema,
    ) -> Vec<usize> {
        let mut columns = Vec::new();
        for (index, name) in key_by.iter().enumerate() {
            let path = path.index(index);
            match schema.index_of(name) {
                Ok(column) if columns.contains(&column) => {
                    self.wrong(&path, &format!("`{name}` stands twice"), None);
                }
                Ok(column) if schema.field(column).data_type().is_nested() => {
                    let message = format!("`{name}` is a list or a struct, which is no key");
                    self.wrong(&path, &message, Some("use a plain column"));
                }
                Ok(column) => columns.push(column),
                Err(_) => {
                    let names = schema.fields().iter().map(|field| field.name().as_str());
                    let hint = spelling::hint(name, names);
                    let message = format!("there is no column `{name}`");
                    self.wrong(&path, &message, hint.as_deref());
                }
            }
        }
        columns
    }

    /// The configuration, held against the plugin's own schema.
    pub(super) fn config(
        &mut self,
        path: &Path,
        document: &OperatorDocument,
        descriptor: &Descriptor,
    ) -> serde_json::Value {
        let empty = serde_json::Value::Object(serde_json::Map::new());
        let operator = path;
        let path = path.key("config");
        let written = self.tree.at(&path);
        let written = written.filter(|_| document.config.is_some());
        let node = written.cloned().unwrap_or_else(|| Node {
            position: self.tree.locate(operator),
            ..Node::from_json(&empty)
        });
        for mistake in descriptor.config.check(&node) {
            let mut at = path.clone();
            at.0.extend(mistake.path.0);
            let mut error = self.at(&at, &mistake.message, mistake.remedy.as_deref());
            error.position = mistake.position;
            self.errors.push(error);
        }
        descriptor.config.with_defaults(&node.to_json())
    }
}
