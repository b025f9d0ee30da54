//! Binds an operator that aggregates over windows to its streams.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};

use super::{Builder, aggregated};
use crate::data_type;
use crate::pipeline::document::{InputDocument, OperatorDocument, OrderWord};
use crate::pipeline::{
    Batching, ColumnBinding, ColumnOrigin, InputBinding, Operator, OperatorId, OperatorKind,
    OperatorPolicy, Producer, Stream, StreamId,
};
use crate::tree::Path;
use crate::window::{
    Aggregate, Assigner, Corrections, END_COLUMN, REVISION_COLUMN, START_COLUMN, Trigger,
    WindowDocument, Windowing, why_merged,
};

/// A sound operator with its streams; none, with the mistakes noted, if there are any.
pub(super) fn operator(
    builder: &mut Builder<'_>,
    (index, name): (usize, &str),
    (document, window): (&OperatorDocument, &WindowDocument),
) -> Option<Operator> {
    let path = Path::keys(&["operators", name]);
    let errors_before = builder.errors.len();
    let has_plugins = document.aggregates.values().any(|it| it.plugin.is_some());
    only_of_plugins(builder, &path, document, has_plugins);
    let on_error = builder.policy(&path, document.on_error.as_ref());
    if let InputDocument::Named(_) = &document.input {
        let remedy = "write a stream, or a list of streams";
        builder.wrong(&path.key("input"), "windows have one input", Some(remedy));
    }
    let streams = builder.inputs(&path, document, None)?;
    let streams: Vec<StreamId> = streams.into_iter().map(|(_, stream)| stream).collect();
    let mut binding = Binding {
        builder,
        path,
        document,
        streams,
    };
    let assigner = binding.assigner(window);
    let trigger = document.trigger.as_ref();
    let trigger = trigger.map_or(Trigger::of_watermark(), |trigger| trigger.trigger());
    binding
        .builder
        .no_changelog(&binding.path, &binding.streams, "a window");
    let mut aggregates = binding.aggregates();
    let inputs = binding.inputs(&mut aggregates);
    if let Some(assigner) = assigner {
        binding.merges(assigner, &aggregates);
    }
    if let Some(assigner) = assigner {
        binding.combination(assigner, trigger);
    }
    if binding.builder.errors.len() > errors_before {
        return None;
    }
    let mut windowing = Windowing {
        assigner: assigner?,
        aggregates,
        trigger,
        lateness_us: document.allowed_lateness.map_or(0, |it| it.as_us()),
        corrections: document.corrections.unwrap_or_default(),
        schema: Arc::new(Schema::empty()),
        keys: document.key_by.len(),
        policy: OperatorPolicy {
            on_error,
            budget: document.error_budget.map(|budget| (budget.rows, budget.of)),
        },
    };
    windowing.schema = binding.schema(&windowing)?;
    let (outputs, late) = binding.outputs((OperatorId(index), name), &windowing);
    Some(Operator {
        name: name.into(),
        inputs,
        key_by: document.key_by.to_vec(),
        order: document.order.unwrap_or(OrderWord::Arrival),
        batch: Batching::of(document.batch.as_ref()),
        outputs,
        late,
        late_right: None,
        kind: OperatorKind::Window(Box::new(windowing)),
    })
}

/// Fields that say something about a plugin; those about rows that fail also go with plugins of
/// aggregates.
pub(super) fn only_of_plugins(
    builder: &mut Builder<'_>,
    path: &Path,
    document: &OperatorDocument,
    has_plugins: bool,
) {
    let fields = [
        ("features", !document.features.is_empty()),
        ("config", document.config.is_some()),
        ("on-error", document.on_error.is_some() && !has_plugins),
        (
            "error-budget",
            document.error_budget.is_some() && !has_plugins,
        ),
        ("limits", document.limits.is_some()),
        ("unstable", document.unstable),
    ];
    builder.belongs(path, &fields, "plugin");
}

/// Fields that say something about windows.
pub(super) fn only_of_windows(builder: &mut Builder<'_>, path: &Path, document: &OperatorDocument) {
    let fields = [
        ("aggregates", !document.aggregates.is_empty()),
        ("trigger", document.trigger.is_some()),
        ("allowed-lateness", document.allowed_lateness.is_some()),
        ("corrections", document.corrections.is_some()),
    ];
    builder.belongs(path, &fields, "window");
}

/// An operator whose streams are known.
struct Binding<'a, 'b> {
    builder: &'a mut Builder<'b>,
    path: Path,
    document: &'a OperatorDocument,
    streams: Vec<StreamId>,
}

