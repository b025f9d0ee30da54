//! Rules as data: a state that every subtask has alike gives what plain Rust finds, at any
//! parallelism and batch size, from rows out of order and late, and after kills.
#![allow(
    clippy::print_stdout,
    reason = "which seed it was, for whoever repeats a failure"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wasmill_tests::kill::Kills;
use wasmill_tests::{programs, root};

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;
/// How much older than the newest row of its file a row may be without being late.
const OUT_OF_ORDERNESS: i64 = 20 * SECOND;
/// Starts that are ended by force: at least so many, and more until some rows have come out.
const KILLS: usize = 8;
const KILLS_MAX: usize = 24;

/// Numbers that a seed decides (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

const COUNTRIES: [&str; 3] = ["DE", "FR", "JP"];

#[derive(Debug, Clone)]
enum What {
    Payment {
        account: u64,
        country: &'static str,
        amount: u64,
    },
    Rule {
        rule: String,
        country: Option<&'static str>,
        above: Option<u64>,
    },
}

#[derive(Debug, Clone)]
struct Row {
    time: i64,
    is_late: bool,
    what: What,
}

/// Rows of one file in its order; times go on by `step` microseconds a row.
fn rows(random: &mut Random, count: i64, step: i64, make: fn(&mut Random) -> What) -> Vec<Row> {
    let mut newest = i64::MIN;
    let row = |number: i64| {
        let back = match random.below(60) {
            0 => 40 + random.below(40),
            _ => random.below(15),
        };
        let time = ((number * step) / SECOND - back as i64).max(0) * SECOND;
        newest = newest.max(time);
        Row {
            time,
            is_late: time < newest - OUT_OF_ORDERNESS,
            what: make(random),
        }
    };
    (0..count).map(row).collect()
}

fn payment(random: &mut Random) -> What {
    What::Payment {
        account: random.below(300),
        country: COUNTRIES[random.below(3) as usize],
        amount: random.below(1_000),
    }
}

fn rule(random: &mut Random) -> What {
    let is_there = random.below(4) > 0;
    What::Rule {
        rule: format!("r{}", random.below(6)),
        country: COUNTRIES.get(random.below(4) as usize).copied(),
        above: is_there.then(|| 600 + random.below(400)),
    }
}

fn lines(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let line = match &row.what {
            What::Payment {
                account,
                country,
                amount,
            } => {
                json!({ "account": account, "country": country, "amount": amount, "at": row.time })
            }
            What::Rule {
                rule,
                country,
                above,
            } => json!({ "rule": rule, "country": country, "above": above, "at": row.time }),
        };
        writeln!(text, "{line}").expect("memory");
    }
    text
}

/// The alerts of each account, in their order: rule, amount, number.
type Alerts = BTreeMap<u64, Vec<(String, u64, u64)>>;

/// All rows in one order: by time, of one time by source, then by their numbers in their files.
fn expected(payments: &[Row], rules: &[Row]) -> Alerts {
    let mut all: Vec<(i64, usize, usize, &Row)> = Vec::new();
    for (input, rows) in [payments, rules].into_iter().enumerate() {
        let in_time = rows.iter().enumerate().filter(|(_, row)| !row.is_late);
        all.extend(in_time.map(|(offset, row)| (row.time, offset, input, row)));
    }
    all.sort_by_key(|(time, offset, input, _)| (*time, *input, *offset));
    let mut known: BTreeMap<&str, (Option<&str>, u64)> = BTreeMap::new();
    let mut alerts = Alerts::new();
    for (.., row) in all {
        match &row.what {
            What::Rule {
                rule,
                country,
                above: Some(above),
            } => {
                known.insert(rule, (*country, *above));
            }
            What::Rule { rule, .. } => {
                known.remove(&rule[..]);
            }
            What::Payment {
                account,
                country,
                amount,
            } => {
                for (rule, (of, above)) in &known {
                    if of.is_none_or(|of| of == *country) && amount > above {
                        let own = alerts.entry(*account).or_default();
                        let number = own.len() as u64 + 1;
                        own.push(((*rule).to_owned(), *amount, number));
                    }
                }
            }
        }
    }
    alerts
}

