//! Same input, same decisions: what a plugin in event-time order, windows with and without
//! corrections, and a join of two streams bring out is the same to the byte of each key, at every
//! parallelism and batch size, whether the input lies there or comes in pieces while the job runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use wasmill_tests::sales::{self, SECOND, Sale, Sales};
use wasmill_tests::{Random, Signal, programs, root, signal};

/// Rows of each of the two streams.
const ROWS: usize = 6_000;

const PARALLELISMS: [u8; 4] = [1, 2, 4, 8];
/// The most rows of a call: each operator has another one, and each of them at another parallelism.
const SIZES: [u32; 4] = [4096, 64, 1, 777];

/// What comes out, each into a file of its own.
const OUTPUTS: [&str; 5] = ["memory", "totals", "corrected", "too-late", "near"];

/// The streams, and the files over which the rows of each are dealt.
const STREAMS: [&str; 2] = ["sales", "returns"];
const FILES: usize = 2;

/// The tumbling windows, and how far from each other rows meet.
const WINDOW: i64 = 10 * SECOND;
const NEAR: i64 = 5 * SECOND;

/// The rows of each output and key, in their order; those that come too late have none.
type Decisions = BTreeMap<(&'static str, String), Vec<String>>;

struct Place(tempfile::TempDir);

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The job at the parallelism of a number, its batches cut by it.
fn document(follow: bool, cut: usize) -> String {
    let plugins = root().join("target/plugins");
    let plugins = plugins.display();
    let [memory, totals, corrected, near] =
        [0, 1, 2, 3].map(|operator| SIZES[(cut + operator) % SIZES.len()]);
    let parallelism = PARALLELISMS[cut];
    let mut text = format!(
        "name: replay
parallelism: {parallelism}
checkpoint: {{ interval: 50ms, storage: checkpoints }}
sources:
  sales:
    file: {{ path: sales-*.csv, follow: {follow} }}
    format: {{ csv: {{ key: u64, shop: string, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 2s }}
  early:
    file: {{ path: sales-*.csv, follow: {follow} }}
    format: {{ csv: {{ key: u64, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 200ms }}
  returns:
    file: {{ path: returns-*.csv, follow: {follow} }}
    format: {{ csv: {{ key: u64, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 2s }}
operators:
  memory:
    input: sales
    key-by: [key]
    plugin: {plugins}/guest-every-state.wasm
    order: event-time
    batch: {{ rows-max: {memory} }}
  totals:
    input: sales
    key-by: [key]
    window: {{ tumbling: 10s }}
    aggregates:
      n: {{ count: rows }}
      total: {{ sum: amount }}
      first: {{ first: amount }}
      last: {{ last: amount }}
    batch: {{ rows-max: {totals} }}
  corrected:
    input: early
    key-by: [key]
    window: {{ sliding: {{ size: 2s, every: 1s }} }}
    allowed-lateness: 100ms
    aggregates: {{ n: {{ count: rows }}, last: {{ last: amount }} }}
    batch: {{ rows-max: {corrected} }}
  near:
    input: {{ left: sales, right: returns }}
    key-by: [key]
    join: {{ interval: {{ lower: -5s, upper: 5s }}, type: full }}
    select: {{ key: key.key, sold: left.at, returned: right.at, amount: right.amount }}
    batch: {{ rows-max: {near} }}
sinks:
"
    );
    for output in OUTPUTS {
        let (input, include) = match output {
            "too-late" => ("corrected.late", "id: row-id"),
            "corrected" => ("corrected", "op: op, id: row-id"),
            other => (other, "id: row-id"),
        };
        text += &format!(
            "  {output}-out: {{ input: {input}, file: {{ path: {output}.csv }}, format: csv, \
             include: {{ {include} }} }}\n"
        );
    }
    text
}

/// An input's name and bytes.
type Input = (String, Vec<u8>);

impl Place {
    fn new(follow: bool, cut: usize, inputs: &[Input]) -> Self {
        let place = Self(tempfile::tempdir().expect("a folder for the test's files"));
        fs::write(place.file("pipeline.yaml"), document(follow, cut)).expect("writable");
        for (name, _) in inputs {
            fs::write(place.file(name), "key,shop,amount,at\n").expect("writable");
        }
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn append(&self, name: &str, bytes: &[u8]) {
        let file = OpenOptions::new().append(true).open(self.file(name));
        let written = file.expect("it is there").write_all(bytes);
        written.expect("writable");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.args(["run", "pipeline.yaml"]);
        command.current_dir(self.0.path());
        command
    }

    fn finish(&self) {
        let output = self.command().output().expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    fn output(&self, output: &str) -> PathBuf {
        self.file(&format!("{output}.csv"))
    }

    /// The bytes that have come out so far of an output.
    fn written(&self, output: &str) -> u64 {
        fs::metadata(self.output(output)).map_or(0, |it| it.len())
    }

    fn all_written(&self) -> u64 {
        OUTPUTS.iter().map(|output| self.written(output)).sum()
    }

    fn decisions(&self) -> Decisions {
        let mut decisions = Decisions::new();
        for output in OUTPUTS {
            let text = fs::read_to_string(self.output(output)).expect("an output");
            for line in text.lines().skip(1) {
                let key = match output {
                    "too-late" => "",
                    _ => line.split(',').next().unwrap_or_default(),
                };
                let rows = decisions.entry((output, key.to_owned())).or_default();
                rows.push(line.to_owned());
            }
        }
        for ((output, _), rows) in &mut decisions {
            if *output == "too-late" {
                rows.sort();
            }
        }
        decisions
    }
}

/// Sales of a seed, each time once, so that the order of all of them is known.
fn some_sales(seed: u64) -> Vec<Sale> {
    let mut times = BTreeSet::new();
    let is_new = |sale: &Sale| times.insert(sale.at);
    Sales::new(seed).filter(is_new).take(ROWS).collect()
}

/// The rows of each file.
fn inputs(streams: &[Vec<Sale>; 2]) -> Vec<Input> {
    let of = |(name, sales): (&str, &Vec<Sale>), file: usize| {
        let own = sales.iter().skip(file).step_by(FILES);
        let rows: String = own.map(|sale| sale.csv() + "\n").collect();
        (format!("{name}-{file}.csv"), rows.into_bytes())
    };
    let streams = STREAMS.into_iter().zip(streams);
    let files = streams.flat_map(|stream| (0..FILES).map(move |file| of(stream, file)));
    files.collect()
}

fn replayed(inputs: &[Input], cut: usize) -> Decisions {
    let place = Place::new(false, cut, inputs);
    for (name, bytes) in inputs {
        place.append(name, bytes);
    }
    place.finish();
    place.decisions()
}

/// The rows of an output without their ids, sorted.
fn rows(decisions: &Decisions, output: &str) -> Vec<String> {
    let own = decisions.iter().filter(|((of, _), _)| *of == output);
    let all = own.flat_map(|(_, rows)| rows);
    let without_id = all.map(|row| {
        row.rsplit_once(',')
            .expect("an id is the last")
            .0
            .to_owned()
    });
    let mut rows: Vec<String> = without_id.collect();
    rows.sort();
    rows
}

/// The results of the tumbling windows; rows are in the order of their times.
fn totals(sales: &[Sale]) -> Vec<String> {
    let mut windows: BTreeMap<(u64, i64), Vec<i64>> = BTreeMap::new();
    for sale in sales {
        let start = sale.at - sale.at % WINDOW;
        windows
            .entry((sale.key, start))
            .or_default()
            .push(sale.amount);
    }
    let line = |((key, start), amounts): ((u64, i64), Vec<i64>)| {
        let (from, to) = (sales::time(start), sales::time(start + WINDOW));
        let (n, total) = (amounts.len(), amounts.iter().sum::<i64>());
        let (first, last) = (amounts[0], amounts[n - 1]);
        format!("{key},{from},{to},{n},{total},{first},{last}")
    };
    let mut lines: Vec<String> = windows.into_iter().map(line).collect();
    lines.sort();
    lines
}

/// Which sales and returns meet, and which meet none.
fn near([sales, returns]: &[Vec<Sale>; 2]) -> Vec<String> {
    let is_met = |sale: &Sale, other: &Sale| {
        sale.key == other.key && (sale.at - NEAR..=sale.at + NEAR).contains(&other.at)
    };
    let mut lines = Vec::new();
    for sale in sales {
        let (key, sold) = (sale.key, sales::time(sale.at));
        let mut is_alone = true;
        for other in returns.iter().filter(|other| is_met(sale, other)) {
            is_alone = false;
            let (returned, amount) = (sales::time(other.at), other.amount);
            lines.push(format!("{key},{sold},{returned},{amount}"));
        }
        if is_alone {
            lines.push(format!("{key},{sold},,"));
        }
    }
    for other in returns {
        if !sales.iter().any(|sale| is_met(sale, other)) {
            let (key, returned, amount) = (other.key, sales::time(other.at), other.amount);
            lines.push(format!("{key},,{returned},{amount}"));
        }
    }
    lines.sort();
    lines
}

#[test]
fn a_replay_decides_as_the_oracle_at_any_cut() {
    let (sold, returned) = (21, 121);
    println!("seeds {sold}, {returned}");
    let mut streams = [some_sales(sold), some_sales(returned)];
    let inputs = inputs(&streams);
    let first = replayed(&inputs, 0);
    streams[0].sort_by_key(|sale| sale.at);
    assert_eq!(rows(&first, "memory"), sales::lines(&streams[0], 0));
    assert_eq!(rows(&first, "totals"), totals(&streams[0]));
    assert_eq!(rows(&first, "near"), near(&streams));
    let corrected = rows(&first, "corrected");
    let is_correction = |row: &&String| row.ends_with(",update-after");
    let corrections = corrected.iter().filter(is_correction).count();
    assert!(
        corrections > 30,
        "{corrections} rows come behind their windows"
    );
    let late = rows(&first, "too-late").len();
    assert!(late > 30, "{late} rows come too late for them");
    for cut in 1..PARALLELISMS.len() {
        assert_same(&replayed(&inputs, cut), &first, &format!("cut {cut}"));
    }
}

/// All of it is too much to show.
fn assert_same(found: &Decisions, wanted: &Decisions, how: &str) {
    for (of, rows) in wanted {
        let none = Vec::new();
        let found = found.get(of).unwrap_or(&none);
        assert_eq!(found, rows, "{how}: {of:?}");
    }
    assert_eq!(found.len(), wanted.len(), "{how}");
}

/// Appends pieces that end anywhere, also within a row; in between, as much as has come shows up.
fn trickle(place: &Place, inputs: &[Input], seed: u64, running: &mut Running) {
    let mut random = Random(seed);
    let mut sent = vec![0; inputs.len()];
    let half: usize = inputs.iter().map(|(_, bytes)| bytes.len() / 2).sum();
    let mut is_live = false;
    while sent
        .iter()
        .zip(inputs)
        .any(|(at, (_, bytes))| *at < bytes.len())
    {
        let file = random.below(inputs.len() as u64) as usize;
        let (name, bytes) = &inputs[file];
        let left = &bytes[sent[file]..];
        let piece = left.len().min(random.below(9_000) as usize + 1);
        place.append(name, &left[..piece]);
        sent[file] += piece;
        if random.below(3) == 0 {
            let before = place.all_written();
            for _ in 0..random.below(10_000) {
                if place.all_written() > before {
                    break;
                }
                std::thread::yield_now();
            }
        }
        if !is_live && sent.iter().sum::<usize>() > half {
            // Each of them decides while its input is still on the way.
            while OUTPUTS.iter().any(|output| place.written(output) < 200) {
                assert_eq!(running.ended(), None, "it follows its files");
                std::thread::yield_now();
            }
            is_live = true;
        }
        assert_eq!(running.ended(), None, "it follows its files");
    }
}

impl Running {
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().expect("a child can be asked")
    }

    /// Asks it to stop, and waits for that.
    fn stop(mut self) {
        signal(&self.0, Signal::TERM);
        self.0.wait().expect("it ends");
    }
}

#[test]
fn live_rows_bring_about_what_their_replay_does() {
    let (sold, returned) = (22, 122);
    println!("seeds {sold}, {returned}");
    let inputs = inputs(&[some_sales(sold), some_sales(returned)]);
    let replay = replayed(&inputs, 1);
    for cut in 0..PARALLELISMS.len() {
        let seed = cut as u64 + 1;
        println!("seed {seed}, cut {cut}");
        let place = Place::new(true, cut, &inputs);
        let child = place.command().stderr(Stdio::null()).spawn();
        let mut running = Running(child.expect("wasmill starts"));
        trickle(&place, &inputs, seed, &mut running);
        running.stop();
        // What is left is what waits for a watermark that only the end brings.
        fs::write(place.file("pipeline.yaml"), document(false, cut)).expect("writable");
        place.finish();
        assert_same(
            &place.decisions(),
            &replay,
            &format!("seed {seed}, cut {cut}"),
        );
    }
}
