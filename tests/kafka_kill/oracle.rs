//! What is to come out, and how what came out differs from it.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;
use wasmill_tests::Difference;

use crate::feed::Payment;

/// A row that came out: an account after one of its payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Balance {
    pub(crate) account: u32,
    pub(crate) visits: u32,
    pub(crate) total: i64,
}

impl Balance {
    /// The row in a record.
    pub(crate) fn of_json(value: &[u8]) -> Self {
        let row: Json = serde_json::from_slice(value).expect("a record is a row");
        let number = |name: &str| row[name].as_i64().expect("a number");
        let small = |name: &str| u32::try_from(number(name)).expect("it is small");
        Self {
            account: small("account"),
            visits: small("visits"),
            total: number("total"),
        }
    }
}

/// What is to come out for all payments.
pub(crate) fn balances(fed: &[Payment]) -> Vec<Balance> {
    let (mut totals, mut visits) = (HashMap::new(), HashMap::new());
    let balance = |payment: &Payment| {
        let total: &mut i64 = totals.entry(payment.account).or_default();
        *total += i64::from(payment.amount);
        let visits = visits.entry((payment.account, payment.shop)).or_default();
        *visits += 1;
        Balance {
            account: payment.account,
            visits: *visits,
            total: *total,
        }
    };
    fed.iter().map(balance).collect()
}

/// How what was found in a place differs from what is expected.
pub(crate) fn compare(place: &str, found: &[Balance], expected: &[Balance]) -> Difference {
    let (found, expected) = (by_account(found), by_account(expected));
    let mut difference = Difference::default();
    let accounts = found.keys().chain(expected.keys());
    for account in accounts.collect::<std::collections::BTreeSet<_>>() {
        let found = found.get(account).map_or(&[][..], Vec::as_slice);
        let expected = expected.get(account).map_or(&[][..], Vec::as_slice);
        if found == expected {
            continue;
        }
        let mut counts: HashMap<&Balance, i64> = HashMap::new();
        for row in expected {
            *counts.entry(row).or_default() += 1;
        }
        for row in found {
            *counts.entry(row).or_default() -= 1;
        }
        let sum = |part: fn(i64) -> i64| counts.values().map(|count| part(*count)).sum::<i64>();
        let lost = sum(|count| count.max(0)) as usize;
        let doubled = sum(|count| (-count).max(0)) as usize;
        difference.lost += lost;
        difference.doubled += doubled;
        difference.misordered += usize::from(lost + doubled == 0);
        let mut pairs = found.iter().zip(expected);
        let at = pairs.position(|(found, expected)| found != expected);
        let at = at.unwrap_or(found.len().min(expected.len()));
        println!(
            "{place}, account {account}: row {at} is {:?} and should be {:?}; \
             {lost} lost, {doubled} doubled",
            found.get(at),
            expected.get(at)
        );
    }
    difference
}

fn by_account(rows: &[Balance]) -> BTreeMap<u32, Vec<Balance>> {
    let mut accounts: BTreeMap<u32, Vec<Balance>> = BTreeMap::new();
    for row in rows {
        accounts.entry(row.account).or_default().push(*row);
    }
    accounts
}

#[test]
fn each_kind_of_difference_is_found() {
    let row = |account, total| Balance {
        account,
        visits: 1,
        total,
    };
    let expected = [row(1, 1), row(2, 2), row(1, 3), row(3, 4)];
    let difference = |found: &[Balance]| {
        let Difference {
            lost,
            doubled,
            misordered,
        } = compare("a test", found, &expected);
        (lost, doubled, misordered)
    };
    assert_eq!(difference(&expected), (0, 0, 0));
    let turned = [row(1, 3), row(1, 1), row(2, 2), row(3, 4)];
    assert_eq!(difference(&turned), (0, 0, 1));
    assert_eq!(difference(&expected[..3]), (1, 0, 0));
    let doubled = [&expected[..], &expected[..1]].concat();
    assert_eq!(difference(&doubled), (0, 1, 0));
}
