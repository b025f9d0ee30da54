//! Reads six rolling features that the engine computes, and tells of accounts above a sum that no
//! benchmark reaches.

use wasmill_sdk::prelude::*;

/// What is read: the engine computes all but the account.
#[derive(Row)]
pub struct Payment {
    account: u64,
    /// Payments within a minute.
    count_1m: u64,
    /// Their sum within ten minutes.
    sum_10m: f64,
    /// Their mean within ten minutes.
    mean_10m: f64,
    /// Their deviation within ten minutes.
    deviation_10m: f64,
    /// The greatest of them within ten minutes.
    max_10m: f64,
    /// Different countries within ten minutes.
    countries_10m: u64,
}

/// An account that stands out.
#[derive(Row)]
pub struct Alert {
    account: u64,
}

/// The operator.
pub struct Features;

impl Operator for Features {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Payment;
    type Output<'a> = Alert;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let usual = row.mean_10m + 4.0 * row.deviation_10m;
        let many = row.count_1m > 1_000_000 && row.countries_10m > 1_000_000;
        if row.sum_10m > 1e12 && row.max_10m > usual || many {
            let account = row.account;
            cx.emit(Alert { account });
        }
        Ok(())
    }
}

wasmill_sdk::export!(Features);
