//! Impossible travel: two countries closer in time than any flight.
//!
//! A cloned card pays abroad while its holder pays at home. Only payments that need the holder
//! in person count; the rule remembers where the account was last believed to be. A payment
//! that it flags does not move that place: otherwise the holder's next honest payment at home
//! would be the impossible one.

use crate::countries::{self, Country, chord_km};
use crate::payment::Payment;
use wasmill_sdk::State;

/// Microseconds in an hour.
const HOUR_US: f64 = 3.6e9;

/// What the rule allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImpossibleTravel {
    /// Fastest believable journey, in kilometres an hour.
    pub max_km_per_hour: f64,
    /// Shorter distances are never judged: capitals stand for whole countries, and people live
    /// near borders.
    pub min_km: f64,
}

/// Where an account was last believed to be.
#[derive(State, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The two letters of the country's code; zeros before the first payment in person.
    pub country: [u8; 2],
    /// Event time of the payment there, in microseconds since 1970.
    pub at_us: i64,
}

impl ImpossibleTravel {
    /// Judges one payment and moves the account's place. Returns the reasons for an alert.
    pub fn judge(&self, place: &mut Place, payment: &Payment<'_>) -> Option<String> {
        if !payment.in_person() {
            return None;
        }
        // A country that the table lacks has no distance to anywhere.
        let here = countries::find(payment.country)?;
        let reasons = place
            .known()
            .and_then(|there| self.journey(there, place.at_us, here, payment));
        // Rows may come a few seconds out of order; an older one says nothing about now.
        if reasons.is_none() && (place.country == [0, 0] || payment.at_us >= place.at_us) {
            *place = Place::of(here, payment.at_us);
        }
        reasons
    }

    fn journey(
        &self,
        there: &Country,
        left_us: i64,
        here: &Country,
        payment: &Payment<'_>,
    ) -> Option<String> {
        let km = chord_km(there, here);
        let elapsed_us = payment.at_us.abs_diff(left_us);
        // Multiplied out, so that no time at all needs no case of its own.
        let fastest_km_us = self.max_km_per_hour * elapsed_us as f64;
        (km >= self.min_km && km * HOUR_US > fastest_km_us).then(|| {
            format!(
                "{} to {}: {km:.0} km within {} min, at most {:.0} km/h allowed",
                there.code,
                here.code,
                elapsed_us / 60_000_000,
                self.max_km_per_hour,
            )
        })
    }
}

impl Place {
    fn of(country: &Country, at_us: i64) -> Self {
        let mut code = [0; 2];
        code.copy_from_slice(country.code.as_bytes());
        Self {
            country: code,
            at_us,
        }
    }

    fn known(self) -> Option<&'static Country> {
        std::str::from_utf8(&self.country)
            .ok()
            .and_then(countries::find)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: ImpossibleTravel = ImpossibleTravel {
        max_km_per_hour: 1000.0,
        min_km: 600.0,
    };
    const MINUTE_US: i64 = 60_000_000;

    fn pay(country: &str, minute: i64) -> Payment<'_> {
        let at_us = minute * MINUTE_US;
        Payment {
            at_us,
            amount_minor: 1_000,
            merchant: "Kiosk",
            country,
            channel: "card",
        }
    }

    #[test]
    fn a_clone_abroad_is_flagged_and_the_holder_at_home_is_not() {
        let mut place = Place::default();
        assert_eq!(RULE.judge(&mut place, &pay("DE", 0)), None);
        let reasons = RULE.judge(&mut place, &pay("BR", 30)).unwrap();
        assert_eq!(
            reasons,
            "DE to BR: 8710 km within 30 min, at most 1000 km/h allowed"
        );
        assert_eq!(RULE.judge(&mut place, &pay("DE", 31)), None);
        assert_eq!(
            place,
            Place {
                country: *b"DE",
                at_us: 31 * MINUTE_US
            }
        );
    }

    #[test]
    fn a_flight_of_plausible_length_moves_the_place() {
        let mut place = Place::default();
        RULE.judge(&mut place, &pay("DE", 0));
        assert_eq!(RULE.judge(&mut place, &pay("BR", 12 * 60)), None);
        assert_eq!(place.country, *b"BR");
    }

    #[test]
    fn neighbours_and_payments_from_the_sofa_pass() {
        let mut place = Place::default();
        RULE.judge(&mut place, &pay("NL", 0));
        assert_eq!(RULE.judge(&mut place, &pay("BE", 1)), None);
        let online = Payment {
            channel: "mobile",
            ..pay("US", 2)
        };
        assert_eq!(RULE.judge(&mut place, &online), None);
        assert_eq!(place.country, *b"BE");
    }

    #[test]
    fn two_far_countries_in_the_same_instant_are_flagged() {
        let mut place = Place::default();
        RULE.judge(&mut place, &pay("DE", 7));
        assert!(RULE.judge(&mut place, &pay("JP", 7)).is_some());
    }

    #[test]
    fn an_older_row_and_an_unknown_country_do_not_move_the_place() {
        let mut place = Place::default();
        RULE.judge(&mut place, &pay("DE", 600));
        assert_eq!(RULE.judge(&mut place, &pay("CZ", 599)), None);
        assert_eq!(RULE.judge(&mut place, &pay("XX", 601)), None);
        assert_eq!(
            place,
            Place {
                country: *b"DE",
                at_us: 600 * MINUTE_US
            }
        );
    }

    #[test]
    fn rows_before_1970_have_places_too() {
        let mut place = Place::default();
        RULE.judge(&mut place, &pay("DE", -10));
        assert_eq!(
            place,
            Place {
                country: *b"DE",
                at_us: -10 * MINUTE_US
            }
        );
    }
}
