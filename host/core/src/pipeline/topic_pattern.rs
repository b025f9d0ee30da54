//! Patterns of topics' names.

use regex_automata::{
    Anchored, MatchKind,
    dfa::{Automaton, StartKind, dense},
    util::{start, syntax},
};

/// The automaton of a pattern may have so many bytes.
const AUTOMATON_BYTES_MAX: usize = 1 << 20;

/// A regular expression for whole names of topics.
#[derive(Debug, Clone)]
pub struct TopicPattern {
    automaton: dense::DFA<Vec<u32>>,
}

impl TopicPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it is no regular expression, in words.
    pub fn new(pattern: &str) -> Result<Self, String> {
        // Every end of a match counts, not only that of the alternative that is preferred.
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .match_kind(MatchKind::All)
            .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
            .determinize_size_limit(Some(AUTOMATON_BYTES_MAX));
        // Names are ASCII.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let automaton = dense::Builder::new()
            .configure(config)
            .syntax(syntax)
            .build(pattern);
        let automaton = automaton.map_err(|error| {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
                error.source()
            });
            let innermost = causes.last().map(ToString::to_string);
            // The parser draws the place under the pattern; its last line says what is wrong.
            let text = innermost.unwrap_or_default();
            text.lines()
                .next_back()
                .unwrap_or_default()
                .trim()
                .to_owned()
        })?;
        Ok(Self { automaton })
    }

    /// Whether it matches a name from its beginning to its end.
    pub fn matches(&self, name: &str) -> bool {
        let automaton = &self.automaton;
        let begin = start::Config::new().anchored(Anchored::Yes);
        let Ok(mut state) = automaton.start_state(&begin) else {
            return false;
        };
        for byte in name.bytes() {
            state = automaton.next_state(state, byte);
        }
        automaton.is_match_state(automaton.next_eoi_state(state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        let matches = |pattern: &str, name: &str| {
            let pattern = TopicPattern::new(pattern).expect("a good pattern");
            pattern.matches(name)
        };
        assert!(matches("orders-.*", "orders-eu"));
        assert!(!matches("orders-.*", "new-orders-eu"));
        assert!(!matches("orders", "orders-eu"));
        assert!(matches("a|ab", "ab"), "no alternative is preferred");
        assert!(matches("^a.b$", "a.b"));
        assert!(matches(r"t\d{2}", "t07"));
        assert!(!matches(r"t\d{2}", "t7"));
        assert!(matches("(?i)orders", "ORDERS"));
    }

    #[test]
    fn a_pattern_that_is_none_says_why() {
        let why = TopicPattern::new("a(b").expect_err("no pattern");
        assert!(why.contains("unclosed group"), "{why}");
        let why = TopicPattern::new("(a{1000}){1000}").expect_err("too large");
        assert!(!why.is_empty());
    }
}
