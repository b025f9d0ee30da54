//! The whole job in plain Rust: what the pipeline must find.
//!
//! The rules and the model are the plugins' own functions; state and features are kept here in
//! the simplest way that can be right, record by record, without batches, engine or sandbox.
//! The job's output is compared with this one.

use std::collections::{HashMap, HashSet};

use plugin_fraud_rules::amount_history::History;
use plugin_fraud_rules::config::{Rules, Thresholds};
use plugin_fraud_rules::impossible_travel::Place;
use plugin_fraud_rules::new_merchants::TIMES;
use plugin_fraud_rules::payment::Payment;
use plugin_fraud_scorer::inputs::inputs;
use plugin_fraud_scorer::model::{self, Scorer};
use plugin_fraud_scorer::reasons::reasons;
use serde::Serialize;
use serde_json::Number;
use wasmill_sdk::{Fault, testing};

use crate::calendar;
use crate::past::Past;
use crate::row::Row;

/// Rows that are scored at once.
const BATCH_ROWS: usize = 512;

/// One alert, a line of the job's output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    account: u64,
    at: String,
    transaction: String,
    rule: &'static str,
    score: f64,
    reasons: String,
    amount: Number,
}

/// The job, as far as it has come.
pub struct Oracle {
    rules: Rules,
    score_min: f64,
    accounts: HashMap<u64, Account>,
    past: Past,
    scorer: Scorer,
    batch: Vec<(Row, String)>,
    alerts: Vec<Alert>,
    /// How near to the threshold any score has come.
    nearest: f64,
}

/// What the rules keep of an account.
#[derive(Debug, Default)]
struct Account {
    place: Place,
    history: History,
    merchants: HashSet<String>,
    /// Event times of first purchases at a merchant.
    firsts_us: Vec<i64>,
}

/// Why the job cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The thresholds make no sense.
    #[error("{0}")]
    Config(String),
    /// The model does not load or run.
    #[error(transparent)]
    Model(#[from] model::Error),
}

impl Oracle {
    /// A job that has seen nothing yet, with the rules' configuration as JSON.
    ///
    /// # Errors
    /// If a threshold makes no sense or the model does not load.
    pub fn new(config: &str, score_min: f64) -> Result<Self, Error> {
        Ok(Self {
            rules: rules(config).map_err(|fault| Error::Config(fault.message))?,
            score_min,
            accounts: HashMap::new(),
            past: Past::default(),
            scorer: Scorer::load()?,
            batch: Vec::new(),
            alerts: Vec::new(),
            nearest: f64::INFINITY,
        })
    }

    /// Decides on one transaction.
    ///
    /// # Errors
    /// If the model does not run.
    pub fn push(&mut self, row: Row) -> Result<(), Error> {
        let features = self.past.add(&row);
        self.scorer.push(&inputs(&features));
        let reasons = reasons(&features);
        let count_1m = features.counts[0];
        self.judge(&row, count_1m);
        self.batch.push((row, reasons));
        if self.batch.len() == BATCH_ROWS {
            self.score()?;
        }
        Ok(())
    }

    /// All alerts, and how near to the threshold any score came.
    ///
    /// # Errors
    /// If the model does not run.
    pub fn finish(mut self) -> Result<(Vec<Alert>, f64), Error> {
        self.score()?;
        Ok((self.alerts, self.nearest))
    }

    fn judge(&mut self, row: &Row, count_1m: u64) {
        let account = self.accounts.entry(row.account).or_default();
        let known = account.merchants.len() as u32;
        let is_new = account.merchants.insert(row.merchant.clone());
        if is_new {
            account.firsts_us.push(row.at_us);
        }
        let firsts_us = account.firsts_us.iter().rev().take(TIMES).copied();
        let payment = Payment {
            at_us: row.at_us,
            amount_minor: row.amount_minor,
            merchant: &row.merchant,
            country: &row.country,
            channel: &row.channel,
        };
        let rules = &self.rules;
        let new_merchants = &rules.new_merchants;
        let found = [
            ("velocity", rules.velocity.judge(count_1m)),
            (
                "impossible_travel",
                rules.impossible_travel.judge(&mut account.place, &payment),
            ),
            (
                "amount_history",
                rules.amount_history.judge(&mut account.history, &payment),
            ),
            (
                "new_merchants",
                is_new
                    .then(|| new_merchants.judge(known, firsts_us, &payment))
                    .flatten(),
            ),
        ];
        for (rule, reasons) in found {
            self.alerts
                .extend(reasons.map(|reasons| alert(row, rule, 1.0, reasons)));
        }
    }

    fn score(&mut self) -> Result<(), Error> {
        let scores = self.scorer.score()?;
        for ((row, reasons), score) in self.batch.drain(..).zip(scores) {
            let score = f64::from(score);
            self.nearest = self.nearest.min((score - self.score_min).abs());
            if score >= self.score_min {
                self.alerts.push(alert(&row, "score", score, reasons));
            }
        }
        Ok(())
    }
}

fn rules(config: &str) -> Result<Rules, Fault> {
    Rules::new(&testing::config::<Thresholds>(config)?)
}

fn alert(row: &Row, rule: &'static str, score: f64, reasons: String) -> Alert {
    Alert {
        account: row.account,
        at: calendar::text(row.at_us),
        transaction: row.id.clone(),
        rule,
        score,
        reasons,
        amount: amount(row.amount_minor),
    }
}

/// The amount as a JSON number with its two digits.
fn amount(minor: i64) -> Number {
    let text = plugin_fraud_rules::payment::amount_text(minor);
    text.parse().expect("digits around a point are a number")
}
