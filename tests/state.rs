//! Keyed state and timers from outside: a guest that shows all that it remembers against the same
//! in plain Rust, whatever the parallelism, however the rows are cut into batches, and however
//! often the job is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wasmill_tests::kill::Kills;
use wasmill_tests::sales::{self, OUT_OF_ORDERNESS, Sale, Sales};
use wasmill_tests::{Random, programs, root};

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
        self.run(folder, sales);
        let text = fs::read_to_string(folder.join("out.csv")).expect("the job wrote its file");
        let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Runs it, and gives its summary.
    fn run(&self, folder: &Path, sales: &[Sale]) -> Value {
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
            .args(["--summary", "json"])
            .current_dir(folder)
            .output()
            .expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).expect("a summary")
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

/// Timers fire in calls of their own or behind the rows of their key, by the speed of the job.
#[test]
fn timers_draw_the_same_numbers_in_any_cut() {
    println!("seed 5");
    let (sales, folder) = (sales(5), tempfile::tempdir().expect("a folder"));
    let drawn = CUTS.map(|(parallelism, rows_max)| {
        let run = Run {
            sources: 1,
            order: "event-time",
            parallelism,
            rows_max,
        };
        let summary = run.run(folder.path(), &sales);
        let counters = &summary["operators"][0]["counters"];
        let counted = ["timers", "heads"].map(|name| counters[name].as_u64());
        counted.map(|count| count.expect("the guest counts"))
    });
    println!("timers and heads: {drawn:?}");
    let [timers, heads] = drawn[0];
    assert!(timers >= 500, "{timers} timers are too few");
    assert!(
        heads > timers * 2 / 5 && heads < timers * 3 / 5,
        "{drawn:?}"
    );
    assert_eq!(drawn, [drawn[0]; CUTS.len()]);
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
    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    summary["state_bytes"].as_u64().expect("a number")
}

#[test]
fn keys_that_come_once_do_not_pile_up() {
    // A day of them is remembered: 86,400.
    let (some, more) = (bytes_after(400_000), bytes_after(1_600_000));
    assert!(more < some * 2, "{some} bytes, then {more}");
}

/// Starts that are ended by force: at least so many, and more until rows have come out twice.
const KILLS: usize = 6;
const KILLS_MAX: usize = 48;

/// Rows and what is made of them, each at once and after a failure again.
fn at_least_once() -> String {
    let plugin = root().join("target/plugins/guest-every-state.wasm");
    let plugin = plugin.display();
    let mut text = format!(
        "name: again
checkpoint: {{ interval: 50ms, storage: checkpoints }}
sources:
  sales:
    file: {{ path: sales-*.csv }}
    format: {{ csv: {{ key: u64, shop: string, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 2s }}
operators:
  memory:
    input: sales
    key-by: [key]
    plugin: {plugin}
    order: event-time
    batch: {{ rows-max: 32 }}
sinks:
"
    );
    for input in ["sales", "memory"] {
        text += &format!(
            "  {input}-out:
    input: {input}
    file: {{ path: {input}.out }}
    format: csv
    include: {{ id: row-id }}
    delivery: at-least-once
"
        );
    }
    text
}

/// The rows of an output by their ids, and how many lines it has; an id stands for one row.
fn by_id(folder: &Path, output: &str) -> (BTreeMap<String, String>, usize) {
    let text = fs::read_to_string(folder.join(output)).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let (mut rows, mut count) = (BTreeMap::new(), 0);
    for line in whole.lines().skip(1) {
        let (row, id) = line.rsplit_once(',').expect("a row has its id");
        let first = rows.entry(id.to_owned()).or_insert_with(|| row.to_owned());
        assert_eq!(first, row, "{output}: the id {id} stands for two rows");
        count += 1;
    }
    (rows, count)
}

/// Whether a decided checkpoint stands that the next start goes on from.
fn has_decided(folder: &Path) -> bool {
    let mut command = Command::new(programs().join("wasmill"));
    command.args(["checkpoint", "ls", "pipeline.yaml", "--json"]);
    let output = command.current_dir(folder).output();
    let output = output.expect("wasmill starts");
    // It is refused where the job has not come to its first entry.
    let listed: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    listed.is_some_and(|all| all.as_array().is_some_and(|all| !all.is_empty()))
}

fn again(folder: &Path, parallelism: u64) -> Command {
    let mut command = Command::new(programs().join("wasmill"));
    command.args(["run", "pipeline.yaml", "--parallelism"]);
    command.arg(parallelism.to_string()).current_dir(folder);
    command
}

/// Kills the job at random times, until rows have come out twice; gives how often.
fn killed(folder: &Path, seed: u64) -> usize {
    let (mut random, mut kills, mut is_shown) = (Random(seed), Kills::default(), false);
    for kill in 0..KILLS_MAX {
        if kill >= KILLS && is_shown {
            break;
        }
        let mut command = again(folder, random.below(4) + 1);
        let is_done = !kills.kill(&mut command, random.below(1_000)) && kills.number() > 0;
        let outputs = ["sales.out", "memory.out"].map(|output| by_id(folder, output));
        let is_doubled = outputs.iter().all(|(rows, count)| *count > rows.len());
        is_shown = kills.number() > 1 && is_doubled && has_decided(folder);
        if kills.number() > 0 && outputs.iter().any(|(rows, _)| rows.is_empty()) {
            kills.take_longer();
        }
        if is_done && !is_shown {
            // It has nothing more to repeat: the next start begins anew.
            kills = Kills::default();
        }
    }
    assert!(
        is_shown,
        "no checkpoint was gone on from, or no row came twice"
    );
    kills.number()
}

/// Holds the distinct rows of an output against what is to come out, sorted; gives how many more
/// there are.
fn once_by_id(folder: &Path, output: &str, expected: &[String]) -> usize {
    let (rows, count) = by_id(folder, output);
    let doubled = count - rows.len();
    let mut rows: Vec<String> = rows.into_values().collect();
    rows.sort();
    let differs = rows.iter().zip(expected).find(|(a, b)| a != b);
    assert_eq!(differs, None, "{output}");
    assert_eq!(rows.len(), expected.len(), "{output}");
    doubled
}

#[test]
fn at_least_once_is_once_by_id_after_kills() {
    let seed = 5;
    println!("seed {seed}");
    let mut times = BTreeSet::new();
    let is_new = |sale: &Sale| times.insert(sale.at);
    let sales = Sales::new(seed).of(3_000).filter(is_new);
    let mut sales: Vec<Sale> = sales.take(300_000).collect();
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let folder = folder.path();
    let put = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("the folder is writable");
    };
    put("pipeline.yaml", &at_least_once());
    let mut lines: Vec<String> = sales.iter().map(Sale::csv).collect();
    for file in 0..2 {
        let own = lines.iter().skip(file).step_by(2);
        let rows: String = own.map(|line| format!("{line}\n")).collect();
        put(
            &format!("sales-{file}.csv"),
            &format!("key,shop,amount,at\n{rows}"),
        );
    }
    let kills = killed(folder, seed);
    let output = again(folder, 3).output().expect("wasmill starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // The job may have come to its end between two kills.
    let goes_on = ["goes on from checkpoint", "nothing left to do"];
    assert!(goes_on.iter().any(|it| said.contains(it)), "{said}");
    lines.sort();
    let rows = once_by_id(folder, "sales.out", &lines);
    sales.sort_by_key(|sale| sale.at);
    let made = once_by_id(folder, "memory.out", &sales::lines(&sales, 0));
    println!("seed {seed}: {kills} kills, {rows} and {made} rows more than once");
}
