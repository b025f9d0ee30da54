//! Keyed state and timers from outside: a guest that shows all that it remembers against the same
//! in plain Rust, whatever the parallelism and however the rows are cut into batches.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use wasmill_tests::sales::{self, OUT_OF_ORDERNESS, Sale, Sales};
use wasmill_tests::{programs, root};

fn sales(seed: u64) -> Vec<Sale> {
    Sales::new(seed).take(20_000).collect()
}

/// A way to run the job.
struct Run {
    /// Sources, over which the rows are dealt.
    sources: usize,
    order: &'static str,
    parallelism: usize,
    rows_max: usize,
}

impl Run {
    fn pipeline(&self) -> String {
        let mut text = String::from("name: state\ncheckpoint: off\nsources:\n");
        for number in 0..self.sources {
            write!(
                text,
                "  sales-{number}:
    file: {{ path: sales-{number}.csv }}
    format: {{ csv: {{ key: u64, shop: string, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 2s }}
"
            )
            .expect("memory");
        }
        let names: Vec<String> = (0..self.sources).map(|n| format!("sales-{n}")).collect();
        let (names, plugin) = (names.join(", "), root().join("target/plugins"));
        let (order, rows_max, plugin) = (self.order, self.rows_max, plugin.display());
        text + &format!(
            "operators:
  memory:
    input: [{names}]
    key-by: [key]
    plugin: {plugin}/guest-every-state.wasm
    order: {order}
    batch: {{ rows-max: {rows_max} }}
sinks:
  out: {{ input: memory, file: {{ path: out.csv }}, format: csv }}
"
        )
    }

    /// What comes out, sorted.
    fn found(&self, folder: &Path, sales: &[Sale]) -> Vec<String> {
        for number in 0..self.sources {
            let mut text = String::from("key,shop,amount,at\n");
            let dealt = sales.iter().skip(number).step_by(self.sources);
            for sale in dealt {
                writeln!(text, "{}", sale.csv()).expect("memory");
            }
            fs::write(folder.join(format!("sales-{number}.csv")), text).expect("writable");
        }
        fs::write(folder.join("pipeline.yaml"), self.pipeline()).expect("writable");
        let parallelism = self.parallelism.to_string();
        let output = Command::new(programs().join("wasmill"))
            .args(["run", "pipeline.yaml", "--parallelism", &parallelism])
            .current_dir(folder)
            .output()
            .expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let text = fs::read_to_string(folder.join("out.csv")).expect("the job wrote its file");
        let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// Each (parallelism, most rows of a call).
const CUTS: [(usize, usize); 5] = [(1, 4096), (2, 4096), (4, 100), (2, 3), (1, 1)];

fn check(sources: usize, order: &'static str, sales: &[Sale], expected: &[String]) {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    for (parallelism, rows_max) in CUTS {
        let run = Run {
            sources,
            order,
            parallelism,
            rows_max,
        };
        let found = run.found(folder.path(), sales);
        let mut pairs = found.iter().zip(expected);
        let differs = pairs.find(|(found, expected)| found != expected);
        assert_eq!(
            differs, None,
            "parallelism {parallelism}, batches of {rows_max}"
        );
        assert_eq!(found.len(), expected.len());
    }
}

#[test]
fn a_guest_remembers_what_plain_rust_remembers() {
    for seed in [1, 2] {
        println!("seed {seed}");
        let sales = sales(seed);
        check(
            1,
            "arrival",
            &sales,
            &sales::lines(&sales, OUT_OF_ORDERNESS),
        );
    }
}

#[test]
fn streams_in_event_time_order_are_one_stream() {
    println!("seed 3");
    // Many rows have the time of others, also of other sources.
    let mut sales = sales(3);
    sales
        .iter_mut()
        .for_each(|sale| sale.at -= sale.at % sales::SECOND);
    for sources in [1, 2, 3] {
        println!("{sources} sources");
        let mut sorted: Vec<(usize, Sale)> = sales.iter().cloned().enumerate().collect();
        sorted.sort_by_key(|(number, sale)| (sale.at, number % sources, *number));
        let sorted: Vec<Sale> = sorted.into_iter().map(|(_, sale)| sale).collect();
        check(sources, "event-time", &sales, &sales::lines(&sorted, 0));
    }
}

#[test]
fn late_rows_are_left_out_whatever_the_speed() {
    println!("seed 4");
    let (mut sales, mut times) = (sales(4), BTreeSet::new());
    for sale in sales.iter_mut().skip(2_000).step_by(50) {
        sale.at -= 5 * OUT_OF_ORDERNESS;
    }
    sales.retain(|sale| times.insert(sale.at));
    for sources in [1, 2] {
        // Late is what lies behind the newest row of its own split, itself included.
        let mut newest = vec![i64::MIN; sources];
        let mut in_time = Vec::new();
        for (i, sale) in sales.iter().enumerate() {
            let newest = &mut newest[i % sources];
            *newest = sale.at.max(*newest);
            if sale.at >= *newest - OUT_OF_ORDERNESS {
                in_time.push(sale.clone());
            }
        }
        assert!(in_time.len() < sales.len() - 300, "many are late");
        in_time.sort_by_key(|sale| sale.at);
        check(sources, "event-time", &sales, &sales::lines(&in_time, 0));
    }
}

/// The bytes of state at the end of a job whose every row is another key, a second after the last.
fn bytes_after(records: u32) -> u64 {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let plugin = root().join("target/plugins/dedup.wasm");
    let pipeline = format!(
        "name: once
sources:
  messages:
    generator:
      records: {records}
      splits: 1
      columns:
        id: {{ text: 'k{{sequence}}' }}
        body: {{ constant: b }}
        at: {{ time: {{ step: 1s }} }}
    event-time: {{ column: at }}
operators:
  dedup: {{ input: messages, key-by: [id], plugin: {} }}
sinks:
  first: {{ input: dedup, discard: {{}} }}
  again: {{ input: dedup.duplicates, discard: {{}} }}
",
        plugin.display()
    );
    fs::write(folder.path().join("pipeline.yaml"), pipeline).expect("writable");
    let output = Command::new(programs().join("wasmill"))
        .args(["run", "pipeline.yaml", "--parallelism", "2", "--fresh"])
        .args(["--storage", "checkpoints", "--summary", "json"])
        .current_dir(folder.path())
        .output()
        .expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    summary["state_bytes"].as_u64().expect("a number")
}

#[test]
fn keys_that_come_once_do_not_pile_up() {
    // A day of them is remembered: 86,400.
    let (some, more) = (bytes_after(400_000), bytes_after(1_600_000));
    assert!(more < some * 2, "{some} bytes, then {more}");
}
