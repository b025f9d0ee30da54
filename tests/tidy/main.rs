//! The house's rules, as tests: what the compiler and clippy cannot see.
//!
//! Each rule is a pure function from a file's path and text to complaints, with bad samples of its
//! own, so that a rule that has gone blind fails too.

mod code;
mod examples;
mod imports;
mod lengths;
mod pages;
mod reach;
mod tree;
mod words;

use tree::Tree;

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint(String);

impl Complaint {
    /// At a line, counted from 1.
    pub(crate) fn at(path: &str, line: usize, message: impl std::fmt::Display) -> Self {
        Self(format!("{path}:{line}: {message}"))
    }

    /// About a whole file or folder.
    pub(crate) fn of(path: &str, message: impl std::fmt::Display) -> Self {
        Self(format!("{path}: {message}"))
    }
}

/// Applies a rule to every file with the extension and fails with all complaints at once.
fn hold(extension: &str, rule: impl Fn(&str, &str) -> Vec<Complaint>) {
    let tree = Tree::read();
    let files = tree.with_extension(extension);
    assert!(
        !files.is_empty(),
        "the tree has no .{extension} file: the rule sees nothing"
    );
    none(
        files
            .into_iter()
            .flat_map(|(path, text)| rule(path, text))
            .collect(),
    );
}

fn none(complaints: Vec<Complaint>) {
    let lines: Vec<String> = complaints
        .into_iter()
        .map(|complaint| complaint.0)
        .collect();
    assert!(
        lines.is_empty(),
        "{} complaints\n{}",
        lines.len(),
        lines.join("\n")
    );
}

#[test]
fn rust_lines_and_files_and_functions_are_short() {
    hold("rs", lengths::check);
}

#[test]
fn wit_lines_are_short() {
    hold("wit", lengths::check_lines);
}

#[test]
fn each_crate_is_imported_only_where_it_is_wrapped() {
    hold("rs", imports::check_crates);
}

#[test]
fn rooms_import_only_rooms_below() {
    hold("rs", imports::check_rooms);
}

#[test]
fn core_is_pure() {
    hold("rs", imports::check_core);
    hold("toml", imports::check_manifest);
}

#[test]
fn lints_are_lifted_only_where_agreed() {
    hold("rs", imports::check_allows);
}

#[test]
fn queues_are_bounded() {
    hold("rs", words::check_queues);
}

#[test]
fn items_are_named_in_our_words() {
    hold("rs", words::check_names);
}

#[test]
fn nothing_is_left_to_do_without_a_link() {
    let tree = Tree::read();
    none(
        tree.all()
            .flat_map(|(path, text)| words::check_marks(path, text))
            .collect(),
    );
}

#[test]
fn comments_have_their_share() {
    none(pages::check_comment_share(&Tree::read()));
}

#[test]
fn every_source_file_is_reached() {
    none(reach::check(&Tree::read()));
}

#[test]
fn examples_and_plugins_are_complete() {
    none(examples::check(&Tree::read()));
}

#[test]
fn documents_tell_the_truth() {
    none(pages::check(&Tree::read()));
}
