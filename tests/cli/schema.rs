//! `wasmill schema`: what editors complete from.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use wasmill_tests::root;

use crate::program::run;

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
