//! The order in which operators can be bound: each after those whose streams it reads.

use std::collections::{BTreeSet, HashSet};

use super::Builder;
use crate::pipeline::StreamId;
use crate::pipeline::document::InputDocument;
use crate::tree::Path;

/// The names of the operators, producers first; those of a cycle are left out, with the mistake
/// noted.
pub(super) fn order(builder: &mut Builder<'_>) -> Vec<String> {
    let operators = &builder.document.operators;
    let mut ordered: Vec<String> = Vec::new();
    let mut done: HashSet<&str> = HashSet::new();
    loop {
        let ready: Vec<&str> = operators
            .iter()
            .filter(|(name, _)| !done.contains(name.as_str()))
            .filter(|(_, operator)| {
                let mut producers = streams(&operator.input).into_iter().map(producer);
                producers.all(|name| !operators.contains_key(name) || done.contains(name))
            })
            .map(|(name, _)| name.as_str())
            .collect();
        if ready.is_empty() {
            break;
        }
        done.extend(&ready);
        ordered.extend(ready.into_iter().map(str::to_owned));
    }
    let left: Vec<&str> = operators
        .keys()
        .map(String::as_str)
        .filter(|name| !done.contains(name))
        .collect();
    if let Some(first) = left.first() {
        let circle = circle(builder, first, &done);
        let path = Path::keys(&["operators", &circle[0], "input"]);
        let message = format!("the streams run in a circle: {}", circle.join(" -> "));
        builder
            .broken
            .extend(left.iter().map(|name| (*name).to_owned()));
        builder.wrong(&path, &message, Some("let one of them read another stream"));
    }
    ordered
}

/// All streams that an input names.
pub(super) fn streams(input: &InputDocument) -> Vec<&str> {
    match input {
        InputDocument::One(name) => vec![name],
        InputDocument::Union(names) => names.iter().map(String::as_str).collect(),
        InputDocument::Named(map) => map.values().map(String::as_str).collect(),
    }
}

impl<'a> Builder<'a> {
    /// The names of the sources that a stream goes back to.
    pub(super) fn sources_of(&self, stream: StreamId) -> BTreeSet<&'a str> {
        let name = self.streams[stream.0].name.clone();
        let (mut left, mut sources) = (vec![producer(&name).to_owned()], BTreeSet::new());
        let mut seen = HashSet::new();
        while let Some(name) = left.pop() {
            if let Some((name, _)) = self.document.sources.get_key_value(&name) {
                sources.insert(name.as_str());
            } else if let Some(operator) = self.document.operators.get(&name)
                && seen.insert(name)
            {
                let inputs = streams(&operator.input);
                left.extend(inputs.into_iter().map(|input| producer(input).to_owned()));
            }
        }
        sources
    }
}

/// Streams are named after their producers.
fn producer(stream: &str) -> &str {
    stream.split('.').next().unwrap_or(stream)
}

/// Follows what is not done from an operator until one comes again.
fn circle(builder: &Builder<'_>, first: &str, done: &HashSet<&str>) -> Vec<String> {
    let operators = &builder.document.operators;
    let mut walked: Vec<String> = vec![first.into()];
    loop {
        let last = &walked[walked.len() - 1];
        let mut producers = streams(&operators[last].input).into_iter().map(producer);
        let next = producers.find(|name| operators.contains_key(*name) && !done.contains(name));
        let Some(next) = next else {
            return walked;
        };
        if let Some(start) = walked.iter().position(|name| name == next) {
            let mut circle = walked.split_off(start);
            circle.push(next.into());
            circle.reverse();
            return circle;
        }
        walked.push(next.into());
    }
}
