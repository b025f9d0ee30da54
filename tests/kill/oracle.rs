//! What is to come out, and how what came out differs from it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use wasmill_tests::Difference;
use wasmill_tests::sales::{self, Sale};

use crate::feed::{Fed, Payment};

/// A row that came out: its key, and all of it as text.
pub(crate) type Row = (u64, String);

/// Keyed state and timers, in the order of event time.
pub(crate) fn memory(fed: &Fed) -> Vec<Row> {
    let mut sorted: Vec<Sale> = fed.sales.iter().map(|(_, sale)| sale.clone()).collect();
    sorted.sort_by_key(|sale| sale.at);
    sales::expected(&sorted, 0)
}

/// Declared features, in order of arrival.
pub(crate) fn features(fed: &Fed) -> Vec<Row> {
    let mut accounts: HashMap<u64, VecDeque<Payment>> = HashMap::new();
    let mut row = |payment: &Payment| {
        let seen = accounts.entry(payment.account).or_default();
        seen.push_back(*payment);
        let within = |seconds: i64| {
            let start = payment.at - seconds * sales::SECOND;
            seen.iter().filter(move |seen| seen.at > start)
        };
        let count_1m = within(60).count() as u64;
        let spent_1h: f64 = within(3600).map(|seen| seen.amount as f64).sum();
        let last = seen.iter().rev().take(3);
        let mean_3 = last.clone().map(|seen| seen.amount as f64).sum::<f64>() / last.count() as f64;
        let row = feature_row(
            (payment.account, payment.amount as f64),
            count_1m,
            (spent_1h, mean_3),
        );
        let start = payment.at - 3600 * sales::SECOND;
        while seen.len() > 3 && seen[0].at <= start {
            seen.pop_front();
        }
        row
    };
    fed.payments.iter().map(&mut row).collect()
}

/// A row of features as text.
pub(crate) fn feature_row(
    (account, amount): (u64, f64),
    count_1m: u64,
    (spent_1h, mean_3): (f64, f64),
) -> Row {
    (
        account,
        format!("{account} {amount} {count_1m} {spent_1h} {mean_3}"),
    )
}

/// How what was found differs from what is expected.
pub(crate) fn compare(found: &[Row], expected: &[Row]) -> Difference {
    let (found, expected) = (by_key(found), by_key(expected));
    let mut difference = Difference::default();
    let keys = found
        .keys()
        .chain(expected.keys())
        .collect::<std::collections::BTreeSet<_>>();
    for key in keys {
        let none = Vec::new();
        let (found, expected) = (
            found.get(key).unwrap_or(&none),
            expected.get(key).unwrap_or(&none),
        );
        if found == expected {
            continue;
        }
        let mut counts: HashMap<&str, i64> = HashMap::new();
        expected
            .iter()
            .for_each(|row| *counts.entry(row).or_default() += 1);
        found
            .iter()
            .for_each(|row| *counts.entry(row).or_default() -= 1);
        let (mut lost, mut doubled) = (0, 0);
        for count in counts.values() {
            lost += count.max(&0).unsigned_abs() as usize;
            doubled += count.min(&0).unsigned_abs() as usize;
        }
        if lost + doubled == 0 {
            difference.misordered += 1;
        }
        difference.lost += lost;
        difference.doubled += doubled;
        let at = found
            .iter()
            .zip(expected)
            .position(|(found, expected)| found != expected);
        let at = at.unwrap_or(found.len().min(expected.len()));
        println!(
            "key {key}: row {at} is {:?} and should be {:?}; {lost} lost, {doubled} doubled",
            found.get(at),
            expected.get(at)
        );
    }
    difference
}

fn by_key(rows: &[Row]) -> BTreeMap<u64, Vec<&str>> {
    let mut keys: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (key, row) in rows {
        keys.entry(*key).or_default().push(row);
    }
    keys
}

#[test]
fn each_kind_of_difference_is_found() {
    let row = |key, text: &str| (key, text.to_owned());
    let expected = [row(1, "a"), row(2, "b"), row(1, "c"), row(3, "d")];
    let difference = |found: &[Row]| {
        let Difference {
            lost,
            doubled,
            misordered,
        } = compare(found, &expected);
        (lost, doubled, misordered)
    };
    assert_eq!(difference(&expected), (0, 0, 0));
    let other_order = [row(3, "d"), row(1, "a"), row(1, "c"), row(2, "b")];
    assert_eq!(
        difference(&other_order),
        (0, 0, 0),
        "keys have no order among them"
    );
    let turned = [row(1, "c"), row(1, "a"), row(2, "b"), row(3, "d")];
    assert_eq!(difference(&turned), (0, 0, 1));
    assert_eq!(difference(&expected[..3]), (1, 0, 0));
    let doubled = [&expected[..], &expected[..1]].concat();
    assert_eq!(difference(&doubled), (0, 1, 0));
    let wrong = [row(1, "a"), row(2, "x"), row(1, "c"), row(3, "d")];
    assert_eq!(difference(&wrong), (1, 1, 0));
}
