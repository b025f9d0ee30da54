//! Finds payments that break the rules in force at their time; rules come as data.
//!
//! * Configuration: none.
//! * State: the rules, in every subtask alike; for each account the number of its alerts.
//! * Guarantees: a rule counts from its own event time until the next of its name, whatever comes
//!   first; alerts of an account keep the order of its payments.

use wasmill_sdk::prelude::*;

/// A payment.
#[derive(Row, Clone, Copy, Debug)]
#[row(name = "payments")]
pub struct Payment<'a> {
    account: u64,
    country: &'a str,
    amount: f64,
    at: EventTime,
}

/// A rule, or the news that there is none of that name any more.
#[derive(Row, Clone, Copy, Debug)]
#[row(name = "rules")]
pub struct Rule<'a> {
    rule: &'a str,
    /// In this country; everywhere if there is none.
    country: Option<&'a str>,
    /// More than this is an alert; none withdraws the rule.
    above: Option<f64>,
    at: EventTime,
}

/// A payment that breaks a rule.
#[derive(Row, Debug, PartialEq)]
pub struct Alert<'a> {
    account: u64,
    rule: &'a str,
    amount: f64,
    /// Alerts of the account so far, this one included.
    alerts: u64,
}

/// A rule as it is kept.
#[derive(State, Clone, Debug, PartialEq)]
pub struct Kept {
    country: Option<String>,
    above: f64,
}

/// What lasts.
#[derive(States)]
pub struct Memory {
    rules: Broadcast<String, Kept>,
    alerts: Value<u64>,
}

/// The operator, with the rules as of a version: decoded once and not for each payment.
pub struct Rules {
    version: Option<u64>,
    rules: Vec<(String, Kept)>,
}

impl Operator for Rules {
    const PLUGIN: Plugin = plugin!();
    const ORDER: Order = Order::EventTime;
    type Config = ();
    type Input<'a> = WithBroadcast<Payment<'a>, Rule<'a>>;
    type Output<'a> = Alert<'a>;
    type State = Memory;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self {
            version: None,
            rules: Vec::new(),
        })
    }

    fn process(
        &mut self,
        row: WithBroadcast<Payment<'_>, Rule<'_>>,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Reject> {
        let payment = match row {
            WithBroadcast::Row(payment) => payment,
            WithBroadcast::Broadcast(rule) => {
                match rule.above {
                    Some(above) => {
                        let country = rule.country.map(str::to_owned);
                        cx.state.rules.set(rule.rule, Kept { country, above });
                    }
                    None => cx.state.rules.remove(rule.rule),
                }
                return Ok(());
            }
        };
        if self.version != Some(cx.state.rules.version()) {
            self.version = Some(cx.state.rules.version());
            self.rules = cx.state.rules.entries();
        }
        for (rule, kept) in &self.rules {
            let is_there = kept
                .country
                .as_deref()
                .is_none_or(|of| of == payment.country);
            if is_there && payment.amount > kept.above {
                let alerts = cx.state.alerts.update(|alerts| *alerts += 1);
                cx.emit(Alert {
                    account: payment.account,
                    rule,
                    amount: payment.amount,
                    alerts,
                });
            }
        }
        Ok(())
    }
}

wasmill_sdk::export!(Rules);

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(account: u64, amount: f64) -> WithBroadcast<Payment<'static>, Rule<'static>> {
        WithBroadcast::Row(Payment {
            account,
            country: "FR",
            amount,
            at: Timestamp::from_secs(10).into(),
        })
    }

    fn rule(above: Option<f64>) -> WithBroadcast<Payment<'static>, Rule<'static>> {
        WithBroadcast::Broadcast(Rule {
            rule: "large",
            country: Some("FR"),
            above,
            at: Timestamp::from_secs(10).into(),
        })
    }

    #[test]
    fn a_rule_counts_from_when_it_comes_until_it_is_withdrawn() {
        let mut rules = Harness::<Rules>::new("{}").keyed_by(&["account"]);
        assert!(rules.push(&[payment(1, 90.0)]).rows().is_empty());
        rules.push(&[rule(Some(50.0))]);
        let kept = Kept {
            country: Some("FR".into()),
            above: 50.0,
        };
        assert_eq!(rules.broadcast("rules"), [("large".to_owned(), kept)]);
        let effects = rules.push(&[payment(1, 90.0), payment(2, 10.0), payment(1, 60.0)]);
        let alerts: Vec<u64> = effects.rows().iter().map(|alert| alert.alerts).collect();
        assert_eq!(alerts, [1, 2]);
        // A new instance is told all rules.
        rules.restart();
        assert_eq!(rules.push(&[payment(3, 90.0)]).rows().len(), 1);
        rules.push(&[rule(None)]);
        assert!(rules.push(&[payment(3, 90.0)]).rows().is_empty());
        assert!(rules.broadcast::<String, Kept>("rules").is_empty());
    }
}
