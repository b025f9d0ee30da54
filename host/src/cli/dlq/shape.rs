//! What reasons have in common.

/// Words before a name that the document or the plugin gave: such a name is no value.
const NAMED: &[&str] = &["field", "column", "in", "of", "to", "rule", "state", "type"];

/// A reason without the values in it, so that letters of one mistake count as one: a number is `#`,
/// and what stands between backticks is `…`, unless it is the name of something.
pub(super) fn shape(reason: &str) -> String {
    let mut shape = String::with_capacity(reason.len());
    for (at, piece) in reason.split('`').enumerate() {
        if at > 0 {
            shape.push('`');
        }
        let is_quoted = at % 2 == 1;
        let word = shape.trim_end_matches(['`', ' ']).rsplit(' ').next();
        let is_name = word.is_some_and(|word| NAMED.contains(&word));
        match (is_quoted, is_name) {
            (true, true) => shape.push_str(piece),
            (true, false) => shape.push('…'),
            (false, _) => without_numbers(piece, &mut shape),
        }
    }
    shape
}

/// Digits that begin no word are a number, with what may stand in one.
fn without_numbers(text: &str, shape: &mut String) {
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter.is_ascii_digit() && !before.is_alphanumeric() {
            shape.push('#');
            let is_inside = |next: &char| next.is_ascii_alphanumeric() || *next == '.';
            while rest.next_if(is_inside).is_some() {}
        } else {
            shape.push(letter);
        }
        // A hyphen within a word is no sign: UTF-8 is a word.
        if letter != '-' || !before.is_alphanumeric() {
            before = letter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn values_are_left_out_and_names_are_kept() {
        let of = [
            (
                "field `amount` at byte 37: `12,50` is not a number",
                "field `amount` at byte #: `…` is not a number",
            ),
            (
                "field `card` in `payment` is not declared",
                "field `card` in `payment` is not declared",
            ),
            ("amount -250.75 is below 0", "amount -# is below #"),
            (
                "the row is not UTF-8 at byte 6",
                "the row is not UTF-8 at byte #",
            ),
            ("v2 of `a` has no `b", "v2 of `a` has no `…"),
            ("", ""),
        ];
        for (reason, expected) in of {
            assert_eq!(shape(reason), expected);
        }
    }
}
