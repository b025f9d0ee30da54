//! The descriptor as it is written, and the checks that turn it into one that can be relied on.

mod aggregate;
mod broadcast;
mod feature;
mod migration;

use std::collections::HashSet;

use arrow_schema::Field;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Descriptor, DescriptorError, Input, Output, State, Timer, Ttl, schema, schema_id};
use crate::data_type;
use crate::duration::DurationText;
use crate::json_schema::{Mistake, Schema};
use crate::pipeline::document::OrderWord;
use crate::spelling;
use crate::tree::Node;
use aggregate::AggregateDocument;
use feature::NamedFeature;
use migration::MigrationDocument;

/// Inputs of an operator.
const INPUTS_MAX: usize = 16;
/// States of an operator.
const STATES_MAX: usize = 64;
/// Timers of an operator.
const TIMERS_MAX: usize = 32;
/// Outputs of an operator.
const OUTPUTS_MAX: usize = 32;
/// Columns of an input or an output.
const COLUMNS_MAX: usize = 1024;
/// Features that a plugin declares.
const FEATURES_MAX: usize = 256;
/// Bytes of a column's name.
const COLUMN_NAME_BYTES_MAX: usize = 255;

/// The kinds of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One value a key.
    Value,
    /// A sequence a key.
    List,
    /// Entries a key.
    Map,
    /// One value a key, merged with each addition.
    Reducing,
    /// One accumulator a key.
    Aggregating,
    /// One value a subtask.
    Operator,
    /// The same entries in every subtask.
    Broadcast,
}

/// The clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeDomain {
    /// The rows' own time, by watermarks.
    #[default]
    Event,
    /// The clock on the wall.
    Processing,
}

/// The document as docs/formats/descriptor.md has it, field by field.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Document {
    #[schemars(range(min = 1, max = 1))]
    #[expect(dead_code, reason = "the schema has checked the version")]
    descriptor: u32,
    #[schemars(extend("format" = "wasmill-name"))]
    name: String,
    #[schemars(length(min = 1, max = 64))]
    version: String,
    #[serde(default)]
    doc: String,
    #[schemars(length(min = 1, max = 16))]
    inputs: Vec<InputDocument>,
    #[serde(default)]
    keys: Vec<Column>,
    keyed: Option<bool>,
    #[serde(default = "arrival")]
    order: OrderWord,
    #[serde(default)]
    states: Vec<StateDocument>,
    #[serde(default)]
    timers: Vec<TimerDocument>,
    #[serde(default)]
    features: Vec<NamedFeature>,
    outputs: Vec<OutputDocument>,
    aggregate: Option<AggregateDocument>,
    #[serde(default = "any")]
    config: Json,
}

/// The order of rows where a descriptor says none.
fn arrival() -> OrderWord {
    OrderWord::Arrival
}

/// A configuration schema that allows everything.
fn any() -> Json {
    Json::Bool(true)
}

/// An input as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct InputDocument {
    #[schemars(extend("format" = "wasmill-name"))]
    name: String,
    #[serde(default)]
    time: bool,
    #[serde(default)]
    changelog: bool,
    #[serde(default)]
    broadcast: bool,
    columns: Vec<Column>,
}

/// An output as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OutputDocument {
    #[schemars(extend("format" = "wasmill-name"))]
    name: String,
    columns: Vec<Column>,
}

/// A column as it is written: its type is text, as everywhere.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Column {
    #[schemars(length(min = 1, max = 255))]
    name: String,
    #[serde(rename = "type")]
    #[schemars(extend("format" = "wasmill-type"))]
    data_type: String,
}

/// A state as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StateDocument {
    #[schemars(extend("format" = "wasmill-name"))]
    name: String,
    kind: Kind,
    #[serde(rename = "type")]
    #[schemars(extend("format" = "wasmill-type"))]
    data_type: String,
    #[schemars(extend("format" = "wasmill-type"))]
    key: Option<String>,
    column: Option<String>,
    #[schemars(range(min = 1))]
    items_max: Option<u32>,
    ttl: Option<TtlDocument>,
    #[serde(default)]
    migrates_from: Vec<MigrationDocument>,
}

/// How long a state lives after its last write.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TtlDocument {
    after: DurationText,
    #[serde(default)]
    time: TimeDomain,
}

/// A timer as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TimerDocument {
    #[schemars(extend("format" = "wasmill-name"))]
    name: String,
    #[serde(default)]
    time: TimeDomain,
}

