//! What a program is told to do, in words that every one of them understands.

use anyhow::{Context, Result, bail};

/// What is done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Key and value as they are.
    Pass,
    /// Decoded, keyed by account, counted and summed, and told as JSON.
    Fraud,
    /// The flagship's rules and model.
    Flagship,
}

/// How often a record stands in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarantee {
    ExactlyOnce,
    AtLeastOnce,
}

/// From one topic into another.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) mode: Mode,
    pub(crate) brokers: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// Records of `from`; 0 if it has no end.
    pub(crate) records: u64,
    /// One of so many comes out.
    pub(crate) every: u64,
    pub(crate) guarantee: Guarantee,
    /// From one transaction to the next.
    pub(crate) milliseconds: u64,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fraud => "fraud",
            Self::Flagship => "flagship",
        }
    }
}

impl Guarantee {
    /// As documents say it, and programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly-once",
            Self::AtLeastOnce => "at-least-once",
        }
    }

    /// What a reader of the output sets.
    pub(crate) fn isolation(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "read_committed",
            Self::AtLeastOnce => "read_uncommitted",
        }
    }
}

impl Order {
    /// MODE BROKERS FROM TO RECORDS EVERY GUARANTEE MILLISECONDS.
    pub(crate) fn words(&self) -> Vec<String> {
        vec![
            self.mode.word().into(),
            self.brokers.clone(),
            self.from.clone(),
            self.to.clone(),
            self.records.to_string(),
            self.every.to_string(),
            self.guarantee.word().into(),
            self.milliseconds.to_string(),
        ]
    }

    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let [
            mode,
            brokers,
            from,
            to,
            records,
            every,
            guarantee,
            milliseconds,
        ] = words
        else {
            bail!("say MODE BROKERS FROM TO RECORDS EVERY GUARANTEE MILLISECONDS");
        };
        let modes = [Mode::Pass, Mode::Fraud, Mode::Flagship];
        let mode = modes.into_iter().find(|known| known.word() == *mode);
        let guarantees = [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce];
        let guarantee = guarantees
            .into_iter()
            .find(|known| known.word() == *guarantee);
        Ok(Self {
            mode: mode.context("there is no such mode")?,
            brokers: (*brokers).into(),
            from: (*from).into(),
            to: (*to).into(),
            records: records.parse().context("RECORDS")?,
            every: every.parse().context("EVERY")?,
            guarantee: guarantee.context("there is no such guarantee")?,
            milliseconds: milliseconds.parse().context("MILLISECONDS")?,
        })
    }
}
