//! The job's alerts held against the oracle's.
//!
//! Both are sorted, because alerts of different accounts come in no particular order. Then every
//! field must be equal to the byte, but for the score, which may differ by the last bits of a
//! float: vector units round otherwise than the sandbox does. What the engine adds (plugin,
//! split, offset, row id) is left out.

use std::fmt;
use std::io::{BufRead, Error as IoError};

use serde_json::{Map, Value};

/// How far two scores may lie apart.
pub const SCORE_TOLERANCE: f64 = 1e-5;

/// Columns that the engine adds to an alert.
const ENGINE_COLUMNS: [&str; 4] = ["plugin", "split", "offset", "row_id"];

/// Differing alerts that are shown.
const SHOWN: usize = 3;

/// What differs.
#[derive(Debug, Default, PartialEq)]
pub struct Difference {
    /// Alerts that only the job has, or has with another score.
    pub surplus: Vec<String>,
    /// Alerts that only the oracle has, or has with another score.
    pub missing: Vec<String>,
}

/// Why alerts could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file stopped in the middle.
    #[error("the alerts cannot be read")]
    Read(#[from] IoError),
    /// A line is no alert.
    #[error("line {line} is no alert: it needs to be a JSON object with a score")]
    Line {
        /// Counted from 1.
        line: usize,
    },
}

/// An alert: everything but the score as text, and the score.
#[derive(Debug, PartialEq, PartialOrd)]
struct Alert {
    text: String,
    score: f64,
}

/// Compares two files of alerts, one JSON object a line; gives their number if they are equal.
///
/// # Errors
/// If a file cannot be read or a line is no alert.
pub fn compare(
    found: impl BufRead,
    expected: impl BufRead,
) -> Result<Result<usize, Difference>, Error> {
    let (found, expected) = (read(found)?, read(expected)?);
    let mut difference = Difference::default();
    let (mut at, mut count) = (0, 0);
    for alert in &expected {
        while found.get(at).is_some_and(|found| found.text < alert.text) {
            difference.surplus.push(found[at].show());
            at += 1;
        }
        match found.get(at) {
            Some(found) if found.equals(alert) => count += 1,
            Some(found) if found.text == alert.text => {
                difference.surplus.push(found.show());
                difference.missing.push(alert.show());
            }
            _ => {
                difference.missing.push(alert.show());
                continue;
            }
        }
        at += 1;
    }
    difference
        .surplus
        .extend(found[at..].iter().map(Alert::show));
    let equal = difference == Difference::default();
    Ok(if equal { Ok(count) } else { Err(difference) })
}

fn read(lines: impl BufRead) -> Result<Vec<Alert>, Error> {
    let mut alerts = Vec::new();
    for (line, text) in lines.lines().enumerate() {
        let alert = alert(&text?).ok_or(Error::Line { line: line + 1 })?;
        alerts.push(alert);
    }
    alerts.sort_by(|one, other| {
        one.text
            .cmp(&other.text)
            .then(one.score.total_cmp(&other.score))
    });
    Ok(alerts)
}

fn alert(line: &str) -> Option<Alert> {
    let mut fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    let score = fields.shift_remove("score")?.as_f64()?;
    for column in ENGINE_COLUMNS {
        fields.shift_remove(column);
    }
    // Numbers keep the digits that they were read with, and fields their order.
    let text = serde_json::to_string(&fields).ok()?;
    Some(Alert { text, score })
}

impl Alert {
    fn equals(&self, other: &Self) -> bool {
        self.text == other.text && (self.score - other.score).abs() <= SCORE_TOLERANCE
    }

    fn show(&self) -> String {
        format!("{} score {}", self.text, self.score)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (surplus, missing) = (self.surplus.len(), self.missing.len());
        write!(f, "{surplus} alerts too many, {missing} missing")?;
        for (title, alerts) in [("too many", &self.surplus), ("missing", &self.missing)] {
            for alert in alerts.iter().take(SHOWN) {
                write!(f, "\n{title}: {alert}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(account: u64, score: &str, more: &str) -> String {
        format!("{{\"account\":{account},\"amount\":1.50,\"score\":{score}{more}}}\n")
    }

    fn check(found: &[String], expected: &[String]) -> Result<usize, (usize, usize)> {
        let compared = compare(found.concat().as_bytes(), expected.concat().as_bytes());
        let lengths = |found: Difference| (found.surplus.len(), found.missing.len());
        compared.unwrap().map_err(lengths)
    }

    #[test]
    fn order_engine_columns_and_last_bits_do_not_count() {
        let engine = ",\"plugin\":\"ab\",\"split\":\"t.jsonl\",\"offset\":7";
        let found = [line(2, "0.800001", engine), line(1, "1", engine)];
        assert_eq!(
            check(&found, &[line(1, "1.0", ""), line(2, "0.8", "")]),
            Ok(2)
        );
    }

    #[test]
    fn everything_else_counts() {
        let expected = [line(1, "0.8", ""), line(2, "0.8", "")];
        let check = |found: &[String]| check(found, &expected);
        assert_eq!(check(&expected[..1]), Err((0, 1)));
        assert_eq!(
            check(&[line(1, "0.8", ""), line(2, "0.8001", "")]),
            Err((1, 1))
        );
        assert_eq!(
            check(&[&expected[..], &expected[1..]].concat()),
            Err((1, 0))
        );
        let digits = line(2, "0.8", "").replace("1.50", "1.5");
        assert_eq!(check(&[line(1, "0.8", ""), digits]), Err((1, 1)));
        assert_eq!(check(&[]), Err((0, 2)));
    }

    #[test]
    fn a_line_without_a_score_is_no_alert() {
        let error = compare(&b"{}"[..], &b""[..]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1 is no alert: it needs to be a JSON object with a score"
        );
    }
}