/// Reads the text; every field is known and of the right type afterwards.
pub(super) fn read(text: &str) -> Result<Document, DescriptorError> {
    let json: Json = serde_json::from_str(text).map_err(|e| one(format!("it is not JSON: {e}")))?;
    let schema = schemars::schema_for!(Document);
    let schema = Schema::compile(schema.as_value()).expect("our own schema is sound");
    let mistakes = schema.check(&Node::from_json(&json));
    if !mistakes.is_empty() {
        return Err(DescriptorError(mistakes.iter().map(describe).collect()));
    }
    serde_json::from_value(json).map_err(|e| one(e.to_string()))
}

/// An error of one message.
fn one(message: String) -> DescriptorError {
    DescriptorError(vec![message])
}

/// A mistake with its place and its remedy, in a line.
fn describe(mistake: &Mistake) -> String {
    let remedy = mistake.remedy.iter().map(|remedy| format!(" ({remedy})"));
    let remedy: String = remedy.collect();
    format!("{}: {}{remedy}", mistake.path, mistake.message)
}

impl Document {
    /// Checks what no schema can say.
    pub(super) fn check(self) -> Result<Descriptor, DescriptorError> {
        let mut wrong = Vec::new();
        self.limits(&mut wrong);
        let unstable = self.unstable();
        let states = self.states(&mut wrong);
        let needs_key = states.iter().any(|state| state.kind.is_keyed())
            || !self.timers.is_empty()
            || !self.features.is_empty()
            || !self.keys.is_empty();
        if self.keyed == Some(false) && needs_key {
            wrong.push("keyed: it is false, and there are keyed states, timers or features".into());
        }
        broadcast::check(&self, &mut wrong);
        let aggregate = aggregate::check(&self, &mut wrong);
        let config = Schema::compile(&self.config);
        let config = config.map_err(|e| wrong.push(format!("config: {e}"))).ok();
        let descriptor = Descriptor {
            keyed: self.keyed.unwrap_or(needs_key),
            keys: fields(&self.keys, "keys", &mut wrong),
            inputs: self
                .inputs
                .iter()
                .map(|input| input.check(&mut wrong))
                .collect(),
            outputs: self
                .outputs
                .iter()
                .map(|output| output.check(&mut wrong))
                .collect(),
            timers: self.timers.into_iter().map(TimerDocument::check).collect(),
            features: self.features.into_iter().map(|feature| feature.0).collect(),
            name: self.name,
            version: self.version,
            doc: self.doc,
            order: self.order,
            states,
            aggregate,
            config: match config {
                Some(config) => config,
                None => return Err(DescriptorError(wrong)),
            },
            unstable,
        };
        if wrong.is_empty() {
            Ok(descriptor)
        } else {
            Err(DescriptorError(wrong))
        }
    }

    /// Lists that are too long, and names that stand twice.
    fn limits(&self, wrong: &mut Vec<String>) {
        let lists = [
            ("inputs", self.inputs.len(), INPUTS_MAX),
            ("states", self.states.len(), STATES_MAX),
            ("timers", self.timers.len(), TIMERS_MAX),
            ("outputs", self.outputs.len(), OUTPUTS_MAX),
            ("features", self.features.len(), FEATURES_MAX),
            ("keys", self.keys.len(), COLUMNS_MAX),
        ];
        for (what, found, most) in lists {
            if found > most {
                wrong.push(format!(
                    "{what}: {found} are too many, at most {most} are allowed"
                ));
            }
        }
        distinct(
            "inputs",
            self.inputs.iter().map(|input| input.name.as_str()),
            wrong,
        );
        distinct(
            "states",
            self.states.iter().map(|state| state.name.as_str()),
            wrong,
        );
        distinct(
            "timers",
            self.timers.iter().map(|timer| timer.name.as_str()),
            wrong,
        );
        distinct(
            "outputs",
            self.outputs.iter().map(|output| output.name.as_str()),
            wrong,
        );
        distinct(
            "features",
            self.features.iter().map(|feature| feature.0.0.as_str()),
            wrong,
        );
    }

    /// What the operator uses that no guest of ours has proved yet: the pipeline has to ask for it.
    fn unstable(&self) -> Vec<String> {
        let mut unstable = Vec::new();
        for state in &self.states {
            if state.kind == Kind::Broadcast {
                unstable.push(format!("the state kind `{}`", state.kind.name()));
            }
        }
        if self.inputs.len() > 1 {
            unstable.push("more than one input".into());
        }
        if self.inputs.iter().any(|input| input.changelog) {
            unstable.push("changelogs".into());
        }
        if self.inputs.iter().any(|input| input.broadcast) {
            unstable.push("a broadcast input".into());
        }
        unstable
    }

