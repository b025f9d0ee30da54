//! Documents as trees whose every node knows its place, so that each mistake can be shown where it
//! stands.

mod yaml;

pub use yaml::{TreeError, parse};

use serde_json::Number;

/// A place in a document's text, both counted from 1; zero where the document has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value begins.
    pub position: Position,
    /// What it is.
    pub value: Value,
}

/// What JSON can say; maps keep their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number, with all its digits.
    Number(Number),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// Entries with distinct keys.
    Map(Vec<Entry>),
}

/// An entry of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub position: Position,
    /// The value.
    pub node: Node,
}

impl Node {
    /// A tree without places.
    pub fn from_json(json: &serde_json::Value) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => Value::Number(number.clone()),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(map) => Value::Map(
                map.iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        position: Position::default(),
                        node: Self::from_json(value),
                    })
                    .collect(),
            ),
        };
        let position = Position::default();
        Self { position, value }
    }

    /// The same tree without places.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect(),
        }
    }

    /// The entry of a map.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        entry(self, key)
    }

    /// The node that a path leads to.
    pub fn at(&self, path: &Path) -> Option<&Node> {
        let mut node = self;
        for step in &path.0 {
            node = match (step, &node.value) {
                (Step::Key(key), _) => &node.entry(key)?.node,
                (Step::Index(index), Value::List(items)) => items.get(*index)?,
                _ => return None,
            };
        }
        Some(node)
    }

    /// The place that a path leads to: of a list or mapping that is an entry, its key's, else the
    /// value's own. Where the path leads nowhere, the place of the last node on it.
    pub fn locate(&self, path: &Path) -> Position {
        let (mut node, mut position) = (self, self.position);
        for step in &path.0 {
            let below = match step {
                Step::Key(key) => entry(node, key).map(|entry| (&entry.node, entry.position)),
                Step::Index(index) => match &node.value {
                    Value::List(items) => items.get(*index).map(|item| (item, item.position)),
                    _ => None,
                },
            };
            match below {
                Some((child, _)) if child.is_scalar() => (node, position) = (child, child.position),
                Some(below) => (node, position) = below,
                None => return position,
            }
        }
        position
    }

    fn is_scalar(&self) -> bool {
        !matches!(self.value, Value::List(_) | Value::Map(_) | Value::Null)
    }

    /// What people call a value of this kind.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a Entry> {
    match &node.value {
        Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
        _ => None,
    }
}

/// The way from a document's root to one of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path(pub Vec<Step>);

/// A step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Into a map's entry.
    Key(String),
    /// Into a list's item, counted from 0.
    Index(usize),
}

impl Path {
    /// A path through maps.
    pub fn keys(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).into())).collect())
    }

    /// The path of an entry below this one.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Key(key.into()));
        path
    }

    /// The path of an item below this one.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Index(index));
        path
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
