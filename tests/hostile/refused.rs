//! What never runs: files that are no plugins, and plugins of another kind.

use std::fs;

use super::batches::GUEST;
use super::job::{component, folder, pipeline, rows, run};

/// A plugin's file is refused with this word, and nothing has run.
#[track_caller]
fn check(name: &str, bytes: &[u8], part: &str) {
    let folder = folder("", ("rows.csv", &rows()));
    let plugin = folder.path().join(name);
    fs::write(&plugin, bytes).expect("writable");
    let document = folder.path().join("pipeline.yaml");
    fs::write(document, pipeline(&plugin, &GUEST, "not")).expect("writable");
    let output = run(folder.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{name}: {said}");
    assert!(said.contains(part), "{name}: {said}");
    assert!(!folder.path().join("exact.csv").exists(), "{name}: {said}");
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(component(name)).expect("`cargo xtask plugins` has built it")
}

/// The same bytes with one name in the place of another of the same length.
fn renamed(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut at = 0;
    let mut count = 0;
    let found = |bytes: &[u8]| {
        bytes
            .windows(from.len())
            .position(|it| it == from.as_bytes())
    };
    while let Some(next) = found(&bytes[at..]) {
        at += next;
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        count += 1;
    }
    assert!(count > 0, "{from} stands in the component");
    bytes
}

#[test]
fn what_is_no_plugin_is_refused_before_anything_runs() {
    check("text.wasm", b"not WebAssembly", "text.wasm");
    check("core.wasm", b"\0asm\x01\0\0\0", "a core module");
    check("empty.wasm", b"\0asm\x0d\0\x01\0", "exports nothing");
    let mut cut = bytes("guest-hostile");
    cut.truncate(cut.len() / 2);
    check("cut.wasm", &cut, "malformed at byte");
}

#[test]
fn a_plugin_of_another_world_is_refused_before_anything_runs() {
    check(
        "aggregate.wasm",
        &bytes("guest-fold"),
        "is an aggregate, which is part of a window",
    );
    let (ours, other) = (
        "wasmill:operator/operator@0.1.0",
        "wasmill:operator/operator@0.9.0",
    );
    check(
        "version.wasm",
        &renamed(bytes("guest-hostile"), ours, other),
        "the component exports `wasmill:operator/operator@0.9.0`",
    );
}

#[test]
fn a_plugin_that_opens_sockets_is_refused_before_anything_runs() {
    check(
        "socket.wasm",
        &bytes("guest-socket"),
        "a plugin has no network",
    );
}
