use super::*;

/// An ordinary payment by card, the hundredth of its account.
fn ordinary<'a>() -> Payment<'a> {
    Payment {
        id: "tx-1",
        account: 7,
        at: Timestamp::from_micros(0),
        amount: amount(2_000),
        channel: "card",
        count_1m: 1,
        count_10m: 1,
        count_1h: 1,
        count_1d: 4,
        sum_1h: amount(2_000),
        sum_1d: amount(8_000),
        mean_50: 20.0,
        max_50: amount(6_000),
        rows_50: 50,
        merchants_1h: 1,
        countries_2h: 1,
    }
}

/// The sixth large withdrawal within the hour.
fn cash_out<'a>() -> Payment<'a> {
    Payment {
        amount: amount(8_000),
        channel: "atm",
        count_10m: 3,
        count_1h: 6,
        count_1d: 7,
        sum_1h: amount(48_000),
        sum_1d: amount(50_000),
        max_50: amount(9_000),
        merchants_1h: 6,
        ..ordinary()
    }
}

fn amount<const P: u8>(minor: i128) -> Decimal<P, 2> {
    Decimal::from_unscaled(minor).unwrap()
}

#[test]
fn fraud_scores_high_and_an_ordinary_payment_does_not() {
    let mut scorer = Harness::<FraudScorer>::new("{}").keyed_by(&["account"]);
    let effects = scorer.push(&[ordinary(), cash_out(), ordinary()]);
    let alerts = effects.rows();
    assert_eq!(effects.causes(), [Some(1)]);
    assert!(
        (0.7..=1.0).contains(&alerts[0].score),
        "{}",
        alerts[0].score
    );
    assert_eq!(
        alerts[0].reasons,
        "by atm: 3 payments within 10 min, 6 within an hour at 6 merchants, 1 countries within two \
         hours, 480.00 spent within an hour, 500.00 within a day, largest of the latest 50 is 90.00"
    );
}

#[test]
fn a_row_scores_the_same_in_every_batch() {
    let score = |rows: &[Payment<'_>]| {
        let mut scorer = Harness::<FraudScorer>::new(r#"{ "score-min": 0 }"#);
        let effects = scorer.push(rows);
        effects
            .rows()
            .iter()
            .map(|alert| alert.score.to_bits())
            .collect::<Vec<_>>()
    };
    let alone = score(&[cash_out()])[0];
    for size in [2, 64, 65, 200] {
        assert!(
            score(&vec![cash_out(); size])
                .iter()
                .all(|score| *score == alone),
            "{size}"
        );
    }
}

#[test]
fn a_threshold_beyond_every_score_does_not_open() {
    let fault = Harness::<FraudScorer>::open(r#"{ "score-min": 7 }"#)
        .err()
        .unwrap();
    assert_eq!(fault.message, "score-min is 7, it must be from 0 to 1");
}
