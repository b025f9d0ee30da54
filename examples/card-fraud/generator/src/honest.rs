//! Honest life: ordinary payments, and those that look like fraud and are not.

use crate::account::{Account, Journey, usual_channel};
use crate::calendar::{self, DAY_US, HOUR_US, MINUTE_US, SECOND_US};
use crate::market::{self, Merchant, Trade};
use crate::random::Random;
use crate::schedule::{Payment, Schedule};
use crate::transaction::Channel;

/// Speed of an airliner with everything that a journey needs besides the flight.
const FLIGHT_KM_PER_HOUR: f64 = 780.0;

/// One account about to do something, and what it needs for that.
pub(crate) struct Scene<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) account: &'a mut Account,
    /// Position of the account.
    pub(crate) position: usize,
    pub(crate) at_us: i64,
    pub(crate) schedule: &'a mut Schedule,
}

impl Scene<'_> {
    /// An ordinary payment at this moment; none while the account's holder is in the air.
    ///
    /// May also plan what follows from it: a journey, a spree, a second withdrawal.
    pub(crate) fn live(&mut self) -> Option<Payment> {
        let country = self.account.country(self.at_us)?;
        let abroad = country != self.account.home.code;
        let channel = usual_channel(self.random, self.account.home, abroad);
        let mut payment = self.usual(channel, country);
        if self.account.rows == 0 && self.account.opened_us > calendar::START_US {
            self.first_purchases();
        } else if !abroad && self.account.is_free(self.at_us) {
            self.something_else(&mut payment);
        }
        Some(payment)
    }

    fn usual(&mut self, channel: Channel, country: &'static str) -> Payment {
        let border = self
            .account
            .border()
            .filter(|_| country == self.account.home.code);
        let country = match border {
            Some(neighbour) if self.random.chance(0.3) => neighbour,
            _ => country,
        };
        let merchant = market::merchant_for(self.random, self.account.number, channel, country);
        let amount = self.account.amount(self.random, channel);
        self.payment(self.at_us, channel, merchant, amount)
    }

    pub(crate) fn payment(
        &self,
        at_us: i64,
        channel: Channel,
        merchant: Merchant,
        amount_minor: i64,
    ) -> Payment {
        let account = self.position;
        Payment {
            at_us,
            account,
            channel,
            merchant,
            amount_minor,
            incident: None,
        }
    }

    /// Now and then an ordinary payment is the beginning of a lookalike.
    fn something_else(&mut self, payment: &mut Payment) {
        let sale = calendar::is_sale_day(self.at_us);
        let salary = calendar::is_salary_day(self.at_us);
        match self.random.unit() {
            draw if draw < 0.003 => self.travel(payment),
            draw if draw < 0.007 => self.big_purchase(payment),
            draw if draw < 0.011 => self.taps(),
            draw if draw < 0.014 => self.second_withdrawal(payment),
            draw if draw < 0.015 || (sale && draw < 0.035) => self.sale_spree(),
            draw if salary && draw < 0.035 => self.salary_spree(),
            _ => {}
        }
    }

    /// A journey by air: the last payment at home and the first abroad lie as near in time as a
    /// flight allows.
    fn travel(&mut self, payment: &mut Payment) {
        let home = self.account.home.code;
        let (country, km) = market::destination(self.random, home);
        let flight_us = ((km / FLIGHT_KM_PER_HOUR + 0.5) * HOUR_US as f64) as i64;
        let depart_us = self.at_us + 1;
        let arrive_us = depart_us + flight_us;
        let leave_us = arrive_us + self.random.between(DAY_US, 4 * DAY_US);
        let back_us = leave_us + flight_us;
        self.account.start(Journey {
            country,
            depart_us,
            arrive_us,
            leave_us,
            back_us,
        });
        *payment = self.usual(Channel::Card, home);
        let stops = [
            (arrive_us + 5 * MINUTE_US, Channel::Atm, country),
            (arrive_us + 40 * MINUTE_US, Channel::Card, country),
            (leave_us - 10 * MINUTE_US, Channel::Card, country),
            (back_us + 5 * MINUTE_US, Channel::Card, home),
        ];
        for (at_us, channel, country) in stops {
            let stop = Payment {
                at_us,
                ..self.usual(channel, country)
            };
            self.schedule.add(stop);
        }
    }

    /// Rent, a holiday, a sofa: once, and several times the usual.
    fn big_purchase(&mut self, payment: &mut Payment) {
        let times = libm::exp(self.random.within(libm::log(2.5), libm::log(7.0)));
        payment.amount_minor = (self.account.mean_minor() * times) as i64;
        self.account.busy_until_us = self.at_us + DAY_US;
    }

    /// A family through the turnstile: small sums, seconds apart.
    fn taps(&mut self) {
        let country = self.account.home.code;
        let merchant = Merchant::habitual(self.random, self.account.number, Trade::Shop, country);
        let amount = (self.account.mean_minor() * self.random.within(0.05, 0.15)) as i64;
        let mut at_us = self.at_us;
        for _ in 0..self.random.between(2, 3) {
            at_us += self.random.between(4 * SECOND_US, 20 * SECOND_US);
            let tap = self.payment(at_us, Channel::Card, merchant, amount.max(30));
            self.schedule.add(tap);
        }
        self.account.busy_until_us = at_us + HOUR_US;
    }

    /// Cash twice, because the machine gave too little at once.
    fn second_withdrawal(&mut self, payment: &mut Payment) {
        *payment = self.usual(Channel::Atm, self.account.home.code);
        let at_us = self.at_us + self.random.between(MINUTE_US, 6 * MINUTE_US);
        let again = Payment { at_us, ..*payment };
        self.schedule.add(again);
        self.account.busy_until_us = at_us + HOUR_US;
    }

    /// A sale day: many purchases within the hour, half of them at new merchants.
    fn sale_spree(&mut self) {
        let purchases = self.random.between(5, 10);
        self.spree(purchases, 5 * MINUTE_US, 16 * MINUTE_US, (0.4, 1.6));
    }

    /// Payday: several purchases in an afternoon, larger than usual.
    fn salary_spree(&mut self) {
        let purchases = self.random.between(3, 7);
        self.spree(purchases, 8 * MINUTE_US, 35 * MINUTE_US, (1.2, 3.0));
    }

    /// A new customer tries the card out: every merchant is new to this account.
    fn first_purchases(&mut self) {
        let purchases = self.random.between(4, 7);
        self.spree(purchases, 4 * MINUTE_US, 25 * MINUTE_US, (0.5, 1.5));
    }

    fn spree(&mut self, purchases: i64, gap_min_us: i64, gap_max_us: i64, times: (f64, f64)) {
        let country = self.account.home.code;
        let mut at_us = self.at_us;
        for _ in 0..purchases {
            at_us += self.random.between(gap_min_us, gap_max_us);
            let channel = self
                .random
                .pick(&[Channel::Card, Channel::Card, Channel::Mobile]);
            let merchant = if self.random.chance(0.35) {
                market::strange_web_shop(self.random)
            } else {
                market::merchant_for(self.random, self.account.number, channel, country)
            };
            // A web shop is paid by number, whatever was meant.
            let channel = if merchant.trade == Trade::Web {
                Channel::Mobile
            } else {
                channel
            };
            let amount = self.account.mean_minor() * self.random.within(times.0, times.1);
            let purchase = self.payment(at_us, channel, merchant, (amount as i64).max(50));
            self.schedule.add(purchase);
        }
        self.account.busy_until_us = at_us + 2 * HOUR_US;
    }
}
