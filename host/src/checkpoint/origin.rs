//! Where a job begins, as its user says it: a checkpoint of its own log by number, or any by the
//! place of its manifest.

use std::{collections::BTreeSet, fmt, str::FromStr};

use wasmill_core::{
    checkpoint::{CheckpointId, Name, Position, Scope},
    key::KeyGroupRange,
};

/// What a run was told about where it begins.
#[derive(Debug, Clone, Default)]
pub struct Beginning {
    /// What it restores; none: where the job stands.
    pub from: Option<Origin>,
    /// Operators, states, sources and sinks whose state may be dropped.
    pub drops: BTreeSet<String>,
}

/// A checkpoint or savepoint to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// One of the job's own log.
    Number(CheckpointId),
    /// One of any log.
    Place(Place),
}

/// Where a manifest lies: in the log of a scope, in a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The storage, as people name it.
    pub storage: String,
    /// Whose log.
    pub scope: Scope,
    /// Which entry.
    pub position: Position,
}

/// Why a text names no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no savepoint; say its number, such as 17, or where its manifest lies, as \
     `wasmill savepoint ls` shows it: .../TENANT/JOB/FIRST-LAST/log/NUMBER"
)]
pub struct NoOrigin(String);

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(CheckpointId(number)));
        }
        let place = Place::parse(text).ok_or_else(|| NoOrigin(text.into()))?;
        Ok(Self::Place(place))
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let mut steps: Vec<&str> = text.rsplitn(6, '/').collect();
        // A storage may be the folder at hand.
        if steps.len() == 5 {
            steps.push(".");
        }
        let [number, "log", range, job, tenant, storage] = steps[..] else {
            return None;
        };
        let (first, last) = range.split_once('-')?;
        let end = last.parse::<u16>().ok()?.checked_add(1)?;
        let range = KeyGroupRange {
            start: first.parse().ok()?,
            end,
        };
        if range.start >= range.end {
            return None;
        }
        let scope = Scope::new(tenant, job, range).ok()?;
        let Name::Entry(position) = Name::parse(&format!("log/{number}")) else {
            return None;
        };
        let storage = match storage {
            "" => "/",
            storage => storage,
        };
        Some(Self {
            storage: storage.into(),
            scope,
            position,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let storage = self.storage.trim_end_matches('/');
        write!(formatter, "{storage}/{}", self.scope.entry(self.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_has_a_number_and_a_place() {
        let origin = |text: &str| text.parse::<Origin>();
        assert_eq!(origin("17"), Ok(Origin::Number(CheckpointId(17))));
        for text in [
            "/data/checkpoints/default/fraud/0-127/log/0000000023",
            "s3://bucket/a/default/fraud/0-127/log/0000000023",
            "/default/fraud/0-127/log/0000000001",
            "./default/fraud/0-127/log/0000000001",
        ] {
            let Ok(Origin::Place(place)) = origin(text) else {
                panic!("{text} is a place");
            };
            assert_eq!(place.to_string(), text);
            assert_eq!(place.scope.job(), "fraud");
        }
        assert!(origin("default/fraud/0-127/log/0000000001").is_ok());
        for text in [
            "",
            "-1",
            "x",
            "/data/default/fraud/0-127/log/23",
            "/data/default/fraud/0-127/objects/0000000023",
            "/data/default/Fraud/0-127/log/0000000023",
            "/data/default/fraud/9-2/log/0000000023",
            "/data/default/fraud/0-65535/log/0000000023",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
