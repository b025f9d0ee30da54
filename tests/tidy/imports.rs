//! Who may import what: the crates that are wrapped in one place, the rooms of the host, the
//! purity of core.

use crate::Complaint;
use crate::code::{Token, follows, is_test_file, shipped_tokens, tokens};

/// A crate's name in code, and the places that may say it. A place is a path without `.rs`: the
/// file and the folder beside it.
const CRATES: &[(&str, &[&str])] = &[
    ("wasmtime", &["host/src/wasm"]),
    (
        "arrow_ipc",
        &[
            "host/src/connector/sink",
            "host/src/inspection/export",
            "host/src/segment",
            "host/src/task/sorter",
        ],
    ),
    (
        "rusqlite",
        &[
            "host/src/connector/sink/sqlite",
            "host/src/inspection/sql",
            "tests",
            "examples/card-fraud",
        ],
    ),
    ("tokio_postgres", &["host/src/connector/sink/postgres"]),
    (
        "tokio_postgres_rustls",
        &["host/src/connector/sink/postgres"],
    ),
    (
        "rdkafka",
        &["host/src/connector/kafka", "tests", "examples/card-fraud"],
    ),
    ("reqwest", &["host/src/format/registry"]),
    ("protox", &["host/src/format/protobuf"]),
    (
        "prost_reflect",
        &[
            "host/src/format/protobuf",
            "host/src/format/encode/protobuf",
        ],
    ),
    ("rocksdb", &["host/src/state/rocksdb"]),
    ("axum", &["host/src/api"]),
    (
        "clap",
        &["host/src/cli", "host/src/main", "tests/bench", "examples"],
    ),
    ("indicatif", &["host/src/cli"]),
    (
        "anyhow",
        &[
            "host/src/cli",
            "host/src/main",
            "xtask",
            "tests",
            "plugins",
            "examples",
        ],
    ),
];

/// The rooms of the host, a layer a line, from the top. A room imports rooms of its own line and of
/// the lines below.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["api", "inspection"],
    &["job"],
    &["task"],
    &[
        "checkpoint",
        "operator",
        "connector",
        "exchange",
        "feature",
        "window",
        "join",
        "dead_letter",
        "plugin_store",
    ],
    &["format"],
    &["wasm"],
    &["state"],
    &["segment"],
    &["slot"],
    &["crash_point"],
    &["clock", "spawn", "metrics", "secret", "allocator"],
];

/// A module that is a room of its own beneath the room it stands in: tasks run on slots, and who
/// waits for a slot is woken by it.
const INNER_ROOM: (&str, &str) = ("task", "slot");

/// What core must not name: it decides, others do.
const IMPURE: &[&[&str]] = &[
    &["tokio", "::"],
    &["wasmtime", "::"],
    &["std", "::", "fs"],
    &["std", "::", "net"],
    &["std", "::", "thread"],
    &["std", "::", "process"],
    &["std", "::", "time", "::", "Instant"],
    &["std", "::", "time", "::", "SystemTime"],
    &["Instant", "::", "now"],
    &["SystemTime", "::", "now"],
    &["wasmill_host", "::"],
    &["wasmill_sdk", "::"],
];

/// Dependencies that a manifest must not have, as the start of its path and the crates' names.
const NOT_DEPENDENCIES: &[(&str, &[&str])] = &[
    (
        "host/core/",
        &[
            "tokio",
            "wasmtime",
            "rocksdb",
            "rdkafka",
            "axum",
            "wasmill-host",
            "wasmill-sdk",
        ],
    ),
    ("sdk/", &["wasmill-core", "wasmill-host", "tokio"]),
    ("plugins/", &["wasmill-core", "wasmill-host"]),
    ("tests/guests/", &["wasmill-core", "wasmill-host"]),
];

/// Lints that are lifted in few places: each is a promise to the rest of the code.
const ALLOWS: &[(&str, &[&str])] = &[
    (
        "unsafe_code",
        &[
            "host/src/allocator",
            "host/src/connector/kafka",
            "host/src/wasm",
            "host/src/state",
            "sdk",
            "tests/bench",
            "tests/guests",
        ],
    ),
    (
        "print_stdout",
        &[
            "host/src/cli",
            "host/src/main",
            "host/examples",
            "xtask",
            "tests",
            "examples",
        ],
    ),
    (
        "print_stderr",
        &[
            "host/src/cli",
            "host/src/main",
            "host/examples",
            "xtask",
            "tests",
            "examples",
        ],
    ),
    (
        "disallowed_methods",
        &[
            "host/src/clock",
            "host/src/spawn",
            "xtask",
            "tests",
            "examples",
            "sdk",
        ],
    ),
    (
        "dead_code",
        &["host/core/src/descriptor", "host/src/cli/plugin/fixture"],
    ),
    ("unused", &[]),
];

