//! Whether the state of a checkpoint fits a pipeline that has changed since.

use std::collections::{BTreeMap, BTreeSet};

use super::{Digest, Identity, KeyHash, Manifest, StateSchema};
use crate::spelling;

/// What a pipeline would keep in checkpoints.
#[derive(Debug, Clone)]
pub struct Planned {
    /// How it turns keys into key groups.
    pub key_hash: KeyHash,
    /// Its sources' names.
    pub sources: Vec<String>,
    /// What each of its operators with state is, by uid.
    pub operators: BTreeMap<String, Identity>,
    /// By uid and state: the ids of older schemas from which the plugin brings values to its own.
    pub migrations: BTreeMap<(String, String), Vec<Digest>>,
    /// The names of its sinks that follow checkpoints.
    pub sinks: Vec<String>,
}

/// The state fits; what is worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compatible {
    /// Operators whose code is another than the one that made their state.
    pub changed_code: Vec<String>,
    /// Operators and states that begin empty, as `OPERATOR` or `OPERATOR.STATE`.
    pub added: Vec<String>,
    /// Operators, states and sources whose state is dropped because that was asked for.
    pub dropped: Vec<String>,
    /// States whose values are brought to another schema before the first row.
    pub migrated: Vec<Migrated>,
    /// Names that should be dropped and have no state left over.
    pub needless: Vec<String>,
}

/// A state whose values have another schema than the plugin's, which offers to migrate them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The operator's uid.
    pub operator: String,
    /// The state.
    pub state: String,
    /// The schema that its values have.
    pub from: StateSchema,
    /// The schema that they will have.
    pub to: StateSchema,
}

/// Why the state does not fit: every reason, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint {checkpoint} does not fit this pipeline: {}", .reasons.join("; "))]
pub struct Incompatible {
    /// The checkpoint.
    pub checkpoint: super::CheckpointId,
    /// What does not fit, with the place and the remedy.
    pub reasons: Vec<String>,
}

/// Compares what a manifest holds with what a pipeline would keep. Code may change, and states may
/// be added. A state whose schema has changed is migrated if the plugin offers that. Else it is
/// refused by name, as is one that would be left over; `drops` names what is let go of: an
/// operator, `OPERATOR.STATE`, a source or a sink that is left over, never what has changed.
///
/// ```text
/// operator `velocity` has state in the checkpoint and is not in the pipeline, did you mean ...?
/// ```
pub fn compatibility(
    old: &Manifest,
    new: &Planned,
    drops: &BTreeSet<String>,
) -> Result<Compatible, Incompatible> {
    let mut findings = Findings {
        drops,
        told: Compatible::default(),
        reasons: Vec::new(),
    };
    if old.key_hash != new.key_hash {
        findings.reasons.push(format!(
            "it has {} key groups (seed {}), the pipeline {} (seed {}): they are fixed at the \
             first run",
            old.key_hash.groups, old.key_hash.seed, new.key_hash.groups, new.key_hash.seed
        ));
    }
    for (what, was, is) in [
        (
            "source",
            old.sources.keys().collect::<Vec<_>>(),
            &new.sources,
        ),
        ("sink", old.sinks.keys().collect(), &new.sinks),
    ] {
        let gone = was.into_iter().filter(|name| !is.contains(name));
        gone.for_each(|name| findings.left_over(what, name, is.iter().map(String::as_str)));
    }
    for (uid, state) in &old.operators {
        match new.operators.get(uid) {
            Some(identity) => findings.operator(uid, &state.identity, (identity, new)),
            None => findings.left_over("operator", uid, new.operators.keys().map(String::as_str)),
        }
    }
    let added = new
        .operators
        .keys()
        .filter(|uid| !old.operators.contains_key(*uid));
    findings.told.added.extend(added.cloned());
    findings.needless_drops();
    if findings.reasons.is_empty() {
        return Ok(findings.told);
    }
    let (checkpoint, reasons) = (old.checkpoint, findings.reasons);
    Err(Incompatible {
        checkpoint,
        reasons,
    })
}

struct Findings<'d> {
    drops: &'d BTreeSet<String>,
    told: Compatible,
    reasons: Vec<String>,
}

impl Findings<'_> {
    /// Compares an operator with what it was.
    fn operator(&mut self, uid: &str, was: &Identity, (is, planned): (&Identity, &Planned)) {
        if was.plugin != is.plugin {
            self.told.changed_code.push(uid.to_owned());
        }
        if was.key != is.key {
            let say = |key: &Option<String>| key.clone().unwrap_or_else(|| "nothing".into());
            let (was, is) = (say(&was.key), say(&is.key));
            self.reasons.push(format!(
                "operator `{uid}` was keyed by {was} and now is by {is}: give it another name to \
                 begin it empty"
            ));
        }
        for (name, old) in &was.states {
            let path = format!("{uid}.{name}");
            match is.states.get(name) {
                None => {
                    let names = is.states.keys().map(String::as_str);
                    self.left_over("state", &path, names);
                }
                Some(new) if new.id != old.id => match planned.migrates(uid, name, old.id) {
                    true => self.told.migrated.push(Migrated {
                        operator: uid.to_owned(),
                        state: name.clone(),
                        from: old.clone(),
                        to: new.clone(),
                    }),
                    false => self.reasons.push(format!(
                        "state `{path}` was `{old}` and now is `{new}`: bring a migration, or \
                         give it another name"
                    )),
                },
                Some(_) => {}
            }
        }
        let added = is
            .states
            .keys()
            .filter(|name| !was.states.contains_key(*name));
        self.told
            .added
            .extend(added.map(|name| format!("{uid}.{name}")));
    }

    /// Something has state, and nobody to give it to.
    fn left_over<'a>(&mut self, what: &str, name: &str, names: impl Iterator<Item = &'a str>) {
        if self.drops.contains(name) {
            self.told.dropped.push(name.to_owned());
            return;
        }
        let own = name.rsplit('.').next().unwrap_or(name);
        // A gate's name has spaces in it.
        let quoted = match name.contains(' ') {
            true => format!("'{name}'"),
            false => name.to_owned(),
        };
        let hint = spelling::hint(own, names)
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        self.reasons.push(format!(
            "{what} `{name}` has state in it and is not in the pipeline{hint}: give it its name \
             back, or let go of the state with --drop-state {quoted}"
        ));
    }

    /// A name of which nothing is left over: dropped before, or a slip.
    fn needless_drops(&mut self) {
        let dropped = &self.told.dropped;
        let needless = self.drops.iter().filter(|name| !dropped.contains(name));
        self.told.needless.extend(needless.cloned());
    }
}

impl Planned {
    /// Whether a state's plugin brings values of an older schema to its own.
    fn migrates(&self, uid: &str, state: &str, from: Digest) -> bool {
        let offered = self.migrations.get(&(uid.to_owned(), state.to_owned()));
        offered.is_some_and(|offered| offered.contains(&from))
    }
}

/// As people write it.
impl std::fmt::Display for StateSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(key) = &self.key {
            write!(f, "{key} ")?;
        }
        f.write_str(&self.value)
    }
}

#[cfg(test)]
mod tests;
