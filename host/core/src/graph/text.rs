//! A plan in words.

use super::Drawing;

/// The plan in words, a paragraph a task.
pub(super) fn render(drawing: &Drawing) -> String {
    let mut text = format!("{}\n", drawing.title);
    for (index, node) in drawing.nodes.iter().enumerate() {
        text += &format!("\n{}. {}\n", index + 1, node.title);
        for line in &node.lines {
            text += &format!("   {line}\n");
        }
        for arrow in drawing.arrows.iter().filter(|arrow| arrow.from == index) {
            text += &format!("   -> {}: {}\n", arrow.to + 1, arrow.label);
        }
    }
    text
}
