//! State looked at from outside, and brought to other types: `wasmill checkpoint` and `wasmill
//! state` against what plain Rust remembers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value as Json, json};
use wasmill_tests::{programs, root};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 60 * 60 * SECOND;

/// A row of the input; times are microseconds of one day.
#[derive(Clone, Copy)]
struct Entry {
    account: u64,
    shop: u16,
    amount: i64,
    at: i64,
}

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

fn entries(seed: u64, count: usize) -> Vec<Entry> {
    let mut random = Random(seed);
    let entry = |second| Entry {
        account: random.below(200),
        shop: random.below(12) as u16,
        amount: random.below(100) as i64 - 20,
        at: second * SECOND,
    };
    (0..count as i64).map(entry).collect()
}

/// What version 1 remembers of an account.
#[derive(Clone, Default)]
struct Memory {
    total: i64,
    recent: Vec<u32>,
    shops: BTreeMap<u16, u32>,
    seen: i64,
}

fn remembered(entries: &[Entry]) -> BTreeMap<u64, Memory> {
    let mut accounts: BTreeMap<u64, Memory> = BTreeMap::new();
    for entry in entries {
        let memory = accounts.entry(entry.account).or_default();
        memory.total += entry.amount;
        memory.recent.push(entry.amount.unsigned_abs() as u32);
        if memory.recent.len() > 3 {
            memory.recent.remove(0);
        }
        *memory.shops.entry(entry.shop).or_default() += 1;
        memory.seen = entry.at;
    }
    accounts
}

