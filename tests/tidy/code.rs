//! A Rust file as rules see it: its tokens with their lines, and which lines are tests.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::ops::RangeInclusive;
use std::str::FromStr;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// A token as text. Doc comments are attributes with a literal, other comments are gone.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Every token in order, delimiters too. Text that is no Rust has none: the compiler complains.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    if let Ok(stream) = TokenStream::from_str(text) {
        flatten(stream, &mut tokens);
    }
    tokens
}

/// The tokens outside of `#[cfg(test)]` items.
pub(crate) fn shipped_tokens(text: &str) -> Vec<Token> {
    let tests = test_lines(text);
    let shipped = |token: &Token| !tests.iter().any(|lines| lines.contains(&token.line));
    tokens(text).into_iter().filter(shipped).collect()
}

/// Whether all of a file is tests.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.contains("/benches/")
}

/// The lines of each `#[cfg(test)]` item.
pub(crate) fn test_lines(text: &str) -> Vec<RangeInclusive<usize>> {
    let mut found = TestItems(Vec::new());
    if let Ok(file) = syn::parse_file(text) {
        found.visit_file(&file);
    }
    found.0
}

struct TestItems(Vec<RangeInclusive<usize>>);

impl<'ast> Visit<'ast> for TestItems {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = item.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Path>()
                    .is_ok_and(|path| path.is_ident("test"))
        });
        if is_test {
            let span = item.span();
            self.0.push(span.start().line..=span.end().line);
        } else {
            syn::visit::visit_item_mod(self, item);
        }
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let TokenTree::Group(group) = tree else {
            tokens.push(Token {
                text: tree.to_string(),
                line,
            });
            continue;
        };
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        tokens.push(Token {
            text: open.to_owned(),
            line,
        });
        flatten(group.stream(), tokens);
        let line = group.span_close().start().line;
        tokens.push(Token {
            text: close.to_owned(),
            line,
        });
    }
}

/// Whether the tokens from `at` on are these.
pub(crate) fn follows(tokens: &[Token], at: usize, wanted: &[&str]) -> bool {
    wanted.iter().enumerate().all(|(step, text)| {
        tokens
            .get(at + step)
            .is_some_and(|token| token.text == *text)
    })
}

#[test]
fn tests_do_not_ship() {
    let text = "use a::b;\n#[cfg(test)]\nmod tests {\n    use c::d;\n}\nfn e() {}\n";
    let shipped: String = shipped_tokens(text)
        .iter()
        .map(|token| token.text.as_str())
        .collect();
    assert_eq!(shipped, "usea::b;fne(){}");
    assert_eq!(test_lines(text), [2..=5]);
}
