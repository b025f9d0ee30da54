//! Files, functions, parameters and lines stay short.

use crate::Complaint;
use crate::code::{is_test_file, test_lines};
use std::ops::RangeInclusive;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// Lines of a file, its tests not counted.
const FILE_LINES_MAX: usize = 500;
/// Lines of a file of tests.
const TEST_FILE_LINES_MAX: usize = 700;
/// Lines of a function, from its name to its last brace, blank and comment lines not counted.
const FUNCTION_LINES_MAX: usize = 70;
/// Parameters of a function, `self` not counted.
const PARAMETERS_MAX: usize = 5;
/// Characters of a line.
const LINE_CHARS_MAX: usize = 100;

/// All of this file's rules.
pub(crate) fn check(path: &str, text: &str) -> Vec<Complaint> {
    let mut complaints = check_lines(path, text);
    complaints.extend(check_file(path, text));
    if let Ok(file) = syn::parse_file(text) {
        let tests = tests_of(path, text);
        let mut functions = Functions {
            path,
            text,
            tests,
            complaints,
        };
        functions.visit_file(&file);
        complaints = functions.complaints;
    }
    complaints
}

/// No line is longer than a page is wide. The text of a test's case may be.
pub(crate) fn check_lines(path: &str, text: &str) -> Vec<Complaint> {
    let tests = tests_of(path, text);
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let count = line.chars().count();
        let is_case = line.contains('"') && tests.iter().any(|lines| lines.contains(&(at + 1)));
        // A hidden line of an example is for the compiler, not for a reader.
        let is_hidden = line.trim_start().starts_with("/// #");
        if count > LINE_CHARS_MAX && !is_case && !is_hidden {
            let message = format!("{count} characters, at most {LINE_CHARS_MAX}");
            complaints.push(Complaint::at(path, at + 1, message));
        }
    }
    complaints
}

/// The lines of a file that are tests.
fn tests_of(path: &str, text: &str) -> Vec<RangeInclusive<usize>> {
    if is_test_file(path) {
        std::iter::once(1..=text.lines().count()).collect()
    } else {
        test_lines(text)
    }
}

fn check_file(path: &str, text: &str) -> Option<Complaint> {
    let tests: usize = test_lines(text)
        .iter()
        .map(|lines| lines.end() - lines.start() + 1)
        .sum();
    let lines = text.lines().count() - tests;
    let max = if is_test_file(path) {
        TEST_FILE_LINES_MAX
    } else {
        FILE_LINES_MAX
    };
    (lines > max).then(|| Complaint::of(path, format!("{lines} lines, at most {max}: split it")))
}

struct Functions<'a> {
    path: &'a str,
    text: &'a str,
    /// Lines of tests.
    tests: Vec<RangeInclusive<usize>>,
    complaints: Vec<Complaint>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, body: Option<&syn::Block>) {
        let first = signature.span().start().line;
        let last = body.map_or(first, |body| body.span().end().line);
        let lines = self.text.lines().skip(first - 1).take(last + 1 - first);
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        let lines = lines.filter(is_code).count();
        // A table of cases is data; clippy wants a reason for it.
        let is_test = self.tests.iter().any(|lines| lines.contains(&first));
        if lines > FUNCTION_LINES_MAX && !is_test {
            self.complain(
                signature,
                format!("{lines} lines, at most {FUNCTION_LINES_MAX}"),
            );
        }
        let is_value = |input: &&syn::FnArg| matches!(input, syn::FnArg::Typed(_));
        let parameters = signature.inputs.iter().filter(is_value).count();
        if parameters > PARAMETERS_MAX {
            self.complain(
                signature,
                format!("{parameters} parameters, at most {PARAMETERS_MAX}"),
            );
        }
    }

    fn complain(&mut self, signature: &syn::Signature, message: String) {
        let line = signature.span().start().line;
        let message = format!("fn {}: {message}", signature.ident);
        self.complaints
            .push(Complaint::at(self.path, line, message));
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, Some(&item.block));
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, Some(&item.block));
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.measure(&item.sig, item.default.as_ref());
        syn::visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check("host/src/sample.rs", text).len()
    }

    #[test]
    fn long_things_are_found() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines));
        assert_eq!(count(&body(68)), 0);
        assert_eq!(count(&body(69)), 1);
        assert_eq!(count(&format!("impl A {{\n{}}}\n", body(69))), 1);
        assert_eq!(count("fn f(a: u8, b: u8, c: u8, d: u8, e: u8) {}\n"), 0);
        assert_eq!(
            count("fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}\n"),
            1
        );
        assert_eq!(count(&format!("// {}\n", "x".repeat(97))), 0);
        assert_eq!(count(&format!("// {}\n", "x".repeat(98))), 1);
    }

    #[test]
    fn tests_do_not_lengthen_a_file() {
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "    // x\n".repeat(400)
        );
        let file = |lines: usize| format!("{}{tests}", "// x\n".repeat(lines));
        assert_eq!(count(&file(500)), 0);
        assert_eq!(count(&file(501)), 1);
        assert!(check("host/src/sample/tests.rs", &"// x\n".repeat(700)).is_empty());
        assert_eq!(check("tests/it/sample.rs", &"// x\n".repeat(701)).len(), 1);
    }
}
