//! The repository's files, read once per rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Extensions of the files that rules read.
const EXTENSIONS: &[&str] = &[
    "rs", "wit", "md", "toml", "yaml", "yml", "json", "jsonl", "java", "py",
];
/// No rule needs a longer file than this, in bytes: such a one is data.
const BYTES_MAX: u64 = 1 << 20;

/// Paths relative to the root, with `/`, and their texts; a file that is data has no text.
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the repository this test was built in. Works without git: an unpacked archive is
    /// tested too.
    pub(crate) fn read() -> Self {
        let mut files = BTreeMap::new();
        walk(&root(), &root(), &mut files);
        Self { files }
    }

    /// A tree made up for a test of a rule.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Self {
            files: files.iter().map(owned).collect(),
        }
    }

    /// Path and text of each file with the extension.
    pub(crate) fn with_extension(&self, extension: &str) -> Vec<(&str, &str)> {
        let tail = format!(".{extension}");
        self.all()
            .filter(|(path, _)| path.ends_with(&tail))
            .collect()
    }

    /// Every file.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether a file or folder stands there.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.text(path).is_some() || self.files.keys().any(|file| file.starts_with(&folder))
    }

    /// The names of the folders directly inside one.
    pub(crate) fn folders(&self, parent: &str) -> Vec<&str> {
        let names = self.files.keys().filter_map(|path| {
            let rest = path.strip_prefix(parent)?.strip_prefix('/')?;
            rest.split_once('/').map(|(name, _)| name)
        });
        let mut names: Vec<&str> = names.collect();
        names.dedup();
        names
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let tests = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    tests
        .parent()
        .expect("this package stands in a folder of the root")
        .to_path_buf()
}

fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry of a folder that was opened").path();
        let name = path
            .file_name()
            .expect("an entry has a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                walk(root, &path, files);
            }
            continue;
        }
        let relative = path.strip_prefix(root).expect("walked from the root");
        let relative = relative.to_string_lossy().replace('\\', "/");
        files.insert(relative, text(&path));
    }
}

fn text(path: &Path) -> String {
    let known = path
        .extension()
        .is_some_and(|found| EXTENSIONS.iter().any(|e| found == *e));
    let short = fs::metadata(path).is_ok_and(|data| data.len() <= BYTES_MAX);
    if known && short {
        fs::read_to_string(path).unwrap_or_default()
    } else {
        String::new()
    }
}
