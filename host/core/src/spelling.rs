//! The nearest right word for a wrong one.

/// Longer words are not compared: the cost grows with the product of the lengths, and names may
/// come from strangers.
const CHARS_MAX: usize = 128;

/// The candidate that `word` most likely means: at most a third of its letters differ. Ties go to
/// the first.
///
/// ```
/// use wasmill_core::spelling::nearest;
///
/// assert_eq!(nearest("recrds", ["rate", "records"]), Some("records"));
/// assert_eq!(nearest("colour", ["rate", "records"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let len = word.chars().count();
    if len > CHARS_MAX {
        return None;
    }
    let fold = |text: &str| text.to_lowercase().replace('_', "-");
    let wanted = fold(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let candidate_len = candidate.chars().count();
        if candidate_len > CHARS_MAX {
            continue;
        }
        let distance = strsim::damerau_levenshtein(&wanted, &fold(candidate));
        let allowed = (len.max(candidate_len) / 3).max(1);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// What to say after "there is no such thing": the nearest word, or all words where there are few.
///
/// None where there is nothing to choose from.
///
/// ```
/// use wasmill_core::spelling::hint;
///
/// let words = ["arrival", "event-time"];
/// assert_eq!(hint("event_time", words).unwrap(), "did you mean `event-time`?");
/// assert_eq!(hint("x", words).unwrap(), "use one of `arrival`, `event-time`");
/// ```
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(right) = nearest(word, candidates.iter().copied()) {
        return Some(format!("did you mean `{right}`?"));
    }
    match candidates.as_slice() {
        [] => None,
        [only] => Some(format!("use `{only}`")),
        many => Some(format!("use one of {}", list(many))),
    }
}

/// At most this many words are listed in a message.
const LISTED_MAX: usize = 16;

/// Words in backticks, separated by commas; long lists are cut.
pub fn list<T: AsRef<str>>(words: &[T]) -> String {
    let shown: Vec<String> = words
        .iter()
        .take(LISTED_MAX)
        .map(|word| format!("`{}`", word.as_ref()))
        .collect();
    let more = words.len().saturating_sub(LISTED_MAX);
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{} and {more} more", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        let words = ["transactions", "accounts", "key-by"];
        assert_eq!(nearest("transaction", words), Some("transactions"));
        assert_eq!(nearest("acounts", words), Some("accounts"));
        assert_eq!(nearest("key_by", words), Some("key-by"));
        assert_eq!(nearest("merchants", words), None);
        assert_eq!(nearest(&"x".repeat(1000), words), None);
    }

    #[test]
    fn hints_list_what_there_is() {
        assert_eq!(
            hint("zzzz", ["alpha", "beta"]).as_deref(),
            Some("use one of `alpha`, `beta`")
        );
        assert_eq!(
            hint("alpa", ["alpha"]).as_deref(),
            Some("did you mean `alpha`?")
        );
        assert_eq!(hint("x", []), None);
    }
}
