//! The golden descriptors (docs/formats/vectors/descriptors.json), which SDKs write and this reads.

use std::path::PathBuf;

use super::*;

fn print(field: &Field) -> String {
    data_type::print(field.data_type(), field.is_nullable())
}

fn columns<'a>(fields: impl IntoIterator<Item = &'a Arc<Field>>) -> Json {
    let column = |field: &Arc<Field>| json!([field.name(), print(field)]);
    fields.into_iter().map(column).collect()
}

fn domain(time: TimeDomain) -> &'static str {
    match time {
        TimeDomain::Event => "event",
        TimeDomain::Processing => "processing",
    }
}

fn state(state: &State) -> Json {
    let migrations = state.migrations.iter().map(|older| &older.schema_id);
    json!({
        "name": state.name,
        "kind": state.kind.name(),
        "key": state.key.as_ref().map(print),
        "type": print(&state.value),
        "id": state.schema_id,
        "column": state.column,
        "items-max": state.items_max,
        "ttl": state.ttl.map(|ttl| json!([ttl.after_us, domain(ttl.time)])),
        "migrates-from": migrations.collect::<Vec<_>>(),
    })
}

/// All that a descriptor says, defaults included; of features and settings their names, since
/// other vectors say what they mean.
fn told(descriptor: &Descriptor) -> Json {
    let input = |input: &Input| {
        json!({
            "name": input.name, "time": input.time, "changelog": input.changelog,
            "broadcast": input.broadcast, "columns": columns(input.schema.fields()),
        })
    };
    let timers = descriptor.timers.iter();
    let timers = timers.map(|timer| json!([timer.name, domain(timer.time)]));
    let output = |output: &Output| json!([output.name, columns(output.schema.fields())]);
    let keys = descriptor.keys.iter();
    let keys = keys.map(|key| json!([key.name(), print(key)]));
    let aggregate = descriptor.aggregate.as_ref().map(|aggregate| {
        json!({
            "accumulator": print(&aggregate.accumulator), "result": print(&aggregate.result),
            "merges": aggregate.merges, "id": aggregate.schema_id,
        })
    });
    json!({
        "name": descriptor.name, "version": descriptor.version, "doc": descriptor.doc,
        "inputs": descriptor.inputs.iter().map(input).collect::<Vec<_>>(),
        "keys": keys.collect::<Vec<_>>(),
        "keyed": descriptor.keyed,
        "order": match descriptor.order {
            Order::Arrival => "arrival",
            Order::EventTime => "event-time",
        },
        "states": descriptor.states.iter().map(state).collect::<Vec<_>>(),
        "timers": timers.collect::<Vec<_>>(),
        "features": descriptor.features.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "outputs": descriptor.outputs.iter().map(output).collect::<Vec<_>>(),
        "aggregate": aggregate,
        "uses-event-time": descriptor.uses_time(TimeDomain::Event),
        "uses-processing-time": descriptor.uses_time(TimeDomain::Processing),
        "unstable": descriptor.unstable,
    })
}

/// `BLESS=1` writes anew what the documents mean; look at the difference.
#[test]
fn descriptors_mean_what_the_vectors_say() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = here.join("../../docs/formats/vectors/descriptors.json");
    let text = std::fs::read_to_string(&path).expect("the vectors");
    let mut vectors: Json = serde_json::from_str(&text).expect("the vectors are JSON");
    let is_blessed = std::env::var_os("BLESS").is_some();
    for case in vectors["cases"].as_array_mut().expect("a list") {
        let descriptor = Descriptor::parse(&case["document"].to_string());
        let descriptor = descriptor.unwrap_or_else(|error| panic!("{case}: {error}"));
        if is_blessed {
            case["means"] = told(&descriptor);
        }
        assert_eq!(told(&descriptor), case["means"], "{}", case["name"]);
    }
    if is_blessed {
        let text = serde_json::to_string_pretty(&vectors).expect("JSON") + "\n";
        std::fs::write(&path, text).expect("a place");
    }
    for case in vectors["refused"].as_array().expect("a list") {
        let error = Descriptor::parse(&case["document"].to_string());
        let error = error.expect_err(&case.to_string()).to_string();
        let part = case["error"].as_str().expect("words");
        assert!(error.contains(part), "{error} does not say `{part}`");
    }
}
