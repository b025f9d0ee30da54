//! Binds an operator to its plugin and its streams.

use super::{Builder, windowed};
use crate::descriptor::{Descriptor, TimeDomain};
use crate::feature::{Feature, FeatureSpec};
use crate::pipeline::bind;
use crate::pipeline::document::{OperatorDocument, OrderWord};
use crate::pipeline::{
    Batching, ColumnBinding, ColumnOrigin, InputBinding, Limits, Operator, OperatorId,
    OperatorKind, OperatorPolicy, PluginUse, Producer, Stream, StreamId,
};
use crate::tree::Path;

/// A sound operator with its streams; none, with the mistakes noted, if there are any.
pub(super) fn operator(
    builder: &mut Builder<'_>,
    index: usize,
    name: &str,
    document: &OperatorDocument,
) -> Option<Operator> {
    let path = Path::keys(&["operators", name]);
    let errors_before = builder.errors.len();
    windowed::only_of_windows(builder, &path, document);
    let on_error = builder.policy(&path, document.on_error.as_ref());
    let is_marred = builder.marred.contains(name);
    let descriptor = builder.plugin(&path, document, is_marred);
    let streams = builder.inputs(&path, document, descriptor.as_deref());
    // What is missing may be what was cut out.
    let has_config = !is_marred || document.config.is_some();
    let described = descriptor.as_ref().filter(|_| has_config);
    let config = described.map(|plugin| builder.config(&path, document, plugin));
    if is_marred {
        return None;
    }
    let streams = streams?;
    let (Some(descriptor), Some(config)) = (descriptor, config) else {
        builder.without_plugin(&path, document, &streams);
        return None;
    };
    let mut binding = Binding {
        builder,
        path,
        document,
        descriptor: &descriptor,
    };
    let order = binding.order(&streams);
    let features = binding.features(&streams);
    let inputs = binding.inputs(&streams, &features);
    binding.needs(&streams);
    binding.broadcasts(&streams, order, features.len());
    if binding.builder.errors.len() > errors_before {
        return None;
    }
    let ids: Vec<StreamId> = streams.iter().map(|(_, stream)| *stream).collect();
    let (outputs, late) = binding.outputs(OperatorId(index), name, &ids, order);
    if binding.builder.errors.len() > errors_before {
        return None;
    }
    Some(Operator {
        name: name.into(),
        inputs,
        key_by: document.key_by.to_vec(),
        order,
        batch: Batching::of(document.batch.as_ref()),
        outputs,
        late,
        late_right: None,
        kind: OperatorKind::Plugin(Box::new(PluginUse {
            plugin: document.plugin.clone().unwrap_or_default(),
            descriptor,
            config,
            features,
            policy: OperatorPolicy {
                on_error,
                budget: document.error_budget.map(|budget| (budget.rows, budget.of)),
            },
            limits: document
                .limits
                .as_ref()
                .map_or_else(Limits::default, Into::into),
        })),
    })
}

/// An operator whose plugin and streams are known.
struct Binding<'a, 'b> {
    builder: &'a mut Builder<'b>,
    path: Path,
    document: &'a OperatorDocument,
    descriptor: &'a Descriptor,
}

impl Binding<'_, '_> {
    /// The document's word counts before the plugin's. Event-time order needs a time to sort by,
    /// and a key: without one all rows would be a single sequence in a single subtask.
    fn order(&mut self, streams: &[(usize, StreamId)]) -> OrderWord {
        let order = self.document.order.unwrap_or(self.descriptor.order);
        if order == OrderWord::EventTime {
            let path = self.path.key("order");
            if !self.have_time(streams) {
                let remedy = "declare `event-time` at the source, or use `order: arrival`";
                let message = "event-time order needs rows with event time";
                self.builder.wrong(&path, message, Some(remedy));
            }
            if self.document.key_by.is_empty() {
                let message = "event-time order is the order of a key's rows, and there is no key";
                self.builder.wrong(&path, message, Some("add `key-by`"));
            }
        }
        order
    }

    /// Whether rows of all streams have an event time.
    fn have_time(&self, streams: &[(usize, StreamId)]) -> bool {
        streams
            .iter()
            .all(|(_, stream)| self.builder.streams[stream.0].has_time)
    }

    /// The features of the pipeline and of the plugin; a name in both means the pipeline's.
    fn features(&mut self, streams: &[(usize, StreamId)]) -> Vec<Feature> {
        let own = self
            .document
            .features
            .iter()
            .map(|(name, spec)| (name.as_str(), spec, true));
        let brought = self.descriptor.features.iter();
        let brought = brought
            .filter(|(name, _)| !self.document.features.contains_key(name))
            .map(|(name, spec)| (name.as_str(), spec, false));
        let specs: Vec<(&str, &FeatureSpec, bool)> = own.chain(brought).collect();
        if !specs.is_empty() && self.document.key_by.is_empty() {
            let message = "features are computed for each key, and there is no key";
            self.builder
                .wrong(&self.path.key("features"), message, Some("add `key-by`"));
        }
        let mut features = Vec::new();
        for (name, spec, is_own) in specs {
            let path = if is_own {
                self.path.key("features").key(name)
            } else {
                self.path.clone()
            };
            features.extend(self.builder.feature(&path, (name, spec), streams));
        }
        features
    }

