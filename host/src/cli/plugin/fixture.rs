//! Fixtures: one call of a plugin as a JSON document, described in docs/formats/fixture.md.

mod aggregate;
mod call;
mod compare;
mod order;
mod store;

use std::{fs, path::Path};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use wasmill_core::{json_schema::Schema, tree};

use crate::plugin_store::Loaded;

/// A fixture as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Fixture {
    /// The version of this document, 1.
    #[schemars(range(min = 1, max = 1))]
    #[expect(dead_code, reason = "the schema has checked the version")]
    fixture: u32,
    /// What the fixture shows.
    pub(super) name: String,
    #[serde(default)]
    config: Option<Json>,
    /// The input that the rows are of.
    input: Option<String>,
    #[serde(default)]
    key_by: Vec<String>,
    #[serde(default)]
    rows: Vec<Map<String, Json>>,
    #[serde(default)]
    times: Vec<Json>,
    #[serde(default)]
    clocks: Vec<Json>,
    watermark: Option<Json>,
    processing_time: Option<Json>,
    #[serde(default)]
    state: Vec<KeyedState>,
    #[serde(default)]
    timers: Vec<Timer>,
    expect: Expect,
}

/// What must come of it; what is left out is not compared.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[derive(Default)]
struct Expect {
    outputs: Option<Map<String, Json>>,
    rejected: Option<Vec<Rejected>>,
    state: Option<Vec<KeyedState>>,
    timers: Option<Vec<Timer>>,
    #[serde(deserialize_with = "given")]
    result: Option<Json>,
    fault: Option<String>,
    tolerance: f64,
}

/// A result that is null is expected, too.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(from).map(Some)
}

#[derive(Deserialize, JsonSchema, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Rejected {
    row: u32,
    reason: String,
}

/// The states of a key, or without a key those of the operator.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KeyedState {
    key: Option<Map<String, Json>>,
    values: Map<String, Json>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Timer {
    key: Map<String, Json>,
    timer: String,
    time: Json,
}

/// Reads a fixture; each mistake is a line with file, line and column.
pub(super) fn read(path: &Path) -> Result<Fixture, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let place = |position: tree::Position| match position.line {
        0 => format!("{shown}: "),
        line => format!("{shown}:{line}:{}: ", position.column),
    };
    let tree = tree::parse(&text).map_err(|error| {
        let remedy = remedy(error.remedy.as_deref());
        format!("{}{}{remedy}", place(error.position), error.message)
    })?;
    let schema = schemars::schema_for!(Fixture).to_value();
    let schema = Schema::compile(&schema).expect("our own schema is sound");
    let mistakes: Vec<String> = schema
        .check(&tree)
        .into_iter()
        .map(|mistake| {
            let remedy = remedy(mistake.remedy.as_deref());
            let field = match mistake.path.0.is_empty() {
                true => String::new(),
                false => format!("{}: ", mistake.path),
            };
            let place = place(mistake.position);
            format!("{place}{field}{}{remedy}", mistake.message)
        })
        .collect();
    if !mistakes.is_empty() {
        return Err(mistakes.join("\nwasmill: "));
    }
    serde_json::from_value(tree.to_json()).map_err(|error| format!("{shown}: {error}"))
}

/// What would be right, as the end of a message.
fn remedy(remedy: Option<&str>) -> String {
    remedy
        .map(|remedy| format!("; {remedy}"))
        .unwrap_or_default()
}

/// Runs a fixture; the message says what came instead of what was expected.
pub(super) fn run(mut fixture: Fixture, loaded: &Loaded) -> Result<(), String> {
    let descriptor = &loaded.descriptor;
    let order = order::arrange(&mut fixture, descriptor)?;
    let fixture = &fixture;
    let given = fixture
        .config
        .clone()
        .unwrap_or_else(|| Json::Object(Map::new()));
    let mistakes = descriptor.config.check(&tree::Node::from_json(&given));
    if let Some(mistake) = mistakes.first() {
        let place = match mistake.path.0.is_empty() {
            true => "config".into(),
            false => format!("config.{}", mistake.path),
        };
        let remedy = remedy(mistake.remedy.as_deref());
        return Err(format!("{place}: {}{remedy}", mistake.message));
    }
    if let Some(aggregate) = &descriptor.aggregate {
        let outcome = aggregate::run(fixture, (loaded, aggregate), &given);
        return judge(outcome, fixture.expect.fault.as_ref());
    }
    if fixture.expect.result.is_some() {
        return Err("expect.result: the plugin is no aggregate".into());
    }
    let mut store = store::Store::new(fixture, descriptor)?;
    let outcome = call::call(fixture, loaded, &mut store, &given);
    match (outcome, &fixture.expect.fault) {
        (Ok(mut outcome), None) => {
            for (row, _) in &mut outcome.rejected {
                *row = order[*row as usize];
            }
            outcome.rejected.sort();
            compare::compare(fixture, descriptor, &outcome, &store)
        }
        (outcome, wanted) => judge(outcome.map(drop), wanted.as_ref()),
    }
}

/// Whether a call failed as it should, or did not.
fn judge(outcome: Result<(), String>, wanted: Option<&String>) -> Result<(), String> {
    match (outcome, wanted) {
        (Ok(()), Some(wanted)) => Err(format!("expected a fault with `{wanted}`, there was none")),
        (Err(fault), Some(wanted)) if fault.contains(wanted.as_str()) => Ok(()),
        (outcome, _) => outcome,
    }
}