impl Binding<'_, '_> {
    fn assigner(&mut self, window: &WindowDocument) -> Option<Assigner> {
        let path = self.path.key("window");
        self.builder
            .exactly_one(&path, "a window", &window.kinds())?;
        window
            .assigner()
            .map_err(|mistake| {
                let [kind, field] = mistake.field;
                let path = path.key(kind);
                let path = match self.builder.tree.at(&path.key(field)) {
                    Some(_) => path.key(field),
                    None => path,
                };
                self.builder
                    .wrong(&path, &mistake.message, Some(mistake.remedy));
            })
            .ok()
    }

    /// The aggregates as of the first stream.
    fn aggregates(&mut self) -> Vec<Aggregate> {
        let schema = self.builder.streams[self.streams[0].0].schema.clone();
        let path = self.path.key("aggregates");
        if self.document.aggregates.is_empty() {
            let message = "windows aggregate something";
            let remedy = "add `aggregates`, such as `{ n: { count: rows } }`";
            self.builder.wrong(&self.path, message, Some(remedy));
        }
        let mut bound = Vec::new();
        for (name, spec) in &self.document.aggregates {
            let aggregate_path = path.key(name);
            let bind = spec.check_plugin().and_then(|()| match &spec.plugin {
                None => spec.bind(name, &schema).map(Some),
                Some(_) => Ok(None),
            });
            match bind {
                Ok(Some(aggregate)) => bound.push(aggregate),
                Ok(None) => {
                    let of = (&aggregate_path, name.as_str(), spec);
                    bound.extend(aggregated::aggregate(self.builder, of, &self.streams));
                }
                Err(error) => {
                    let path = aggregate_path;
                    let path = error.field.map_or(path.clone(), |field| path.key(field));
                    let message = format!("aggregate `{name}`: {error}");
                    self.builder.wrong(&path, &message, error.remedy.as_deref());
                }
            }
        }
        bound
    }

    /// Binds each stream by itself; the aggregates' columns become positions among those that are
    /// read.
    fn inputs(&mut self, aggregates: &mut [Aggregate]) -> Vec<InputBinding> {
        let mut read: Vec<Field> = Vec::new();
        let mut place = |field: &Field| {
            let known = read.iter().position(|known| known.name() == field.name());
            known.unwrap_or_else(|| {
                read.push(field.clone());
                read.len() - 1
            })
        };
        for aggregate in aggregates {
            if let Some(field) = &aggregate.input {
                aggregate.column = Some(place(field));
            }
            if let Some(plugin) = &mut aggregate.plugin {
                let plugin = Arc::make_mut(plugin);
                let of = plugin.of.iter();
                plugin.columns = of.map(|field| field.as_ref().map(&mut place)).collect();
            }
        }
        let mut inputs = Vec::new();
        for stream in self.streams.clone() {
            let schema = self.builder.streams[stream.0].schema.clone();
            let columns = read.iter().filter_map(|field| self.column(field, &schema));
            let columns = columns.collect();
            let key_by = &self.document.key_by;
            let key_columns = self.builder.key_columns(&self.path, key_by, &schema);
            let key = |at: &usize| ColumnBinding {
                origin: ColumnOrigin::Stream(*at),
                to: schema.field(*at).clone(),
                widened: false,
            };
            inputs.push(InputBinding {
                stream,
                input: 0,
                columns,
                keys: key_columns.iter().map(key).collect(),
                key_columns,
            });
        }
        self.builder.equal_keys(&self.path, &inputs);
        inputs
    }

    /// Where a stream has a column that aggregates read; all streams have it alike.
    fn column(&mut self, wanted: &Field, schema: &Schema) -> Option<ColumnBinding> {
        let is_alike = |field: &Field| {
            field.data_type() == wanted.data_type() && field.is_nullable() == wanted.is_nullable()
        };
        let found = schema.index_of(wanted.name()).ok();
        if let Some(at) = found.filter(|at| is_alike(schema.field(*at))) {
            return Some(ColumnBinding {
                origin: ColumnOrigin::Stream(at),
                to: wanted.clone(),
                widened: false,
            });
        }
        let (name, of) = (
            wanted.name(),
            data_type::print(wanted.data_type(), wanted.is_nullable()),
        );
        let message = format!("aggregates read `{name}` as {of}, and not all streams have it so");
        let remedy = "give the streams of a union the same columns";
        self.builder
            .wrong(&self.path.key("input"), &message, Some(remedy));
        None
    }