fn document(top: &str, rows_max: usize) -> String {
    let plugin = root().join("target/plugins/rules-as-data.wasm");
    let plugin = plugin.display();
    format!(
        "name: rules
{top}sources:
  payments:
    file: {{ path: payments.jsonl }}
    format:
      json: {{ account: u64, country: string, amount: f64, at: timestamp }}
      timestamp: microseconds
    event-time: {{ column: at, out-of-orderness: 20s }}
  rules:
    file: {{ path: rules.jsonl }}
    format:
      json: {{ rule: string, country: string?, above: f64?, at: timestamp }}
      timestamp: microseconds
    event-time: {{ column: at, out-of-orderness: 20s }}
operators:
  alerts:
    input: {{ payments: payments, rules: rules }}
    key-by: [account]
    plugin: {plugin}
    unstable: true
    batch: {{ rows-max: {rows_max} }}
sinks:
  out: {{ input: alerts, file: {{ path: out.jsonl }}, include: {{ id: row-id }} }}
  late: {{ input: payments.late, discard: {{}} }}
  late-rules: {{ input: rules.late, discard: {{}} }}
"
    )
}

fn write(folder: &Path, (payments, rules): (&[Row], &[Row]), document: &str) {
    let put = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("the folder is writable");
    };
    put("payments.jsonl", &lines(payments));
    put("rules.jsonl", &lines(rules));
    put("pipeline.yaml", document);
}

fn command(folder: &Path, parallelism: u64) -> Command {
    let mut command = Command::new(programs().join("wasmill"));
    command.args(["run", "pipeline.yaml", "--parallelism"]);
    command.arg(parallelism.to_string()).current_dir(folder);
    command
}

/// Runs the job to its end; gives what it says.
fn run(folder: &Path, parallelism: u64) -> String {
    let output = command(folder, parallelism).output();
    let output = output.expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn found(folder: &Path) -> Alerts {
    let text = fs::read_to_string(folder.join("out.jsonl")).expect("the job wrote its file");
    let mut alerts = Alerts::new();
    let mut ids = std::collections::BTreeSet::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        assert!(ids.insert(row["id"].to_string()), "{line} stands twice");
        let number = |name: &str| row[name].as_f64().expect("a number") as u64;
        let rule = row["rule"].as_str().expect("a rule").to_owned();
        let own = alerts.entry(number("account")).or_default();
        own.push((rule, number("amount"), number("alerts")));
    }
    alerts
}

#[test]
fn rules_count_from_their_own_time() {
    let seed = 21;
    println!("seed {seed}");
    let mut random = Random(seed);
    let payments = rows(&mut random, 6_000, SECOND / 10, payment);
    let rules = rows(&mut random, 300, 2 * SECOND, rule);
    let expected = expected(&payments, &rules);
    assert!(expected.len() > 200, "most accounts have alerts");
    for (parallelism, rows_max) in [(1, 4_096), (2, 7), (4, 4_096), (3, 1)] {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        write(
            folder.path(),
            (&payments, &rules),
            &document("checkpoint: off\n", rows_max),
        );
        run(folder.path(), parallelism);
        let found = found(folder.path());
        assert_eq!(found, expected, "x{parallelism}, {rows_max} rows");
    }
}

#[test]
fn rules_survive_kills() {
    let seed = 22;
    let mut random = Random(seed);
    let payments = rows(&mut random, 150_000, SECOND / 50, payment);
    let rules = rows(&mut random, 3_000, SECOND, rule);
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let top = "checkpoint: { interval: 20ms, storage: checkpoints }\n";
    write(folder.path(), (&payments, &rules), &document(top, 512));
    let (mut kills, mut before) = (Kills::default(), String::new());
    // Starts behind a decided checkpoint: an output of exactly-once has rows of these only.
    let mut gone_on = 0;
    for kill in 0..KILLS_MAX {
        if kill >= KILLS && !before.is_empty() {
            break;
        }
        if kills.number() == 0 {
            before.clear();
        }
        gone_on += usize::from(!before.is_empty());
        let mut command = command(folder.path(), random.below(4) + 1);
        kills.kill(&mut command, random.below(1_000));
        let text = fs::read_to_string(folder.path().join("out.jsonl")).unwrap_or_default();
        let seen = text[..text.rfind('\n').map_or(0, |end| end + 1)].to_owned();
        assert!(seen.starts_with(&before), "what was decided stays as it is");
        if kills.number() > 0 && seen.is_empty() {
            kills.take_longer();
        }
        before = seen;
    }
    let (lines, killed) = (before.lines().count(), kills.number());
    println!("seed {seed}: {killed} kills, {lines} rows before the end");
    assert!(killed > 0, "the job is slower than the first kill");
    assert!(lines > 0, "no checkpoint was decided before the last start");
    let said = run(folder.path(), 3);
    // The job may have come to its end between two kills.
    let is_last = said.contains("goes on from checkpoint");
    assert!(
        gone_on > 0 || is_last,
        "no checkpoint was gone on from: {said}"
    );
    assert_eq!(found(folder.path()), expected(&payments, &rules));
}
