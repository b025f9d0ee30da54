//! Where accounts live and where they spend.

use plugin_fraud_rules::countries::{COUNTRIES, Country, chord_km};

use crate::random::{Random, mix};
use crate::transaction::Channel;

/// Merchants of one kind in one country.
const MERCHANTS: u64 = 4_000;
/// Merchants of one kind that an account keeps going back to.
const HABITS: f64 = 10.0;
/// How often a purchase goes to a merchant outside the habits.
const STRAY: f64 = 0.12;

/// A country that accounts call home.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) code: &'static str,
    pub(crate) currency: &'static str,
    /// Units of the currency that buy what one euro buys.
    pub(crate) per_euro: f64,
    /// Share of the accounts, in percent.
    share: u64,
    /// The country across the border, near enough to shop there.
    pub(crate) neighbour: Option<&'static str>,
}

const fn home(
    code: &'static str,
    currency: &'static str,
    per_euro: f64,
    share: u64,
    neighbour: Option<&'static str>,
) -> Home {
    Home {
        code,
        currency,
        per_euro,
        share,
        neighbour,
    }
}

#[rustfmt::skip]
static HOMES: [Home; 12] = [
    home("IN", "INR", 90.0, 26, None),       home("DE", "EUR", 1.0, 12, Some("CZ")),
    home("US", "USD", 1.1, 12, None),        home("GB", "GBP", 0.85, 10, Some("FR")),
    home("FR", "EUR", 1.0, 8, Some("BE")),   home("BR", "BRL", 5.5, 8, None),
    home("NL", "EUR", 1.0, 6, Some("BE")),   home("SG", "SGD", 1.45, 5, Some("MY")),
    home("AE", "AED", 4.0, 4, None),         home("AT", "EUR", 1.0, 4, Some("SK")),
    home("PL", "PLN", 4.3, 3, None),         home("AU", "AUD", 1.6, 2, None),
];

/// Where honest people fly to.
const DESTINATIONS: [&str; 16] = [
    "ES", "IT", "GR", "TR", "TH", "AE", "US", "GB", "FR", "JP", "ID", "EG", "PT", "SG", "MX", "ZA",
];

/// Where web shops send their bills from.
const WEB_COUNTRIES: [&str; 6] = ["US", "GB", "IE", "DE", "CN", "LU"];

/// The home of an account, by a fixed number of its own.
pub(crate) fn home_of(number: u64) -> &'static Home {
    let mut left = number % 100;
    for home in &HOMES {
        if left < home.share {
            return home;
        }
        left -= home.share;
    }
    &HOMES[0]
}

/// What a merchant does; decides its name and category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trade {
    Shop,
    Web,
    Cash,
    Transfer,
}

/// One merchant; its name and category follow from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Merchant {
    pub(crate) trade: Trade,
    pub(crate) country: &'static str,
    number: u16,
}

const SHOPS: [(&str, &str); 12] = [
    ("groceries", "Fresh Corner"),
    ("groceries", "Green Basket"),
    ("restaurant", "Blue Kettle"),
    ("restaurant", "Spice Garden"),
    ("fuel", "Northway Fuel"),
    ("pharmacy", "Well Pharmacy"),
    ("clothing", "Thread & Needle"),
    ("electronics", "Volt House"),
    ("transport", "City Transit"),
    ("hotel", "Harbour Hotel"),
    ("bookshop", "Paper Lantern"),
    ("household", "Oak & Iron"),
];

const WEB_SHOPS: [(&str, &str); 6] = [
    ("marketplace", "Bazaarly"),
    ("digital", "Streamhaus"),
    ("travel", "Far & Away"),
    ("fashion", "Loomwear"),
    ("games", "Pixel Forge"),
    ("food_delivery", "Quick Plate"),
];

