//! Reads YAML 1.2, and so JSON, into a tree. Documents are small and may be hostile: size, depth
//! and the growth through aliases are bounded.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::Number;

use super::{Entry, Node, Position, Value};

/// The longest document.
const BYTES_MAX: usize = 4 << 20;
/// The deepest nesting.
const DEPTH_MAX: usize = 64;
/// The most nodes, those that aliases repeat included.
const NODES_MAX: usize = 200_000;

/// Why a text is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TreeError {
    /// Where the mistake stands.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: Option<String>,
}

/// Reads one document.
///
/// ```
/// use wasmill_core::tree::{self, Path};
///
/// let tree = tree::parse("sinks:\n  out: { stdout: {} }").expect("YAML");
/// let place = tree.locate(&Path::keys(&["sinks", "out"]));
/// assert_eq!((place.line, place.column), (2, 3));
/// assert!(tree::parse("a: 1\na: 2").is_err(), "a key stands once");
/// ```
pub fn parse(text: &str) -> Result<Node, TreeError> {
    if text.len() > BYTES_MAX {
        return Err(refuse(
            Position::default(),
            "the document is longer than 4 MiB",
        ));
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| refuse(position(error.marker()), error.info()))?;
        builder.event(event, position(&span.start))?;
    }
    builder
        .root
        .ok_or_else(|| refuse(Position { line: 1, column: 1 }, "the document is empty"))
}

/// Line and column from 1, as editors count them.
fn position(marker: &Marker) -> Position {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: small(marker.line()),
        column: small(marker.col() + 1),
    }
}

/// An error without a remedy.
fn refuse(position: Position, message: impl Into<String>) -> TreeError {
    TreeError {
        position,
        message: message.into(),
        remedy: None,
    }
}

/// The tree as far as it has been read. Aliases copy what they name, so each counts as many values
/// as it brings: a few lines must not become millions.
#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<(String, Position)>,
    keys: HashSet<String>,
    nodes_before: usize,
}

impl Builder {
    /// Takes the parser's next event.
    fn event(&mut self, event: Event<'_>, at: Position) -> Result<(), TreeError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref(), at)?;
                if self.takes_key() {
                    return self.take_key(text.into_owned(), at);
                }
                self.count(1, at)?;
                let node = Node {
                    position: at,
                    value,
                };
                self.remember(anchor, &node, 1);
                self.place(node)
            }
            Event::SequenceStart(anchor, _) => self.begin(Value::List(Vec::new()), anchor, at),
            Event::MappingStart(anchor, _) => self.begin(Value::Map(Vec::new()), anchor, at),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::DocumentStart(_) if self.root.is_some() => Err(refuse(
                at,
                "a file holds one document, here begins a second",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the next scalar is a key: a mapping is open, and its last value has come.
    fn takes_key(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| matches!(open.node.value, Value::Map(_)) && open.key.is_none())
    }

    /// Notes a key; one that stands twice is a mistake, not an overwriting.
    fn take_key(&mut self, key: String, at: Position) -> Result<(), TreeError> {
        let open = self.open.last_mut().expect("takes_key saw it");
        if !open.keys.insert(key.clone()) {
            return Err(TreeError {
                remedy: Some("keep one of the two".into()),
                ..refuse(at, format!("`{key}` stands twice"))
            });
        }
        open.key = Some((key, at));
        Ok(())
    }

    /// Opens a list or a mapping.
    fn begin(&mut self, value: Value, anchor: usize, at: Position) -> Result<(), TreeError> {
        if self.takes_key() {
            return Err(refuse(at, "a key must be text, not a list or a mapping"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(refuse(
                at,
                format!("the document nests deeper than {DEPTH_MAX}"),
            ));
        }
        let nodes_before = self.nodes;
        self.count(1, at)?;
        self.open.push(Open {
            node: Node {
                position: at,
                value,
            },
            anchor,
            key: None,
            keys: HashSet::new(),
            nodes_before,
        });
        Ok(())
    }

    /// Closes the innermost list or mapping and puts it where it belongs.
    fn end(&mut self) -> Result<(), TreeError> {
        let open = self.open.pop().expect("the parser pairs begins and ends");
        self.remember(open.anchor, &open.node, self.nodes - open.nodes_before);
        self.place(open.node)
    }

    /// Puts a copy of what an anchor names, at the alias's own place: messages point where the
    /// author wrote.
    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), TreeError> {
        let (node, nodes) = self
            .anchors
            .get(&anchor)
            .ok_or_else(|| refuse(at, "the alias stands before its anchor or inside it"))?;
        let (mut node, nodes) = (Cow::Borrowed(node), *nodes);
        if self.nodes + nodes > NODES_MAX {
            return Err(too_many(at));
        }
        node.to_mut().position = at;
        let node = node.into_owned();
        self.nodes += nodes;
        if self.takes_key() {
            return match node.value {
                Value::Text(text) => self.take_key(text, at),
                _ => Err(refuse(at, "a key must be text")),
            };
        }
        self.place(node)
    }

    /// Counts values, and refuses more than [`NODES_MAX`].
    fn count(&mut self, nodes: usize, at: Position) -> Result<(), TreeError> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(too_many(at));
        }
        Ok(())
    }

    /// Keeps what an anchor names; 0 stands for none.
    fn remember(&mut self, anchor: usize, node: &Node, nodes: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
    }

    /// Puts a value into the innermost list or mapping, or makes it the document.
    fn place(&mut self, node: Node) -> Result<(), TreeError> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => {
                let (key, position) = open.key.take().expect("a value follows its key");
                entries.push(Entry {
                    key,
                    position,
                    node,
                });
            }
            _ => unreachable!("only lists and maps are open"),
        }
        Ok(())
    }
}

/// The document has grown too large.
fn too_many(at: Position) -> TreeError {
    refuse(at, format!("the document has more than {NODES_MAX} values"))
}

/// The value of a scalar by YAML's core schema; what is written in quotes is text.
fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Position,
) -> Result<Value, TreeError> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
            return Ok(Value::Text(text.into()));
        }
        Some(tag) => return Err(refuse(at, format!("the tag `{tag}` is not understood"))),
        None if style != ScalarStyle::Plain => return Ok(Value::Text(text.into())),
        None => {}
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::Text(text.into()), Value::Number),
    })
}

/// A number with all its digits; none where the text is something else.
fn number(text: &str) -> Option<Number> {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(Number::from);
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let trimmed = digits.trim_start_matches('0');
    let whole = if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
        trimmed.to_owned()
    } else {
        format!("0{trimmed}")
    };
    let whole = match whole.strip_suffix('.') {
        Some(whole) => whole.to_owned(),
        None => whole,
    };
    serde_json::from_str(&format!("{sign}{whole}")).ok()
}

#[cfg(test)]
mod tests;
