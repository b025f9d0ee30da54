//! Who takes part in a job's checkpoints.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use arrow_schema::Field;
use wasmill_core::{
    checkpoint::{
        CheckpointId, Digest, Identity, KeyHash, NameError, Scope, Settings, StateSchema,
    },
    data_type,
    descriptor::{self, State, schema_id},
    join::{JoinSpec, Side, entry_type},
    key::{KEY_GROUPS_DEFAULT, KeyGroupRange},
    pipeline::{
        self, Checkpointing, Operator, OperatorKind, Pipeline, SinkKind,
        document::{Delivery, OrderWord},
    },
    plan::{Plan, Root, TaskPlan},
};

use super::{JobError, Plugins};
use crate::{
    checkpoint::{self, Offer, Offers},
    connector::{
        Follower,
        sink::{self, DecidingSink, Fence, Opening, Output},
    },
    join,
    operator::Make,
    wasm::{InstanceOptions, Limits},
    window,
};

/// The tenant of every job, until there are several.
const TENANT: &str = "default";
/// Between a failure and the next try.
const RETRY_US: i64 = 200_000;
/// Failures in a row that a job outlives.
const FAILURES_MAX: u32 = 10;
/// Decided checkpoints that are kept.
const RETAINED: usize = 3;
/// Decided checkpoints that a sink may have to apply.
const UNAPPLIED_MAX: usize = 4;
/// Seed of the hash of keys (`docs/formats/state.md`).
const KEY_SEED: u64 = 0;

/// What takes part in the checkpoints of a job.
///
/// # Errors
/// If the job's name cannot name objects.
pub fn participants(
    pipeline: &Pipeline,
    plan: &Plan,
    plugins: &Plugins,
    (checkpointing, is_fresh): (&Checkpointing, bool),
) -> Result<checkpoint::Plan, NameError> {
    let operators = pipeline.operators.iter().zip(plugins);
    let with_state = operators.filter(|(operator, _)| has_state(operator));
    let identified = with_state.map(|(operator, make)| {
        let digest = make.as_ref().and_then(Make::digest);
        let plugin = digest.and_then(|digest| Digest::parse(&digest));
        (operator.name.clone(), identity(pipeline, operator, plugin))
    });
    let gates = plan.tasks.iter().filter_map(|task| gate(pipeline, task));
    let identified = identified.chain(gates);
    let subtasks = plan.tasks.iter().flat_map(names);
    let follows = |sink: &&pipeline::Sink| {
        sink.delivery == Delivery::ExactlyOnce && sink.kind != SinkKind::Discard
    };
    Ok(checkpoint::Plan {
        scope: Scope::new(TENANT, &pipeline.name, KeyGroupRange::all(plan.key_groups))?,
        settings: Settings {
            interval_us: Some(checkpointing.interval_us),
            timeout_us: checkpointing.timeout_us,
            pause_us: 0,
            retry_us: RETRY_US,
            failures_max: FAILURES_MAX,
            retained: RETAINED,
            unapplied_max: UNAPPLIED_MAX,
        },
        key_hash: KeyHash {
            seed: KEY_SEED,
            groups: plan.key_groups,
        },
        sources: pipeline.sources.iter().map(|it| it.name.clone()).collect(),
        operators: identified.collect::<BTreeMap<_, _>>(),
        offers: offers(pipeline, plugins),
        subtasks: subtasks.collect(),
        followers: pipeline
            .sinks
            .iter()
            .filter(follows)
            .map(|it| it.name.clone())
            .collect(),
        markers: markers(pipeline),
        decider: pipeline.decider().map(|sink| DecidingSink {
            sink: sink.clone(),
            job: pipeline.name.clone(),
        }),
        is_fresh,
        after: None,
        takes_over: false,
        beginning: checkpoint::Beginning::default(),
        location: String::new(),
        place: pipeline::Storage::Folder(String::new()),
    })
}

/// Where the markers of sinks stand, if it is not with the rows.
fn markers(pipeline: &Pipeline) -> BTreeMap<String, String> {
    let markers = pipeline.sinks.iter().filter_map(|sink| {
        let SinkKind::Kafka(kafka, _) = &sink.kind else {
            return None;
        };
        let topic = kafka.marker_topic(&pipeline.name, &sink.name);
        Some((sink.name.clone(), format!("the topic `{topic}`")))
    });
    markers.collect()
}

/// The plugins that migrate states of their operators.
fn offers(pipeline: &Pipeline, plugins: &Plugins) -> Offers {
    let operators = pipeline.operators.iter().zip(plugins);
    let offer = |(operator, make): (&Operator, &Option<Make>)| {
        let used = operator.plugin()?;
        let mut states = used.descriptor.states.iter();
        let migrates = states.any(|state| !state.migrations.is_empty());
        let Some(Make::Plugin(plugin)) = make else {
            return None;
        };
        let offer = Offer {
            plugin: plugin.clone(),
            descriptor: Arc::clone(&used.descriptor),
            options: InstanceOptions {
                limits: Limits::from(&used.limits),
                ..InstanceOptions::default()
            },
        };
        migrates.then(|| (operator.name.clone(), offer))
    };
    operators.filter_map(offer).collect()
}