    /// Windows that merge accumulators need aggregates that can.
    fn merges(&mut self, assigner: Assigner, aggregates: &[Aggregate]) {
        let lateness_us = self.document.allowed_lateness.map_or(0, |it| it.as_us());
        let Some(why) = why_merged(assigner, lateness_us) else {
            return;
        };
        for aggregate in aggregates {
            let plugin = aggregate.plugin.as_ref();
            if plugin.is_some_and(|plugin| !plugin.aggregate.merges) {
                let name = &aggregate.name;
                let path = self.path.key("aggregates").key(name).key("plugin");
                let message = format!("aggregate `{name}`: the plugin does not merge, and {why}");
                let remedy = "use `tumbling` windows without `allowed-lateness`, or a plugin that \
                              merges";
                self.builder.wrong(&path, &message, Some(remedy));
            }
        }
    }

    /// What windows and triggers need of event time, and of each other.
    fn combination(&mut self, assigner: Assigner, trigger: Trigger) {
        let has_time = |id: &StreamId| self.builder.streams[id.0].has_time;
        let have_time = self.streams.iter().all(has_time);
        let by_time = self.document.order == Some(OrderWord::EventTime);
        if !have_time && (assigner != Assigner::Global || by_time) {
            let message = "windows of event time need rows with event time";
            let remedy = "declare `event-time` at the source";
            self.builder
                .wrong(&self.path.key("input"), message, Some(remedy));
        }
        let path = self.path.key("trigger");
        if trigger.count.is_some() && assigner != Assigner::Global {
            let message = "windows that end with the watermark do not end after a count of rows";
            let remedy = "use `window: { global: {} }`";
            self.builder
                .wrong(&path.key("count"), message, Some(remedy));
        }
        if trigger.count.is_some() && trigger.early_us.is_some() {
            let message = "windows of a count of rows have no early results";
            self.builder.wrong(&path.key("early"), message, None);
        }
        let is_session = matches!(assigner, Assigner::Session { .. });
        let changes = self.document.allowed_lateness.is_some() || trigger.early_us.is_some();
        if is_session && changes && self.document.corrections == Some(Corrections::Revisions) {
            let message = "sessions that grow take results back, which a revision cannot say";
            let path = self.path.key("corrections");
            self.builder.wrong(&path, message, Some("use `changelog`"));
        }
        let lateness = self.path.key("allowed-lateness");
        if self.document.allowed_lateness.is_some() && assigner == Assigner::Global {
            let message = "no row comes too late for a window without end";
            self.builder.wrong(&lateness, message, Some("remove it"));
        }
        if self.document.allowed_lateness.is_some() && by_time {
            let message = "rows in event-time order are late as soon as the watermark has passed";
            let remedy = "remove `order: event-time`";
            self.builder.wrong(&lateness, message, Some(remedy));
        }
    }

    /// The columns of results.
    fn schema(&mut self, windowing: &Windowing) -> Option<Arc<Schema>> {
        let of = self.builder.streams[self.streams[0].0].schema.clone();
        let key = |name: &String| of.field_with_name(name).ok().cloned();
        let mut fields: Vec<Field> = self.document.key_by.iter().filter_map(key).collect();
        if windowing.has_bounds() {
            for name in [START_COLUMN, END_COLUMN] {
                fields.push(Field::new(name, data_type::timestamp(), false));
            }
        }
        fields.extend(windowing.aggregates.iter().map(Aggregate::field));
        if windowing.has_corrections() && windowing.corrections == Corrections::Revisions {
            fields.push(Field::new(REVISION_COLUMN, DataType::UInt32, false));
        }
        for (at, field) in fields.iter().enumerate() {
            if fields[..at]
                .iter()
                .any(|known| known.name() == field.name())
            {
                let message = format!("results have two columns `{}`", field.name());
                let path = self.path.key("aggregates");
                self.builder
                    .wrong(&path, &message, Some("choose another name"));
                return None;
            }
        }
        Some(Arc::new(Schema::new(fields)))
    }

    /// Adds the streams of results and of late rows.
    fn outputs(
        &mut self,
        (id, name): (OperatorId, &str),
        windowing: &Windowing,
    ) -> (Vec<StreamId>, Option<StreamId>) {
        let has_time = |id: &StreamId| self.builder.streams[id.0].has_time;
        let has_time = self.streams.iter().all(has_time);
        let output = self.builder.stream(Stream {
            name: name.into(),
            schema: windowing.schema.clone(),
            has_time,
            is_changelog: windowing.is_changelog(),
            producer: Producer::Output(id, 0),
        });
        let is_late = windowing.has_bounds() || self.document.order == Some(OrderWord::EventTime);
        let late = match is_late {
            true => self.builder.late_stream((id, name), &self.streams),
            false => None,
        };
        (vec![output], late)
    }
}
