//! The frauds: five kinds, each planted as an incident of several payments.

use serde::{Deserialize, Serialize};

use crate::calendar::{HOUR_US, MINUTE_US, SECOND_US};
use crate::honest::Scene;
use crate::market::{self, Merchant, Trade};
use crate::schedule::Payment;
use crate::transaction::Channel;

/// A cloned card pays at least this far from home.
const CLONE_KM_MIN: f64 = 2_500.0;

/// A kind of fraud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A machine tries a stolen number with tiny payments, seconds apart.
    CardTesting,
    /// A copy of the card pays on another continent while its holder pays at home.
    ClonedCard,
    /// Somebody else is in the account and empties it by transfers.
    AccountTakeover,
    /// A stolen card is spent quickly at merchants that its holder never used.
    ShoppingSpree,
    /// A stolen card and its PIN go from cash machine to cash machine.
    CashOut,
}

impl Kind {
    /// All kinds, in the order in which they are planted.
    pub const ALL: [Self; 5] = [
        Self::CardTesting,
        Self::ClonedCard,
        Self::AccountTakeover,
        Self::ShoppingSpree,
        Self::CashOut,
    ];

    /// The name in the labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CardTesting => "card_testing",
            Self::ClonedCard => "cloned_card",
            Self::AccountTakeover => "account_takeover",
            Self::ShoppingSpree => "shopping_spree",
            Self::CashOut => "cash_out",
        }
    }
}

impl Scene<'_> {
    /// Plants one incident that begins now; returns how many payments it has.
    pub(crate) fn plant(&mut self, kind: Kind, incident: u64) -> u64 {
        let first = self.at_us;
        let payments = match kind {
            Kind::CardTesting => self.test_card(),
            Kind::ClonedCard => self.clone_card(),
            Kind::AccountTakeover => self.take_over(),
            Kind::ShoppingSpree => self.spend(),
            Kind::CashOut => self.cash_out(),
        };
        let last = payments
            .iter()
            .map(|payment| payment.at_us)
            .max()
            .unwrap_or(first);
        self.account.busy_until_us = last + 6 * HOUR_US;
        for payment in &payments {
            self.schedule.add(Payment {
                incident: Some(incident),
                ..*payment
            });
        }
        payments.len() as u64
    }

    fn test_card(&mut self) -> Vec<Payment> {
        let shops = [0; 2].map(|_| market::strange_web_shop(self.random));
        let mut at_us = self.at_us;
        let mut payments = Vec::new();
        for _ in 0..self.random.between(8, 18) {
            at_us += self.random.between(2 * SECOND_US, 9 * SECOND_US);
            let amount = self.times_mean(0.002, 0.04).max(10);
            let shop = self.random.pick(&shops);
            payments.push(self.payment(at_us, Channel::Mobile, shop, amount));
        }
        // A number that works is used at once.
        if self.random.chance(0.4) {
            at_us += self.random.between(MINUTE_US, 4 * MINUTE_US);
            let amount = self.times_mean(3.0, 8.0);
            let shop = market::strange_web_shop(self.random);
            payments.push(self.payment(at_us, Channel::Mobile, shop, amount));
        }
        payments
    }

    fn clone_card(&mut self) -> Vec<Payment> {
        let home = self.account.home.code;
        let abroad = market::far_country(self.random, home, CLONE_KM_MIN);
        let mut at_us = self.at_us;
        let mut payments = Vec::new();
        self.holder_pays(at_us);
        for turn in 0..self.random.between(2, 5) {
            at_us += self.random.between(3 * MINUTE_US, 22 * MINUTE_US);
            let channel = self
                .random
                .pick(&[Channel::Card, Channel::Card, Channel::Atm]);
            let trade = if channel == Channel::Atm {
                Trade::Cash
            } else {
                Trade::Shop
            };
            let merchant = Merchant::stranger(self.random, trade, abroad);
            let amount = self.times_mean(0.6, 2.5);
            let amount = if channel == Channel::Atm {
                self.account.round(amount as f64)
            } else {
                amount
            };
            payments.push(self.payment(at_us, channel, merchant, amount));
            if turn > 0 && self.random.chance(0.5) {
                at_us += self.random.between(3 * MINUTE_US, 10 * MINUTE_US);
                self.holder_pays(at_us);
            }
        }
        payments
    }

    /// The holder's own card, at home: honest, and not part of the incident.
    fn holder_pays(&mut self, at_us: i64) {
        let (account, home) = (self.account.number, self.account.home.code);
        let merchant = Merchant::habitual(self.random, account, Trade::Shop, home);
        let amount = self.account.amount(self.random, Channel::Card);
        let payment = self.payment(at_us, Channel::Card, merchant, amount);
        self.schedule.add(payment);
    }

    fn take_over(&mut self) -> Vec<Payment> {
        let home = self.account.home.code;
        // Most thieves hurry; some take care to stay under what draws the eye.
        let (low, high) = if self.random.chance(0.25) {
            (5.0, 9.0)
        } else {
            (9.0, 30.0)
        };
        let mut at_us = self.at_us;
        let mut payments = Vec::new();
        for _ in 0..self.random.between(3, 6) {
            at_us += self.random.between(90 * SECOND_US, 12 * MINUTE_US);
            let amount = self.times_mean(low, high);
            let payee = Merchant::stranger(self.random, Trade::Transfer, home);
            payments.push(self.payment(at_us, Channel::Netbanking, payee, amount));
        }
        payments
    }

    fn spend(&mut self) -> Vec<Payment> {
        let home = self.account.home.code;
        let mut at_us = self.at_us;
        let mut payments = Vec::new();
        for _ in 0..self.random.between(6, 12) {
            at_us += self.random.between(40 * SECOND_US, 4 * MINUTE_US);
            let amount = self.times_mean(0.7, 3.0);
            let shop = Merchant::stranger(self.random, Trade::Shop, home);
            payments.push(self.payment(at_us, Channel::Card, shop, amount));
        }
        payments
    }

    fn cash_out(&mut self) -> Vec<Payment> {
        let home = self.account.home.code;
        let mut at_us = self.at_us;
        let mut payments = Vec::new();
        for _ in 0..self.random.between(4, 8) {
            at_us += self.random.between(90 * SECOND_US, 6 * MINUTE_US);
            let sum = self.times_mean(2.0, 5.0) as f64;
            let machine = Merchant::stranger(self.random, Trade::Cash, home);
            payments.push(self.payment(at_us, Channel::Atm, machine, self.account.round(sum)));
        }
        payments
    }

    fn times_mean(&mut self, low: f64, high: f64) -> i64 {
        (self.account.mean_minor() * self.random.within(low, high)) as i64
    }
}
