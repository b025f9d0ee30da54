//! `wasmill graph`: what runs where, as text, DOT and SVG.

use std::collections::BTreeSet;

use crate::document;
use crate::program::run;

/// A job of two tasks and a sink, drawn.
fn draw(form: &str, parallelism: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let source = "file: { path: 'in/<a&b>.jsonl' }\n    \
                  format: { json: { account: u64, amount: f64 } }";
    document::write(
        folder.path(),
        &document::large(
            source,
            "out: { input: large, file: { path: out.csv }, format: csv }",
        ),
    );
    let arguments = [
        "graph",
        "pipeline.yaml",
        "--format",
        form,
        "--parallelism",
        parallelism,
    ];
    run(folder.path(), &arguments).ended(0).out
}

#[test]
fn text_tells_each_task_with_its_subtasks() {
    let text = draw("text", "3");
    assert!(
        text.starts_with("large: parallelism 3, 128 key groups\n"),
        "{text}"
    );
    for part in [
        "source payments: file in/<a&b>.jsonl",
        "operator large: ",
        "sink out: file out.csv",
        "×3",
        "×1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!draw("text", "1").contains("×3"));
}

#[test]
fn dot_joins_only_nodes_that_it_has() {
    let dot = draw("dot", "2");
    assert!(dot.starts_with("digraph pipeline {"), "{dot}");
    let word = |text: &str| {
        text.trim()
            .trim_end_matches(';')
            .split(' ')
            .next()
            .unwrap_or("")
            .to_owned()
    };
    let nodes: BTreeSet<String> = dot
        .lines()
        .filter(|l| l.contains("[label=") && !l.contains("->"))
        .map(word)
        .collect();
    let edges: Vec<&str> = dot.lines().filter(|line| line.contains(" -> ")).collect();
    assert!(!edges.is_empty(), "{dot}");
    for edge in edges {
        let (from, to) = edge.split_once(" -> ").expect("an edge");
        assert!(
            nodes.contains(&word(from)) && nodes.contains(&word(to)),
            "{edge} of {nodes:?}"
        );
    }
}

#[test]
fn svg_is_balanced_and_escaped() {
    let svg = draw("svg", "2");
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""),
        "{svg}"
    );
    assert!(svg.contains("in/&lt;a&amp;b&gt;.jsonl"), "{svg}");
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("every tag ends");
        let name = tag
            .split([' ', '/'])
            .find(|part| !part.is_empty())
            .expect("a name");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{svg}"),
            None if tag.ends_with('/') => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
