use super::*;
use wasmill_sdk::testing::{Effects, Harness};

const MINUTE_US: i64 = 60_000_000;

/// A payment of 10.00 by card in Germany.
fn pay(minute: i64, merchant: &str) -> Transaction<'_> {
    Transaction {
        id: "tx-1",
        account: 7,
        at: Timestamp::from_micros(minute * MINUTE_US),
        amount: amount(1_000),
        merchant,
        country: "DE",
        channel: "card",
        count_1m: 1,
    }
}

fn amount(minor: i128) -> Decimal<12, 2> {
    Decimal::from_unscaled(minor).unwrap()
}

fn harness(config: &str) -> Harness<FraudRules> {
    Harness::new(config).keyed_by(&["account"])
}

/// The rules that raised alerts, with the batch's rows that caused them.
fn found(effects: &Effects<FraudRules>) -> Vec<(Option<usize>, String)> {
    let rules = effects
        .rows()
        .into_iter()
        .map(|alert| alert.rule.to_owned());
    effects.causes().into_iter().zip(rules).collect()
}

#[test]
fn every_rule_finds_its_fraud_and_says_why() {
    let mut rules = harness(r#"{ "min-payments": 2, "min-known-merchants": 1 }"#);
    let honest = rules.push(&[pay(0, "a"), pay(1_000, "a"), pay(2_000, "a")]);
    assert!(found(&honest).is_empty());

    let fast = Transaction {
        count_1m: 6,
        ..pay(3_000, "a")
    };
    let far = Transaction {
        country: "BR",
        ..pay(3_001, "a")
    };
    let large = Transaction {
        amount: amount(9_000),
        ..pay(3_002, "a")
    };
    let effects = rules.push(&[fast, far, large]);
    let expected = [
        (0, "velocity"),
        (1, "impossible_travel"),
        (2, "amount_history"),
    ];
    let expected = expected.map(|(row, rule)| (Some(row), rule.to_owned()));
    assert_eq!(found(&effects), expected);

    let alerts = effects.rows();
    assert_eq!(alerts[2].reasons, "90.00 is over 8 times the mean of 10.00");
    assert_eq!((alerts[2].account, alerts[2].transaction), (7, "tx-1"));
    assert_eq!((alerts[2].amount, alerts[2].score), (amount(9_000), 1.0));

    let burst = ["b", "c", "d", "e", "b", "f"].map(|merchant| pay(4_000, merchant));
    assert_eq!(
        found(&rules.push(&burst)),
        [(Some(5), "new_merchants".to_owned())]
    );
}

#[test]
fn the_cut_of_batches_changes_nothing() {
    let names: Vec<String> = (0..40).map(|n| format!("m{}", n * n % 17)).collect();
    let rows: Vec<Transaction<'_>> = names
        .iter()
        .enumerate()
        .map(|(n, name)| Transaction {
            account: n as u64 % 3,
            amount: amount([1_000, 1_200, 90_000][n % 7 % 3]),
            country: ["DE", "FR", "US"][n % 5 % 3],
            ..pay(n as i64, name)
        })
        .collect();
    let run = |size: usize| -> Vec<String> {
        let mut rules = harness(r#"{ "min-payments": 2, "min-known-merchants": 1 }"#);
        let cuts = rows.chunks(size).flat_map(|cut| {
            let effects = rules.push(cut);
            let text = |alert: Alert<'_>| format!("{} {} {}", alert.rule, alert.at, alert.reasons);
            effects.rows().into_iter().map(text).collect::<Vec<_>>()
        });
        cuts.collect()
    };
    let whole = run(rows.len());
    assert!(whole.len() > 5, "{whole:?}");
    for size in [1, 2, 3, 7, 39] {
        assert_eq!(run(size), whole, "in batches of {size}");
    }
}

#[test]
fn an_account_keeps_what_the_rules_need() {
    let mut rules = harness("{}");
    rules.push(&[pay(0, "a"), pay(5, "b"), pay(9, "a")]);
    let history = rules.value::<History>("history", &7_u64).unwrap();
    assert_eq!((history.count, history.sum_minor), (3, 3_000));
    assert_eq!(rules.value::<u32>("known", &7_u64), Some(2));
    let times = [0, 5].map(|minute| Timestamp::from_micros(minute * MINUTE_US));
    assert_eq!(rules.list::<Timestamp>("firsts", &7_u64), times);
    assert_eq!(rules.map::<String, Timestamp>("merchants", &7_u64).len(), 2);
    assert_eq!(rules.host_calls(), 0, "map entries ride with the batch");
}

#[test]
fn thresholds_that_make_no_sense_do_not_open() {
    let fault = Harness::<FraudRules>::open(r#"{ "max-new-merchants": 9 }"#)
        .err()
        .unwrap();
    assert_eq!(fault.message, "max-new-merchants is 9, it may be at most 7");
}
