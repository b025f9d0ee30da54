//! What never reaches the compiler.

use super::*;

fn check(bytes: &[u8], part: &str) {
    let error = match engine().load(bytes) {
        Ok(_) => panic!("loaded, wanted `{part}`"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(part), "{error}, not `{part}`");
}

#[test]
fn what_is_no_component_is_named() {
    check(b"", "empty");
    check(b"hello", "something else");
    check(b"(module)", "WebAssembly text");
    check(&[0x1f, 0x8b, 8, 0], "gzip");
    check(b"\x7fELF\x02\x01", "native or precompiled code");
    check(b"\0asm\x01\0\0\0", "a core module");
}

#[test]
fn truncated_and_flipped_components_are_refused_without_a_panic() {
    let good = component("count-by-key");
    let engine = engine();
    for end in (8..good.len()).step_by(good.len() / 60) {
        assert!(engine.load(&good[..end]).is_err(), "cut at {end}");
    }
    // A flipped bit may still be a good component: only a panic would be wrong.
    for at in (8..good.len()).step_by(good.len() / 20) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        let _ = engine.load(&flipped);
    }
}

#[test]
fn an_empty_component_has_the_wrong_world() {
    check(b"\0asm\x0d\0\x01\0", "exports nothing");
}
