//! State of version 1 in the types of version 2.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value as Json, json};
use wasmill_tests::root;

use crate::bench::{Bench, DAY, Entry, entries, remembered, stopped, time};

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
    let text = fs::read_to_string(bench.path("books.jsonl")).expect("its output");
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
