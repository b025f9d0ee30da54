//! A plan in Graphviz's language.

use super::Drawing;

/// The plan in Graphviz's language: `wasmill graph --format dot FILE | dot -Tpng`.
pub(super) fn render(drawing: &Drawing) -> String {
    let mut dot = format!(
        "digraph pipeline {{\n  label={};\n  rankdir=LR;\n  \
         node [shape=box, fontname=\"sans-serif\"];\n",
        quote(&drawing.title)
    );
    for (index, node) in drawing.nodes.iter().enumerate() {
        let lines: Vec<&str> = std::iter::once(&node.title)
            .chain(&node.lines)
            .map(String::as_str)
            .collect();
        dot += &format!("  t{index} [label={}];\n", quote(&lines.join("\n")));
    }
    for arrow in &drawing.arrows {
        let label = quote(&arrow.label);
        dot += &format!("  t{} -> t{} [label={label}];\n", arrow.from, arrow.to);
    }
    dot + "}\n"
}

/// A quoted string; every line ends flush left.
fn quote(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\l");
    let end = if text.contains('\n') { "\\l" } else { "" };
    format!("\"{escaped}{end}\"")
}
