//! The descriptor: what the host learns of an operator before it runs. All of it follows from the
//! operator's types. The format is docs/formats/descriptor.md.

use crate::row::{columns_json, type_of_state};
use crate::{Aggregate, Input, Key, Operator, Outputs, Setting, States, Timers};
use serde_json::{Value as Json, json};

/// The descriptor of an operator. What it declares nothing of is left out, and so has the default
/// that the format gives it.
pub(crate) fn descriptor<Op: Operator>() -> Json {
    let plugin = Op::PLUGIN;
    let keys = <<Op::State as States>::Key<'static> as Key<'static>>::describe();
    let timers = <<Op::State as States>::Timer as Timers>::SPECS;
    let mut descriptor = json!({
        "descriptor": 1,
        "name": plugin.name,
        "version": plugin.version,
        "inputs": <Op::Input<'static> as Input<'static>>::describe(),
        "order": Op::ORDER.name(),
        "outputs": <Op::Output<'static> as Outputs<'static>>::describe(),
        "config": <Op::Config as Setting>::schema(),
    });
    let timers: Json = timers.iter().map(|timer| timer.describe()).collect();
    let features = <Op::Input<'static> as Input<'static>>::features();
    let rest = [
        ("doc", Json::from(plugin.doc)),
        ("keys", columns_json(&keys)),
        ("states", Op::State::describe().into()),
        ("timers", timers),
        ("features", features.into()),
    ];
    for (field, value) in rest {
        let is_empty = value.as_str().is_some_and(str::is_empty)
            || value.as_array().is_some_and(Vec::is_empty);
        if !is_empty {
            descriptor[field] = value;
        }
    }
    descriptor
}

/// The descriptor of an aggregate.
pub(crate) fn aggregate<A: Aggregate>() -> Json {
    let plugin = A::PLUGIN;
    let mut descriptor = json!({
        "descriptor": 1,
        "name": plugin.name,
        "version": plugin.version,
        "inputs": <A::Row<'static> as Input<'static>>::describe(),
        "aggregate": {
            "accumulator": type_of_state::<A::Accumulator>(),
            "result": type_of_state::<A::Output>(),
            "merges": A::MERGES,
        },
        "outputs": [],
        "config": <A::Config as Setting>::schema(),
    });
    if !plugin.doc.is_empty() {
        descriptor["doc"] = plugin.doc.into();
    }
    // An aggregate has none: who declares them is told so by the host.
    let features = <A::Row<'static> as Input<'static>>::features();
    if !features.is_empty() {
        descriptor["features"] = features.into();
    }
    descriptor
}
