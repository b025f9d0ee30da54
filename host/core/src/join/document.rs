//! Joins as a pipeline document writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JoinKind, JoinType};
use crate::duration::{DurationText, SignedDurationText};
use crate::window::{SlidingWindow, TumblingWindow, WindowDocument, WindowMistake};

/// A join: one of `interval`, `window`, `as-of` and `lookup`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct JoinDocument {
    /// Rows meet whose event times lie so far apart.
    pub interval: Option<IntervalDocument>,
    /// Rows meet that lie in one window of event time.
    pub window: Option<JoinWindowDocument>,
    /// A row of the left side meets the newest row of the right side that is not newer.
    pub as_of: Option<AsOfDocument>,
    /// A row of the left side meets the rows of a table, which is read to its end first.
    pub lookup: Option<LookupDocument>,
    /// What becomes of rows that meet none; `inner` if not given.
    #[serde(rename = "type")]
    pub join_type: Option<JoinTypeWord>,
}

/// How far apart rows may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IntervalDocument {
    /// How much later than the left row the right one is at least: `-5m`, `0s`.
    pub lower: SignedDurationText,
    /// How much later it is at most: `1h`.
    pub upper: SignedDurationText,
}

/// Windows of a join: one of these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct JoinWindowDocument {
    /// Windows side by side: a length, or `{ size, offset }`.
    pub tumbling: Option<TumblingWindow>,
    /// Windows of one length that begin every so often and overlap.
    pub sliding: Option<SlidingWindow>,
}

/// Which version of a table counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AsOfDocument {
    /// A version that is older than that does not count; all do if not given.
    pub max_age: Option<DurationText>,
}

/// A lookup has no options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupDocument {}

/// What becomes of rows that meet none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JoinTypeWord {
    /// They are dropped.
    Inner,
    /// Those of the left side come out alone.
    Left,
    /// Those of the right side come out alone.
    Right,
    /// Those of both sides come out alone.
    Full,
}

impl From<JoinTypeWord> for JoinType {
    fn from(word: JoinTypeWord) -> Self {
        match word {
            JoinTypeWord::Inner => Self::Inner,
            JoinTypeWord::Left => Self::Left,
            JoinTypeWord::Right => Self::Right,
            JoinTypeWord::Full => Self::Full,
        }
    }
}

impl JoinDocument {
    /// The kinds, and which of them are given.
    pub fn kinds(&self) -> [(&'static str, bool); 4] {
        [
            ("interval", self.interval.is_some()),
            ("window", self.window.is_some()),
            ("as-of", self.as_of.is_some()),
            ("lookup", self.lookup.is_some()),
        ]
    }

    /// Which rows meet, of which one kind is given; of a window one kind, too.
    ///
    /// # Errors
    /// If no rows can meet.
    pub fn kind(&self) -> Result<JoinKind, WindowMistake> {
        if let Some(interval) = &self.interval {
            let (lower_us, upper_us) = (interval.lower.us, interval.upper.us);
            if upper_us < lower_us {
                return Err(WindowMistake {
                    field: ["interval", "upper"],
                    message: "`upper` lies before `lower`, so no rows meet".into(),
                    remedy: "make `upper` at least `lower`",
                });
            }
            return Ok(JoinKind::Interval { lower_us, upper_us });
        }
        if let Some(window) = &self.window {
            return window.kind();
        }
        if let Some(as_of) = &self.as_of {
            let max_age_us = as_of.max_age.map(DurationText::as_us);
            return Ok(JoinKind::AsOf { max_age_us });
        }
        Ok(JoinKind::Lookup)
    }
}

impl JoinWindowDocument {
    /// The kinds, and which of them are given.
    pub fn kinds(&self) -> [(&'static str, bool); 2] {
        [
            ("tumbling", self.tumbling.is_some()),
            ("sliding", self.sliding.is_some()),
        ]
    }

    fn kind(&self) -> Result<JoinKind, WindowMistake> {
        let all = WindowDocument {
            tumbling: self.tumbling.clone(),
            sliding: self.sliding.clone(),
            ..WindowDocument::default()
        };
        // Windows are what they are elsewhere: the same ones are refused.
        all.assigner()?;
        let us = |duration: Option<DurationText>| duration.map_or(0, DurationText::as_us);
        let (size_us, every_us, offset_us) = match (&self.tumbling, &self.sliding) {
            (Some(TumblingWindow::Spec(spec)), _) => {
                (spec.size.as_us(), spec.size.as_us(), us(spec.offset))
            }
            (Some(TumblingWindow::Size(size)), _) => (size.as_us(), size.as_us(), 0),
            (None, Some(sliding)) => (
                sliding.size.as_us(),
                sliding.every.as_us(),
                us(sliding.offset),
            ),
            (None, None) => (1, 1, 0),
        };
        Ok(JoinKind::Window {
            size_us,
            every_us,
            offset_us,
        })
    }
}
