//! SQL over state: the tables that a question names go into a database of its own, on disk and gone
//! with the process, and SQLite answers.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use rusqlite::{Connection, Statement, types::ValueRef};
use serde_json::{Number, Value as Json};

use super::{InspectionError, Table, Tables};
use crate::{
    connector::sink::sqlite::{column, quoted, value},
    format::encode,
};

/// Databases that one question may name: what SQLite attaches.
const OPERATORS_MAX: usize = 10;

/// A question, with the state that it is about.
pub struct Query {
    database: Connection,
    text: String,
}

/// An answer, row by row.
pub trait Answer {
    /// The names of the columns.
    ///
    /// # Errors
    /// If they cannot be written.
    fn columns(&mut self, names: &[String]) -> Result<(), InspectionError>;

    /// A row.
    ///
    /// # Errors
    /// If it cannot be written.
    fn row(&mut self, values: Vec<Json>) -> Result<(), InspectionError>;
}

impl Query {
    /// Loads the tables whose names stand in the question: each operator is a schema, each state a
    /// table of it.
    ///
    /// # Errors
    /// If the state is damaged, or the question names too many operators.
    pub fn new(tables: &Tables<'_>, text: &str) -> Result<Self, InspectionError> {
        let database = Connection::open("").map_err(wrong)?;
        let words = words(text);
        let is_named = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
        let mut operators: BTreeMap<&str, Vec<&Table>> = BTreeMap::new();
        for table in &tables.tables {
            if is_named(&table.operator) || is_named(&table.name) {
                operators.entry(&table.operator).or_default().push(table);
            }
        }
        if operators.keys().any(|uid| is_named(uid)) {
            operators.retain(|uid, _| is_named(uid));
        }
        if operators.len() > OPERATORS_MAX {
            return Err(InspectionError::Sql(format!(
                "the question is about {} operators, SQLite takes {OPERATORS_MAX} at once: write \
                 `OPERATOR.STATE`",
                operators.len()
            )));
        }
        for (uid, of_operator) in operators {
            // SQLite has schemas of these names already.
            if !["main", "temp"]
                .iter()
                .any(|name| uid.eq_ignore_ascii_case(name))
            {
                let attach = format!("attach '' as {}", quoted(uid));
                database.execute_batch(&attach).map_err(wrong)?;
            }
            // What is lost when the process ends need not survive it.
            let fast = format!("pragma {}.journal_mode = off", quoted(uid));
            database.execute_batch(&fast).map_err(wrong)?;
            for table in &of_operator {
                database.execute_batch(&create(table)).map_err(wrong)?;
            }
            let named = of_operator
                .into_iter()
                .filter(|table| is_named(&table.name));
            let named: Vec<&Table> = named.collect();
            if !named.is_empty() {
                load(&database, tables, (uid, &named))?;
            }
        }
        database
            .execute_batch("pragma query_only = on")
            .map_err(wrong)?;
        Ok(Self {
            database,
            text: text.to_owned(),
        })
    }

    /// Asks.
    ///
    /// # Errors
    /// If it is not one question, or SQLite does not understand it.
    pub fn run(&self, answer: &mut dyn Answer) -> Result<(), InspectionError> {
        let mut statement = self.database.prepare(&self.text).map_err(wrong)?;
        if !statement.readonly() || statement.column_count() == 0 {
            let text =
                "only a question can be asked, such as `select ...`: nothing is changed here";
            return Err(InspectionError::Sql(text.into()));
        }
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        answer.columns(&names)?;
        let mut rows = statement.query(()).map_err(wrong)?;
        while let Some(row) = rows.next().map_err(wrong)? {
            let values = (0..names.len()).map(|at| row.get_ref(at).map(json));
            answer.row(values.collect::<Result<_, _>>().map_err(wrong)?)?;
        }
        Ok(())
    }
}

/// SQLite's own words; what it says of a name that is missing is made plainer.
fn wrong(error: rusqlite::Error) -> InspectionError {
    let text = match error {
        rusqlite::Error::MultipleStatement => "one question at a time, please".to_owned(),
        rusqlite::Error::SqliteFailure(_, Some(message)) => message,
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        other => other.to_string(),
    };
    let remedy = match text.contains("no such") {
        true => "; `wasmill state sql JOB` without a question tells the tables and columns",
        false => "",
    };
    InspectionError::Sql(format!("{text}{remedy}"))
}

fn name(table: &Table) -> String {
    format!("{}.{}", quoted(&table.operator), quoted(&table.name))
}

fn create(table: &Table) -> String {
    let columns = table.schema.fields().iter();
    let columns: Vec<String> = columns.map(|field| column(field)).collect();
    format!("create table {} ({})", name(table), columns.join(", "))
}

/// Fills the tables of one operator, a batch at a time.
fn load(
    database: &Connection,
    tables: &Tables<'_>,
    (uid, named): (&str, &[&Table]),
) -> Result<(), InspectionError> {
    database.execute_batch("begin").map_err(wrong)?;
    tables.read(uid, named, &mut |table, rows| {
        let places = vec!["?"; table.schema.fields().len()].join(", ");
        let insert = format!("insert into {} values ({places})", name(table));
        let mut statement = database.prepare_cached(&insert).map_err(wrong)?;
        insert_rows(&mut statement, &rows)
    })?;
    database.execute_batch("commit").map_err(wrong)
}

fn insert_rows(statement: &mut Statement<'_>, rows: &RecordBatch) -> Result<(), InspectionError> {
    let columns = encode::view(rows)?;
    let mut scratch = Vec::new();
    for row in 0..rows.num_rows() {
        for (at, column) in columns.iter().enumerate() {
            let bound = statement.raw_bind_parameter(at + 1, value(column, row, &mut scratch));
            bound.map_err(wrong)?;
        }
        statement.raw_execute().map_err(wrong)?;
    }
    Ok(())
}

fn json(value: ValueRef<'_>) -> Json {
    let text = |bytes: &[u8]| Json::String(String::from_utf8_lossy(bytes).into_owned());
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => {
            Number::from_f64(number).map_or_else(|| number.to_string().into(), Json::Number)
        }
        ValueRef::Text(bytes) => text(bytes),
        ValueRef::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            hex.into()
        }
    }
}

/// The names that stand in a question, and more: whatever is not one of ours is not looked up.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => '"',
            '`' => '`',
            '[' => ']',
            _ => {
                let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
                let len = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
                if len > 0 {
                    words.push(rest[..len].to_owned());
                }
                rest = &rest[len.max(first.len_utf8())..];
                continue;
            }
        };
        let inner = &rest[1..];
        let len = inner.find(end).unwrap_or(inner.len());
        words.push(inner[..len].to_owned());
        rest = inner.get(len + 1..).unwrap_or_default();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_they_are_quoted() {
        let text = "select n from velocity.history, \"fraud-rules\".[a b] where x='it' -- é";
        let found = words(text);
        for word in ["velocity", "history", "fraud-rules", "a b"] {
            assert!(found.iter().any(|it| it == word), "{word} in {found:?}");
        }
        assert_eq!(words("\"open"), ["open"]);
    }
}
