//! What is shown is what plain Rust remembers.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::bench::{Bench, DAY, Entry, Memory, SECOND, entries, remembered, short, stopped, time};

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

    counted(&bench, BY_DOCUMENT, &accounts);
    exported(&bench, BY_DOCUMENT, &accounts);
    asked(&bench, &accounts);
    assert_eq!(before, bench.stored(), "nothing has changed");
}

/// How a job is named, and what its key is called then.
pub(crate) type Look<'a> = (&'a [&'a str], &'a str);

const BY_DOCUMENT: Look<'static> = (&["pipeline.yaml"], "account");

/// How much there is of each state, and of each key group: both are the same in all.
pub(crate) fn counted(bench: &Bench, (job, _): Look<'_>, accounts: &BTreeMap<u64, Memory>) {
    let listed = bench.json(&[&["state", "ls"], job, &["--json", "--key-groups"]].concat());
    let operators = listed["operators"].as_array().expect("a list");
    let ledger = operators
        .iter()
        .find(|it| it["operator"] == "ledger")
        .expect("the operator");
    // The bytes of a row, where docs/formats/state.md says them: the account's, then the value's.
    for (state, rows, width) in [
        ("total", accounts.len(), Some(8 + 8)),
        (
            "recent",
            accounts.values().map(|it| it.recent.len()).sum(),
            None,
        ),
        (
            "shops",
            accounts.values().map(|it| it.shops.len()).sum(),
            Some(8 + 2 + 4),
        ),
        ("timers", accounts.len(), None),
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
        if let Some(width) = width {
            assert_eq!(told["bytes"], rows * width, "{state}");
        }
    }
    let sum = |of: &Json, field: &str| {
        let all = of.as_array().expect("a list").iter();
        let numbers = all.map(|it| it[field].as_u64().expect("a number"));
        numbers.sum::<u64>()
    };
    assert_eq!(sum(&ledger["key-groups"], "keys"), accounts.len() as u64);
    for operator in operators {
        for field in ["rows", "bytes"] {
            let (groups, states) = (&operator["key-groups"], &operator["states"]);
            assert_eq!(
                sum(groups, field),
                sum(states, field),
                "{field}: {operator}"
            );
        }
        let several = operator["key-groups"].as_array().map(Vec::len);
        assert!(several > Some(10), "keys are spread: {operator}");
    }
}

/// The rows of each table.
pub(crate) fn exported(bench: &Bench, look: Look<'_>, accounts: &BTreeMap<u64, Memory>) {
    let (job, key) = look;
    let totals = accounts
        .iter()
        .map(|(account, it)| json!({ key: account, "value": it.total }));
    same(bench.export(job, "total"), totals);
    let recent = accounts.iter().flat_map(|(account, it)| {
        let items = it.recent.iter().enumerate();
        items.map(move |(at, item)| json!({ key: account, "position": at, "value": item }))
    });
    same(bench.export(job, "recent"), recent);
    let shops = accounts.iter().flat_map(|(account, it)| {
        let entries = it.shops.iter();
        entries.map(move |(shop, n)| json!({ key: account, "entry": shop, "value": n }))
    });
    same(bench.export(job, "shops"), shops);
    let timers = accounts
        .iter()
        .map(|(account, it)| json!({ key: account, "timer": "idle", "at": time(it.seen + DAY) }));
    same(bench.export(job, "timers"), timers);
    let seen = bench.export(job, "seen");
    assert_eq!(seen.len(), accounts.len());
    assert!(
        seen.iter().all(|row| row["written"].is_string()),
        "it has a time to live"
    );
}

/// Answers in SQL.
fn asked(bench: &Bench, accounts: &BTreeMap<u64, Memory>) {
    let question = "select count(*) as n, sum(t.value) as total from ledger.total t \
        join ledger.timers using (account) where account < 100";
    let answer = bench.answer(question);
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
    shown(&told, (*account, "account"), memory, &entries);
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

/// What `state get` tells of an account.
#[track_caller]
pub(crate) fn shown(told: &Json, (account, key): (u64, &str), memory: &Memory, entries: &[Entry]) {
    assert_eq!(told["key"], json!({ key: account }));
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
    let of_account = entries.iter().filter(|entry| entry.account == account);
    let young = of_account.filter(|entry| entry.at > memory.seen - hour);
    let rows = young.map(|entry| json!({ "time": short(entry.at), "amount": entry.amount }));
    assert_eq!(told["features"][0]["remembers"], rows.collect::<Json>());
}
