//! What the job brings out, and how rows of it are read.

use serde_json::Value as Json;
use wasmill_tests::postgres::Database;

use crate::oracle::{Row, feature_row};

/// An output of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    /// The operator.
    pub(crate) of: &'static str,
    pub(crate) place: Place,
}

/// Where an output lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file of its own.
    File,
    /// A table of the folder's SQLite database.
    Sqlite,
    /// A table of PostgreSQL.
    Postgres,
}

const fn output(of: &'static str, place: Place) -> Output {
    Output { of, place }
}

/// All outputs.
pub(crate) const OUTPUTS: [Output; 8] = [
    output("memory", Place::File),
    output("memory", Place::Postgres),
    output("features", Place::File),
    output("features", Place::Sqlite),
    output("windows", Place::File),
    output("windows", Place::Postgres),
    output("sessions", Place::Sqlite),
    output("ledger", Place::File),
];

/// The tables of PostgreSQL: their rows are numbered in the order in which they come, which the
/// job knows nothing of.
pub(crate) const TABLES: &str = "
create table memory (number bigserial, key bigint, at timestamptz, cause text, sum bigint,
    last_amounts bigint, at_shop bigint, shops bigint, by_digit bigint, digits bigint);
create table windows (number bigserial, key bigint, \"window-start\" timestamptz,
    \"window-end\" timestamptz, n bigint, total bigint, op text)";
/// The columns of both, as texts.
const MEMORY: &str = "key, @at, cause, sum, last_amounts, at_shop, shops, by_digit, digits";
const WINDOWS: &str = "key, @\"window-start\", @\"window-end\", n, total, op";

impl Output {
    /// Its file in the job's folder.
    pub(crate) fn file(self) -> String {
        match self.format() {
            "csv" => format!("{}.csv", self.of),
            _ => format!("{}.jsonl", self.of),
        }
    }

    /// The format of its file: columns that change from one version of a plugin to the next can
    /// stand in JSON only.
    pub(crate) fn format(self) -> &'static str {
        match self.of {
            "ledger" => "json",
            _ => "csv",
        }
    }

    /// Whether its file begins with the columns' names.
    pub(crate) fn has_header(self) -> bool {
        self.format() == "csv"
    }

    /// The row in a line of its file.
    pub(crate) fn row_of_line(self, line: &str) -> Row {
        if self.has_header() {
            return self.row(line.split(','));
        }
        let row: Json = serde_json::from_str(line).expect("a line is a row");
        let key = row["account"].as_u64().expect("a number");
        (key, row.to_string())
    }

    /// A row, from the texts of its columns.
    fn row<'a>(self, values: impl Iterator<Item = &'a str>) -> Row {
        let values: Vec<&str> = values.collect();
        let whole = |at: usize| values[at].parse::<u64>().expect("a whole number");
        let float = |at: usize| values[at].parse::<f64>().expect("a number");
        match self.of {
            "features" => feature_row((whole(0), float(1)), whole(2), (float(3), float(4))),
            _ => (whole(0), values.join(",")),
        }
    }

    /// The rows of its table behind so many, in the order in which they were written.
    pub(crate) fn table(
        self,
        database: &rusqlite::Connection,
        behind: usize,
    ) -> rusqlite::Result<Vec<Row>> {
        let query = format!("select * from {} where rowid > ? order by rowid", self.of);
        let mut statement = database.prepare(&query)?;
        let columns = statement.column_count();
        let rows = statement.query_map([behind as i64], |row| {
            let values = (0..columns).map(|at| {
                let value: rusqlite::types::Value = row.get(at)?;
                Ok(match value {
                    rusqlite::types::Value::Integer(value) => value.to_string(),
                    rusqlite::types::Value::Real(value) => value.to_string(),
                    rusqlite::types::Value::Text(value) => value,
                    other => format!("{other:?}"),
                })
            });
            values.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        rows.map(|values| Ok(self.row(values?.iter().map(String::as_str))))
            .collect()
    }

    /// The rows of its table behind a number, with their numbers, in the order of these.
    pub(crate) fn postgres_rows(self, database: &Database, behind: u64) -> Vec<(u64, Row)> {
        let columns = match self.of {
            "memory" => MEMORY,
            _ => WINDOWS,
        };
        let column = |name: &str| match name.trim().strip_prefix('@') {
            Some(time) => {
                format!("to_char({time} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            }
            None => name.into(),
        };
        let columns: Vec<String> = columns.split(',').map(column).collect();
        let (columns, of) = (columns.join(", "), self.of);
        let lines = database.ask(&format!(
            "select number, {columns} from {of} where number > {behind} order by number"
        ));
        let row = |line: String| {
            let mut values = line.split('|');
            let number = values.next().and_then(|number| number.parse().ok());
            (number.expect("a number"), self.row(values))
        };
        lines.into_iter().map(row).collect()
    }
}
