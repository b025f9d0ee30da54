//! Same input, same decisions: what an operator in event-time order brings out is the same to the
//! byte of each key, at every parallelism and batch size, whether the input lies there or comes in
//! pieces while the job runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use wasmill_tests::sales::{self, Sale, Sales};
use wasmill_tests::{Random, programs, root};

const ROWS: usize = 6_000;

/// Each (parallelism, most rows of a call).
const CUTS: [(u8, u32); 4] = [(1, 4096), (2, 64), (4, 1), (8, 777)];

/// The rows of each key, in their order.
type Decisions = BTreeMap<String, Vec<String>>;

struct Place(tempfile::TempDir);

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    fn new(follow: bool, (parallelism, rows_max): (u8, u32)) -> Self {
        let place = Self(tempfile::tempdir().expect("a folder for the test's files"));
        let plugins = root().join("target/plugins");
        let text = format!(
            "name: replay
parallelism: {parallelism}
checkpoint: {{ interval: 50ms, storage: checkpoints }}
sources:
  sales:
    file: {{ path: sales-*.csv, follow: {follow} }}
    format: {{ csv: {{ key: u64, shop: string, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 2s }}
operators:
  memory:
    input: sales
    key-by: [key]
    plugin: {}/guest-every-state.wasm
    order: event-time
    batch: {{ rows-max: {rows_max} }}
sinks:
  out: {{ input: memory, file: {{ path: out.csv }}, format: csv, include: {{ id: row-id }} }}
",
            plugins.display()
        );
        fs::write(place.file("pipeline.yaml"), text).expect("writable");
        for file in 0..FILES {
            fs::write(place.input(file), "key,shop,amount,at\n").expect("writable");
        }
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn input(&self, number: usize) -> PathBuf {
        self.file(&format!("sales-{number}.csv"))
    }

    fn append(&self, number: usize, bytes: &[u8]) {
        let file = OpenOptions::new().append(true).open(self.input(number));
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

    fn decisions(&self) -> Decisions {
        let text = fs::read_to_string(self.file("out.csv")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut decisions = Decisions::new();
        for line in whole.lines().skip(1) {
            let key = line.split(',').next().unwrap_or_default();
            let rows = decisions.entry(key.to_owned()).or_default();
            rows.push(line.to_owned());
        }
        decisions
    }
}

/// Files over which the rows are dealt.
const FILES: usize = 2;

/// Sales of a seed, each time once, so that the order of all of them is known.
fn some_sales(seed: u64) -> Vec<Sale> {
    let mut times = BTreeSet::new();
    let is_new = |sale: &Sale| times.insert(sale.at);
    Sales::new(seed).filter(is_new).take(ROWS).collect()
}

/// The bytes of each file.
fn inputs(sales: &[Sale]) -> Vec<Vec<u8>> {
    let of = |file: usize| {
        let own = sales.iter().skip(file).step_by(FILES);
        let rows = own.map(|sale| sale.csv() + "\n");
        rows.collect::<String>().into_bytes()
    };
    (0..FILES).map(of).collect()
}

fn replayed(inputs: &[Vec<u8>], cut: (u8, u32)) -> Decisions {
    let place = Place::new(false, cut);
    for (file, bytes) in inputs.iter().enumerate() {
        place.append(file, bytes);
    }
    place.finish();
    place.decisions()
}

fn count(decisions: &Decisions) -> usize {
    decisions.values().map(Vec::len).sum()
}

#[test]
fn a_replay_decides_as_the_oracle_at_any_cut() {
    let mut sales = some_sales(21);
    let inputs = inputs(&sales);
    let first = replayed(&inputs, CUTS[0]);
    sales.sort_by_key(|sale| sale.at);
    let expected = sales::expected(&sales, 0);
    assert_eq!(count(&first), expected.len());
    for cut in &CUTS[1..] {
        assert_eq!(replayed(&inputs, *cut), first, "{cut:?}");
    }
}

#[test]
fn live_rows_bring_about_what_their_replay_does() {
    let inputs = inputs(&some_sales(22));
    let replay = replayed(&inputs, (2, 4096));
    for (seed, cut) in (1..).zip(CUTS) {
        println!("seed {seed}, {cut:?}");
        let mut random = Random(seed);
        let place = Place::new(true, cut);
        let child = place.command().stderr(Stdio::null()).spawn();
        let mut running = Running(child.expect("wasmill starts"));
        let mut sent = [0; FILES];
        // Pieces that end anywhere, also within a row; in between, as much as has come shows up.
        while sent.iter().zip(&inputs).any(|(at, all)| *at < all.len()) {
            let file = random.below(FILES as u64) as usize;
            let left = &inputs[file][sent[file]..];
            let piece = left.len().min(random.below(9_000) as usize + 1);
            place.append(file, &left[..piece]);
            sent[file] += piece;
            if random.below(3) == 0 {
                let before = count(&place.decisions());
                for _ in 0..random.below(200) {
                    if count(&place.decisions()) > before {
                        break;
                    }
                    std::thread::yield_now();
                }
            }
            let ended = running.0.try_wait().expect("a child can be asked");
            assert_eq!(ended, None, "it follows its files");
        }
        let asked = Command::new("kill")
            .arg(running.0.id().to_string())
            .status();
        assert!(asked.expect("kill starts").success());
        running.0.wait().expect("it ends");
        // What is left is what waits for a watermark that only the end brings.
        let document = fs::read_to_string(place.file("pipeline.yaml")).expect("it is there");
        let document = document.replace("follow: true", "follow: false");
        fs::write(place.file("pipeline.yaml"), document).expect("writable");
        place.finish();
        assert_eq!(place.decisions(), replay, "seed {seed}, {cut:?}");
    }
}
