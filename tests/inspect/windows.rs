//! What windows and joins keep is looked at like any other state.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value as Json, json};

use crate::bench::{Bench, Entry, SECOND, entries, short, time};

const HOUR: i64 = 3_600 * SECOND;

const DOCUMENT: &str = "name: books
checkpoint: { interval: 20ms, storage: checkpoints }
sources:
  entries:
    file: { path: entries.csv, follow: true }
    format: { csv: { account: u64, shop: u16, amount: i64, at: timestamp } }
    event-time: { column: at }
operators:
  hourly:
    input: entries
    key-by: [account]
    window: { tumbling: 1h }
    aggregates: { n: { count: rows }, largest: { max: amount } }
  visits:
    input: entries
    key-by: [account]
    window: { session: { gap: 10m } }
    aggregates: { n: { count: rows } }
  all:
    input: entries
    key-by: [account]
    window: { global: {} }
    aggregates: { spent: { sum: amount } }
  pairs:
    input: { left: entries, right: hourly }
    key-by: [account]
    join: { interval: { lower: -1h, upper: 1h } }
sinks:
  hours: { input: hourly, discard: {} }
  visited: { input: visits, discard: {} }
  spent: { input: all, discard: {} }
  paired: { input: pairs, discard: {} }
";

/// How many rows an account has, and what they come to.
#[derive(Default)]
struct Count {
    rows: u64,
    largest: Option<i64>,
    sum: i64,
}

/// What each account has in the last hour, and in all.
fn counted(entries: &[Entry]) -> [BTreeMap<u64, Count>; 2] {
    let last = entries.last().expect("there are some").at / HOUR;
    let mut counts = [BTreeMap::new(), BTreeMap::new()];
    for entry in entries {
        for (count, is_in) in counts.iter_mut().zip([entry.at / HOUR == last, true]) {
            if is_in {
                let count: &mut Count = count.entry(entry.account).or_default();
                count.rows += 1;
                count.largest = count.largest.max(Some(entry.amount));
                count.sum += entry.amount;
            }
        }
    }
    counts
}

fn rows(bench: &Bench, operator: &str) -> Vec<Json> {
    let text = bench.ask(&[
        "state",
        "export",
        "pipeline.yaml",
        operator,
        "--state",
        "window",
    ]);
    let row = |line: &str| serde_json::from_str(line).expect("a row");
    text.lines().map(row).collect()
}

#[test]
fn windows_and_joins_are_told() {
    println!("seed 3");
    let entries = entries(3, 9_000);
    let bench = Bench::new();
    bench.write(&entries);
    fs::write(bench.path("pipeline.yaml"), DOCUMENT).expect("the folder is writable");
    bench.run_until_read(&["--parallelism", "2"]);
    let verified = bench.ask(&["checkpoint", "verify", "pipeline.yaml"]);
    assert!(!verified.contains("damage"), "{verified}");

    let [hour, all] = counted(&entries);
    let start = entries.last().expect("there are some").at / HOUR * HOUR;
    let expected = hour.iter().map(|(account, count)| {
        json!({
            "account": account, "part": "pane", "start": time(start), "end": null,
            "rows": count.rows, "n": count.rows, "largest": count.largest,
        })
    });
    let mut found = rows(&bench, "hourly");
    found.sort_by_key(|row| row["account"].as_u64());
    assert_eq!(found, expected.collect::<Vec<_>>());
    let mut found = rows(&bench, "all");
    found.sort_by_key(|row| row["account"].as_u64());
    let expected = all.iter().map(|(account, count)| {
        json!({
            "account": account, "part": "whole", "start": null, "end": null,
            "rows": count.rows, "spent": count.sum,
        })
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert!(
        rows(&bench, "visits")
            .iter()
            .all(|row| row["part"] == "session")
    );

    let (account, count) = hour.iter().next().expect("an account");
    let told = bench.json(&[
        "state",
        "get",
        "pipeline.yaml",
        "hourly",
        &account.to_string(),
    ]);
    let aggregates = json!({ "n": count.rows, "largest": count.largest });
    let pane = json!([{
        "part": "pane", "start": short(start), "rows": count.rows, "aggregates": aggregates,
    }]);
    assert_eq!(told["states"]["window"]["windows"], pane);
    let question =
        "select sum(n) as n, max(largest) as most from hourly.window where part = 'pane'";
    let answer = bench.answer(question);
    let n: u64 = hour.values().map(|count| count.rows).sum();
    let most = hour.values().map(|count| count.largest).max();
    assert_eq!(answer, format!("{}\n", json!({ "n": n, "most": most })));
    let listed = bench.ask(&["state", "ls", "pipeline.yaml"]);
    for part in ["tumbling", "left", "right"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let left = bench.ask(&[
        "state",
        "export",
        "pipeline.yaml",
        "pairs",
        "--state",
        "left",
    ]);
    assert!(left.lines().count() > 0, "rows wait for others");
}
