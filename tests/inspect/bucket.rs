//! Checkpoints in a bucket are looked at and gone on from like those in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use wasmill_tests::s3::{BUCKET, KEY, S3Server, SECRET};

use crate::bench::{Bench, entries, remembered, stopped_at};

/// What a store is reached by where no document says it.
fn environment(server: &S3Server) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_ACCESS_KEY_ID", KEY.into()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
    ]
}

/// The totals that a job remembers, by account.
fn totals(bench: &Bench, job: &[&str]) -> Vec<(u64, i64)> {
    let arguments = [&["state", "export"], job, &["--state", "total"]].concat();
    let text = bench.ask(&arguments);
    let rows = text.lines().map(|line| {
        let row: Json = serde_json::from_str(line).expect("a row");
        let key = row.get("account").or_else(|| row.get("key"));
        let key = key.and_then(Json::as_u64).expect("an account");
        (key, row["value"].as_i64().expect("a total"))
    });
    let mut rows: Vec<(u64, i64)> = rows.collect();
    rows.sort_unstable();
    rows
}

#[test]
fn a_bucket_is_looked_at_like_a_folder() {
    println!("seed 7");
    let entries = entries(7, 1_000);
    let store = tempfile::tempdir().expect("a folder for the server's files");
    let server = S3Server::start(store.path());
    let place = format!("s3://{BUCKET}/some/prefix");
    let mut bench = stopped_at((&entries, "2"), &place, environment(&server));

    let wanted: Vec<(u64, i64)> = remembered(&entries)
        .iter()
        .map(|(account, it)| (*account, it.total))
        .collect();
    assert_eq!(totals(&bench, &["pipeline.yaml", "ledger"]), wanted);
    // A name and a place do as well as the document.
    let by_name = ["books", "ledger", "--storage", &place];
    assert_eq!(totals(&bench, &by_name), wanted);
    let whole = bench.ask(&["checkpoint", "verify", "pipeline.yaml", "--all"]);
    assert!(whole.ends_with(": whole\n"), "{whole}");

    // A job of another name, in a folder, begins with the newest one.
    let log = store.path().join("s3").join(BUCKET);
    let log = log.join("some/prefix/default/books/0-127/log");
    let newest = newest(&log);
    let number = newest.file_name().and_then(|name| name.to_str());
    let number = number.expect("entries have names");
    let from = format!("{place}/default/books/0-127/log/{number}");
    bench.rename("again");
    bench.pipeline(1, true);
    bench.run_until_read(&["--from", &from]);
    assert_eq!(totals(&bench, &["pipeline.yaml", "ledger"]), wanted);
    let came = fs::read_to_string(bench.path("again.jsonl")).unwrap_or_default();
    assert_eq!(came, "", "every row had come out of the first job");

    let mut bytes = fs::read(&newest).expect("an entry of the log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&newest, bytes).expect("the server's folder is writable");
    let said = bench.say(&["checkpoint", "verify", "books", "--storage", &place]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(
        said.out.contains(number) || said.err.contains(number),
        "{}{}",
        said.out,
        said.err
    );
    for text in [&said.out, &said.err, &whole] {
        assert!(!text.contains(SECRET), "a secret is shown: {text}");
    }
}

/// The last entry of a log.
fn newest(log: &Path) -> PathBuf {
    let entries = fs::read_dir(log).expect("the log's folder");
    let names = entries.map(|entry| entry.expect("an entry").path());
    names.max().expect("the log has entries")
}
