//! The accounts, their habits and their journeys.

use crate::calendar::{DAY_US, START_US};
use crate::market::{self, Home};
use crate::random::{Random, mix};
use crate::transaction::Channel;

/// Payments after which an account has a history that a theft can stand out from.
const HISTORY_ROWS: u32 = 12;
/// One account in so many shops on both sides of a border.
const BORDER_ONE_IN: u64 = 12;

/// An account and what it is doing.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) number: u64,
    pub(crate) home: &'static Home,
    /// Mean and deviation of the logarithm of its amounts, in hundredths of its currency.
    amount_log: (f64, f64),
    /// Before this moment the account does not exist.
    pub(crate) opened_us: i64,
    /// Until then something out of the ordinary is going on.
    pub(crate) busy_until_us: i64,
    pub(crate) rows: u32,
    journey: Option<Journey>,
}

/// A flight there and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Journey {
    pub(crate) country: &'static str,
    pub(crate) depart_us: i64,
    pub(crate) arrive_us: i64,
    pub(crate) leave_us: i64,
    pub(crate) back_us: i64,
}

impl Account {
    /// The account at this position; `span_us` is about how long the file lasts.
    pub(crate) fn new(seed: u64, position: u64, span_us: i64) -> Self {
        let number = 10_000_000 + position;
        let own = mix(seed, number);
        let home = market::home_of(own >> 32);
        let mut random = Random::new(own);
        let typical = libm::log(2_200.0 * home.per_euro) + 0.5 * random.normal();
        let deviation = random.within(0.35, 0.6);
        // One account in ten is opened while the file lasts: a customer without a past.
        let late = random.chance(0.1);
        let opened_us = START_US
            + if late {
                random.between(DAY_US, span_us.max(DAY_US))
            } else {
                0
            };
        Self {
            number,
            home,
            amount_log: (typical, deviation),
            opened_us,
            busy_until_us: i64::MIN,
            rows: 0,
            journey: None,
        }
    }

    /// The mean of its amounts, in hundredths.
    pub(crate) fn mean_minor(&self) -> f64 {
        let (mean, deviation) = self.amount_log;
        libm::exp(mean + deviation * deviation / 2.0)
    }

    /// An ordinary amount, in hundredths.
    pub(crate) fn amount(&self, random: &mut Random, channel: Channel) -> i64 {
        let (mean, deviation) = self.amount_log;
        let amount = libm::exp(mean + deviation * random.normal());
        match channel {
            // Machines give round sums.
            Channel::Atm => self.round(1.6 * amount),
            _ => (amount as i64).max(50),
        }
    }

    /// The nearest sum that a cash machine can pay out, in hundredths.
    pub(crate) fn round(&self, minor: f64) -> i64 {
        let note = 1_000.0
            * if self.home.per_euro > 2.0 {
                self.home.per_euro.ceil()
            } else {
                1.0
            };
        ((minor / note) as i64).max(1) * note as i64
    }

    /// Where its holder is; nowhere while in the air.
    pub(crate) fn country(&self, at_us: i64) -> Option<&'static str> {
        let Some(journey) = self.journey else {
            return Some(self.home.code);
        };
        match at_us {
            at if at < journey.depart_us || at >= journey.back_us => Some(self.home.code),
            at if at >= journey.arrive_us && at < journey.leave_us => Some(journey.country),
            _ => None,
        }
    }

    /// The country across the border, for those who shop there.
    pub(crate) fn border(&self) -> Option<&'static str> {
        self.home
            .neighbour
            .filter(|_| self.number.is_multiple_of(BORDER_ONE_IN))
    }

    pub(crate) fn start(&mut self, journey: Journey) {
        self.busy_until_us = journey.back_us + DAY_US;
        self.journey = Some(journey);
    }

    /// Whether nothing out of the ordinary is going on.
    pub(crate) fn is_free(&self, at_us: i64) -> bool {
        at_us >= self.busy_until_us
    }

    pub(crate) fn has_history(&self) -> bool {
        self.rows >= HISTORY_ROWS
    }
}

/// The next way to pay, by what is usual at home.
pub(crate) fn usual_channel(random: &mut Random, home: &Home, abroad: bool) -> Channel {
    let draw = random.below(100);
    let upi = if home.code == "IN" && !abroad { 35 } else { 0 };
    match draw {
        draw if draw < upi => Channel::Upi,
        draw if draw < 58 => Channel::Card,
        draw if draw < 82 => Channel::Mobile,
        draw if draw < 90 => Channel::Netbanking,
        _ => Channel::Atm,
    }
}
