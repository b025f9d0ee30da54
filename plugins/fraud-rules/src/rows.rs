//! What the operator reads and emits.

use wasmill_sdk::prelude::*;

use crate::payment::Payment;

/// A row of the transactions, and what the engine counts as of it.
#[derive(Row, Clone, Copy)]
#[row(name = "transactions")]
pub struct Transaction<'a> {
    pub id: &'a str,
    pub account: u64,
    pub at: Timestamp,
    pub amount: Decimal<12, 2>,
    pub merchant: &'a str,
    pub country: &'a str,
    pub channel: &'a str,
    #[row(feature(count = "rows", over = "1m"))]
    pub count_1m: u64,
}

/// A payment that a rule takes for fraud.
#[derive(Row)]
#[row(name = "alerts")]
pub struct Alert<'a> {
    pub account: u64,
    pub at: Timestamp,
    pub transaction: &'a str,
    pub rule: &'a str,
    pub score: f64,
    pub reasons: &'a str,
    pub amount: Decimal<12, 2>,
}

impl<'a> Transaction<'a> {
    /// The payment as the rules see it.
    pub(crate) fn payment(&self) -> Result<Payment<'a>, Reject> {
        let Self {
            at,
            amount,
            merchant,
            country,
            channel,
            ..
        } = *self;
        let amount_minor = i64::try_from(amount.unscaled())?;
        Ok(Payment {
            at_us: at.as_micros(),
            amount_minor,
            merchant,
            country,
            channel,
        })
    }

    /// An alert of a rule about it.
    pub(crate) fn alert<'b>(&self, rule: &'b str, reasons: &'b str) -> Alert<'b>
    where
        'a: 'b,
    {
        let Self {
            account,
            at,
            id: transaction,
            amount,
            ..
        } = *self;
        Alert {
            account,
            at,
            transaction,
            rule,
            score: 1.0,
            reasons,
            amount,
        }
    }
}
