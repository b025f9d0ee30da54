//! Documents: their links lead somewhere, their commands exist, their numbers hold, every error
//! code has its page, and the code is explained.

use crate::Complaint;
use crate::code::{is_test_file, test_lines, tokens};
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// Lines of ARCHITECTURE.md and deny.toml.
const ARCHITECTURE_LINES_MAX: usize = 400;
const DENY_LINES_MAX: usize = 50;

/// Folders, extension, and the least share of comment lines in percent. The aim is 25 for core and
/// the SDK: where a floor is lower, it is where the code stands; raise it, never lower it.
const COMMENT_SHARES: &[(&str, &str, usize)] = &[
    ("host/core/src", "rs", 18),
    ("sdk/rust", "rs", 25),
    ("host/src", "rs", 12),
    ("wit", "wit", 50),
];

/// The two commands a newcomer needs.
const FIRST_COMMANDS: &[&str] = &["cargo xtask demo", "cargo xtask test"];

/// All rules about documents but the comments' share.
pub(crate) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.with_extension("md") {
        complaints.extend(check_links(tree, path, text));
        complaints.extend(check_tasks(tree, path, text));
    }
    complaints.extend(check_lengths(tree));
    complaints.extend(check_invariants(tree));
    complaints.extend(check_codes(tree));
    let readme = tree.text("README.md").unwrap_or_default();
    for command in FIRST_COMMANDS
        .iter()
        .filter(|command| !readme.contains(**command))
    {
        complaints.push(Complaint::of(
            "README.md",
            format!("does not show `{command}`"),
        ));
    }
    complaints
}

/// Each relative link names a file or folder of the tree.
fn check_links(tree: &Tree, path: &str, text: &str) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !resolve(path, target).is_some_and(|file| file.is_empty() || tree.has(&file)) {
                complaints.push(Complaint::at(path, at + 1, format!("no file {target}")));
            }
        }
    }
    complaints
}

/// The path that a link in a document means, or `None` where it leaves the tree.
fn resolve(document: &str, link: &str) -> Option<String> {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Each `cargo xtask WORD` is a task.
fn check_tasks(tree: &Tree, path: &str, text: &str) -> Vec<Complaint> {
    let main = tree.text("xtask/src/main.rs").unwrap_or_default();
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for rest in line.split("cargo xtask ").skip(1) {
            let end = rest
                .find(|letter: char| !letter.is_ascii_lowercase())
                .unwrap_or(rest.len());
            let task = &rest[..end];
            if !task.is_empty() && !main.contains(&format!("name: \"{task}\"")) {
                complaints.push(Complaint::at(path, at + 1, format!("no task `{task}`")));
            }
        }
    }
    complaints
}

fn check_lengths(tree: &Tree) -> Vec<Complaint> {
    let limits = [
        ("ARCHITECTURE.md", ARCHITECTURE_LINES_MAX),
        ("deny.toml", DENY_LINES_MAX),
    ];
    let mut complaints = Vec::new();
    for (path, max) in limits {
        match tree.text(path).map(|text| text.lines().count()) {
            Some(lines) if lines <= max => {}
            Some(lines) => {
                complaints.push(Complaint::of(path, format!("{lines} lines, at most {max}")));
            }
            None => complaints.push(Complaint::of(path, "is missing")),
        }
    }
    complaints
}

