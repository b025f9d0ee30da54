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

/// A component that imports an empty instance of that name.
fn importing(name: &str) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    // A type section with one instance type that has no items.
    bytes.extend([7, 3, 1, 0x42, 0]);
    let mut import = vec![1, 0, name.len() as u8];
    import.extend(name.as_bytes());
    // An instance of type 0.
    import.extend([5, 0]);
    bytes.extend([10, import.len() as u8]);
    bytes.extend(import);
    bytes
}

#[test]
fn imports_that_reach_outside_are_refused_by_name() {
    check(
        &importing("wasi:sockets/tcp@0.2.0"),
        "`wasi:sockets/tcp@0.2.0`, which plugins cannot have: a plugin has no network",
    );
    check(&importing("wasi:http/outgoing-handler@0.2.3"), "no network");
    check(
        &importing("wasi:clocks/monotonic-clock@0.3.0"),
        "of 0.2 are stood in for",
    );
    check(
        &importing("wasmill:operator/state@0.2.0"),
        "lends the interfaces of",
    );
    check(
        &importing("wasmill:operatr/state@0.1.0"),
        "imports `wasmill:operator` only",
    );
    check(
        &importing("wasi:clocks/monotonic-clock@0.2.6"),
        "exports nothing",
    );
}

#[test]
fn bombs_are_refused_before_they_are_compiled() {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..1_001 {
        bytes.extend([0, 2, 1, b'x']);
    }
    check(&bytes, "1001 custom sections; a plugin may have 1000");
    let mut nested = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..10 {
        let mut outer = b"\0asm\x0d\0\x01\0".to_vec();
        outer.extend([4, nested.len() as u8 | 0x80, (nested.len() >> 7) as u8]);
        outer.extend(nested);
        nested = outer;
    }
    check(&nested, "11 levels of nesting");
}
