use serde_json::json;

use super::*;
use crate::tree;

fn schema(json: &Json) -> Schema {
    Schema::compile(json).unwrap_or_else(|e| panic!("{e}"))
}

fn mistakes(schema_json: &Json, yaml: &str) -> Vec<String> {
    let node = tree::parse(yaml).unwrap_or_else(|e| panic!("{e}"));
    let show = |m: Mistake| {
        let remedy = m.remedy.unwrap_or_default();
        format!(
            "{}:{} {}: {}; {remedy}",
            m.position.line, m.position.column, m.path, m.message
        )
    };
    schema(schema_json)
        .check(&node)
        .into_iter()
        .map(show)
        .collect()
}

#[test]
fn each_mistake_is_told_with_its_place_and_the_nearest_word() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["name"],
        "properties": {
            "name": { "type": "string", "format": "wasmill-name" },
            "order": { "enum": ["arrival", "event-time"] },
            "max": { "type": "integer", "minimum": 1, "maximum": 10 },
            "over": { "type": "string", "format": "wasmill-duration" },
        },
    });
    let found = mistakes(
        &schema,
        "oder: arrival\nmax: 11\nover: 5 weeks\norder: arival\n",
    );
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(
        found[1].starts_with("1:1 : the field `name` is missing"),
        "{found:#?}"
    );
    assert!(found[0].contains("1:1 oder: there is no field `oder` here; did you mean `order`?"));
    assert!(
        found[2].contains("2:6 max: 11 is out of range; at most 10 is allowed"),
        "{found:#?}"
    );
    assert!(found[3].contains("3:7 over: `5 weeks` is not a duration"));
    assert!(found[4].contains("4:8 order: `arival` is not known here; did you mean `arrival`?"));
    assert_eq!(mistakes(&schema, "name: a\nmax: 3.0\n"), [""; 0]);
    assert!(mistakes(&schema, "name: 12")[0].contains("put it in quotes"));
    assert!(mistakes(&schema, "name: a\nover: 5")[0].contains("add a unit, such as `30s`"));
}

#[test]
fn alternatives_speak_for_the_type_that_stands_there() {
    let schema = json!({
        "anyOf": [
            { "const": "fail" }, { "const": "skip" },
            { "type": "object", "properties": { "dead-letter": { "type": "string" } },
              "required": ["dead-letter"], "additionalProperties": false },
        ],
    });
    assert_eq!(mistakes(&schema, "skip"), [""; 0]);
    assert!(mistakes(&schema, "skipp")[0].contains("did you mean `skip`?"));
    let (other, long) = (mistakes(&schema, "retry"), mistakes(&schema, "dead-leter"));
    assert!(
        other[0].contains("use one of `fail`, `skip`, or a mapping with `dead-letter`"),
        "{other:?}"
    );
    assert!(
        long[0].contains("write a mapping, `{ dead-letter: … }`"),
        "{long:?}"
    );
    assert!(
        mistakes(&schema, "{dead-leter: x}")
            .iter()
            .any(|m| m.contains("`dead-letter`?"))
    );
    assert!(mistakes(&schema, "[1]")[0].contains("write text or a mapping"));
}

#[test]
fn references_may_loop_without_hanging() {
    let looped = json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] });
    assert!(!mistakes(&looped, "a: 1").is_empty());
    let tree = json!({
        "$ref": "#/$defs/tree",
        "$defs": { "tree": { "type": "object", "additionalProperties": { "$ref": "#/$defs/tree" } } },
    });
    assert_eq!(mistakes(&tree, "a: {b: {c: {}}}"), [""; 0]);
    assert_eq!(mistakes(&tree, "a: {b: {c: 1}}").len(), 1);
}

#[test]
fn what_would_silently_pass_is_refused() {
    let check = |schema: Json, part: &str| {
        let error = Schema::compile(&schema).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    check(json!({ "patternProperties": {} }), "/patternProperties");
    check(json!({ "minimun": 1 }), "did you mean `minimum`?");
    check(json!({ "$ref": "https://example.org/x" }), "same schema");
    check(json!({ "$ref": "#/$defs/none" }), "leads nowhere");
    check(json!({ "type": "int" }), "no type `int`");
    check(json!(3), "a schema is an object");
}

#[test]
fn defaults_fill_what_is_absent() {
    let schema = schema(&json!({
        "properties": {
            "max": { "type": "integer", "default": 5 },
            "inner": { "$ref": "#/$defs/inner" },
        },
        "$defs": { "inner": { "properties": { "on": { "default": true } } } },
    }));
    let filled = schema.with_defaults(&json!({ "inner": {} }));
    assert_eq!(filled, json!({ "inner": { "on": true }, "max": 5 }));
}
