//! What a document with mistakes in it still says: the rest is checked too, so that an author
//! learns of everything at once.
//!
//! A field with a mistake is cut out. The source, operator or sink that it belongs to is then no
//! longer what its author meant, and only checks that ask nothing of the missing field are of use.

use std::collections::HashSet;

use super::document::Document;
use crate::json_schema::{Mistake, Schema};
use crate::tree::{Entry, Node, Path, Step, Value};

/// A document without its mistakes.
pub(super) struct Salvaged {
    /// What is left.
    pub(super) document: Document,
    /// The names of the sources, operators and sinks that something was cut out of.
    pub(super) marred: HashSet<String>,
}

/// Where a source, an operator or a sink stands: below the name of its section.
const ITEM: usize = 2;

/// Cuts the mistakes out; none if what is left is no document.
pub(super) fn salvage(tree: &Node, schema: &Schema, mistakes: &[Mistake]) -> Option<Salvaged> {
    let mut marred = HashSet::new();
    let mut rest = tree.clone();
    for mistake in mistakes {
        cut(&mut rest, &mistake.path, ITEM + 1, &mut marred)?;
    }
    // An item that lacks what it needs goes altogether.
    for mistake in schema.check(&rest) {
        cut(&mut rest, &mistake.path, ITEM, &mut marred)?;
    }
    if !schema.check(&rest).is_empty() {
        return None;
    }
    let document = serde_json::from_value(rest.to_json()).ok()?;
    Some(Salvaged { document, marred })
}

/// Removes what a path leads to, or the part of the document that it lies in: `depth` steps from
/// the root.
fn cut(tree: &mut Node, path: &Path, depth: usize, marred: &mut HashSet<String>) -> Option<()> {
    let steps = &path.0[..path.0.len().min(depth)];
    match steps {
        [] => {
            // The only thing at the root that everything else can do without.
            let Value::Map(entries) = &mut tree.value else {
                return None;
            };
            let nameless = entries.iter().all(|entry| entry.key != "name");
            nameless.then(|| entries.push(placeholder("name")))
        }
        [Step::Key(section)] if matches!(section.as_str(), "sources" | "operators" | "sinks") => {
            None
        }
        [Step::Key(field)] if field == "name" => {
            remove(tree, steps)?;
            cut(tree, &Path::default(), depth, marred)
        }
        _ => {
            if let [_, Step::Key(item), ..] = steps {
                marred.insert(item.clone());
            }
            // Several mistakes may lie in one part.
            remove(tree, steps).or(Some(()))
        }
    }
}

fn placeholder(name: &str) -> Entry {
    let node = Node::from_json(&name.into());
    Entry {
        key: name.into(),
        position: node.position,
        node,
    }
}

fn remove(tree: &mut Node, steps: &[Step]) -> Option<()> {
    let (last, way) = steps.split_last()?;
    let mut node = tree;
    for step in way {
        node = match (step, &mut node.value) {
            (Step::Key(key), Value::Map(entries)) => {
                &mut entries.iter_mut().find(|entry| entry.key == *key)?.node
            }
            (Step::Index(index), Value::List(items)) => items.get_mut(*index)?,
            _ => return None,
        };
    }
    let (Step::Key(key), Value::Map(entries)) = (last, &mut node.value) else {
        return None;
    };
    let before = entries.len();
    entries.retain(|entry| entry.key != *key);
    (entries.len() < before).then_some(())
}
