//! Names, queues and marks.

use crate::Complaint;
use crate::code::{follows, tokens};
use syn::visit::Visit;

/// Names that say nothing: name an item or a file after the noun of what it does.
const VAGUE: &[&str] = &["util", "utils", "helper", "helpers", "misc", "common"];

/// Another project's words within a name, and what to say instead.
const FOREIGN: &[(&str, &str)] = &[
    ("shard", "key group, split or partition"),
    ("topology", "pipeline or plan"),
    ("udf", "plugin"),
    ("backup", "checkpoint or savepoint"),
];

/// Marks of unfinished work; spelled in halves, so that this file has none.
const MARKS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// No item and no file is named with another project's word.
pub(crate) fn check_names(path: &str, text: &str) -> Vec<Complaint> {
    let stem = path
        .rsplit('/')
        .next()
        .unwrap_or(path)
        .trim_end_matches(".rs");
    let mut names = Names(vec![(stem.to_owned(), 1)]);
    if let Ok(file) = syn::parse_file(text) {
        names.visit_file(&file);
    }
    if stem == "mod" {
        return vec![Complaint::of(
            path,
            "name the file after its module, beside its folder",
        )];
    }
    let mut complaints = Vec::new();
    for (name, line) in names.0 {
        if VAGUE.contains(&name.to_lowercase().as_str()) {
            complaints.push(Complaint::at(path, line, format!("`{name}` says nothing")));
        }
        for word in split(&name) {
            if let Some((_, instead)) = FOREIGN.iter().find(|(unwanted, _)| *unwanted == word) {
                let message = format!("`{name}`: not `{word}` but {instead}");
                complaints.push(Complaint::at(path, line, message));
            }
        }
    }
    complaints
}

/// The words of a name in camel or snake case, lower-case.
fn split(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        if letter != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

struct Names(Vec<(String, usize)>);

impl Names {
    fn push(&mut self, name: &syn::Ident) {
        self.0.push((name.to_string(), name.span().start().line));
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.push(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.push(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.push(&item.ident);
        syn::visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.push(&item.ident);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.push(&item.ident);
        syn::visit::visit_item_mod(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.push(&signature.ident);
    }
}

/// Every channel has a bound: a sender that is never full is memory that is never enough. (Clippy
/// bans the queue type without a bound; lifting that takes a reason.)
pub(crate) fn check_queues(path: &str, text: &str) -> Vec<Complaint> {
    let tokens = tokens(text);
    let mut complaints = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_endless = match token.text.as_str() {
            "unbounded_channel" | "unbounded" | "UnboundedSender" => true,
            // `mpsc::channel()` without a number.
            "channel" => {
                let after = &tokens[at + 1..];
                let called = after.iter().position(|token| token.text == "(");
                let turbofish = |to: usize| to == 0 || follows(&tokens, at + 1, &[":", ":", "<"]);
                let empty = called
                    .is_some_and(|to| turbofish(to) && follows(after, to, &["(", ")"]) && to < 24);
                empty && path_before(&tokens, at) == "mpsc"
            }
            _ => false,
        };
        if is_endless {
            complaints.push(Complaint::at(path, token.line, "a queue without a bound"));
        }
    }
    complaints
}

/// The word before `::` before the token.
fn path_before(tokens: &[crate::code::Token], at: usize) -> &str {
    if at >= 3 && follows(tokens, at - 2, &[":", ":"]) {
        &tokens[at - 3].text
    } else {
        ""
    }
}

/// A mark of unfinished work names the issue it waits for.
pub(crate) fn check_marks(path: &str, text: &str) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let words = || line.split(|letter: char| !letter.is_alphanumeric());
        let Some(mark) = words().find(|word| MARKS.contains(word)) else {
            continue;
        };
        let has_number = line
            .split_once('#')
            .is_some_and(|(_, rest)| rest.starts_with(|digit: char| digit.is_ascii_digit()));
        if !has_number && !line.contains("https://") {
            complaints.push(Complaint::at(
                path,
                at + 1,
                format!("{mark} without a link"),
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_word_is_found() {
        for text in [
            "struct TopologyBuilder;",
            "mod utils {}",
            "fn shard_of() {}",
            "type Udf = u8;",
        ] {
            assert_eq!(check_names("host/src/task.rs", text).len(), 1, "{text}");
        }
        assert_eq!(check_names("host/src/wasm/helpers.rs", "").len(), 1);
        assert_eq!(check_names("host/src/wasm/mod.rs", "").len(), 1);
        assert!(check_names("host/src/task.rs", "struct Factor; fn common_task() {}").is_empty());
    }

    #[test]
    fn a_queue_without_a_bound_is_found() {
        let bad = [
            "use tokio::sync::mpsc::unbounded_channel;",
            "let (a, b) = mpsc::channel();",
            "let (a, b) = std::sync::mpsc::channel::<u8>();",
        ];
        for text in bad {
            assert_eq!(check_queues("host/src/a.rs", text).len(), 1, "{text}");
        }
        let good = [
            "let (a, b) = mpsc::channel(QUEUE_LEN_MAX);",
            "let (a, b) = oneshot::channel();",
            "let (a, b) = readers::channel();",
            "struct A { channel: u8 } fn f() {}",
        ];
        for text in good {
            assert!(check_queues("host/src/a.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_mark_without_a_link_is_found() {
        for mark in MARKS {
            assert_eq!(check_marks("a.rs", &format!("// {mark}: later\n")).len(), 1);
            assert!(check_marks("a.rs", &format!("// {mark} (#12): later\n")).is_empty());
        }
        assert!(check_marks("a.rs", "let todos = 1;\n").is_empty());
    }
}
