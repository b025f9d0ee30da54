//! Rows into a table of an SQLite database.

mod follower;

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use rusqlite::{Connection, types::Value};
use wasmill_core::{batch::Batch, pipeline::document::EncodeJson};

use crate::{
    connector::{ConnectorError, Sink},
    format::{
        FormatError,
        encode::{Metadata, View, Viewed},
    },
};

pub use follower::SqliteFollower;

/// A transaction is committed at each flush, and when it has so many rows.
const TRANSACTION_ROWS_MAX: usize = 100_000;

/// Appends rows to a table.
pub struct SqliteSink {
    path: PathBuf,
    connection: Connection,
    insert: String,
    metadata: Metadata,
    /// Rows of the open transaction.
    pending: usize,
}

impl SqliteSink {
    /// Opens the database, and makes it and the table if they are not there. Rows are added to
    /// those in the table.
    pub fn open(path: &Path, table: &str, metadata: Metadata) -> Result<Self, ConnectorError> {
        let connection = connect(path, "normal")?;
        let schema = metadata.schema();
        prepare(&connection, table, schema).map_err(|source| error(path, source))?;
        Ok(Self {
            path: path.into(),
            connection,
            insert: insert(table, schema),
            metadata,
            pending: 0,
        })
    }
}

impl Sink for SqliteSink {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let rows = self.metadata.extend(batch).map_err(FormatError::from)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.pending == 0 {
            let begun = self.connection.execute_batch("begin");
            begun.map_err(|source| error(&self.path, source))?;
        }
        insert_rows(&self.connection, &self.insert, &rows, &self.path)?;
        self.pending += rows.num_rows();
        if self.pending >= TRANSACTION_ROWS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        if self.pending > 0 {
            self.pending = 0;
            let committed = self.connection.execute_batch("commit");
            committed.map_err(|source| error(&self.path, source))?;
        }
        Ok(())
    }
}

/// Opens a database in WAL mode, and makes it and the folders on the way if they are not there.
fn connect(path: &Path, synchronous: &str) -> Result<Connection, ConnectorError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| ConnectorError::Write {
            path: path.into(),
            source,
        })?;
    }
    let connection = Connection::open(path).map_err(|source| error(path, source))?;
    let set = connection
        .pragma_update(None, "journal_mode", "wal")
        .and_then(|()| connection.pragma_update(None, "synchronous", synchronous));
    set.map_err(|source| error(path, source))?;
    Ok(connection)
}

/// Makes the table if it is not there, and sees whether it takes these columns.
fn prepare(connection: &Connection, table: &str, schema: &Schema) -> rusqlite::Result<()> {
    connection.execute(&create(table, schema), ())?;
    connection.prepare(&insert(table, schema)).map(drop)
}

/// Inserts all rows by a statement that takes their columns.
fn insert_rows(
    connection: &Connection,
    insert: &str,
    rows: &RecordBatch,
    path: &Path,
) -> Result<(), ConnectorError> {
    let columns = crate::format::encode::view(rows)?;
    let insert = || -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(insert)?;
        let mut scratch = Vec::new();
        for row in 0..rows.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                statement.raw_bind_parameter(index + 1, value(column, row, &mut scratch))?;
            }
            statement.raw_execute()?;
        }
        Ok(())
    };
    insert().map_err(|source| error(path, source))
}

fn error(path: &Path, source: rusqlite::Error) -> ConnectorError {
    ConnectorError::Sqlite {
        path: path.into(),
        source,
    }
}

fn create(table: &str, schema: &Schema) -> String {
    let columns: Vec<String> = schema.fields().iter().map(|field| column(field)).collect();
    format!(
        "create table if not exists {} ({})",
        quoted(table),
        columns.join(", ")
    )
}

/// A column's declaration. `u64` has no type: SQLite would turn what its integers cannot hold into
/// floats.
pub(crate) fn column(field: &Field) -> String {
    let data_type = match field.data_type() {
        DataType::UInt64 => "",
        DataType::Float32 | DataType::Float64 => " real",
        DataType::Binary | DataType::FixedSizeBinary(_) => " blob",
        DataType::Boolean => " integer",
        other if other.is_integer() => " integer",
        _ => " text",
    };
    let null = if field.is_nullable() { "" } else { " not null" };
    format!("{}{data_type}{null}", quoted(field.name()))
}

fn insert(table: &str, schema: &Schema) -> String {
    let names: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| quoted(field.name()))
        .collect();
    let places = vec!["?"; names.len()].join(", ");
    format!(
        "insert into {} ({}) values ({places})",
        quoted(table),
        names.join(", ")
    )
}

