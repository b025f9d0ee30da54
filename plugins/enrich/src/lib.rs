//! Adds the name of the country to each payment.
//!
//! * Configuration: `countries`, names by country code; `unknown`, what to do with other codes.
//! * State: none.
//! * Guarantees: rows keep their order.

use std::collections::BTreeMap;
use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Payment<'a> {
    account: u64,
    country: &'a str,
}

/// What is emitted.
#[derive(Row, Debug, PartialEq)]
pub struct Enriched<'a> {
    account: u64,
    country: &'a str,
    country_name: Option<&'a str>,
}

/// The configuration.
#[derive(Config)]
pub struct Tables {
    /// Names by country code.
    countries: BTreeMap<String, String>,
    /// What happens to a row whose country has no name.
    #[config(default = "null")]
    unknown: Unknown,
}

/// What happens to a row whose country has no name.
#[derive(Config)]
pub enum Unknown {
    /// The name is null.
    Null,
    /// The row is refused.
    Reject,
}

/// The operator.
pub struct Enrich {
    tables: Tables,
}

impl Operator for Enrich {
    const PLUGIN: Plugin = plugin!();
    type Config = Tables;
    type Input<'a> = Payment<'a>;
    type Output<'a> = Enriched<'a>;
    type State = ();

    fn open(tables: Tables, _start: &Start) -> Result<Self, Fault> {
        Ok(Self { tables })
    }

    fn process(&mut self, row: Payment<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let Payment { account, country } = row;
        let country_name = self.tables.countries.get(country).map(String::as_str);
        if let (None, Unknown::Reject) = (country_name, &self.tables.unknown) {
            return reject(format!("no country has the code `{country}`"));
        }
        cx.emit(Enriched {
            account,
            country,
            country_name,
        });
        Ok(())
    }
}

wasmill_sdk::export!(Enrich);

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Payment<'_>; 2] = [
        Payment {
            account: 1,
            country: "DE",
        },
        Payment {
            account: 2,
            country: "XX",
        },
    ];

    #[test]
    fn names_are_added() {
        let config = r#"{ "countries": { "DE": "Germany" } }"#;
        let effects = Harness::<Enrich>::new(config).push(&ROWS);
        let name = |account, country, country_name| Enriched {
            account,
            country,
            country_name,
        };
        assert_eq!(
            effects.rows(),
            [name(1, "DE", Some("Germany")), name(2, "XX", None)]
        );
    }

    #[test]
    fn unknown_codes_are_refused_if_asked_for() {
        let config = r#"{ "countries": { "DE": "Germany" }, "unknown": "reject" }"#;
        let effects = Harness::<Enrich>::new(config).push(&ROWS);
        let reason = "no country has the code `XX`".to_owned();
        assert_eq!(effects.rejected(), [(1, reason)]);
    }
}
