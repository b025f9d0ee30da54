//! Windows and aggregates as a pipeline document writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Assigner, Slices, Trigger};
use crate::duration::DurationText;
use crate::pipeline::document::{LimitsDocument, OneOrMore};

/// Windows: one of `tumbling`, `sliding`, `session`, `cumulative` and `global`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowDocument {
    /// Windows side by side: a length, or `{ size, offset }`.
    pub tumbling: Option<TumblingWindow>,
    /// Windows of one length that begin every so often and overlap.
    pub sliding: Option<SlidingWindow>,
    /// Windows that last as long as rows follow each other.
    pub session: Option<SessionWindow>,
    /// Windows that begin together and end one step after the other.
    pub cumulative: Option<CumulativeWindow>,
    /// One window over all of a key's rows.
    pub global: Option<GlobalWindow>,
}

/// Windows side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TumblingWindow {
    /// Of this length, counted from 1970.
    Size(DurationText),
    /// With an offset.
    Spec(TumblingSpec),
}

/// Windows side by side, with an offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TumblingSpec {
    /// The length.
    pub size: DurationText,
    /// Windows begin so much after a multiple of their length since 1970; `0s` if not given.
    pub offset: Option<DurationText>,
}

/// Windows that overlap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SlidingWindow {
    /// The length.
    pub size: DurationText,
    /// From the start of one to that of the next; at most the length.
    pub every: DurationText,
    /// Windows begin so much after a multiple of `every` since 1970; `0s` if not given.
    pub offset: Option<DurationText>,
}

/// Windows that last as long as rows follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SessionWindow {
    /// A window ends when so much time has gone by without a row.
    pub gap: DurationText,
    /// Windows are cut at every multiple of this since 1970, so that none is longer; `24h` if not
    /// given.
    pub max: Option<DurationText>,
}

/// Windows that begin together and end one step after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CumulativeWindow {
    /// The longest of them; then the next begin.
    pub size: DurationText,
    /// From the end of one to that of the next; `size` is a multiple of it.
    pub every: DurationText,
    /// They begin so much after a multiple of `size` since 1970; `0s` if not given.
    pub offset: Option<DurationText>,
}

/// One window over all of a key's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobalWindow {}

/// When a window's result is given out, other than by the watermark.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TriggerDocument {
    /// With `global` windows: after so many rows of a key its window ends, and the next begins.
    #[schemars(range(min = 1))]
    pub count: Option<u64>,
    /// What there is so far is given out, too, whenever so much time has gone by on the clock on
    /// the wall.
    pub early: Option<EarlyDocument>,
}

/// Early results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EarlyDocument {
    /// From one to the next.
    pub every: DurationText,
}

/// How a result that changes is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Corrections {
    /// As rows of a changelog: the old form of the result, then the new one.
    #[default]
    Changelog,
    /// As one more row with a higher `revision`: for a key and a window the highest one counts.
    Revisions,
}

/// An aggregate: one of these.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AggregateSpec {
    /// How many rows: `rows`, or the name of a column whose values that are not null are counted.
    /// Type `u64`.
    pub count: Option<String>,
    /// The sum of a column, exact: `i64`, `u64`, `decimal(38,s)` of a decimal; of floats the `f64`
    /// nearest to the exact sum.
    pub sum: Option<String>,
    /// The mean of a column, `f64`.
    pub mean: Option<String>,
    /// The population standard deviation of a column, `f64`; 0 for one row.
    pub deviation: Option<String>,
    /// The least value of a column, of the column's type.
    pub min: Option<String>,
    /// The greatest value of a column, of the column's type.
    pub max: Option<String>,
    /// The value of the row with the least event time, of the column's type.
    pub first: Option<String>,
    /// The value of the row with the greatest event time, of the column's type.
    pub last: Option<String>,
    /// How many different values a column has, exactly, `u64`.
    pub distinct: Option<String>,
    /// How many different values a column has, to about 1.6 %, `u64`: 4 KiB however many there are.
    pub approx_distinct: Option<String>,
    /// The greatest values of a column, greatest first, as a list.
    pub top: Option<TopSpec>,
    /// A quantile of a column, to 0.4 % of its value, `f64`.
    pub quantile: Option<QuantileSpec>,
    /// What a plugin computes: the path of a `.wasm` file, relative to the document's folder.
    pub plugin: Option<String>,
    /// The columns that the plugin reads, in its order; those of its own names if not given.
    pub of: Option<OneOrMore>,
    /// The plugin's configuration; the plugin says what it may contain.
    pub config: Option<serde_json::Value>,
    /// What one instance of the plugin may use.
    pub limits: Option<LimitsDocument>,
}