    /// The states that are sound; the mistakes of the others are noted.
    fn states(&self, wrong: &mut Vec<String>) -> Vec<State> {
        let columns = self.inputs.first().map_or(&[][..], |input| &input.columns);
        self.states
            .iter()
            .filter_map(|state| {
                let place = format!("states.{}", state.name);
                state
                    .check(columns)
                    .map_err(|message| wrong.push(format!("{place}: {message}")))
                    .ok()
            })
            .collect()
    }
}

impl StateDocument {
    fn check(&self, columns: &[Column]) -> Result<State, String> {
        let field = |name: &str, text: &str| {
            data_type::parse_field(name, text).map_err(|error| error.to_string())
        };
        let value = field("value", &self.data_type)?;
        let keyed_by = matches!(self.kind, Kind::Map | Kind::Broadcast);
        let key = match (&self.key, keyed_by) {
            (Some(text), true) => Some(field("key", text)?),
            (None, true) => return Err("`key`, the type of its keys, is missing".into()),
            (Some(_), false) => return Err("only maps have a `key`".into()),
            (None, false) => None,
        };
        if self.items_max.is_some() && self.kind != Kind::List {
            return Err("only lists have `items-max`".into());
        }
        if self.ttl.is_some() && !self.kind.is_keyed() {
            return Err(format!("{} states have no `ttl`", self.kind.name()));
        }
        let column = match &self.column {
            Some(_) if self.kind != Kind::Map => return Err("only maps have a `column`".into()),
            Some(name) => Some(self.bind(name, columns, key.as_ref())?),
            None => None,
        };
        let own_id = schema_id(self.kind, key.as_ref(), &value);
        Ok(State {
            migrations: self.migrations(key.as_ref(), &own_id)?,
            schema_id: own_id,
            name: self.name.clone(),
            kind: self.kind,
            value,
            key,
            column,
            items_max: self.items_max,
            ttl: self.ttl.as_ref().map(|ttl| Ttl {
                after_us: ttl.after.as_us(),
                time: ttl.time,
            }),
        })
    }

    /// The column that the map's key is read from must have the key's very type.
    fn bind(&self, name: &str, columns: &[Column], key: Option<&Field>) -> Result<usize, String> {
        let names = columns.iter().map(|column| column.name.as_str());
        let position = columns.iter().position(|column| column.name == name);
        let Some(position) = position else {
            let hint = spelling::hint(name, names).unwrap_or_default();
            return Err(format!("the first input has no column `{name}`; {hint}"));
        };
        let of = data_type::parse_field(name, &columns[position].data_type);
        let of = of.map_err(|error| error.to_string())?;
        match key {
            Some(key)
                if key.data_type() == of.data_type() && key.is_nullable() == of.is_nullable() =>
            {
                Ok(position)
            }
            _ => Err(format!(
                "the column `{name}` and the map's `key` have different types"
            )),
        }
    }
}

impl InputDocument {
    fn check(&self, wrong: &mut Vec<String>) -> Input {
        let place = format!("inputs.{}.columns", self.name);
        Input {
            name: self.name.clone(),
            time: self.time,
            changelog: self.changelog,
            broadcast: self.broadcast,
            schema: schema(fields(&self.columns, &place, wrong)),
        }
    }
}

impl OutputDocument {
    fn check(&self, wrong: &mut Vec<String>) -> Output {
        let place = format!("outputs.{}.columns", self.name);
        Output {
            name: self.name.clone(),
            schema: schema(fields(&self.columns, &place, wrong)),
        }
    }
}

impl TimerDocument {
    fn check(self) -> Timer {
        Timer {
            name: self.name,
            time: self.time,
        }
    }
}

/// Columns as fields; the mistakes of those that are none are noted.
fn fields(columns: &[Column], place: &str, wrong: &mut Vec<String>) -> Vec<Field> {
    if columns.len() > COLUMNS_MAX {
        wrong.push(format!(
            "{place}: at most {COLUMNS_MAX} columns are allowed"
        ));
        return Vec::new();
    }
    distinct(
        place,
        columns.iter().map(|column| column.name.as_str()),
        wrong,
    );
    let mut fields = Vec::new();
    for column in columns {
        if column.name.len() > COLUMN_NAME_BYTES_MAX {
            wrong.push(format!("{place}: a column's name has at most 255 bytes"));
        }
        match data_type::parse_field(&column.name, &column.data_type) {
            Ok(field) => fields.push(field),
            Err(error) => wrong.push(format!("{place}.{}: {error}", column.name)),
        }
    }
    fields
}

/// Names that stand twice are noted.
fn distinct<'a>(place: &str, names: impl Iterator<Item = &'a str>, wrong: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            wrong.push(format!("{place}: `{name}` stands twice"));
        }
    }
}