/// A name as SQL reads it, whatever it is.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as SQLite keeps it; `docs/formats/formats.md` has the table.
pub(crate) fn value(column: &Viewed<'_>, row: usize, scratch: &mut Vec<u8>) -> Value {
    if column.array.is_null(row) {
        return Value::Null;
    }
    match &column.view {
        View::Bool(values) => Value::Integer(values.value(row).into()),
        View::I8(values) => Value::Integer(values[row].into()),
        View::I16(values) => Value::Integer(values[row].into()),
        View::I32(values) => Value::Integer(values[row].into()),
        View::I64(values) => Value::Integer(values[row]),
        View::U8(values) => Value::Integer(values[row].into()),
        View::U16(values) => Value::Integer(values[row].into()),
        View::U32(values) => Value::Integer(values[row].into()),
        View::U64(values) => match i64::try_from(values[row]) {
            Ok(value) => Value::Integer(value),
            Err(_) => Value::Text(values[row].to_string()),
        },
        View::F32(values) => Value::Real(values[row].into()),
        View::F64(values) => Value::Real(values[row]),
        View::Octets(values) => Value::Blob(values.value(row).to_vec()),
        View::Fixed(values) => Value::Blob(values.value(row).to_vec()),
        View::Text(values) => Value::Text(values.value(row).into()),
        View::List(..) | View::Struct(_) => Value::Text(json(column, row, scratch).into()),
        // These are strings in JSON, or numbers without a type that SQLite has.
        View::Decimal(..) | View::Date(_) | View::Timestamp(_) => {
            Value::Text(json(column, row, scratch).trim_matches('"').into())
        }
    }
}

fn json<'a>(column: &Viewed<'_>, row: usize, scratch: &'a mut Vec<u8>) -> &'a str {
    scratch.clear();
    column.write(row, &EncodeJson::default(), scratch);
    std::str::from_utf8(scratch).expect("JSON of UTF-8 text is UTF-8")
}

/// Whether the same would happen again if it was tried later.
pub(in crate::connector) fn is_lasting(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
        )
    )
}

#[cfg(test)]
mod tests {
    use wasmill_core::lineage::{Ancestor, Lineage};

    use super::*;
    use crate::format::testing;

    fn batch(columns: &[(&str, &str)], text: &str) -> Batch {
        let rows = testing::json_rows(columns, text);
        let len = rows.num_rows();
        Batch::new(
            rows,
            Lineage::whole(Ancestor::Chunk(Default::default()), len),
        )
    }

    #[test]
    fn every_type_has_its_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("new/audit.db");
        let columns = [
            ("b", "bool"),
            ("u", "u64"),
            ("f", "f64?"),
            ("m", "decimal(20,2)"),
            ("d", "date"),
            ("t", "timestamp"),
            ("o", "bytes"),
            ("l", "list<u8>"),
            ("odd \"name\"", "string"),
        ];
        let text = concat!(
            r#"{"b":true,"u":18446744073709551615,"f":null,"m":123456789012345678.90,"d":"2024-02-29","#,
            r#""t":"1970-01-01T00:00:00Z","o":"AAE=","l":[1,2],"odd \"name\"":"x"}"#,
        );
        let rows = batch(&columns, text);
        let metadata = Metadata::new(&rows.rows.schema(), &[], "job");
        let mut sink =
            SqliteSink::open(&path, "a table", metadata.clone()).expect("a new database");
        sink.write(&rows).expect("written");
        sink.write(&rows).expect("written");
        sink.close().expect("committed");
        drop(sink);
        let mut again = SqliteSink::open(&path, "a table", metadata).expect("the same database");
        again.write(&rows).expect("written");
        again.flush().expect("committed");
        let reader = Connection::open(&path).expect("the database");
        let found: Vec<String> = reader
            .prepare("select b || '|' || u || '|' || typeof(u) || '|' || typeof(f) || '|' || m || '|' || d || '|' || t \
                || '|' || hex(o) || '|' || l || '|' || \"odd \"\"name\"\"\" from \"a table\"")
            .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
            .expect("the rows");
        let expected = "1|18446744073709551615|text|null|123456789012345678.90|2024-02-29|\
            1970-01-01T00:00:00.000000Z|0001|[1,2]|x";
        assert_eq!(found, [expected, expected, expected]);
    }

    #[test]
    fn a_table_of_other_columns_is_an_error_with_the_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("audit.db");
        let open = |columns: &[(&str, &str)], text| {
            let rows = batch(columns, text);
            SqliteSink::open(&path, "t", Metadata::new(&rows.rows.schema(), &[], "job")).map(drop)
        };
        open(&[("a", "u8")], "{\"a\":1}").expect("a new database");
        let error = open(&[("b", "u8")], "{\"b\":1}")
            .expect_err("another table")
            .to_string();
        assert!(error.contains("audit.db"), "{error}");
    }
}