    /// Binds each stream by itself: streams of a union may have their columns in any order.
    fn inputs(&mut self, streams: &[(usize, StreamId)], features: &[Feature]) -> Vec<InputBinding> {
        let mut inputs = Vec::new();
        for (input, stream) in streams {
            let schema = self.builder.streams[stream.0].schema.clone();
            let descriptor = self.descriptor;
            let is_broadcast = descriptor.inputs[*input].broadcast;
            let mut columns = Vec::new();
            for field in descriptor.inputs[*input].schema.fields() {
                columns.extend(self.bound(bind::column(field, &schema, features)));
            }
            let key_by = &self.document.key_by;
            let (key_columns, keys) = match is_broadcast {
                true => (Vec::new(), Vec::new()),
                false => {
                    let columns = self.builder.key_columns(&self.path, key_by, &schema);
                    (columns, self.keys(&schema))
                }
            };
            inputs.push(InputBinding {
                stream: *stream,
                input: *input,
                columns,
                key_columns,
                keys,
            });
        }
        let keyed = inputs.iter();
        let keyed = keyed.filter(|input| !self.descriptor.inputs[input.input].broadcast);
        let keyed: Vec<InputBinding> = keyed.cloned().collect();
        self.builder.equal_keys(&self.path, &keyed);
        inputs
    }

    /// Rows that go to every subtask meet keyed rows in one order, or subtasks would not agree on
    /// what they have said.
    fn broadcasts(&mut self, streams: &[(usize, StreamId)], order: OrderWord, features: usize) {
        let is_broadcast = |input: usize| self.descriptor.inputs[input].broadcast;
        let Some((_, stream)) = streams.iter().find(|(input, _)| is_broadcast(*input)) else {
            return;
        };
        if order != OrderWord::EventTime {
            let message = "an operator with a broadcast input goes by event time";
            let remedy = "use `order: event-time`";
            self.builder
                .wrong(&self.path.key("order"), message, Some(remedy));
        }
        let readers = streams.iter().filter(|(_, other)| other == stream);
        if readers.count() > 1 {
            let message = "a stream is keyed or broadcast, not both";
            let remedy = "use two streams";
            self.builder
                .wrong(&self.path.key("input"), message, Some(remedy));
        }
        if features > 0 {
            let message = "an operator with a broadcast input has no features";
            let remedy = "compute them in an operator before it";
            self.builder
                .wrong(&self.path.key("features"), message, Some(remedy));
        }
    }

    /// Columns of a plugin stand nowhere in the document: their mistakes are told at the operator.
    fn bound(&mut self, bound: Result<ColumnBinding, bind::Refusal>) -> Option<ColumnBinding> {
        bound
            .map_err(|(message, remedy)| {
                self.builder.wrong(&self.path, &message, remedy.as_deref());
            })
            .ok()
    }

    /// The key columns that the guest wants to see must be part of the key.
    fn keys(&mut self, schema: &arrow_schema::Schema) -> Vec<ColumnBinding> {
        let mut bound = Vec::new();
        for key in &self.descriptor.keys {
            if self.document.key_by.contains(key.name()) {
                let binding = self.bound(bind::column(key, schema, &[]));
                bound.extend(binding.filter(|binding| binding.origin != ColumnOrigin::Null));
            } else if !self.document.key_by.is_empty() {
                let path = self.path.key("key-by");
                let message = format!("the plugin wants `{}` in the key", key.name());
                self.builder
                    .wrong(&path, &message, Some("add it to `key-by`"));
            }
        }
        bound
    }

    /// What the plugin needs of its surroundings.
    fn needs(&mut self, streams: &[(usize, StreamId)]) {
        if self.descriptor.keyed && self.document.key_by.is_empty() {
            let message = "the plugin keeps state for each key, and there is no key";
            self.builder
                .wrong(&self.path, message, Some("add `key-by: [COLUMN]`"));
        }
        let takes_changes =
            |(input, _): &(usize, StreamId)| self.descriptor.inputs[*input].changelog;
        let plain = streams.iter().filter(|stream| !takes_changes(stream));
        let plain: Vec<StreamId> = plain.map(|(_, stream)| *stream).collect();
        self.builder.no_changelog(&self.path, &plain, "the plugin");
        let remedy = "declare `event-time` at the source";
        let reads_time = streams.iter().any(|(input, stream)| {
            self.descriptor.inputs[*input].time && !self.builder.streams[stream.0].has_time
        });
        if reads_time {
            let message = "the plugin reads event time, and the stream has none";
            self.builder
                .wrong(&self.path.key("input"), message, Some(remedy));
        } else if self.descriptor.uses_time(TimeDomain::Event) && !self.have_time(streams) {
            let what = self.descriptor.event_timed().unwrap_or_default();
            let message =
                format!("{what} of the plugin follows event time, and the stream has none");
            self.builder
                .wrong(&self.path.key("input"), &message, Some(remedy));
        }
    }

    /// Adds the streams that the operator produces.
    fn outputs(
        &mut self,
        id: OperatorId,
        name: &str,
        inputs: &[StreamId],
        order: OrderWord,
    ) -> (Vec<StreamId>, Option<StreamId>) {
        let has_time = inputs.iter().all(|id| self.builder.streams[id.0].has_time);
        let mut outputs = Vec::new();
        for (index, output) in self.descriptor.outputs.iter().enumerate() {
            let side = format!("{name}.{}", output.name);
            outputs.push(self.builder.stream(Stream {
                name: if index == 0 { name.into() } else { side },
                schema: output.schema.clone(),
                has_time,
                is_changelog: false,
                producer: Producer::Output(id, index),
            }));
        }
        if order == OrderWord::Arrival {
            return (outputs, None);
        }
        let late_name = format!("{name}.late");
        if self.builder.by_name.contains_key(&late_name) {
            let message = "the plugin has an output `late`, which is the name of the late rows";
            self.builder.wrong(
                &self.path.key("order"),
                message,
                Some("use `order: arrival`"),
            );
            return (outputs, None);
        }
        let late = self.builder.late_stream((id, name), inputs);
        (outputs, late)
    }
}
