//! The thresholds of all rules, as the pipeline's `config` gives them.

use std::time::Duration;

use wasmill_sdk::{Config, Fault};

use crate::amount_history::AmountHistory;
use crate::impossible_travel::ImpossibleTravel;
use crate::new_merchants::{NewMerchants, TIMES};
use crate::velocity::Velocity;

/// The `config` of the operator; what it leaves out has these defaults.
#[derive(Config, Debug, Clone)]
pub struct Thresholds {
    /// Most payments of one account within a minute.
    #[config(default = 5)]
    pub max_per_minute: u32,
    /// Fastest believable journey between two payments in person, in km/h.
    #[config(default = 1000.0)]
    pub max_km_per_hour: f64,
    /// Distances below are never judged, in km.
    #[config(default = 600.0)]
    pub min_km: f64,
    /// How many times the account's own mean an amount may be.
    #[config(default = 8)]
    pub max_times_mean: u32,
    /// Payments before an account's mean says anything.
    #[config(default = 8)]
    pub min_payments: u32,
    /// Most merchants new to the account within the window, at most 7.
    #[config(default = 4)]
    pub max_new_merchants: u32,
    /// Length of that window.
    #[config(default = "20m")]
    pub new_merchants_within: Duration,
    /// Merchants that an account must know before a new one says anything.
    #[config(default = 8)]
    pub min_known_merchants: u32,
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
    pub fn new(config: &Thresholds) -> Result<Self, Fault> {
        Ok(Self {
            velocity: Velocity {
                max_per_minute: config.max_per_minute.into(),
            },
            impossible_travel: ImpossibleTravel {
                max_km_per_hour: natural("max-km-per-hour", config.max_km_per_hour)?,
                min_km: natural("min-km", config.min_km)?,
            },
            amount_history: AmountHistory {
                max_times_mean: config.max_times_mean.into(),
                min_payments: config.min_payments.into(),
            },
            new_merchants: new_merchants(config)?,
        })
    }
}

fn natural(name: &str, value: f64) -> Result<f64, Fault> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(Fault::new(format!(
        "{name} is {value}, it must be a number from 0 on"
    )))
}

fn new_merchants(config: &Thresholds) -> Result<NewMerchants, Fault> {
    let (max_new, most) = (config.max_new_merchants as usize, TIMES - 1);
    if max_new > most {
        let message = format!("max-new-merchants is {max_new}, it may be at most {most}");
        return Err(Fault::new(message));
    }
    let window = config.new_merchants_within;
    let window_us = i64::try_from(window.as_micros())
        .map_err(|_| Fault::new("new-merchants-within is longer than time can be"))?;
    Ok(NewMerchants {
        max_new,
        window_us,
        min_known: config.min_known_merchants,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_sdk::testing::config;

    fn rules(json: &str) -> Result<Rules, String> {
        Rules::new(&config(json).unwrap()).map_err(|fault| fault.message)
    }

    #[test]
    fn senseless_thresholds_are_named() {
        let message = rules(r#"{"max-new-merchants": 8}"#).unwrap_err();
        assert_eq!(message, "max-new-merchants is 8, it may be at most 7");
        let message = rules(r#"{"min-km": -1}"#).unwrap_err();
        assert_eq!(message, "min-km is -1, it must be a number from 0 on");
    }

    #[test]
    fn no_configuration_means_the_defaults() {
        let rules = rules("{}").unwrap();
        assert_eq!(rules.velocity.max_per_minute, 5);
        assert_eq!(rules.new_merchants.window_us, 1_200_000_000);
    }
}
