//! Golden files, for the tests of this crate and of the runtime: what a format is, byte by byte.
//!
//! `BLESS=1` writes them anew; look at the difference.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// A file of docs/formats/vectors.
pub(crate) fn path(name: &str) -> PathBuf {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folders = above.find_map(|folder| {
        let vectors = folder.join("docs/formats/vectors");
        vectors.is_dir().then_some(vectors)
    });
    folders.expect("the folder of golden files").join(name)
}

/// Whether golden files are to be written anew.
pub(crate) fn is_blessed() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// Holds a document against its golden file, and gives what stands there.
#[track_caller]
pub(crate) fn check(name: &str, today: &Json) -> Json {
    if is_blessed() {
        let text = serde_json::to_string_pretty(today).expect("JSON");
        fs::write(path(name), text + "\n").expect("a place");
    }
    let golden = fs::read_to_string(path(name)).expect("the golden file");
    let golden: Json = serde_json::from_str(&golden).expect("JSON");
    assert_eq!(golden, *today, "what is written has changed: {name}");
    golden
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from a text in hexadecimal.
pub(crate) fn unhex(text: &Json) -> Vec<u8> {
    let text = text.as_str().expect("digits");
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("digits");
    (0..text.len()).step_by(2).map(digit).collect()
}