impl Merchant {
    pub(crate) fn category(self) -> &'static str {
        self.kind().0
    }

    /// The first part of the name; country and number follow.
    pub(crate) fn stem(self) -> &'static str {
        self.kind().1
    }

    pub(crate) fn number(self) -> u16 {
        self.number
    }

    fn kind(self) -> (&'static str, &'static str) {
        let number = usize::from(self.number);
        match self.trade {
            Trade::Shop => SHOPS[number % SHOPS.len()],
            Trade::Web => WEB_SHOPS[number % WEB_SHOPS.len()],
            Trade::Cash => ("cash", "Cash Point"),
            Trade::Transfer => ("transfer", "Payee"),
        }
    }

    /// A merchant that the account has most likely never used.
    pub(crate) fn stranger(random: &mut Random, trade: Trade, country: &'static str) -> Self {
        Self {
            trade,
            country,
            number: random.below(MERCHANTS) as u16,
        }
    }

    /// One of the merchants that the account goes to, or now and then another.
    pub(crate) fn habitual(
        random: &mut Random,
        account: u64,
        trade: Trade,
        country: &'static str,
    ) -> Self {
        if random.chance(STRAY) {
            return Self::stranger(random, trade, country);
        }
        // The square makes some habits stronger than others.
        let draw = random.unit();
        let habit = (draw * draw * HABITS) as u64 * 4 + trade as u64;
        let place = u64::from(country.as_bytes()[0]) << 8 | u64::from(country.as_bytes()[1]);
        let number = (mix(mix(account, place), habit) % MERCHANTS) as u16;
        Self {
            trade,
            country,
            number,
        }
    }
}

/// What is behind a payment by this channel, for somebody who stands in `country`.
pub(crate) fn merchant_for(
    random: &mut Random,
    account: u64,
    channel: Channel,
    country: &'static str,
) -> Merchant {
    let (trade, country) = match channel {
        Channel::Card | Channel::Upi => (Trade::Shop, country),
        Channel::Atm => (Trade::Cash, country),
        Channel::Netbanking => (Trade::Transfer, country),
        Channel::Mobile if random.chance(0.35) => (Trade::Web, random.pick(&WEB_COUNTRIES)),
        Channel::Mobile => (Trade::Web, country),
    };
    Merchant::habitual(random, account, trade, country)
}

/// A web shop anywhere, never used before.
pub(crate) fn strange_web_shop(random: &mut Random) -> Merchant {
    let country = random.pick(&WEB_COUNTRIES);
    Merchant::stranger(random, Trade::Web, country)
}

/// Where an honest journey leads, and how far.
pub(crate) fn destination(random: &mut Random, home: &str) -> (&'static str, f64) {
    loop {
        let country = random.pick(&DESTINATIONS);
        if country != home {
            return (country, km_between(home, country));
        }
    }
}

/// A country at least `km_min` from home.
pub(crate) fn far_country(random: &mut Random, home: &str, km_min: f64) -> &'static str {
    let from = find(home);
    loop {
        let country = &COUNTRIES[random.below(COUNTRIES.len() as u64) as usize];
        if chord_km(from, country) >= km_min {
            return country.code;
        }
    }
}

fn km_between(from: &str, to: &str) -> f64 {
    chord_km(find(from), find(to))
}

fn find(code: &str) -> &'static Country {
    plugin_fraud_rules::countries::find(code).expect("the market names only countries of the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_a_hundred_and_every_country_is_in_the_table() {
        assert_eq!(HOMES.iter().map(|home| home.share).sum::<u64>(), 100);
        let neighbours = HOMES.iter().filter_map(|home| home.neighbour);
        let homes = HOMES.iter().map(|home| home.code);
        for code in homes
            .chain(neighbours)
            .chain(DESTINATIONS)
            .chain(WEB_COUNTRIES)
        {
            assert_eq!(find(code).code, code);
        }
    }

    #[test]
    fn neighbours_are_near_and_far_countries_are_far() {
        let mut random = Random::new(1);
        for home in &HOMES {
            if let Some(neighbour) = home.neighbour {
                assert!(km_between(home.code, neighbour) < 600.0, "{}", home.code);
            }
            let far = far_country(&mut random, home.code, 2_500.0);
            assert!(km_between(home.code, far) >= 2_500.0);
        }
    }

    #[test]
    fn habits_return_to_few_merchants() {
        let mut random = Random::new(2);
        let mut used: Vec<Merchant> = (0..1_000)
            .map(|_| Merchant::habitual(&mut random, 7, Trade::Shop, "DE"))
            .collect();
        used.sort_unstable();
        used.dedup();
        assert!((60..=160).contains(&used.len()), "{}", used.len());
    }
}
