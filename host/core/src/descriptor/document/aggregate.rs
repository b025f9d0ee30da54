//! What makes a plugin an aggregate for windows, in place of an operator.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Document, Kind, OrderWord};
use crate::data_type;
use crate::descriptor::{Aggregate, schema_id};

/// An aggregate as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AggregateDocument {
    #[schemars(extend("format" = "wasmill-type"))]
    accumulator: String,
    #[schemars(extend("format" = "wasmill-type"))]
    result: String,
    #[serde(default = "yes")]
    merges: bool,
}

/// Aggregates merge unless they say that they do not.
fn yes() -> bool {
    true
}

/// The aggregate, if the plugin is one; what it must not have besides is noted.
pub(super) fn check(document: &Document, wrong: &mut Vec<String>) -> Option<Aggregate> {
    let aggregate = document.aggregate.as_ref()?;
    if document.inputs.len() != 1 {
        wrong.push("inputs: an aggregate has one".into());
    }
    let others = [
        ("keys", !document.keys.is_empty()),
        ("keyed", document.keyed == Some(true)),
        ("order", document.order != OrderWord::Arrival),
        ("states", !document.states.is_empty()),
        ("timers", !document.timers.is_empty()),
        ("features", !document.features.is_empty()),
        ("outputs", !document.outputs.is_empty()),
        ("inputs", document.inputs.iter().any(|it| it.changelog)),
    ];
    for (field, _) in others.iter().filter(|(_, is_given)| *is_given) {
        wrong.push(format!("{field}: an aggregate leaves it to the window"));
    }
    let mut field = |name: &str, text: &str| {
        let parsed = data_type::parse_field(name, text);
        let place = format!("aggregate.{name}");
        parsed
            .map_err(|error| wrong.push(format!("{place}: {error}")))
            .ok()
    };
    let accumulator = field("accumulator", &aggregate.accumulator);
    let result = field("result", &aggregate.result);
    let accumulator = accumulator?;
    Some(Aggregate {
        schema_id: schema_id(Kind::Aggregating, None, &accumulator),
        accumulator,
        result: result?,
        merges: aggregate.merges,
    })
}