/// Whether the path is the place or stands inside it.
fn is_in(path: &str, place: &str) -> bool {
    let rest = path.strip_prefix(place);
    rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// A wrapped crate is named nowhere else.
pub(crate) fn check_crates(path: &str, text: &str) -> Vec<Complaint> {
    let tokens = tokens(text);
    let mut complaints = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some((name, places)) = CRATES.iter().find(|(name, _)| token.text == *name) else {
            continue;
        };
        if starts_path(&tokens, at) && !places.iter().any(|place| is_in(path, place)) {
            let message = format!("`{name}` belongs to {}", places.join(", "));
            complaints.push(Complaint::at(path, token.line, message));
        }
    }
    complaints
}

/// Whether the token is a crate at the head of a path, and no field or inner module of its name.
fn starts_path(tokens: &[Token], at: usize) -> bool {
    let before = |text: &str| at > 0 && tokens[at - 1].text == text;
    let heads = follows(tokens, at + 1, &[":", ":"]) || (before("use") && !before("{"));
    heads && !before(":") && !before(".")
}

/// A room of the host imports no room above it.
pub(crate) fn check_rooms(path: &str, text: &str) -> Vec<Complaint> {
    let Some(own) = room_of(path).filter(|_| !is_test_file(path)) else {
        return Vec::new();
    };
    let Some(own_layer) = layer(own) else {
        return if own == "lib" {
            Vec::new()
        } else {
            vec![unknown_room(path, own)]
        };
    };
    let tokens = shipped_tokens(text);
    let mut complaints = Vec::new();
    for at in imported_rooms(path, &tokens) {
        let room = imported_room(&tokens, at);
        if layer(room).is_some_and(|layer| layer < own_layer) {
            let message = format!("{own} may not import {room}, which stands above it");
            complaints.push(Complaint::at(path, tokens[at].line, message));
        }
    }
    complaints
}

/// The room that the token at the head of a path names.
fn imported_room(tokens: &[Token], at: usize) -> &str {
    let (room, inner) = INNER_ROOM;
    if follows(tokens, at, &[room, ":", ":", inner]) {
        inner
    } else {
        &tokens[at].text
    }
}

fn unknown_room(path: &str, room: &str) -> Complaint {
    Complaint::of(
        path,
        format!("no layer is agreed for {room}: add it to LAYERS in tests/tidy"),
    )
}

fn room_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("host/src/")?;
    if rest
        .trim_end_matches(".rs")
        .split('/')
        .eq([INNER_ROOM.0, INNER_ROOM.1])
    {
        return Some(INNER_ROOM.1);
    }
    Some(
        rest.split_once('/')
            .map_or(rest.trim_end_matches(".rs"), |(room, _)| room),
    )
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// Where a word follows `crate::`, or as many `super::` as lead to the crate; groups in braces too.
fn imported_rooms(path: &str, tokens: &[Token]) -> Vec<usize> {
    let depth = path.trim_start_matches("host/src/").split('/').count();
    let supers = vec![["super", ":", ":"]; depth].concat();
    let mut rooms = Vec::new();
    for at in 0..tokens.len() {
        let head: &[&str] = if tokens[at].text == "crate" {
            &["crate", ":", ":"]
        } else {
            supers.as_slice()
        };
        if !follows(tokens, at, head) || (at > 0 && tokens[at - 1].text == ":") {
            continue;
        }
        let next = at + head.len();
        match tokens.get(next) {
            Some(token) if token.text == "{" => rooms.extend(group_heads(tokens, next + 1)),
            Some(_) => rooms.push(next),
            None => {}
        }
    }
    rooms
}

/// Where the paths begin in a brace group whose inside begins at `from`.
fn group_heads(tokens: &[Token], from: usize) -> Vec<usize> {
    let (mut depth, mut is_head, mut heads) = (0_usize, true, Vec::new());
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            "," if depth == 0 => is_head = true,
            _ if is_head => {
                heads.push(at);
                is_head = false;
            }
            _ => {}
        }
    }
    heads
}

/// Core names no clock, thread, file, socket or runtime.
pub(crate) fn check_core(path: &str, text: &str) -> Vec<Complaint> {
    if !path.starts_with("host/core/src/") || is_test_file(path) {
        return Vec::new();
    }
    let tokens = shipped_tokens(text);
    let mut complaints = Vec::new();
    for wanted in IMPURE {
        let words: Vec<&str> = wanted
            .iter()
            .flat_map(|w| if *w == "::" { vec![":", ":"] } else { vec![*w] })
            .collect();
        for at in (0..tokens.len()).filter(|at| follows(&tokens, *at, &words)) {
            let message = format!("core is pure: no {}", wanted.concat());
            complaints.push(Complaint::at(path, tokens[at].line, message));
        }
    }
    complaints
}

