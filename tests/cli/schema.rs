//! `wasmill schema`: what editors complete from.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use wasmill_tests::root;

use crate::program::run;

/// The names of fields, and the words that fields take, at any depth.
fn words(node: &Json, found: &mut BTreeSet<String>) {
    match node {
        Json::Object(map) => {
            let fields = map.get("properties").and_then(Json::as_object);
            found.extend(fields.into_iter().flat_map(|fields| fields.keys().cloned()));
            let choices = map.get("enum").and_then(Json::as_array);
            let choices = choices.into_iter().flatten().chain(map.get("const"));
            found.extend(choices.filter_map(|word| Some(word.as_str()?.to_owned())));
            map.values().for_each(|inner| words(inner, found));
        }
        Json::Array(list) => list.iter().for_each(|inner| words(inner, found)),
        _ => {}
    }
}

#[test]
fn every_word_of_the_schema_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(folder.path(), &["schema"]).ended(0);
    let schema = serde_json::from_str(&ran.out).expect("a schema is JSON");
    let mut found = BTreeSet::new();
    words(&schema, &mut found);
    assert!(found.len() > 60, "{found:?}");
    let page = std::fs::read_to_string(root().join("docs/pipeline.md")).expect("docs/pipeline.md");
    let told: BTreeSet<&str> = page
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
        .collect();
    let missing: Vec<&String> = found
        .iter()
        .filter(|word| !told.contains(word.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/pipeline.md does not explain {missing:?}"
    );
}

#[test]
fn the_schema_has_the_fields_of_the_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(folder.path(), &["schema"]).ended(0);
    let schema: Json = serde_json::from_str(&ran.out).expect("a schema is JSON");
    let fields = schema["properties"]
        .as_object()
        .expect("a document has fields");
    let fields: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
    let page = std::fs::read_to_string(root().join("docs/pipeline.md")).expect("docs/pipeline.md");
    let (_, table) = page
        .split_once("## Top level")
        .expect("the page has a table");
    let (table, _) = table.split_once("\n## ").expect("more follows");
    let names = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(names.collect::<BTreeSet<_>>(), fields);
}
