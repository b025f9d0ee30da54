//! What is damaged is found, and what cannot be asked for is refused.

use std::fs;

use serde_json::Value as Json;

use crate::bench::{Bench, entries, stopped};

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
    damaged_entry(&bench, &manifest);
    refusals(&bench);
    questions(&bench);
}

/// An entry of the log that is not what was written.
fn damaged_entry(bench: &Bench, manifest: &Json) {
    let files = bench.stored();
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
    assert!(!bench.path("elsewhere").exists());
}

fn questions(bench: &Bench) {
    for (arguments, code, words) in [
        (
            &[
                "state",
                "sql",
                "pipeline.yaml",
                "select * from ledger.totals",
            ][..],
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
    assert!(!bench.path("x.db").exists());
}