/// Whose log the checkpoints of a pipeline are.
///
/// # Errors
/// If the job's name cannot name objects.
pub fn scope(pipeline: &Pipeline) -> Result<Scope, NameError> {
    Scope::new(
        TENANT,
        &pipeline.name,
        KeyGroupRange::all(KEY_GROUPS_DEFAULT),
    )
}

/// Opens the sinks of a finished job that follow checkpoints; `spool` is for rows that wait.
///
/// # Errors
/// If a sink cannot be opened.
pub fn followers(
    pipeline: &Pipeline,
    plan: &Plan,
    (since, spool): (Option<CheckpointId>, &Path),
    fence: Fence,
) -> Result<HashMap<String, Box<dyn Follower>>, JobError> {
    let mut followers = HashMap::new();
    for sink in &pipeline.sinks {
        let opening = Opening {
            job: &pipeline.name,
            fence,
            is_fresh: false,
            since,
            is_detour: since.is_none(),
            spool,
        };
        let Some(stream) = sink
            .inputs
            .first()
            .filter(|_| sink.kind != SinkKind::Discard)
        else {
            continue;
        };
        // A plain sink would begin its output anew.
        if sink.delivery == Delivery::ExactlyOnce
            && let Output::Follower(follower) =
                sink::open_for(sink, &plan.stream(*stream).schema, &opening).map_err(|source| {
                    JobError::Open {
                        name: sink.name.clone(),
                        source,
                    }
                })?
        {
            followers.insert(sink.name.clone(), follower);
        }
    }
    Ok(followers)
}

/// What a gate keeps for the operators behind it: what features remember, and rows that wait.
fn gate(pipeline: &Pipeline, task: &TaskPlan) -> Option<(String, Identity)> {
    let Root::Gate(root) = &task.root else {
        return None;
    };
    let keeps = !task.features.is_empty() || root.order == OrderWord::EventTime;
    let first = task.operators.first().filter(|_| keeps)?;
    let identity = Identity {
        key: key_types(pipeline, pipeline.operator(first.operator)),
        ..Identity::default()
    };
    Some((task.name.clone(), identity))
}

/// Whether an operator keeps anything from one batch to the next.
fn has_state(operator: &Operator) -> bool {
    match operator.plugin().map(|plugin| &plugin.descriptor) {
        Some(descriptor) => !descriptor.states.is_empty() || !descriptor.timers.is_empty(),
        None => true,
    }
}

/// What people call the subtasks of a task.
fn names(task: &TaskPlan) -> impl Iterator<Item = String> {
    (0..task.parallelism).map(|subtask| format!("`{}` ({})", task.name, subtask + 1))
}

fn identity(pipeline: &Pipeline, operator: &Operator, plugin: Option<Digest>) -> Identity {
    let states = match &operator.kind {
        OperatorKind::Plugin(plugin) => {
            let states = plugin.descriptor.states.iter();
            states.filter_map(of_plugin).collect()
        }
        OperatorKind::Window(windowing) => {
            BTreeMap::from([built_in(window::STATE, windowing.definition())])
        }
        OperatorKind::Join(join) => joined(operator, join),
    };
    Identity {
        plugin,
        key: key_types(pipeline, operator),
        states,
    }
}

/// A state that a plugin declares.
fn of_plugin(state: &State) -> Option<(String, StateSchema)> {
    let schema = StateSchema {
        id: Digest::parse(&state.schema_id)?,
        kind: state.kind.name().into(),
        key: state.key.as_ref().map(printed),
        value: printed(&state.value),
    };
    Some((state.name.clone(), schema))
}

/// The one state of an operator that is built in: its kind is its name, and its type what the
/// operator does, so that state of another definition is refused by name.
fn built_in(name: &str, definition: String) -> (String, StateSchema) {
    let schema = StateSchema {
        id: Digest::of(format!("wasmill-state-1 {name} {definition}").as_bytes()),
        kind: name.into(),
        key: None,
        value: definition,
    };
    (name.into(), schema)
}

/// What a join keeps: lists of rows, which stand for its definition, too.
fn joined(operator: &Operator, join: &JoinSpec) -> BTreeMap<String, StateSchema> {
    let list = |(name, side): (&str, Side)| {
        let input = &operator.inputs[side.index()];
        let value = Field::new("item", entry_type(&join::kept_fields(input)), false);
        let schema = StateSchema {
            id: Digest::parse(&schema_id(descriptor::Kind::List, None, &value))?,
            kind: descriptor::Kind::List.name().into(),
            key: None,
            value: printed(&value),
        };
        Some((name.to_owned(), schema))
    };
    let lists = join::LISTS
        .into_iter()
        .zip([Side::Left, Side::Right, Side::Left]);
    let definition = built_in(join::STATE, join.to_string());
    lists.filter_map(list).chain([definition]).collect()
}

/// The types of the key's columns.
fn key_types(pipeline: &Pipeline, operator: &Operator) -> Option<String> {
    let input = operator
        .inputs
        .first()
        .filter(|_| !operator.key_by.is_empty())?;
    let schema = &pipeline.stream(input.stream).schema;
    let types = input
        .key_columns
        .iter()
        .map(|at| printed(schema.field(*at)));
    Some(types.collect::<Vec<_>>().join(", "))
}

fn printed(field: &Field) -> String {
    data_type::print(field.data_type(), field.is_nullable())
}