/// The invariants are numbered from 1 without a gap, so that a comment can name one for good.
fn check_invariants(tree: &Tree) -> Vec<Complaint> {
    let text = tree.text("ARCHITECTURE.md").unwrap_or_default();
    let Some((_, rest)) = text.split_once("## Invariants") else {
        return vec![Complaint::of("ARCHITECTURE.md", "has no `## Invariants`")];
    };
    let section = rest.split("\n## ").next().unwrap_or_default();
    let numbers = section
        .lines()
        .filter_map(|line| line.split_once(". ")?.0.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let is_whole = !numbers.is_empty() && numbers.iter().copied().eq(1..=numbers.len());
    let complaint = || Complaint::of("ARCHITECTURE.md", format!("invariants {numbers:?}"));
    if is_whole {
        Vec::new()
    } else {
        vec![complaint()]
    }
}

/// Each error code in the host's or core's code has a page, and each page a code.
fn check_codes(tree: &Tree) -> Vec<Complaint> {
    let mut codes: BTreeMap<String, &str> = BTreeMap::new();
    for (path, text) in tree.with_extension("rs") {
        if path.starts_with("host/") && !is_test_file(path) {
            let strings = tokens(text).into_iter().map(|token| token.text);
            codes.extend(strings.filter_map(|text| code(text.trim_matches('"')).zip(Some(path))));
        }
    }
    let pages = tree
        .all()
        .filter_map(|(path, _)| path.strip_prefix("docs/errors/"));
    let pages: BTreeSet<String> = pages
        .filter_map(|file| code(file.strip_suffix(".md")?))
        .collect();
    let missing = codes.iter().filter(|(code, _)| !pages.contains(*code));
    let unknown = pages.iter().filter(|page| !codes.contains_key(*page));
    missing
        .map(|(code, path)| Complaint::of(path, format!("{code} has no page in docs/errors")))
        .chain(unknown.map(|page| Complaint::of("docs/errors", format!("no code {page}"))))
        .collect()
}

/// The text if it is a code: `E` and four digits.
fn code(text: &str) -> Option<String> {
    let digits = text.strip_prefix('E')?;
    let is_code = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_code.then(|| text.to_owned())
}

/// Enough of the code explains itself.
pub(crate) fn check_comment_share(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (folder, extension, least) in COMMENT_SHARES {
        let files = tree.with_extension(extension).into_iter();
        let files = files.filter(|(path, _)| path.starts_with(&format!("{folder}/")));
        let shipped = files.filter(|(path, _)| !is_test_file(path));
        let (mut comments, mut lines) = (0, 0);
        for (_, text) in shipped {
            let (more_comments, more_lines) = match *extension {
                "wit" => count_documentation(text),
                _ => count_comments(text),
            };
            comments += more_comments;
            lines += more_lines;
        }
        if comments * 100 < lines * least {
            let share = comments * 100 / lines.max(1);
            complaints.push(Complaint::of(
                folder,
                format!("{share} % of {lines} lines are comments, at least {least} %"),
            ));
        }
    }
    complaints
}

/// Lines of documentation, and all lines of a text.
fn count_documentation(text: &str) -> (usize, usize) {
    let is_documentation = |line: &&str| line.trim_start().starts_with("///");
    let count = text.lines().filter(is_documentation).count();
    (count, text.lines().count())
}

/// Comment lines and all lines of a text, without its tests and without what says nothing: blank
/// lines and lone brackets.
fn count_comments(text: &str) -> (usize, usize) {
    let tests = test_lines(text);
    let (mut comments, mut lines) = (0, 0);
    for (at, line) in text.lines().map(str::trim).enumerate() {
        let is_test = tests.iter().any(|lines| lines.contains(&(at + 1)));
        let is_empty = !line.contains(char::is_alphanumeric);
        lines += usize::from(!is_test && !is_empty);
        comments += usize::from(!is_test && !is_empty && line.starts_with("//"));
    }
    (comments, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_found() {
        let tree = Tree::of(&[("docs/a.md", ""), ("host/src/main.rs", "")]);
        let count = |text| check_links(&tree, "docs/b.md", text).len();
        assert_eq!(
            count("[a](a.md) [h](../host/) [w](https://x.y/z) [s](#here) [r](..)"),
            0
        );
        assert_eq!(count("[a](c.md) [up](../../etc) [b](a.md#part)"), 2);
    }

    #[test]
    fn a_task_that_does_not_exist_is_found() {
        let tree = Tree::of(&[("xtask/src/main.rs", "Task { name: \"demo\" }")]);
        assert!(
            check_tasks(&tree, "a.md", "run `cargo xtask demo` or cargo xtask TASK").is_empty()
        );
        assert_eq!(
            check_tasks(&tree, "a.md", "run `cargo xtask dmeo`").len(),
            1
        );
    }

    #[test]
    fn codes_and_pages_match() {
        let code = ("host/src/error.rs", "fn f() { \"E0101\" }");
        let page = ("docs/errors/E0101.md", "");
        assert!(check_codes(&Tree::of(&[code, page])).is_empty());
        assert_eq!(check_codes(&Tree::of(&[code])).len(), 1);
        assert_eq!(check_codes(&Tree::of(&[page])).len(), 1);
    }

    #[test]
    fn invariants_are_numbered() {
        let count = |text: &str| check_invariants(&Tree::of(&[("ARCHITECTURE.md", text)])).len();
        assert_eq!(count("## Invariants\n\n1. a\n2. b\n\n## Next\n7. x\n"), 0);
        assert_eq!(count("## Invariants\n\n1. a\n3. b\n"), 1);
        assert_eq!(count("nothing"), 1);
    }

    #[test]
    fn bare_code_is_found() {
        let text = "fn f() {}\nfn g() {}\nfn h() {}\n";
        let tree = |text| Tree::of(&[("host/core/src/a.rs", text)]);
        assert_eq!(check_comment_share(&tree(text)).len(), 1);
        let explained = format!("/// Why.\n{text}");
        assert!(check_comment_share(&tree(&explained)).is_empty());
    }
}
