use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn draw(records: u64, seed: u64) -> (Vec<Row>, Vec<Label>) {
    let accounts = Options::accounts_for(records);
    let mut generator = Generator::new(Options {
        records,
        seed,
        accounts,
    });
    let rows: Vec<Row> = generator.by_ref().collect();
    let mut labels: Vec<Label> = rows.iter().filter_map(|row| row.label.clone()).collect();
    labels.extend(generator.cut_off());
    (rows, labels)
}

fn lines(rows: &[Row]) -> Vec<u8> {
    let mut calendar = calendar::Writer::default();
    let mut out = Vec::new();
    rows.iter()
        .for_each(|row| row.transaction.write(&mut calendar, &mut out));
    out
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_does_not() {
    let first = draw(5_000, 1);
    let again = draw(5_000, 1);
    assert_eq!(lines(&first.0), lines(&again.0));
    assert_eq!(first.1, again.1);
    assert_ne!(lines(&first.0), lines(&draw(5_000, 2).0));
}

#[test]
fn a_shorter_file_has_as_many_records_as_asked_for() {
    for records in [0, 1, 2, 999] {
        assert_eq!(draw(records, 3).0.len() as u64, records);
    }
}

#[test]
fn rows_are_out_of_order_but_never_by_more_than_promised() {
    let (rows, _) = draw(100_000, 4);
    let (mut newest_us, mut disordered, mut most_us) = (i64::MIN, 0, 0);
    for row in &rows {
        let behind_us = newest_us.saturating_sub(row.transaction.at_us);
        disordered += u64::from(behind_us > 0);
        most_us = most_us.max(behind_us);
        newest_us = newest_us.max(row.transaction.at_us);
    }
    assert!(most_us <= DELAY_MAX_US, "{most_us}");
    assert!(
        most_us > 4 * SECOND_US && disordered > 500,
        "{most_us} {disordered}"
    );
}

#[test]
fn every_fraud_lies_inside_the_incident_of_its_label() {
    let (rows, labels) = draw(100_000, 5);
    let kinds: BTreeSet<Kind> = labels.iter().map(|label| label.kind).collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
    let mut spans: BTreeMap<u64, Vec<(String, String)>> = BTreeMap::new();
    for label in &labels {
        assert!(label.records >= 2, "{label:?}");
        let span = (label.first_at.clone(), label.last_at.clone());
        spans.entry(label.account).or_default().push(span);
    }
    let frauds = rows.iter().filter(|row| row.is_fraud);
    for fraud in frauds.clone() {
        let at = calendar::text(fraud.transaction.at_us);
        let inside = |(first, last): &(String, String)| *first <= at && at <= *last;
        assert!(
            spans[&fraud.transaction.account].iter().any(inside),
            "{fraud:?}"
        );
    }
    let records: u64 = labels.iter().map(|label| label.records).sum();
    assert_eq!(records, frauds.count() as u64);
}

#[test]
fn lines_are_about_two_hundred_bytes() {
    let (rows, _) = draw(1_000, 6);
    let mean = lines(&rows).len() / rows.len();
    assert!((180..=220).contains(&mean), "{mean}");
}

#[test]
fn amounts_are_never_zero() {
    let (rows, _) = draw(50_000, 7);
    assert!(rows.iter().all(|row| row.transaction.amount_minor > 0));
}
