//! Whether a job that failed is built again, and when.
//!
//! [`Restarts`] is told what happens and says what to do; it knows no clock and no chance but those
//! that are handed in. A failure that a restart cannot mend ends the job at once, whatever the
//! policy: the same document, state and rows would only bring it about again.

use std::collections::VecDeque;

/// What is done about failures that a restart may mend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RestartPolicy {
    /// The first one ends the job.
    None,
    /// So many restarts, each after the same time.
    Fixed {
        /// Restarts in all.
        attempts: u32,
        /// From a failure to its restart.
        delay_us: i64,
    },
    /// Restarts without end, each after a longer time than the one before.
    Exponential(Backoff),
    /// Restarts while failures are rare.
    FailureRate {
        /// One more within the time ends the job.
        failures: u32,
        /// The time.
        per_us: i64,
        /// From a failure to its restart.
        delay_us: i64,
    },
}

/// Times that grow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first time.
    pub initial_us: i64,
    /// The longest.
    pub max_us: i64,
    /// How much longer each is than the one before; at least 1.
    pub factor: f64,
    /// By which part of itself each is longer or shorter by chance, 0 to 1: jobs that failed
    /// together do not come back together.
    pub jitter: f64,
    /// A run that lasted so long begins again with the first time.
    pub reset_after_us: i64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial_us: 1_000_000,
            max_us: 60_000_000,
            factor: 2.0,
            jitter: 0.1,
            reset_after_us: 600_000_000,
        }
    }
}

/// Whether a restart may mend a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Of something around the job, such as a disk or a network: it may pass.
    Passing,
    /// At a place in the data or of the program, in words: where it happens again at the same
    /// place right after a restart, it always will.
    At(String),
    /// A restart would bring it about again.
    Lasting,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartFact {
    /// The job runs.
    Running,
    /// It failed, or could not be brought to run.
    Failed(Failure),
}

/// What to do about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartAction {
    /// Build the job again.
    Restart {
        /// Wait for so long before.
        after_us: i64,
        /// How many restarts there have been with this one.
        number: u32,
    },
    /// End.
    End(GaveUp),
}

/// Why there is no further restart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// The policy is to end.
    #[error("the job is not restarted: `restart: none`")]
    Never,
    /// A restart cannot mend it.
    #[error("a restart would not mend this")]
    Lasting,
    /// The one before failed at the same place.
    #[error("it failed at the same place before and after a restart, so another one is no use")]
    Repeated,
    /// All restarts are used up.
    #[error("it was restarted {0} times, as often as `restart` allows")]
    UsedUp(u32),
    /// It fails too often.
    #[error("it failed {failures} times within {}, more than `restart` allows", seconds(.per_us))]
    TooOften {
        /// How often.
        failures: u32,
        /// Within which time.
        per_us: i64,
    },
}

fn seconds(us: &i64) -> String {
    crate::duration::print(std::time::Duration::from_micros(us.unsigned_abs()))
}

/// The restarts of one job.
///
/// ```
/// use wasmill_core::restart::{
///     Failure, RestartAction, RestartFact, RestartPolicy, Restarts,
/// };
///
/// let policy = RestartPolicy::Fixed { attempts: 1, delay_us: 5 };
/// let mut restarts = Restarts::new(policy, 42);
/// let failed = || RestartFact::Failed(Failure::Passing);
/// let first = restarts.step(0, failed());
/// assert_eq!(first, Some(RestartAction::Restart { after_us: 5, number: 1 }));
/// assert!(matches!(restarts.step(9, failed()), Some(RestartAction::End(_))));
/// ```
#[derive(Debug)]
pub struct Restarts {
    policy: RestartPolicy,
    random: u64,
    number: u32,
    /// Since when it runs; none before it does.
    running_us: Option<i64>,
    /// Where it failed the last time.
    place: Option<String>,
    /// The next time of a policy whose times grow.
    backoff_us: i64,
    /// When it failed, of the failures that still count.
    failed_us: VecDeque<i64>,
}

impl Restarts {
    /// A job that has not failed. The seed decides what is left to chance.
    pub fn new(policy: RestartPolicy, seed: u64) -> Self {
        let backoff_us = match policy {
            RestartPolicy::Exponential(backoff) => backoff.initial_us,
            _ => 0,
        };
        Self {
            policy,
            random: seed,
            number: 0,
            running_us: None,
            place: None,
            backoff_us,
            failed_us: VecDeque::new(),
        }
    }

    /// How many restarts there have been.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Takes a fact in, at a time that never falls; a failure is answered.
    pub fn step(&mut self, now_us: i64, fact: RestartFact) -> Option<RestartAction> {
        match fact {
            RestartFact::Running => {
                self.running_us = Some(now_us);
                None
            }
            RestartFact::Failed(failure) => Some(match self.failed(now_us, failure) {
                Ok(after_us) => {
                    self.number += 1;
                    self.running_us = None;
                    let number = self.number;
                    RestartAction::Restart { after_us, number }
                }
                Err(gave_up) => RestartAction::End(gave_up),
            }),
        }
    }

    /// How long to wait for a restart, or why there is none.
    fn failed(&mut self, now_us: i64, failure: Failure) -> Result<i64, GaveUp> {
        if self.policy == RestartPolicy::None {
            return Err(GaveUp::Never);
        }
        match failure {
            Failure::Lasting => return Err(GaveUp::Lasting),
            Failure::At(place) => {
                if self.place.as_ref() == Some(&place) {
                    return Err(GaveUp::Repeated);
                }
                self.place = Some(place);
            }
            Failure::Passing => {}
        }
        match self.policy {
            RestartPolicy::None => Err(GaveUp::Never),
            RestartPolicy::Fixed { attempts, delay_us } => match self.number < attempts {
                true => Ok(delay_us),
                false => Err(GaveUp::UsedUp(self.number)),
            },
            RestartPolicy::Exponential(backoff) => Ok(self.grow(now_us, &backoff)),
            RestartPolicy::FailureRate {
                failures,
                per_us,
                delay_us,
            } => {
                let oldest = now_us.saturating_sub(per_us);
                self.failed_us.push_back(now_us);
                while self.failed_us.front().is_some_and(|at| *at < oldest) {
                    self.failed_us.pop_front();
                }
                let count = u32::try_from(self.failed_us.len()).unwrap_or(u32::MAX);
                match count <= failures {
                    true => Ok(delay_us),
                    false => Err(GaveUp::TooOften {
                        failures: count,
                        per_us,
                    }),
                }
            }
        }
    }

    fn grow(&mut self, now_us: i64, backoff: &Backoff) -> i64 {
        let lasted_us = self
            .running_us
            .map_or(0, |since| now_us.saturating_sub(since));
        if lasted_us >= backoff.reset_after_us {
            self.backoff_us = backoff.initial_us;
        }
        let base = self.backoff_us.min(backoff.max_us);
        let next = base as f64 * backoff.factor.max(1.0);
        self.backoff_us = (next as i64).min(backoff.max_us);
        let moved = base as f64 * (1.0 + backoff.jitter.clamp(0.0, 1.0) * self.chance());
        (moved as i64).clamp(0, backoff.max_us)
    }

    /// A number from -1 to 1 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    /// generators", 2014).
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        unit * 2.0 - 1.0
    }
}

#[cfg(test)]
mod tests;
