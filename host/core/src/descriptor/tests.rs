mod golden;

use serde_json::{Value as Json, json};

use super::*;

fn full() -> Json {
    json!({
        "descriptor": 1, "name": "fraud-rules", "version": "1.0.0", "doc": "Rules.",
        "inputs": [{ "name": "transactions", "time": true, "changelog": false, "columns": [
            { "name": "account", "type": "u64" }, { "name": "merchant", "type": "string" } ] }],
        "keys": [{ "name": "account", "type": "u64" }],
        "order": "arrival",
        "states": [
            { "name": "history", "kind": "value", "type": "struct<n:u64,sum: f64>",
              "ttl": { "after": "30d", "time": "event" } },
            { "name": "seen", "kind": "map", "key": "string", "type": "timestamp", "column": "merchant" },
            { "name": "recent", "kind": "list", "type": "i64", "items-max": 100 } ],
        "timers": [{ "name": "flush", "time": "event" }],
        "features": [{ "name": "count-1m", "count": "rows", "over": "1m" }],
        "outputs": [{ "name": "alerts", "columns": [{ "name": "rule", "type": "string" }] }],
        "config": { "type": "object", "properties": { "max": { "type": "integer", "default": 5 } } },
    })
}

#[test]
fn the_documented_example_is_understood() {
    let descriptor = Descriptor::parse(&full().to_string()).unwrap_or_else(|e| panic!("{e}"));
    assert!(descriptor.keyed);
    assert_eq!(descriptor.states[1].column, Some(1));
    assert_eq!(
        descriptor.states[0].ttl.map(|ttl| ttl.after_us),
        Some(2_592_000_000_000)
    );
    assert_eq!(descriptor.features[0].0, "count-1m");
    assert!(descriptor.unstable.is_empty());
}

/// Runs `docs/formats/vectors/schemas.json`: however a type is written, its canonical text has the
/// golden digest.
#[test]
fn schemas_have_golden_ids() {
    let text = include_str!("../../../../docs/formats/vectors/schemas.json");
    let vectors: Json = serde_json::from_str(text).expect("the vectors are JSON");
    let cases = vectors["cases"].as_array().expect("a list");
    for case in cases {
        let mut state = json!({ "name": "a", "kind": case["kind"], "type": case["written"] });
        if let Some(key) = case.get("key") {
            state["key"] = key.clone();
        }
        let mut json = full();
        json["states"] = json!([state]);
        let descriptor = Descriptor::parse(&json.to_string());
        let descriptor = descriptor.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(descriptor.states[0].schema_id, case["id"], "{case}");
    }
}

#[test]
fn a_small_descriptor_has_defaults() {
    let text = r#"{ "descriptor": 1, "name": "f", "version": "1", "outputs": [],
        "inputs": [{ "name": "in", "columns": [] }] }"#;
    let descriptor = Descriptor::parse(text).unwrap_or_else(|e| panic!("{e}"));
    assert!(!descriptor.keyed);
    assert_eq!(descriptor.order, Order::Arrival);
}

#[test]
fn mistakes_are_all_told_with_place_and_remedy() {
    let check = |change: &dyn Fn(&mut Json), part: &str| {
        let mut json = full();
        change(&mut json);
        let error = Descriptor::parse(&json.to_string())
            .expect_err(part)
            .to_string();
        assert!(error.contains(part), "{error}");
    };
    check(
        &|json| json["descriptor"] = json!(2),
        "descriptor: 2 is out of range",
    );
    check(
        &|json| json["oder"] = json!("arrival"),
        "did you mean `order`?",
    );
    check(
        &|json| json["order"] = json!("time"),
        "use one of `arrival`, `event-time`",
    );
    check(
        &|json| json["states"][0]["kind"] = json!("valu"),
        "did you mean `value`?",
    );
    check(
        &|json| json["states"][1]["column"] = json!("merchan"),
        "did you mean `merchant`?",
    );
    check(
        &|json| json["states"][1]["column"] = json!("account"),
        "different types",
    );
    check(
        &|json| json["states"][0]["key"] = json!("u64"),
        "only maps have a `key`",
    );
    check(
        &|json| json["inputs"][0]["columns"][0]["type"] = json!("int"),
        "use `i64`",
    );
    check(
        &|json| json["states"][2]["name"] = json!("seen"),
        "`seen` stands twice",
    );
    check(&|json| json["keyed"] = json!(false), "keyed: it is false");
    check(
        &|json| json["features"][0]["cuont"] = json!("rows"),
        "did you mean `count`?",
    );
    check(
        &|json| json["config"]["typ"] = json!("x"),
        "did you mean `type`?",
    );
    check(&|json| json["inputs"] = json!([]), "too few");
    check(
        &|json| json["states"][0]["kind"] = json!("operator"),
        "operator states have no `ttl`",
    );
}

#[test]
fn what_is_unstable_is_named() {
    let mut json = full();
    json["inputs"][0]["changelog"] = json!(true);
    let descriptor = Descriptor::parse(&json.to_string()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(descriptor.unstable, ["changelogs"]);
    let mut json = full();
    for (state, kind) in ["reducing", "aggregating", "operator"]
        .into_iter()
        .enumerate()
    {
        let name = format!("s{state}");
        json["states"][state] = json!({ "name": name, "kind": kind, "type": "u64" });
    }
    let descriptor = Descriptor::parse(&json.to_string()).unwrap_or_else(|e| panic!("{e}"));
    assert!(descriptor.unstable.is_empty(), "guests of ours have them");
}

#[test]
fn a_long_or_broken_text_is_refused() {
    assert!(Descriptor::parse("{").is_err());
    assert!(Descriptor::parse(&" ".repeat(BYTES_MAX + 1)).is_err());
    assert!(Descriptor::parse(&"[".repeat(100_000)).is_err());
}

#[test]
fn migrations_name_older_types() {
    let with = |state: Json| {
        let mut json = full();
        json["states"] = json!([state]);
        Descriptor::parse(&json.to_string())
    };
    let map = json!({ "name": "m", "kind": "map", "key": "string", "type": "u64",
        "migrates-from": [{ "type": "u32" }, { "key": "u8", "type": "u64" }] });
    let migrations = with(map).expect("sound").states.remove(0).migrations;
    let older = |key: &str, value: &str| {
        let key = data_type::parse_field("key", key).expect("a type");
        let value = data_type::parse_field("value", value).expect("a type");
        schema_id(Kind::Map, Some(&key), &value)
    };
    assert_eq!(migrations[0].schema_id, older("string", "u32"));
    assert_eq!(migrations[1].schema_id, older("u8", "u64"));
    let refused = |state: Json, words: &str| {
        let error = with(state).expect_err("it is wrong").to_string();
        assert!(error.contains(words), "{error}");
    };
    let value =
        |from: Json| json!({ "name": "v", "kind": "value", "type": "u64", "migrates-from": from });
    refused(value(json!([{ "type": "u64" }])), "own type");
    refused(
        value(json!([{ "type": "u8" }, { "type": " u8 " }])),
        "twice",
    );
    refused(value(json!([{ "type": "u8", "key": "u8" }])), "only maps");
    refused(value(json!([{ "type": "uint" }])), "migrates-from");
    refused(
        json!({ "name": "b", "kind": "broadcast", "key": "u8", "type": "u64",
            "migrates-from": [{ "type": "u32" }] }),
        "alike",
    );
}
