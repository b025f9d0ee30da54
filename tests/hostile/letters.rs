//! What a dead letter tells: who, what, where, with the row's own bytes and the guest's last words.

use std::fs;

use serde_json::{Value, json};
use wasmill_tests::root;

use super::job::{component, digest, folder, letters, read, run_well, text};

/// Two lines that a guest panics at, the second one no text, one that it refuses, and one that is
/// fine.
const LINES: &[&[u8]] = &[b"fine", b"panic now", b"refuse me", b"panic \xff\xfe"];
/// The last line in base64.
const LAST: &str = "cGFuaWMg//4=";

const PLUGIN: &str = "guest-last-words";

/// The rows go to an operator that fails on some of them at once, and to one behind another.
fn pipeline() -> String {
    let guest = component(PLUGIN);
    let operator = |name: &str, input: &str, [panic_at, refuse]: [&str; 2], letters: &str| {
        format!(
            "  {name}:
    input: {input}
    plugin: {}
    config: {{ panic-at: {panic_at}, refuse: {refuse} }}
    on-error: {{ dead-letter: {letters} }}
",
            guest.display()
        )
    };
    format!(
        "name: post
sources:
  lines:
    file: {{ path: lines.txt }}
    format: {{ raw: {{ said: bytes }} }}
operators:
{}{}{}sinks:
  fine: {{ input: direct, file: {{ path: fine.jsonl }}, format: json }}
  behind: {{ input: second, file: {{ path: behind.jsonl }}, format: json }}
  letters: {{ file: {{ path: letters.jsonl }} }}
  derived: {{ file: {{ path: derived.jsonl }} }}
",
        operator("direct", "lines", ["panic", "refuse"], "letters"),
        operator("first", "lines", ["nowhere", "nobody"], "letters"),
        operator("second", "first", ["panic", "nobody"], "derived"),
    )
}

/// Where the guest panics: file and line, as the compiler names them.
fn place() -> String {
    let file = "tests/guests/last-words/src/lib.rs";
    let code = fs::read_to_string(root().join(file)).expect("the guest's code");
    let line = code.lines().position(|line| line.contains("panic!("));
    format!("{file}:{}", line.expect("it panics") + 1)
}

/// The letter of the row with that number.
fn of(letters: &[Value], offset: u64) -> &Value {
    let found = letters.iter().find(|letter| letter["offset"] == offset);
    found.expect("a letter of that row")
}

#[test]
fn letters_tell_who_what_where_and_the_guests_last_words() {
    let folder = folder(&pipeline(), ("lines.txt", ""));
    let lines = LINES.join(&b'\n');
    fs::write(folder.path().join("lines.txt"), lines).expect("writable");
    run_well(folder.path(), "letters");
    assert_eq!(read(folder.path(), "fine.jsonl").lines().count(), 1);
    let letters = letters(folder.path());
    assert_eq!(letters.len(), 3, "{letters:?}");
    for letter in &letters {
        assert_eq!(letter["at"], "direct");
        assert_eq!(letter["plugin"], digest(PLUGIN));
        assert_eq!(letter["split"], "lines.txt");
        assert_eq!(letter["row"], Value::Null, "it has the source's bytes");
    }
    let panic = of(&letters, 1);
    assert_eq!(panic["kind"], "fault");
    assert_eq!(panic["original"], "panic now");
    assert_eq!(panic["original-bytes"], Value::Null);
    assert!(panic["cpu-us"].is_u64(), "{panic}");
    let wanted = format!("cannot bear panic now ({})", place());
    let reason = text(panic, "reason");
    assert!(reason.contains(&wanted), "{reason}, not {wanted}");
    let log: Vec<&str> = text(panic, "log").lines().collect();
    for line in ["heard", "printed", "complained of"] {
        let line = format!("{line} panic now");
        assert!(log.contains(&&*line), "`{line}` is not in {log:?}");
    }
    let other = of(&letters, 3);
    assert_eq!(other["original"], Value::Null, "it is no text");
    assert_eq!(other["original-bytes"], LAST);
    let refused = of(&letters, 2);
    assert_eq!(refused["kind"], "reject");
    assert_eq!(refused["reason"], "nobody says refuse me");
    assert_eq!(refused["original"], "refuse me");
    assert_eq!(refused["cpu-us"], Value::Null, "the call went well");
}

#[test]
fn letters_of_computed_rows_have_the_row_and_the_bytes_it_goes_back_to() {
    let folder = folder(&pipeline(), ("lines.txt", ""));
    let lines = LINES.join(&b'\n');
    fs::write(folder.path().join("lines.txt"), lines).expect("writable");
    run_well(folder.path(), "derived");
    let text = read(folder.path(), "derived.jsonl");
    let letter = |line: &str| serde_json::from_str(line).expect("JSON");
    let letters: Vec<Value> = text.lines().map(letter).collect();
    assert_eq!(letters.len(), 2, "{letters:?}");
    let last = of(&letters, 3);
    assert_eq!(last["at"], "second");
    assert_eq!(last["kind"], "fault");
    assert_eq!(last["original-bytes"], LAST);
    let row: Value = serde_json::from_str(super::job::text(last, "row")).expect("JSON");
    assert_eq!(row["columns"], json!({ "said": LAST }));
    let id = row["id"].as_str().expect("an id");
    assert!(id.starts_with("post/") && id.contains("/first."), "{id}");
}