/// The `n` greatest values of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TopSpec {
    /// The column.
    pub column: String,
    /// How many values.
    #[schemars(range(min = 1, max = 10_000))]
    pub n: u32,
}

/// A quantile of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuantileSpec {
    /// The column.
    pub column: String,
    /// Which, from 0 to 1: 0.5 is the median.
    #[schemars(range(min = 0, max = 1))]
    pub at: f64,
}

/// Why a window is none: the field below `window`, what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowMistake {
    /// The fields that lead to the mistake.
    pub field: [&'static str; 2],
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: &'static str,
}

/// A session is cut so often unless the document says otherwise.
const SESSION_MAX_US: i64 = 86_400_000_000;

impl WindowDocument {
    /// The kinds, and which of them are given.
    pub fn kinds(&self) -> [(&'static str, bool); 5] {
        [
            ("tumbling", self.tumbling.is_some()),
            ("sliding", self.sliding.is_some()),
            ("session", self.session.is_some()),
            ("cumulative", self.cumulative.is_some()),
            ("global", self.global.is_some()),
        ]
    }

    /// The windows, of which one kind is given.
    pub fn assigner(&self) -> Result<Assigner, WindowMistake> {
        let us = |duration: Option<DurationText>| duration.map_or(0, DurationText::as_us);
        if let Some(tumbling) = &self.tumbling {
            let (size, offset) = match tumbling {
                TumblingWindow::Size(size) => (*size, None),
                TumblingWindow::Spec(spec) => (spec.size, spec.offset),
            };
            let size = positive(["tumbling", "size"], size)?;
            return Ok(Assigner::Aligned(Slices::tumbling(size, us(offset))));
        }
        if let Some(sliding) = &self.sliding {
            let size = positive(["sliding", "size"], sliding.size)?;
            let every = positive(["sliding", "every"], sliding.every)?;
            if every > size {
                return Err(WindowMistake {
                    field: ["sliding", "every"],
                    message: "rows between two windows would be in none".into(),
                    remedy: "begin a window at least once in the length of one",
                });
            }
            let slices = Slices::sliding(size, every, us(sliding.offset));
            return Ok(Assigner::Aligned(slices));
        }
        if let Some(session) = &self.session {
            let gap_us = positive(["session", "gap"], session.gap)?;
            let max_us = match session.max {
                Some(max) => positive(["session", "max"], max)?,
                None => SESSION_MAX_US.max(gap_us),
            };
            if max_us < gap_us {
                return Err(WindowMistake {
                    field: ["session", "max"],
                    message: "a window is at least as long as its gap".into(),
                    remedy: "make `max` longer than `gap`",
                });
            }
            return Ok(Assigner::Session { gap_us, max_us });
        }
        if let Some(cumulative) = &self.cumulative {
            let size = positive(["cumulative", "size"], cumulative.size)?;
            let every = positive(["cumulative", "every"], cumulative.every)?;
            if size % every != 0 {
                return Err(WindowMistake {
                    field: ["cumulative", "every"],
                    message: "the last window would not end where the next ones begin".into(),
                    remedy: "make `size` a multiple of `every`",
                });
            }
            let slices = Slices::cumulative(size, every, us(cumulative.offset));
            return Ok(Assigner::Aligned(slices));
        }
        Ok(Assigner::Global)
    }
}

impl TriggerDocument {
    /// When results are given out.
    pub fn trigger(&self) -> Trigger {
        Trigger {
            count: self.count,
            early_us: self.early.as_ref().map(|early| early.every.as_us().max(1)),
        }
    }
}

/// A length of time that is one.
fn positive(field: [&'static str; 2], length: DurationText) -> Result<i64, WindowMistake> {
    match length.as_us() {
        us @ 1.. => Ok(us),
        _ => Err(WindowMistake {
            field,
            message: "a window of no length holds nothing".into(),
            remedy: "give it a length",
        }),
    }
}
