//! Declared features from outside: what the engine computes as of each row, over all streams of an
//! input, equals plain Rust.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use wasmill_tests::{programs, root};

/// A payment; seconds of one day, each once, so that the order of all payments is known.
#[derive(Clone, Copy)]
struct Payment {
    account: u64,
    amount: u64,
    second: u64,
}

/// Payments of seven accounts, in a mild disorder.
fn payments() -> Vec<Payment> {
    let payment = |i: u64| Payment {
        account: i * 31 % 7,
        amount: i * 7_919 % 1_000,
        // Blocks of five, each turned round.
        second: i / 5 * 5 + 4 - i % 5,
    };
    (0..20_000).map(payment).collect()
}

/// Each payment with its features, sorted.
fn expected(payments: &[Payment]) -> Vec<String> {
    let mut sorted = payments.to_vec();
    sorted.sort_by_key(|payment| payment.second);
    let mut accounts: BTreeMap<u64, Vec<Payment>> = BTreeMap::new();
    let row = |payment: Payment| {
        let seen = accounts.entry(payment.account).or_default();
        seen.push(payment);
        let within = |seconds: u64| {
            let is_within = move |seen: &&Payment| seen.second + seconds > payment.second;
            seen.iter().filter(is_within)
        };
        let count_1m = within(60).count() as u64;
        let spent_1h = within(3600).map(|seen| seen.amount as f64).sum();
        let last = seen.iter().rev().take(3);
        let mean_3 = last.clone().map(|seen| seen.amount as f64).sum::<f64>() / last.count() as f64;
        line(
            payment.account,
            payment.amount as f64,
            count_1m,
            (spent_1h, mean_3),
        )
    };
    let mut rows: Vec<String> = sorted.into_iter().map(row).collect();
    rows.sort();
    rows
}

fn line(account: u64, amount: f64, count_1m: u64, (spent_1h, mean_3): (f64, f64)) -> String {
    format!("{account} {amount} {count_1m} {spent_1h} {mean_3}")
}

fn pipeline() -> String {
    let plugin = root().join("target/plugins/unusual.wasm");
    let plugin = plugin.display();
    // The second stream has its columns elsewhere.
    format!(
        "name: features
sources:
  first:
    file: {{ path: first.csv }}
    format: {{ csv: {{ account: u64, amount: f64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 5s }}
  second:
    file: {{ path: second.csv }}
    format: {{ csv: {{ at: timestamp, note: string, amount: f64, account: u64 }} }}
    event-time: {{ column: at, out-of-orderness: 5s }}
operators:
  unusual:
    input: [first, second]
    key-by: [account]
    order: event-time
    features:
      count_1m: {{ count: rows, over: 1m }}
      spent_1h: {{ sum: amount, over: 1h }}
      mean_3: {{ mean: amount, rows: 3 }}
    plugin: {plugin}
    config: {{ max-per-minute: 0 }}
sinks:
  out: {{ input: unusual, file: {{ path: out.jsonl }}, format: json }}
"
    )
}

fn write(folder: &Path, payments: &[Payment]) {
    let mut first = String::from("account,amount,at\n");
    let mut second = String::from("at,note,amount,account\n");
    for (i, payment) in payments.iter().enumerate() {
        let Payment {
            account,
            amount,
            second: at,
        } = payment;
        let at = format!(
            "2026-03-01T{:02}:{:02}:{:02}Z",
            at / 3600,
            at / 60 % 60,
            at % 60
        );
        let written = match i % 3 {
            0 => writeln!(second, "{at},x,{amount},{account}"),
            _ => writeln!(first, "{account},{amount},{at}"),
        };
        written.expect("memory");
    }
    fs::write(folder.join("first.csv"), first).expect("writable");
    fs::write(folder.join("second.csv"), second).expect("writable");
    fs::write(folder.join("pipeline.yaml"), pipeline()).expect("writable");
}

fn found(folder: &Path, parallelism: &str) -> Vec<String> {
    let output = Command::new(programs().join("wasmill"))
        .args(["run", "pipeline.yaml", "--parallelism", parallelism])
        .args(["--fresh", "--storage", "checkpoints"])
        .current_dir(folder)
        .output()
        .expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = fs::read_to_string(folder.join("out.jsonl")).expect("the job wrote its file");
    let row = |text: &str| {
        let row: Value = serde_json::from_str(text).expect("JSON");
        let float = |field: &str| row[field].as_f64().expect("a number");
        let whole = |field: &str| row[field].as_u64().expect("a whole number");
        let floats = (float("spent_1h"), float("mean_3"));
        line(whole("account"), float("amount"), whole("count_1m"), floats)
    };
    let mut rows: Vec<String> = text.lines().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn features_cover_the_rows_of_all_streams() {
    let payments = payments();
    let expected = expected(&payments);
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    write(folder.path(), &payments);
    for parallelism in ["1", "2", "4"] {
        let found = found(folder.path(), parallelism);
        let mut pairs = found.iter().zip(&expected);
        let differs = pairs.find(|(found, expected)| found != expected);
        assert_eq!(differs, None, "parallelism {parallelism}");
        assert_eq!(found.len(), expected.len());
    }
}
