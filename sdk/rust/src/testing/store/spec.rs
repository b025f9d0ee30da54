//! What the host in miniature knows of a state.

use crate::states::Widths;
use serde_json::Value as Json;

/// A declared state.
pub(in crate::testing) struct Spec {
    pub(in crate::testing) name: String,
    pub(in crate::testing) kind: Kind,
    pub(in crate::testing) widths: Widths,
    /// The input column that a map's key is read from.
    pub(in crate::testing) column: Option<String>,
}

/// How a state's bytes ride with a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::testing) enum Kind {
    /// One value a key, or none: folded values and accumulators too.
    Value,
    /// Items in order; what comes back is what was dropped in front and added behind.
    List,
    /// Entries; only those ride that somebody names.
    Map,
    /// One value, of no key.
    Operator,
    /// Entries of no key; those ride that the instance does not know.
    Broadcast,
}

impl Spec {
    pub(super) fn new(described: &Json, widths: Widths) -> Self {
        Self {
            name: described["name"].as_str().unwrap_or_default().to_owned(),
            kind: match described["kind"].as_str() {
                Some("list") => Kind::List,
                Some("map") => Kind::Map,
                Some("operator") => Kind::Operator,
                Some("broadcast") => Kind::Broadcast,
                _ => Kind::Value,
            },
            widths,
            column: described["column"].as_str().map(str::to_owned),
        }
    }
}
