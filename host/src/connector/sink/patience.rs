//! How long a sink waits for an output that is away, and how often it looks.

use std::time::Duration;

use wasmill_core::duration;

use crate::{clock, connector::ConnectorError, spawn};

/// Until the second try; then twice as long each time.
const REST_MIN: Duration = Duration::from_millis(100);
/// Between two tries at most.
const REST_MAX: Duration = Duration::from_secs(5);

/// What is known of an output that is away.
#[derive(Debug, Default)]
pub struct Patience {
    /// Since when it is away, and how often it was tried.
    away: Option<(i64, u32)>,
    /// After how many tries it is told. A connection that was closed while it was idle is no news;
    /// that there has never been one is.
    told_after: u32,
}

impl Patience {
    /// With something that has answered before.
    pub fn answered() -> Self {
        Self {
            told_after: 1,
            ..Self::default()
        }
    }

    /// How long to rest before the next try.
    ///
    /// # Errors
    /// If a next try is of no use, or it has been away for too long.
    pub fn rest(&mut self, error: ConnectorError) -> Result<Duration, ConnectorError> {
        let ConnectorError::Away {
            place,
            give_up_after,
            cause,
        } = error
        else {
            return Err(error);
        };
        let now = clock::monotonic_us();
        let (since, tries) = self.away.get_or_insert((now, 0));
        let waited = Duration::from_micros(now.saturating_sub(*since).unsigned_abs());
        if waited >= give_up_after {
            let waited = Duration::from_secs(waited.as_secs());
            return Err(ConnectorError::GaveUp {
                place,
                waited: duration::print(waited),
                source: cause,
            });
        }
        if *tries == self.told_after {
            let give_up_after = duration::print(give_up_after);
            tracing::warn!(%place, error = %cause, give_up_after, "it is away; trying again");
        }
        let rest = REST_MIN * 2_u32.saturating_pow((*tries).min(16));
        *tries += 1;
        // The last try comes when the time is over.
        let left = give_up_after.saturating_sub(waited);
        Ok(rest.min(REST_MAX).min(left.max(Duration::from_millis(1))))
    }

    /// It has answered.
    pub fn over(&mut self) {
        let told_after = std::mem::replace(&mut self.told_after, 1);
        if self
            .away
            .take()
            .is_some_and(|(_, tries)| tries > told_after)
        {
            tracing::info!("what was away is back");
        }
    }
}

/// Tries until it succeeds, or is of no use. Blocks.
///
/// # Errors
/// As for [`Patience::rest`].
pub fn patiently<T>(
    patience: &mut Patience,
    mut work: impl FnMut() -> Result<T, ConnectorError>,
) -> Result<T, ConnectorError> {
    loop {
        match work() {
            Ok(done) => {
                patience.over();
                return Ok(done);
            }
            Err(error) => spawn::pause(patience.rest(error)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(give_up_after: Duration) -> ConnectorError {
        ConnectorError::Away {
            place: "it".into(),
            give_up_after,
            cause: "no answer".into(),
        }
    }

    #[test]
    fn what_is_away_is_tried_ever_more_seldom() {
        let mut patience = Patience::default();
        let mut rest = || {
            patience
                .rest(away(Duration::from_secs(3_600)))
                .expect("there is time")
        };
        let rests: Vec<Duration> = (0..8).map(|_| rest()).collect();
        assert_eq!(rests[..3], [100, 200, 400].map(Duration::from_millis));
        assert_eq!(rests[7], REST_MAX);
        patience.over();
        let rest = patience.rest(away(Duration::from_secs(3_600)));
        assert_eq!(rest.expect("there is time"), REST_MIN);
    }

    #[test]
    fn patience_ends_with_a_remedy_and_at_once_where_it_is_of_no_use() {
        let mut patience = Patience::default();
        let error = patience.rest(away(Duration::ZERO)).expect_err("no time");
        assert!(error.to_string().contains("nothing is lost"), "{error}");
        let other = ConnectorError::NoMatch {
            pattern: "x".into(),
        };
        let error = patience.rest(other).expect_err("it is of no use");
        assert!(matches!(error, ConnectorError::NoMatch { .. }), "{error}");
    }
}
