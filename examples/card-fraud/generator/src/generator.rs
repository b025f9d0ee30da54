//! The stream of transactions.

use crate::account::Account;
use crate::calendar::{self, DAY_US, SECOND_US, START_US};
use crate::honest::Scene;
use crate::incident::Kind;
use crate::label::{Label, Labels};
use crate::random::{Random, mix};
use crate::schedule::{Payment, Schedule};
use crate::transaction::Transaction;

/// No record arrives later than this after its event time.
pub const DELAY_MAX_US: i64 = 5 * SECOND_US - 1;

/// Ordinary payments of an account in a day, on average.
const ROWS_PER_DAY: f64 = 5.0;
/// One ordinary payment in so many is the moment at which an incident begins.
const INCIDENT_ONE_IN: f64 = 700.0;
/// Accounts that are looked at for one that an incident can happen to.
const VICTIM_TRIES: usize = 64;
/// No incident begins within so many hours of the end, lest the end cuts it off.
const QUIET_END_HOURS: f64 = 3.0;

/// What to generate.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Transactions in all.
    pub records: u64,
    /// Decides everything that chance decides.
    pub seed: u64,
    /// Accounts that exist by the end.
    pub accounts: u64,
}

impl Options {
    /// As many accounts as give each about fifty records, between 20 and 100,000.
    #[must_use]
    pub fn accounts_for(records: u64) -> u64 {
        (records / 50).clamp(20, 100_000)
    }
}

/// A transaction and what is behind it.
#[derive(Debug)]
pub struct Row {
    /// The transaction.
    pub transaction: Transaction,
    /// Whether it belongs to an incident.
    pub is_fraud: bool,
    /// The label of the incident that this record completes.
    pub label: Option<Label>,
}

/// Generates transactions in the order in which they arrive at the bank.
///
/// Memory is bounded by the accounts and by what is planned for them, about 150 bytes an
/// account, however many records are drawn.
#[derive(Debug)]
pub struct Generator {
    options: Options,
    random: Random,
    accounts: Vec<Account>,
    /// Planned payments, by event time.
    planned: Schedule,
    /// Payments on their way to the bank, by time of arrival.
    under_way: Schedule,
    labels: Labels,
    /// Event time of the next ordinary payment.
    next_us: i64,
    incidents: u64,
    produced: u64,
    written: u64,
}

impl Generator {
    /// A stream from its first record on.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let days = options.records as f64 / (options.accounts.max(1) as f64 * ROWS_PER_DAY);
        let span_us = (days * DAY_US as f64) as i64;
        let accounts = (0..options.accounts.max(1))
            .map(|position| Account::new(options.seed, position, span_us))
            .collect();
        Self {
            options,
            random: Random::new(mix(options.seed, 1)),
            accounts,
            planned: Schedule::default(),
            under_way: Schedule::default(),
            labels: Labels::default(),
            next_us: START_US,
            incidents: 0,
            produced: 0,
            written: 0,
        }
    }

    /// Labels of incidents that the end of the stream cut off; to be asked for after the last
    /// record.
    pub fn cut_off(&mut self) -> Vec<Label> {
        self.labels.cut_off()
    }

    /// Sends payments on their way until the first of them must have arrived.
    fn arrive(&mut self) -> Payment {
        loop {
            while let Some(payment) = self.planned.next_until(self.next_us) {
                self.send(payment);
            }
            // Whatever is not under way by now happens, and so arrives, after `next_us`.
            if let Some(payment) = self.under_way.next_until(self.next_us) {
                return payment;
            }
            if let Some(payment) = self.ordinary() {
                self.send(payment);
            }
        }
    }

    /// Most payments arrive within a second, a few take up to five.
    fn send(&mut self, payment: Payment) {
        self.produced += 1;
        self.accounts[payment.account].rows += 1;
        let delay_max = if self.random.chance(0.8) {
            SECOND_US
        } else {
            DELAY_MAX_US
        };
        let delay = self.random.between(0, delay_max);
        self.under_way.add_at(payment.at_us + delay, payment);
    }

    /// The next ordinary payment, unless it is nobody's turn at this moment.
    fn ordinary(&mut self) -> Option<Payment> {
        let at_us = self.next_us;
        let rows_per_us = self.accounts.len() as f64 * ROWS_PER_DAY / DAY_US as f64;
        let mean_us = 1.0 / (rows_per_us * calendar::busy(at_us));
        self.next_us += self.random.exponential(mean_us) as i64 + 1;
        if self.random.chance(1.0 / INCIDENT_ONE_IN) {
            self.plant(at_us);
        }
        let position = self.somebody();
        if self.accounts[position].opened_us > at_us {
            return None;
        }
        self.scene(position, at_us).live()
    }

    /// An account; low positions are the active ones.
    fn somebody(&mut self) -> usize {
        let draw = self.random.unit();
        (draw * draw.sqrt() * self.accounts.len() as f64) as usize
    }

    fn plant(&mut self, at_us: i64) {
        let rows_per_hour = self.accounts.len() as f64 * ROWS_PER_DAY / 24.0;
        let left = self.options.records.saturating_sub(self.produced);
        if (left as f64) < QUIET_END_HOURS * rows_per_hour {
            return;
        }
        let Some(victim) = self.victim(at_us) else {
            return;
        };
        let incident = self.incidents;
        self.incidents += 1;
        let kind = Kind::ALL[(incident % Kind::ALL.len() as u64) as usize];
        let records = self.scene(victim, at_us).plant(kind, incident);
        self.labels
            .open(incident, kind, self.accounts[victim].number, records);
    }

    fn victim(&mut self, at_us: i64) -> Option<usize> {
        (0..VICTIM_TRIES).find_map(|_| {
            let position = self.somebody();
            let account = &self.accounts[position];
            (account.has_history() && account.is_free(at_us)).then_some(position)
        })
    }

    fn scene(&mut self, position: usize, at_us: i64) -> Scene<'_> {
        Scene {
            random: &mut self.random,
            account: &mut self.accounts[position],
            position,
            at_us,
            schedule: &mut self.planned,
        }
    }
}

impl Iterator for Generator {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.written == self.options.records {
            return None;
        }
        let payment = self.arrive();
        self.written += 1;
        let account = &self.accounts[payment.account];
        let transaction = Transaction {
            number: self.written,
            account: account.number,
            at_us: payment.at_us,
            amount_minor: payment.amount_minor,
            currency: account.home.currency,
            merchant: payment.merchant,
            channel: payment.channel,
        };
        let label = payment
            .incident
            .and_then(|incident| self.labels.note(incident, &transaction));
        Some(Row {
            transaction,
            is_fraud: payment.incident.is_some(),
            label,
        })
    }
}

#[cfg(test)]
mod tests;
