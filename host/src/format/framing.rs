//! Where rows begin and end in a stretch of bytes.

use memchr::{memchr, memchr_iter, memchr2};
use wasmill_core::pipeline::{Format, FormatKind};

use super::csv::QUOTE;

/// How a source's bytes are cut into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A row a line, ended by `\n` or `\r\n`; blank lines are no rows.
    Lines,
    /// As [`Framing::Lines`], but a blank line is an empty row.
    EveryLine,
    /// CSV records: a quoted field may hold line ends.
    Csv {
        /// The byte between fields.
        delimiter: u8,
        /// The first record names the columns and is not a row.
        header: bool,
    },
}

impl Framing {
    /// The framing of a format in a source of bytes.
    pub fn of(format: &Format) -> Self {
        match format.kind {
            FormatKind::Json => Self::Lines,
            // Binary rows are not cut: they come apart already.
            FormatKind::Raw | FormatKind::Avro | FormatKind::Protobuf => Self::EveryLine,
            FormatKind::Csv => Self::Csv {
                delimiter: format.csv.delimiter.bytes().next().unwrap_or(b','),
                header: format.csv.header,
            },
        }
    }

    /// Whether the first row of a split is its header.
    pub fn has_header(self) -> bool {
        matches!(self, Framing::Csv { header: true, .. })
    }

    /// Appends the span of each complete row and returns how many bytes they take up. `last` says
    /// that nothing follows, so that a row without a line end is complete too.
    pub fn cut(self, bytes: &[u8], last: bool, spans: &mut Vec<(u32, u32)>) -> usize {
        let mut start = 0;
        let mut row = |end: usize, next: usize| {
            self.push(bytes, start, end, spans);
            start = next;
        };
        match self {
            Framing::Lines | Framing::EveryLine => {
                for end in memchr_iter(b'\n', bytes) {
                    row(end, end + 1);
                }
            }
            Framing::Csv { delimiter, .. } => {
                let mut from = 0;
                while let Some(end) = csv_end(bytes, from, delimiter) {
                    row(end, end + 1);
                    from = end + 1;
                }
            }
        }
        if last && start < bytes.len() {
            self.push(bytes, start, bytes.len(), spans);
            return bytes.len();
        }
        start
    }

    fn push(self, bytes: &[u8], start: usize, end: usize, spans: &mut Vec<(u32, u32)>) {
        let row = &bytes[start..end];
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        let blank = self != Framing::EveryLine
            && row.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        if !blank {
            spans.push((start as u32, (start + row.len()) as u32));
        }
    }
}

/// The line end that ends the record starting at `from`. A quote counts only at the start of a
/// field, as the decoder has it.
fn csv_end(bytes: &[u8], from: usize, delimiter: u8) -> Option<usize> {
    let mut at = from;
    loop {
        if bytes.get(at) == Some(&QUOTE) {
            at = quoted_end(bytes, at + 1)?;
        }
        at += memchr2(delimiter, b'\n', bytes.get(at..)?)?;
        if bytes[at] == b'\n' {
            return Some(at);
        }
        at += 1;
    }
}

/// Behind the quote that ends a field; doubled quotes are text.
fn quoted_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr(QUOTE, bytes.get(at..)?)? + 1;
        if bytes.get(at) != Some(&QUOTE) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Framing = Framing::Csv {
        delimiter: b',',
        header: false,
    };

    fn check(framing: Framing, text: &str, last: bool, expected: &[&str], left: &str) {
        let mut spans = Vec::new();
        let consumed = framing.cut(text.as_bytes(), last, &mut spans);
        let rows: Vec<&str> = spans
            .iter()
            .map(|(a, b)| &text[*a as usize..*b as usize])
            .collect();
        assert_eq!(
            (rows.as_slice(), &text[consumed..]),
            (expected, left),
            "{text:?}"
        );
    }

    #[test]
    fn lines_end_at_line_ends() {
        check(Framing::Lines, "a\r\n\n  \nb\nc", false, &["a", "b"], "c");
        check(Framing::Lines, "a\nb", true, &["a", "b"], "");
        check(Framing::Lines, "", true, &[], "");
        check(Framing::EveryLine, "a\n\nb\n", true, &["a", "", "b"], "");
    }

    #[test]
    fn quoted_line_ends_do_not_end_a_record() {
        check(
            CSV,
            "a,\"b\nc\"\r\nd,e\n",
            false,
            &["a,\"b\nc\"", "d,e"],
            "",
        );
        check(
            CSV,
            "\"a \"\" \n\"\"\",b\nc",
            false,
            &["\"a \"\" \n\"\"\",b"],
            "c",
        );
        check(CSV, "5\" pipe,b\nc\n", false, &["5\" pipe,b", "c"], "");
        check(CSV, "\"open\nnever", false, &[], "\"open\nnever");
        check(CSV, "\"open\nnever", true, &["\"open\nnever"], "");
        check(CSV, ",\n\n,\n", false, &[",", ","], "");
    }
}
