//! The thresholds of all rules, as the pipeline's `config` gives them.

use serde::Deserialize;

use crate::amount_history::AmountHistory;
use crate::impossible_travel::ImpossibleTravel;
use crate::new_merchants::{NewMerchants, TIMES};
use crate::velocity::Velocity;

/// The `config` of the operator; what it leaves out has the defaults below.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Most payments of one account within a minute.
    pub max_per_minute: u64,
    /// Fastest believable journey between two payments in person, in km/h.
    pub max_km_per_hour: f64,
    /// Distances below are never judged, in km.
    pub min_km: f64,
    /// How many times the account's own mean an amount may be.
    pub max_times_mean: i64,
    /// Payments before an account's mean says anything.
    pub min_payments: i64,
    /// Most merchants new to the account within the window, at most 7.
    pub max_new_merchants: usize,
    /// Length of that window, in minutes.
    pub new_merchants_minutes: u32,
    /// Merchants that an account must know before a new one says anything.
    pub min_known_merchants: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_per_minute: 5,
            max_km_per_hour: 1_000.0,
            min_km: 600.0,
            max_times_mean: 8,
            min_payments: 8,
            max_new_merchants: 4,
            new_merchants_minutes: 20,
            min_known_merchants: 8,
        }
    }
}

/// The rules with their thresholds.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Too many payments in a minute.
    pub velocity: Velocity,
    /// Two far places too soon after each other.
    pub impossible_travel: ImpossibleTravel,
    /// An amount far above the account's own.
    pub amount_history: AmountHistory,
    /// A burst of merchants that the account never used.
    pub new_merchants: NewMerchants,
}

impl Rules {
    /// The rules that this configuration asks for.
    ///
    /// # Errors
    /// If a threshold makes no sense; the message names it and what it may be.
    pub fn new(config: &Config) -> Result<Self, String> {
        let most_new = TIMES - 1;
        if config.max_new_merchants > most_new {
            let found = config.max_new_merchants;
            return Err(format!(
                "max-new-merchants is {found}, it may be at most {most_new}"
            ));
        }
        for (name, value) in [
            ("max-km-per-hour", config.max_km_per_hour),
            ("min-km", config.min_km),
        ] {
            if !value.is_finite() || value < 0.0 {
                return Err(format!("{name} is {value}, it must be a number from 0 on"));
            }
        }
        Ok(Self {
            velocity: Velocity {
                max_per_minute: config.max_per_minute,
            },
            impossible_travel: ImpossibleTravel {
                max_km_per_hour: config.max_km_per_hour,
                min_km: config.min_km,
            },
            amount_history: AmountHistory {
                max_times_mean: config.max_times_mean,
                min_payments: config.min_payments,
            },
            new_merchants: NewMerchants {
                max_new: config.max_new_merchants,
                window_us: i64::from(config.new_merchants_minutes) * 60_000_000,
                min_known: config.min_known_merchants,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_thresholds_are_named() {
        let config = Config {
            max_new_merchants: 8,
            ..Config::default()
        };
        let message = Rules::new(&config).unwrap_err();
        assert_eq!(message, "max-new-merchants is 8, it may be at most 7");
        let config = Config {
            min_km: f64::NAN,
            ..Config::default()
        };
        assert!(
            Rules::new(&config)
                .unwrap_err()
                .starts_with("min-km is NaN")
        );
        assert!(Rules::new(&Config::default()).is_ok());
    }
}
