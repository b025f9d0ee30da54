//! A plan as a picture: tasks in columns from left to right, each right of all that feed it.

use super::{Arrow, Drawing, Node};

/// Sizes in pixels.
const LINE: usize = 18;
/// Between a box and its text, in pixels.
const PADDING: usize = 12;
/// Width of a letter of the monospaced font, in pixels.
const LETTER: usize = 7;
/// Between two boxes of a column, in pixels.
const GAP: usize = 32;
/// Height of a line of an edge's label, in pixels.
const LABEL_LINE: usize = 14;

/// Where a task is drawn.
#[derive(Clone, Copy, Default)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// The plan as a picture. No other program is needed to see it: a browser is enough.
pub(super) fn render(drawing: &Drawing) -> String {
    let places = places(drawing);
    let right = places
        .iter()
        .map(|place| place.x + place.width)
        .max()
        .unwrap_or(0);
    let bottom = places
        .iter()
        .map(|place| place.y + place.height)
        .max()
        .unwrap_or(0);
    let (width, height) = (right + GAP, bottom + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"monospace\" font-size=\"12\">\n\
         <title>{}</title>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        escape(&drawing.title)
    );
    for (index, arrow) in drawing.arrows.iter().enumerate() {
        let before = &drawing.arrows[..index];
        let lane = before
            .iter()
            .filter(|other| (other.from, other.to) == (arrow.from, arrow.to));
        svg += &curve(arrow, places[arrow.from], places[arrow.to], lane.count());
    }
    for (node, place) in drawing.nodes.iter().zip(&places) {
        svg += &boxed(node, *place);
    }
    svg + "</svg>\n"
}

/// The column of a task is the longest way to it; edges lead from earlier tasks to later ones.
fn columns(drawing: &Drawing) -> Vec<usize> {
    let mut columns = vec![0; drawing.nodes.len()];
    for to in 0..columns.len() {
        let feeds = drawing
            .arrows
            .iter()
            .filter(|arrow| arrow.to == to && arrow.from < to);
        columns[to] = feeds
            .map(|arrow| columns[arrow.from] + 1)
            .max()
            .unwrap_or(0);
    }
    columns
}

/// Where each box stands: columns from left to right, in each of them one below the other, with
/// room between columns for the longest label.
fn places(drawing: &Drawing) -> Vec<Place> {
    let columns = columns(drawing);
    let last = columns.iter().copied().max().unwrap_or(0);
    let mut places = vec![Place::default(); drawing.nodes.len()];
    let mut x = GAP;
    for column in 0..=last {
        let here: Vec<usize> = (0..columns.len())
            .filter(|node| columns[*node] == column)
            .collect();
        let (mut y, mut widest) = (GAP, 0);
        for node in here {
            let (width, height) = size(&drawing.nodes[node]);
            places[node] = Place {
                x,
                y,
                width,
                height,
            };
            let labels = drawing
                .arrows
                .iter()
                .filter(|arrow| arrow.to == node)
                .count();
            y += height.max(labels * LABEL_LINE) + GAP;
            widest = widest.max(width);
        }
        let labels = drawing
            .arrows
            .iter()
            .filter(|arrow| columns[arrow.to] == column + 1);
        let label = labels
            .map(|arrow| arrow.label.chars().count())
            .max()
            .unwrap_or(0);
        x += widest + label * LETTER + 2 * GAP;
    }
    places
}

/// Width and height of a box, by its longest line and the number of lines.
fn size(node: &Node) -> (usize, usize) {
    let letters = std::iter::once(&node.title)
        .chain(&node.lines)
        .map(|line| line.chars().count())
        .max();
    let width = letters.unwrap_or(0) * LETTER + 2 * PADDING + LETTER;
    (width, (node.lines.len() + 1) * LINE + PADDING)
}

/// A box with its lines.
fn boxed(node: &Node, place: Place) -> String {
    let Place {
        x,
        y,
        width,
        height,
    } = place;
    let mut svg = format!(
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\" fill=\"#f4f6fb\" \
         stroke=\"#3a4a6b\"/>\n"
    );
    for (index, line) in std::iter::once(&node.title).chain(&node.lines).enumerate() {
        let weight = if index == 0 {
            " font-weight=\"bold\""
        } else {
            ""
        };
        let (x, y) = (x + PADDING, y + LINE * (index + 1));
        svg += &format!(
            "<text x=\"{x}\" y=\"{y}\"{weight}>{}</text>\n",
            escape(line)
        );
    }
    svg
}

/// An arrow; those between the same tasks run in lanes of their own.
fn curve(arrow: &Arrow, from: Place, to: Place, lane: usize) -> String {
    let (x1, y1) = (from.x + from.width, from.y + LINE + lane * LABEL_LINE);
    let (x2, y2) = (to.x, to.y + LINE + lane * LABEL_LINE);
    let middle = (x1 + x2) / 2;
    let (label_x, label_y) = (middle, (y1 + y2) / 2 - 4);
    format!(
        "<path d=\"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}\" fill=\"none\" \
         stroke=\"#3a4a6b\" marker-end=\"url(#tip)\"/>\n\
         <text x=\"{label_x}\" y=\"{label_y}\" text-anchor=\"middle\" fill=\"#555\">{}</text>\n",
        escape(&arrow.label)
    )
}

/// Text that XML takes: names and paths are strangers'.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
