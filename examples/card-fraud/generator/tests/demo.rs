//! What the README promises of the demo's data, by the oracle: the job itself is compared with
//! the oracle elsewhere.

use std::io::Cursor;

use card_fraud_data::evaluate::evaluate;
use card_fraud_data::oracle::Oracle;
use card_fraud_data::row::Row;
use card_fraud_data::{Generator, Options, Writer};

const RECORDS: u64 = 1_000_000;
const SEED: u64 = 7;
const SCORE_MIN: f64 = 0.7;

#[test]
fn the_demo_finds_what_its_readme_says() {
    let accounts = Options::accounts_for(RECORDS);
    let mut generator = Generator::new(Options {
        records: RECORDS,
        seed: SEED,
        accounts,
    });
    let mut oracle = Oracle::new("{}", SCORE_MIN).unwrap();
    let (mut labels, mut line, mut calendar) = (Vec::new(), Vec::new(), Writer::default());
    for row in generator.by_ref() {
        line.clear();
        row.transaction.write(&mut calendar, &mut line);
        oracle
            .push(Row::parse(std::str::from_utf8(&line).unwrap()).unwrap())
            .unwrap();
        labels.extend(row.label);
    }
    labels.extend(generator.cut_off());
    let (alerts, nearest) = oracle.finish().unwrap();
    assert!(nearest > 1e-4, "a score lies {nearest} from the threshold");

    let evaluation = evaluate(Cursor::new(lines(&alerts)), Cursor::new(lines(&labels))).unwrap();
    assert_eq!(evaluation.kinds.len(), 5);
    for (kind, count) in &evaluation.kinds {
        assert!(
            count.incidents >= 200 && count.recall >= 0.9 && count.precision_min >= 0.8,
            "{kind}: {count:?}"
        );
    }
    assert!(evaluation.precision >= 0.8, "{}", evaluation.precision);

    let mut table = Vec::new();
    evaluation.print(&mut table).unwrap();
    assert_eq!(
        String::from_utf8(table).unwrap(),
        include_str!("../../expected/evaluation.txt")
    );
}

fn lines<T: serde::Serialize>(items: &[T]) -> String {
    items
        .iter()
        .map(|item| serde_json::to_string(item).expect("plain fields") + "\n")
        .collect()
}
