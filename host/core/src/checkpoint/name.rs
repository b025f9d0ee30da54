//! What a job's objects are called in a store.

use std::fmt;

use super::{AttemptId, CheckpointId, Position};
use crate::json_schema::is_name;
use crate::key::KeyGroupRange;

/// Why a job has no place in a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A name that could lead elsewhere.
    #[error(
        "`{name}` cannot name a {what}, a name is a lower-case letter and up to 62 of a-z 0-9 _ -"
    )]
    Name {
        /// What it should name.
        what: &'static str,
        /// The name.
        name: String,
    },
}

/// Whose objects: a range of a job's key groups has a log and objects of its own. Today one range
/// holds them all.
///
/// ```
/// use wasmill_core::checkpoint::{Position, Scope};
/// use wasmill_core::key::KeyGroupRange;
///
/// let scope = Scope::new("default", "card-fraud", KeyGroupRange::all(128)).expect("good names");
/// let name = scope.entry(Position(18));
/// assert_eq!(name, "default/card-fraud/0-127/log/0000000018");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    tenant: String,
    job: String,
    range: KeyGroupRange,
}

/// A name below [`Scope::prefix`], read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// An entry of the log.
    Entry(Position),
    /// An object with state or rows, and who wrote it for what.
    Object {
        /// The attempt.
        attempt: AttemptId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// Nothing of ours: it is left alone.
    Unknown,
}

impl Scope {
    /// The objects of a tenant's job; `range` must not be empty.
    pub fn new(tenant: &str, job: &str, range: KeyGroupRange) -> Result<Self, NameError> {
        debug_assert!(!range.is_empty(), "a log of no key groups");
        for (what, name) in [("tenant", tenant), ("job", job)] {
            if !is_name(name) {
                let name = name.to_owned();
                return Err(NameError::Name { what, name });
            }
        }
        let (tenant, job) = (tenant.to_owned(), job.to_owned());
        Ok(Self { tenant, job, range })
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The job.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// The key groups.
    pub fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// What the names of all ranges of the job begin with: list these to recover.
    pub fn job_prefix(&self) -> String {
        format!("{}/{}/", self.tenant, self.job)
    }

    /// What all names of this range begin with.
    pub fn prefix(&self) -> String {
        let KeyGroupRange { start, end } = self.range;
        format!("{}{start}-{}/", self.job_prefix(), end.saturating_sub(1))
    }

    /// The full name of an entry of the log.
    pub fn entry(&self, position: Position) -> String {
        format!("{}log/{:010}", self.prefix(), position.0)
    }

    /// The full name of an object as a manifest calls it.
    pub fn object(&self, name: &str) -> String {
        self.prefix() + name
    }

    /// The name, as a manifest calls it, of an object that an attempt writes for a checkpoint.
    /// `rest` tells its objects apart: lower-case letters, digits, `.`, `_`, `-`, and `/` between.
    pub fn object_name(attempt: AttemptId, checkpoint: CheckpointId, rest: &str) -> String {
        format!("objects/{:010}/{:010}/{rest}", attempt.0, checkpoint.0)
    }

    /// Reads a full name; `None` if it lies outside of this range.
    pub fn parse(&self, full: &str) -> Option<Name> {
        full.strip_prefix(&self.prefix()).map(Name::parse)
    }
}

impl Name {
    /// Reads a name as manifests call it. Only the very text that we write is understood.
    pub fn parse(name: &str) -> Self {
        let parts: Vec<&str> = name.splitn(4, '/').collect();
        match parts[..] {
            ["log", position] => {
                number(position).map_or(Self::Unknown, |number| Self::Entry(Position(number)))
            }
            ["objects", attempt, checkpoint, rest] if is_rest(rest) => {
                match (number(attempt), number(checkpoint)) {
                    (Some(attempt), Some(checkpoint)) => Self::Object {
                        attempt: AttemptId(attempt),
                        checkpoint: CheckpointId(checkpoint),
                    },
                    _ => Self::Unknown,
                }
            }
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.prefix())
    }
}

/// Ten digits, not all zero.
fn number(text: &str) -> Option<u64> {
    let is_digits = text.len() == 10 && text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|number| is_digits && *number > 0)
}

/// Whether it can be the end of an object's name: no step leads upwards or nowhere.
fn is_rest(rest: &str) -> bool {
    let letter = |letter: u8| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let is_step = |step: &str| {
        !step.is_empty() && step.bytes().any(|byte| byte != b'.') && step.bytes().all(letter)
    };
    rest.split('/').all(is_step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let scope = Scope::new("default", "j", KeyGroupRange::all(128)).expect("good names");
        let entry = scope.entry(Position(7));
        assert_eq!(scope.parse(&entry), Some(Name::Entry(Position(7))));
        let (attempt, checkpoint) = (AttemptId(3), CheckpointId(17));
        let name = Scope::object_name(attempt, checkpoint, "rules/0-a.arrow");
        assert_eq!(name, "objects/0000000003/0000000017/rules/0-a.arrow");
        let object = Name::Object {
            attempt,
            checkpoint,
        };
        assert_eq!(scope.parse(&scope.object(&name)), Some(object));
        assert_eq!(scope.parse("default/j2/0-127/log/0000000001"), None);
        assert_eq!(scope.parse("default/j/0-63/log/0000000001"), None);
    }

    #[test]
    fn what_we_did_not_write_is_unknown() {
        for name in [
            "log/1",
            "log/0000000000",
            "log/00000000001",
            "log/0000000001/x",
            "log/000000000x",
            "logs/0000000001",
            "objects/0000000001/0000000001",
            "objects/0000000001/0000000001/",
            "objects/0000000001/0000000001/../a",
            "objects/0000000001/0000000001/a//b",
            "objects/0000000001/0000000001/A",
            "objects/+000000001/0000000001/a",
            "",
        ] {
            assert_eq!(Name::parse(name), Name::Unknown, "{name}");
        }
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        for job in ["", "..", "a/b", "A", "-a"] {
            assert!(
                Scope::new("default", job, KeyGroupRange::all(1)).is_err(),
                "{job}"
            );
        }
    }
}
