//! Alerts of a topic held against the audit table: both sinks of the job must have brought out the
//! same rows, each of them once.

use std::collections::BTreeMap;
use std::io::{BufRead, Error as IoError};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;

/// Why alerts and audit do not agree, or cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file stopped in the middle.
    #[error("the rows cannot be read")]
    Read(#[from] IoError),
    /// A line lacks what is needed.
    #[error(
        "line {line} of the {side} does not fit: it needs row_id, account, transaction and rule"
    )]
    Line {
        /// `alerts` or `audit`.
        side: &'static str,
        /// Counted from 1.
        line: usize,
        /// What the decoder says.
        source: serde_json::Error,
    },
    /// The database does not give the table.
    #[error("the audit's table `alerts` cannot be read")]
    Database(#[from] rusqlite::Error),
    /// A row stands there more than once.
    #[error("the {side} hold the row {row} twice")]
    Twice {
        /// `alerts` or `audit`.
        side: &'static str,
        /// The row's id.
        row: String,
    },
    /// A row stands on one side only.
    #[error("the row {row} stands in the {side} only; {only} rows do so")]
    OneSided {
        /// `alerts` or `audit`.
        side: &'static str,
        /// The first such row.
        row: String,
        /// How many rows of either side the other lacks.
        only: usize,
    },
}

/// A row, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Alert {
    row_id: String,
    account: u64,
    transaction: String,
    rule: String,
}

/// The rows of one side by their ids.
#[derive(Debug)]
struct Rows {
    side: &'static str,
    rows: BTreeMap<String, Alert>,
}

impl Rows {
    fn new(side: &'static str) -> Self {
        let rows = BTreeMap::new();
        Self { side, rows }
    }

    fn of_lines(side: &'static str, lines: impl BufRead) -> Result<Self, Error> {
        let mut all = Self::new(side);
        for (at, text) in lines.lines().enumerate() {
            let line = at + 1;
            let alert = serde_json::from_str(&text?);
            all.push(alert.map_err(|source| Error::Line { side, line, source })?)?;
        }
        Ok(all)
    }

    fn push(&mut self, alert: Alert) -> Result<(), Error> {
        match self.rows.insert(alert.row_id.clone(), alert) {
            None => Ok(()),
            Some(Alert { row_id: row, .. }) => Err(Error::Twice {
                side: self.side,
                row,
            }),
        }
    }

    /// The rows that the other side lacks, or has otherwise.
    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        let is_missing = |(id, alert): &(&String, &Alert)| other.rows.get(*id) != Some(*alert);
        self.rows.iter().filter(is_missing).map(|(id, _)| id)
    }
}

/// The audit's rows.
#[derive(Debug)]
pub struct Audit(Rows);

impl Audit {
    /// Reads the table `alerts` of an SQLite database.
    ///
    /// # Errors
    /// If there is no such table, or it holds a row twice.
    pub fn of_database(path: &Path) -> Result<Self, Error> {
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let sql = r#"select row_id, account, "transaction", rule from alerts"#;
        let mut statement = database.prepare(sql)?;
        let mut found = statement.query([])?;
        let mut rows = Rows::new("audit");
        while let Some(row) = found.next()? {
            let account: i64 = row.get(1)?;
            rows.push(Alert {
                row_id: row.get(0)?,
                account: account.unsigned_abs(),
                transaction: row.get(2)?,
                rule: row.get(3)?,
            })?;
        }
        Ok(Self(rows))
    }

    /// Reads JSON lines, as a database writes its rows.
    ///
    /// # Errors
    /// If a line lacks what is needed, or a row stands there twice.
    pub fn of_lines(lines: impl BufRead) -> Result<Self, Error> {
        Ok(Self(Rows::of_lines("audit", lines)?))
    }
}

/// Compares both sides; gives the number of rows if they agree.
///
/// # Errors
/// If they do not, or the alerts cannot be read.
pub fn agree(alerts: impl BufRead, Audit(audit): Audit) -> Result<usize, Error> {
    let alerts = Rows::of_lines("alerts", alerts)?;
    let only = alerts.without(&audit).count() + audit.without(&alerts).count();
    for (side, other) in [(&alerts, &audit), (&audit, &alerts)] {
        if let Some(row) = side.without(other).next() {
            let (side, row) = (side.side, row.clone());
            return Err(Error::OneSided { side, row, only });
        }
    }
    Ok(alerts.rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const ONE: &str =
        r#"{"row_id":"a","account":1,"transaction":"tx-1","rule":"velocity","score":0.5}"#;
    const TWO: &str = r#"{"row_id":"b","account":2,"transaction":"tx-2","rule":"score"}"#;

    fn hold(alerts: &[&str], audit: &[&str]) -> Result<usize, String> {
        let audit = Audit::of_lines(Cursor::new(audit.join("\n"))).map_err(|e| e.to_string())?;
        agree(Cursor::new(alerts.join("\n")), audit).map_err(|error| error.to_string())
    }

    #[test]
    fn the_order_does_not_matter_and_the_rows_do() {
        assert_eq!(hold(&[ONE, TWO], &[TWO, ONE]), Ok(2));
        let error = hold(&[ONE, TWO], &[ONE]).unwrap_err();
        assert_eq!(error, "the row b stands in the alerts only; 1 rows do so");
        let error = hold(&[ONE], &[ONE, TWO]).unwrap_err();
        assert_eq!(error, "the row b stands in the audit only; 1 rows do so");
        let error = hold(&[ONE, ONE], &[ONE]).unwrap_err();
        assert_eq!(error, "the alerts hold the row a twice");
        let error = hold(&[ONE], &[TWO, TWO]).unwrap_err();
        assert_eq!(error, "the audit hold the row b twice");
        let other = ONE.replace("velocity", "score");
        assert!(hold(&[ONE], &[&other]).is_err());
    }
}
