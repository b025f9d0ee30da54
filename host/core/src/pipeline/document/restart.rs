//! What becomes of a job that fails, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::DurationText;
use crate::restart::{Backoff, RestartPolicy};

/// What becomes of a job that fails: `none`, or one of these. Each restart goes on from the newest
/// checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartDocument {
    /// It ends.
    None,
    /// It is restarted so many times.
    Fixed(FixedRestart),
    /// It is restarted again and again, after times that grow.
    Exponential(ExponentialRestart),
    /// It is restarted while it fails seldom.
    FailureRate(FailureRateRestart),
}

/// So many restarts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FixedRestart {
    /// Restarts in all.
    pub attempts: u32,
    /// From a failure to its restart; `1s` if not given.
    pub delay: Option<DurationText>,
}

/// Restarts after times that grow.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExponentialRestart {
    /// The first time, `1s`.
    pub initial: Option<DurationText>,
    /// The longest, `1m`.
    pub max: Option<DurationText>,
    /// How much longer each is than the one before, 2.
    #[schemars(range(min = 1))]
    pub factor: Option<f64>,
    /// By which part of itself each is longer or shorter by chance, 0.1.
    #[schemars(range(min = 0, max = 1))]
    pub jitter: Option<f64>,
    /// A run that lasted so long begins again with the first time, `10m`.
    pub reset_after: Option<DurationText>,
}

/// Restarts while failures are rare.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FailureRateRestart {
    /// One more within the time ends the job.
    pub failures: u32,
    /// The time.
    pub per: DurationText,
    /// From a failure to its restart; `1s` if not given.
    pub delay: Option<DurationText>,
}

impl From<&RestartDocument> for RestartPolicy {
    fn from(written: &RestartDocument) -> Self {
        let or = |written: Option<DurationText>, us| written.map_or(us, DurationText::as_us);
        let usual = Backoff::default();
        match written {
            RestartDocument::None => Self::None,
            RestartDocument::Fixed(fixed) => Self::Fixed {
                attempts: fixed.attempts,
                delay_us: or(fixed.delay, usual.initial_us),
            },
            RestartDocument::Exponential(growing) => Self::Exponential(Backoff {
                initial_us: or(growing.initial, usual.initial_us),
                max_us: or(growing.max, usual.max_us),
                factor: growing.factor.unwrap_or(usual.factor),
                jitter: growing.jitter.unwrap_or(usual.jitter),
                reset_after_us: or(growing.reset_after, usual.reset_after_us),
            }),
            RestartDocument::FailureRate(rate) => Self::FailureRate {
                failures: rate.failures,
                per_us: rate.per.as_us(),
                delay_us: or(rate.delay, usual.initial_us),
            },
        }
    }
}
