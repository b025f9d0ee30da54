//! What a guest gets that asks the sandbox for what lies outside: the time of its record, random
//! numbers that a rerun repeats, and nothing else.

use std::collections::BTreeMap;
use std::fs;

use wasmill_tests::run_guarded;

use super::job::{component, folder, read, wasmill};

/// What is asked, a row each; each row is a batch of its own.
const ASKED: &[&str] = &[
    "clock",
    "wall-clock",
    "monotonic-clock",
    "seed",
    "seed",
    "random",
    "random",
    "variables",
    "variable",
    "arguments",
    "folder",
    "own-folder",
    "file",
    "own-file",
    "new-file",
    "stdin",
    "thread",
    "stdout",
];

/// The event time of the row with that number, in seconds and in microseconds.
fn time(row: usize) -> (String, String) {
    let second = 10 + row;
    let at = format!("2001-09-09T01:46:{second}.000250Z");
    // The first second of that minute, and what stands behind it.
    (at, format!("{}000250", 999_999_960 + second))
}

fn pipeline() -> String {
    let guest = component("guest-closed-wasi");
    format!(
        "name: closed
sources:
  asked:
    file: {{ path: asked.csv }}
    format: {{ csv: {{ ask: string, at: timestamp }} }}
    event-time: {{ column: at }}
operators:
  answers:
    input: asked
    plugin: {}
    batch: {{ rows-max: 1 }}
sinks:
  out: {{ input: answers, file: {{ path: answers.jsonl }}, format: json }}
",
        guest.display()
    )
}

/// The answers to each question, and what the program said.
struct Answers {
    text: String,
    given: BTreeMap<String, Vec<String>>,
    said: String,
}

fn ask() -> Answers {
    let rows = ASKED.iter().enumerate();
    let rows: String = rows
        .map(|(row, ask)| format!("{ask},{}\n", time(row).0))
        .collect();
    let folder = folder(&pipeline(), ("asked.csv", &format!("ask,at\n{rows}")));
    let mut command = wasmill(folder.path());
    command.env("WASMILL_PROBE", "a secret");
    command.env("WASMILL_LOG", "info");
    command.args(["--parallelism", "1"]);
    let output = run_guarded(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(!shown.contains("printed by a guest"), "{shown}");
    let is_made = fs::exists(folder.path().join("made.txt"));
    assert!(!is_made.expect("a folder of ours"), "a guest wrote a file");
    let text = read(folder.path(), "answers.jsonl");
    let mut given = BTreeMap::new();
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let field = |name: &str| row[name].as_str().expect("text").to_owned();
        let answers: &mut Vec<String> = given.entry(field("ask")).or_default();
        answers.push(field("answer"));
    }
    Answers { text, given, said }
}

#[test]
fn time_is_the_records_and_stands_still() {
    let answers = ask().given;
    assert_eq!(answers["clock"], [time(0).1]);
    assert_eq!(answers["wall-clock"], [time(1).1]);
    assert_eq!(answers["monotonic-clock"], ["0"], "it stands still");
}

#[test]
fn chance_is_repeated_by_a_rerun() {
    let (first, second) = (ask(), ask());
    assert_eq!(first.text, second.text, "a rerun sees the same");
    let seeds = &first.given["seed"];
    assert_ne!(seeds[0], seeds[1], "each batch has its own");
    let random = &first.given["random"];
    let numbers = random.iter().flat_map(|two| two.split(' '));
    let mut numbers: Vec<u64> = numbers
        .map(|number| number.parse().expect("a number"))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 4, "no two are equal: {random:?}");
}

#[test]
fn there_are_no_files_variables_arguments_and_threads() {
    let Answers { text, given, said } = ask();
    assert_eq!(given["variables"], ["[]"]);
    assert_eq!(given["variable"], ["None"]);
    assert_eq!(given["arguments"], ["[]"]);
    for what in [
        "folder",
        "own-folder",
        "file",
        "own-file",
        "new-file",
        "thread",
    ] {
        let answer = &given[what][0];
        assert!(answer.starts_with("refused: "), "{what}: {answer}");
    }
    assert!(
        !text.contains("a secret") && !text.contains("root:"),
        "{text}"
    );
    assert_eq!(given["stdin"], ["ok: \"\""], "there is nothing to read");
    assert_eq!(given["stdout"], ["printed"]);
    assert!(
        said.contains("printed by a guest"),
        "it is in the log: {said}"
    );
}