/// As the engine writes times.
fn time(us: i64) -> String {
    let (day, us) = (us / DAY, us % DAY);
    let (seconds, us) = (us / SECOND, us % SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let day = day + 1;
    format!("2026-03-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{us:06}Z")
}

/// As `state get` writes times of whole seconds.
fn short(us: i64) -> String {
    time(us).replace(".000000", "")
}

/// A folder with a job and its checkpoints.
struct Bench(tempfile::TempDir);

/// What a command said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test's files"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the pipeline with a version of the ledger, which waits for more rows or not.
    fn pipeline(&self, version: u32, follow: bool) {
        let plugins = root().join("target/plugins");
        let text = format!(
            "name: books
checkpoint: {{ interval: 20ms, storage: checkpoints }}
sources:
  entries:
    file: {{ path: entries.csv, follow: {follow} }}
    format: {{ csv: {{ account: u64, shop: u16, amount: i64, at: timestamp }} }}
    event-time: {{ column: at }}
operators:
  ledger:
    input: entries
    key-by: [account]
    features: {{ spent-1h: {{ sum: amount, over: 1h }} }}
    plugin: {}/guest-ledger-{version}.wasm
sinks:
  out: {{ input: ledger, file: {{ path: out.jsonl }}, format: json }}
",
            plugins.display()
        );
        fs::write(self.path("pipeline.yaml"), text).expect("the folder is writable");
    }

    /// The input so far.
    fn write(&self, entries: &[Entry]) {
        let mut text = String::from("account,shop,amount,at\n");
        for entry in entries {
            let Entry {
                account,
                shop,
                amount,
                at,
            } = *entry;
            writeln!(text, "{account},{shop},{amount},{}", time(at)).expect("memory");
        }
        fs::write(self.path("entries.csv"), text).expect("the folder is writable");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("wasmill"));
        command.args(arguments).current_dir(self.0.path());
        command.env_remove("WASMILL_LOG").stdin(Stdio::null());
        command
    }

    fn say(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().expect("wasmill starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// What a command says that must succeed.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments);
        assert_eq!(
            said.code,
            Some(0),
            "{arguments:?}: {}{}",
            said.out,
            said.err
        );
        said.out
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Json {
        let text = self.ask(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// Runs the job until a decided checkpoint has seen all of the input, then stops it.
    fn run_until_read(&self, parallelism: &str) {
        let mut command = self.command(&["run", "pipeline.yaml", "--parallelism", parallelism]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().expect("wasmill starts");
        let bytes = fs::metadata(self.path("entries.csv"))
            .expect("it is there")
            .len();
        while !self.has_read(bytes) {
            let ended = running.try_wait().expect("a child can be asked");
            assert_eq!(ended, None, "the job waits for more rows");
            thread::yield_now();
        }
        stop(&mut running);
    }

    /// Whether the newest checkpoint stands at this place of the input.
    fn has_read(&self, bytes: u64) -> bool {
        let said = self.say(&["checkpoint", "show", "pipeline.yaml", "--json"]);
        if said.code != Some(0) {
            return false;
        }
        let manifest: Json = serde_json::from_str(&said.out).expect("a manifest");
        let splits = manifest["sources"]["entries"]["splits"].as_object();
        let mut positions = splits.into_iter().flat_map(|splits| splits.values());
        positions.any(|split| split["position"].to_string().contains(&bytes.to_string()))
    }

    /// Every file of the checkpoints with its bytes.
    fn stored(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path("checkpoints")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(files.insert(path.clone(), fs::read(path).expect("a file"))),
                }
            }
        }
        files
    }

    /// The rows of a table, as JSON.
    fn export(&self, state: &str) -> Vec<Json> {
        let text = self.ask(&[
            "state",
            "export",
            "pipeline.yaml",
            "ledger",
            "--state",
            state,
        ]);
        let row = |line: &str| serde_json::from_str(line).expect("a row");
        text.lines().map(row).collect()
    }
}

fn stop(running: &mut Child) {
    let asked = Command::new("kill").arg(running.id().to_string()).status();
    assert!(asked.expect("kill starts").success());
    let ended = running.wait().expect("it ends");
    assert_eq!(ended.code(), Some(143), "as one that was stopped");
}

/// A job of version 1 that has been stopped behind its input.
fn stopped(entries: &[Entry], parallelism: &str) -> Bench {
    let bench = Bench::new();
    bench.write(entries);
    bench.pipeline(1, true);
    bench.run_until_read(parallelism);
    bench
}

/// The rows of a table as plain Rust has them, keys in any order.
#[track_caller]
fn same(found: Vec<Json>, expected: impl Iterator<Item = Json>) {
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    let without_written = |mut row: Json| {
        if let Json::Object(row) = &mut row {
            row.remove("written");
        }
        row.to_string()
    };
    let found = sorted(found.into_iter().map(without_written).collect());
    assert_eq!(found, sorted(expected.map(|row| row.to_string()).collect()));
}

#[test]
fn state_is_what_plain_rust_remembers() {
    println!("seed 1");
    let entries = entries(1, 3_000);
    let accounts = remembered(&entries);
    let bench = stopped(&entries, "3");
    let before = bench.stored();

    let listed = bench.json(&["state", "ls", "pipeline.yaml", "--json", "--key-groups"]);
    let operators = listed["operators"].as_array().expect("a list");
    let ledger = operators
        .iter()
        .find(|it| it["operator"] == "ledger")
        .expect("the operator");
    for (state, rows) in [
        ("total", accounts.len()),
        ("recent", accounts.values().map(|it| it.recent.len()).sum()),
        ("shops", accounts.values().map(|it| it.shops.len()).sum()),
        ("timers", accounts.len()),
    ] {
        let states = ledger["states"].as_array().expect("a list");
        let told = states
            .iter()
            .find(|it| it["name"] == state)
            .expect("the state");
        assert_eq!(
            (&told["keys"], &told["rows"]),
            (&accounts.len().into(), &rows.into()),
            "{state}"
        );
    }
    let groups = ledger["key-groups"].as_array().expect("a list");
    let keys: u64 = groups
        .iter()
        .map(|it| it["keys"].as_u64().expect("a number"))
        .sum();
    assert_eq!(keys, accounts.len() as u64);

    let totals = accounts
        .iter()
        .map(|(account, it)| json!({ "account": account, "value": it.total }));
    same(bench.export("total"), totals);
    let recent = accounts.iter().flat_map(|(account, it)| {
        let items = it.recent.iter().enumerate();
        items.map(move |(at, item)| json!({ "account": account, "position": at, "value": item }))
    });
    same(bench.export("recent"), recent);
    let shops = accounts.iter().flat_map(|(account, it)| {
        let entries = it.shops.iter();
        entries.map(move |(shop, n)| json!({ "account": account, "entry": shop, "value": n }))
    });
    same(bench.export("shops"), shops);
    let timers = accounts.iter().map(
        |(account, it)| json!({ "account": account, "timer": "idle", "at": time(it.seen + DAY) }),
    );
    same(bench.export("timers"), timers);
    let seen = bench.export("seen");
    assert!(
        seen.iter().all(|row| row["written"].is_string()),
        "it has a time to live"
    );

    let question = "select count(*) as n, sum(t.value) as total from ledger.total t \
        join ledger.timers using (account) where account < 100";
    let answer = bench.ask(&[
        "state",
        "sql",
        "pipeline.yaml",
        question,
        "--format",
        "json",
    ]);
    let few = accounts.range(..100);
    let total: i64 = few.clone().map(|(_, it)| it.total).sum();
    assert_eq!(
        answer,
        format!("{}\n", json!({ "n": few.count(), "total": total }))
    );
    // By its name alone nobody knows what the columns of the key are called.
    let named = ["state", "sql", "books", "--storage", "checkpoints"];
    let question = "select max(key) from total";
    let answer = bench.ask(&[&named[..], &[question, "--format", "csv"]].concat());
    let last = accounts.keys().next_back().expect("an account");
    assert_eq!(answer, format!("max(key)\n{last}\n"));
    assert!(
        bench
            .ask(&named)
            .contains("ledger.shops (key u64, entry u16, value u32")
    );
    assert_eq!(before, bench.stored(), "nothing has changed");
}

#[test]
fn one_key_is_shown_with_all_that_is_kept_of_it() {
    println!("seed 2");
    let entries = entries(2, 2_000);
    let accounts = remembered(&entries);
    let bench = stopped(&entries, "2");
    let (account, memory) = accounts.iter().nth(7).expect("an account");
    let get = |key: &str| bench.json(&["state", "get", "pipeline.yaml", "ledger", key]);
    let told = get(&account.to_string());
    assert_eq!(told["key"], json!({ "account": account }));
    assert_eq!(told["states"]["total"]["value"], memory.total);
    assert_eq!(told["states"]["recent"]["items"], json!(memory.recent));
    let shops = memory
        .shops
        .iter()
        .map(|(shop, n)| json!({ "key": shop, "value": n }));
    assert_eq!(told["states"]["shops"]["entries"], shops.collect::<Json>());
    let timers = json!([{ "timer": "idle", "at": short(memory.seen + DAY) }]);
    assert_eq!(told["timers"], timers);
    let hour = SECOND * 60 * 60;
    let of_account = entries.iter().filter(|entry| entry.account == *account);
    let young = of_account.filter(|entry| entry.at > memory.seen - hour);
    let rows = young.map(|entry| json!({ "time": short(entry.at), "amount": entry.amount }));
    assert_eq!(told["features"][0]["remembers"], rows.collect::<Json>());
    for other in [
        format!("account={account}"),
        format!("[{account}]"),
        json!({ "account": account }).to_string(),
    ] {
        assert_eq!(get(&other), told, "{other}");
    }
    for (key, code, words) in [
        ("nobody", 2, "a key is account (u64)"),
        ("acount=7", 2, "no key column `acount`"),
        ("999999", 1, "keeps nothing of key"),
    ] {
        let said = bench.say(&["state", "get", "pipeline.yaml", "ledger", key]);
        assert_eq!(said.code, Some(code), "{}", said.err);
        assert!(said.err.contains(words), "{}", said.err);
    }
}

/// Whatever file is damaged in whatever way, it is found by its name; nothing is shown that might
/// be wrong; and what cannot be asked for is an error with a remedy.
#[test]
fn every_damage_is_told() {
    println!("seed 3");
    let bench = stopped(&entries(3, 500), "2");
    let whole = bench.ask(&["checkpoint", "verify", "pipeline.yaml"]);
    assert!(whole.ends_with(": whole\n"), "{whole}");
    bench.ask(&["checkpoint", "verify", "pipeline.yaml", "--all"]);
    let listed = bench.json(&["checkpoint", "ls", "pipeline.yaml", "--json"]);
    let newest = listed
        .as_array()
        .and_then(|all| all.last())
        .expect("a checkpoint");
    let number = newest["checkpoint"].to_string();
    let manifest = bench.json(&[
        "checkpoint",
        "show",
        "books",
        "--storage",
        "checkpoints",
        "--json",
    ]);
    assert_eq!(manifest["checkpoint"].to_string(), number);
    let operators = manifest["operators"]
        .as_object()
        .expect("operators")
        .values();
    let objects = operators.flat_map(|it| it["segments"].as_array().expect("a list"));
    let objects: Vec<&str> = objects
        .filter_map(|it| it["object"]["name"].as_str())
        .collect();
    assert!(
        objects.len() >= 4,
        "of two subtasks of an operator and its gate: {objects:?}"
    );

    let files = bench.stored();
    for name in &objects {
        let path = bench.path("checkpoints/default/books/0-127").join(name);
        let bytes = &files[&path];
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        for (what, damaged, words) in [
            ("flipped", Some(flipped), "digest"),
            (
                "cut off",
                Some(bytes[..bytes.len() - 9].to_vec()),
                "were written",
            ),
            ("gone", None, "it is gone"),
        ] {
            match &damaged {
                Some(bytes) => fs::write(&path, bytes).expect("writable"),
                None => fs::remove_file(&path).expect("removable"),
            }
            let before = bench.stored();
            let said = bench.say(&["checkpoint", "verify", "pipeline.yaml"]);
            assert_eq!(said.code, Some(1), "{what}: {}", said.out);
            let is_told = |line: &str| line.contains(name) && line.contains(words);
            assert!(said.out.lines().any(is_told), "{what}: {}", said.out);
            let said = bench.say(&["state", "ls", "pipeline.yaml"]);
            assert_eq!(said.code, Some(1), "{what}: {}", said.out);
            assert!(said.err.contains(name), "{what}: {}", said.err);
            assert_eq!(before, bench.stored(), "nothing has changed");
        }
        fs::write(&path, bytes).expect("writable");
    }
    let position = manifest["place"]["position"].as_u64().expect("a number");
    let entry = bench.path(&format!(
        "checkpoints/default/books/0-127/log/{position:010}"
    ));
    let mut text = files[&entry].clone();
    text[40] ^= 1;
    fs::write(&entry, &text).expect("writable");
    let said = bench.say(&["checkpoint", "verify", "pipeline.yaml"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.out
            .contains(&format!("log/{position:010}: it is damaged")),
        "{}",
        said.out
    );
    fs::write(&entry, &files[&entry]).expect("writable");
    bench.ask(&["checkpoint", "verify", "pipeline.yaml"]);
    refusals(&bench);
}

fn refusals(bench: &Bench) {
    for (arguments, code, words) in [
        (
            &["checkpoint", "ls", "boks", "--storage", "checkpoints"][..],
            2,
            "did you mean `books`?",
        ),
        (
            &["checkpoint", "ls", "books", "--storage", "elsewhere"],
            1,
            "there is no folder",
        ),
        (
            &[
                "checkpoint",
                "show",
                "pipeline.yaml",
                "--checkpoint",
                "99999",
            ],
            2,
            "is not kept",
        ),
        (
            &["state", "get", "pipeline.yaml", "leger", "7"],
            2,
            "did you mean `ledger`?",
        ),
        (
            &["state", "export", "pipeline.yaml", "ledger"],
            2,
            "choose one with --state",
        ),
        (
            &[
                "state",
                "export",
                "pipeline.yaml",
                "ledger",
                "--state",
                "totl",
            ],
            2,
            "`total`",
        ),
        (
            &[
                "state",
                "sql",
                "pipeline.yaml",
                "select * from ledger.nothing",
            ],
            2,
            "no such table",
        ),
        (
            &["state", "sql", "pipeline.yaml", "delete from ledger.total"],
            2,
            "nothing is changed",
        ),
        (
            &["state", "sql", "pipeline.yaml", "attach 'x.db' as x"],
            2,
            "nothing is changed",
        ),
        (
            &["state", "sql", "pipeline.yaml", "select 1; select 2"],
            2,
            "one question",
        ),
    ] {
        let said = bench.say(arguments);
        assert_eq!(
            said.code,
            Some(code),
            "{arguments:?}: {}{}",
            said.out,
            said.err
        );
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
    assert!(!bench.path("x.db").exists() && !bench.path("elsewhere").exists());
}

/// What version 2 tells of each account in the end: by what it has of version 1, and its own rows.
fn closed(before: &[Entry], after: &[Entry]) -> Vec<String> {
    let mut accounts = BTreeMap::new();
    for (account, memory) in remembered(before) {
        let recent: Vec<i64> = memory.recent.iter().map(|it| (*it).into()).collect();
        let recent: Vec<i64> = recent.into_iter().filter(|it| *it != 0).collect();
        let shops = memory.shops.iter().filter(|(shop, _)| **shop != 9);
        let shops = shops.map(|(shop, n)| (format!("shop-{shop}"), u64::from(*n)));
        let shops: BTreeMap<String, u64> = shops.collect();
        accounts.insert(account, (memory.total, 0, recent, shops, memory.seen));
    }
    for entry in after {
        let (total, count, recent, shops, seen) = accounts.entry(entry.account).or_default();
        *total += entry.amount;
        *count += 1;
        if entry.amount != 0 {
            recent.push(entry.amount.abs());
        }
        if recent.len() > 3 {
            recent.remove(0);
        }
        *shops.entry(format!("shop-{}", entry.shop)).or_default() += 1;
        *seen = entry.at;
    }
    type Account = (i64, i32, Vec<i64>, BTreeMap<String, u64>, i64);
    let line = |(account, (total, count, recent, shops, seen)): (u64, Account)| {
        let recent: Vec<String> = recent.iter().map(i64::to_string).collect();
        let shops: Vec<String> = shops
            .iter()
            .map(|(shop, n)| format!("{shop}={n}"))
            .collect();
        json!({
            "account": account,
            "at": time(seen + DAY),
            "amount": total,
            "count": count,
            "recent": recent.join(" "),
            "shops": shops.join(" "),
        })
        .to_string()
    };
    let mut lines: Vec<String> = accounts.into_iter().map(line).collect();
    lines.sort();
    lines
}

/// Runs a job to its end; gives the rows that it has brought out which have a column, sorted.
fn finish(bench: &Bench, parallelism: &str, column: &str) -> Vec<String> {
    bench.ask(&["run", "pipeline.yaml", "--parallelism", parallelism]);
    let text = fs::read_to_string(bench.path("out.jsonl")).expect("its output");
    let rows = text
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).expect("a row"));
    let rows = rows.filter(|row| row.get(column).is_some());
    let mut rows: Vec<String> = rows.map(|row| row.to_string()).collect();
    rows.sort();
    rows
}

#[test]
fn a_version_with_other_types_goes_on() {
    println!("seed 4");
    let entries = entries(4, 3_000);
    // In the second case no row comes before the timers of version 1 fire.
    for (parallelism, count) in [("1", 2_000), ("3", 3_000)] {
        let (before, after) = entries.split_at(count);
        let bench = stopped(before, "2");
        bench.write(&entries);
        bench.pipeline(2, false);
        let stored = bench.stored();
        let tried = bench.ask(&["state", "migrate", "pipeline.yaml", "--dry-run"]);
        let accounts = remembered(before);
        let zeros = accounts
            .values()
            .flat_map(|it| &it.recent)
            .filter(|it| **it == 0)
            .count();
        let expected = format!(
            "`ledger.recent` from list u32 to list i64: {} values, {zeros} dropped",
            accounts.values().map(|it| it.recent.len()).sum::<usize>()
        );
        assert!(tried.contains(&expected), "{expected} in {tried}");
        assert_eq!(stored, bench.stored(), "nothing has changed");
        // Rows of version 1 stand before them.
        let found = finish(&bench, parallelism, "shops");
        assert_eq!(found, closed(before, after), "parallelism {parallelism}");
        let whole = bench.ask(&["checkpoint", "verify", "pipeline.yaml", "--all"]);
        assert!(whole.ends_with(": whole\n"), "{whole}");
    }
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    println!("seed 5");
    let mut entries = entries(5, 1_000);
    let (account, at) = (entries[0].account, entries[599].at);
    let total = remembered(&entries[..599])[&account].total;
    // No total of one account can be that in version 2.
    entries[599] = Entry {
        account,
        shop: 1,
        amount: 666_000 - total,
        at,
    };
    let bench = stopped(&entries[..600], "2");
    bench.write(&entries);
    bench.pipeline(2, false);
    let stored = bench.stored();
    for arguments in [
        &["run", "pipeline.yaml"][..],
        &["state", "migrate", "pipeline.yaml", "--dry-run"],
    ] {
        let said = bench.say(arguments);
        assert_eq!(said.code, Some(1), "{}", said.out);
        let place = format!("state `ledger.total`, key {account};");
        for words in [place.as_str(), "a total of 666000 cannot be", "as it was"] {
            assert!(said.err.contains(words), "`{words}` in {}", said.err);
        }
        assert_eq!(stored, bench.stored(), "nothing has changed");
    }
    // The version before goes on as if nothing had been tried.
    bench.pipeline(1, false);
    let found = finish(&bench, "2", "visits");
    let row = |at: usize| {
        let Entry { account, shop, .. } = entries[at];
        let memory = &remembered(&entries[..=at])[&account];
        let (total, visits) = (memory.total, memory.shops[&shop]);
        json!({ "account": account, "total": total, "visits": visits }).to_string()
    };
    let mut expected: Vec<String> = (0..entries.len()).map(row).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn offered_migrations_are_told() {
    let bench = Bench::new();
    let plugin = root().join("target/plugins/guest-ledger-2.wasm");
    let told = bench.ask(&["plugin", "inspect", plugin.to_str().expect("text")]);
    for words in ["migrates from value i64", "migrates from map u16 u32"] {
        assert!(told.contains(words), "{told}");
    }
}