/// A crate's manifest lacks what its place must not know; a plugin's stands alone when copied.
pub(crate) fn check_manifest(path: &str, text: &str) -> Vec<Complaint> {
    if !path.ends_with("/Cargo.toml") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let is_copied = path.starts_with("plugins/")
        || (path.starts_with("examples/") && path.ends_with("/plugin/Cargo.toml"));
    let unwanted: Vec<&str> = NOT_DEPENDENCIES
        .iter()
        .filter(|(place, _)| path.starts_with(place))
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    for (at, line) in text.lines().enumerate() {
        let key = line
            .split(['=', '.', ' '])
            .next()
            .unwrap_or_default()
            .trim_matches('"');
        if unwanted.contains(&key) {
            complaints.push(Complaint::at(
                path,
                at + 1,
                format!("must not depend on {key}"),
            ));
        }
        if is_copied && line.contains("workspace = true") {
            let message = "copied by strangers: write the value, inherit nothing";
            complaints.push(Complaint::at(path, at + 1, message));
        }
    }
    complaints
}

/// `allow` and `expect` of the lints in the table stand only in their places.
pub(crate) fn check_allows(path: &str, text: &str) -> Vec<Complaint> {
    let tokens = tokens(text);
    let mut complaints = Vec::new();
    let mut lifting = false;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "allow" | "expect" => lifting = follows(&tokens, at + 1, &["("]) && opens(&tokens, at),
            "]" => lifting = false,
            name if lifting => {
                let rule = ALLOWS.iter().find(|(lint, _)| *lint == name);
                if rule.is_some_and(|(_, places)| !places.iter().any(|place| is_in(path, place))) {
                    let message = format!("{name} is not lifted here");
                    complaints.push(Complaint::at(path, token.line, message));
                }
            }
            _ => {}
        }
    }
    complaints
}

/// Whether the word at `at` opens an attribute.
fn opens(tokens: &[Token], at: usize) -> bool {
    at >= 2 && tokens[at - 1].text == "[" && matches!(tokens[at - 2].text.as_str(), "#" | "!")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_crate_outside_its_wrapper_is_found() {
        let uses = [
            "use wasmtime::Engine;",
            "fn f() { wasmtime::x() }",
            "use wasmtime;",
        ];
        for text in uses {
            assert_eq!(
                check_crates("host/src/task/chain.rs", text).len(),
                1,
                "{text}"
            );
            assert!(check_crates("host/src/wasm/engine.rs", text).is_empty());
            assert!(check_crates("host/src/wasm.rs", text).is_empty());
            assert_eq!(check_crates("host/src/wasmer.rs", text).len(), 1);
        }
        for text in [
            "let wasmtime = a.wasmtime;",
            "// wasmtime::x\n",
            "use a::wasmtime::b;",
        ] {
            assert!(check_crates("host/src/task.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn an_upward_import_is_found() {
        let up = [
            "use crate::job::Job;",
            "use crate::{clock, job::{A, B}};",
            "fn f() { crate::cli::run() }",
            "fn f() { g!(crate::task::run()) }",
            "use super::super::task::Task;",
        ];
        for text in up {
            assert_eq!(
                check_rooms("host/src/wasm/engine.rs", text).len(),
                1,
                "{text}"
            );
        }
        let down = [
            "use crate::clock::Clock;",
            "use crate::wasm::job::Job;",
            "use super::task;",
            "#[cfg(test)]\nmod tests {\n    use crate::task::A;\n}\n",
            "use crate::{clock, task::slot};",
        ];
        for text in down {
            assert!(
                check_rooms("host/src/wasm/engine.rs", text).is_empty(),
                "{text}"
            );
        }
        assert_eq!(check_rooms("host/src/newroom/a.rs", "").len(), 1);
    }

    #[test]
    fn an_impure_core_is_found() {
        let path = "host/core/src/plan.rs";
        for text in [
            "use std::time::Instant;",
            "use std::fs::File;",
            "use tokio::sync::mpsc;",
        ] {
            assert_eq!(check_core(path, text).len(), 1, "{text}");
        }
        assert!(check_core(path, "use std::time::Duration;").is_empty());
        assert_eq!(
            check_manifest("host/core/Cargo.toml", "tokio.workspace = true\n").len(),
            1
        );
        assert_eq!(
            check_manifest("plugins/a/Cargo.toml", "x = { workspace = true }\n").len(),
            1
        );
        assert!(check_manifest("host/Cargo.toml", "tokio.workspace = true\n").is_empty());
    }

    #[test]
    fn a_lint_lifted_elsewhere_is_found() {
        let text = "#[allow(unsafe_code, reason = \"r\")]\nfn f() {}";
        assert_eq!(check_allows("host/src/task.rs", text).len(), 1);
        assert!(check_allows("host/src/wasm/engine.rs", text).is_empty());
        assert_eq!(
            check_allows("host/src/task.rs", "#![expect(clippy::print_stdout)]").len(),
            1
        );
        assert!(check_allows("host/src/task.rs", "fn f() { x.expect(dead_code) }").is_empty());
    }
}
