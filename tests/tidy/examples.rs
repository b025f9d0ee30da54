//! What people copy is complete: examples and plugins.

use crate::Complaint;
use crate::tree::Tree;

/// Lines of a plugin's first file: a reader sees it whole.
const PLUGIN_LINES_MAX: usize = 150;

/// Examples have an explanation, a pipeline and the output to expect; plugins an explanation and a
/// short first file.
pub(crate) fn check(tree: &Tree) -> Vec<Complaint> {
    let examples = tree
        .folders("examples")
        .into_iter()
        .flat_map(|name| example(tree, name));
    let plugins = tree
        .folders("plugins")
        .into_iter()
        .flat_map(|name| plugin(tree, name));
    examples.chain(plugins).collect()
}

fn example(tree: &Tree, name: &str) -> Vec<Complaint> {
    let folder = format!("examples/{name}");
    let mut complaints = Vec::new();
    let is_pipeline = |path: &str| {
        let file = path.strip_prefix(&format!("{folder}/"));
        file.is_some_and(|f| !f.contains('/') && (f.ends_with(".yaml") || f.ends_with(".json")))
    };
    if !tree.all().any(|(path, _)| is_pipeline(path)) {
        complaints.push(Complaint::of(&folder, "no pipeline"));
    }
    if !tree.has(&format!("{folder}/expected")) {
        complaints.push(Complaint::of(&folder, "no expected/"));
    }
    match tree.text(&format!("{folder}/README.md")) {
        None => complaints.push(Complaint::of(&folder, "no README.md")),
        Some(text) if !text.contains("wasmill run") && !text.contains("cargo xtask demo") => {
            complaints.push(Complaint::of(&folder, "its README.md shows no command"));
        }
        Some(_) => {}
    }
    complaints
}

fn plugin(tree: &Tree, name: &str) -> Vec<Complaint> {
    let folder = format!("plugins/{name}");
    let mut complaints = Vec::new();
    if !tree.has(&format!("{folder}/README.md")) {
        complaints.push(Complaint::of(&folder, "no README.md"));
    }
    let library = format!("{folder}/src/lib.rs");
    let lines = tree.text(&library).map_or(0, |text| text.lines().count());
    if lines > PLUGIN_LINES_MAX {
        let message = format!("{lines} lines, at most {PLUGIN_LINES_MAX}: a file for each part");
        complaints.push(Complaint::of(&library, message));
    }
    complaints
}

#[test]
fn an_incomplete_example_is_found() {
    let whole = [
        (
            "examples/a/README.md",
            "wasmill run examples/a/pipeline.yaml",
        ),
        ("examples/a/pipeline.yaml", ""),
        ("examples/a/expected/out.jsonl", ""),
    ];
    assert!(check(&Tree::of(&whole)).is_empty());
    for left_out in 0..whole.len() {
        let mut part = whole.to_vec();
        part.remove(left_out);
        assert_eq!(
            check(&Tree::of(&part)).len(),
            1,
            "without {}",
            whole[left_out].0
        );
    }
    let long = "//\n".repeat(151);
    let files = [
        ("plugins/a/README.md", ""),
        ("plugins/a/src/lib.rs", long.as_str()),
    ];
    assert_eq!(check(&Tree::of(&files)).len(), 1);
}
