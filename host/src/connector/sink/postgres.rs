//! Rows into a table of a PostgreSQL database.
//!
//! ```text
//! sink's thread -- with --> [aside: runtime, Session] -- rows as binary COPY --> database
//! ```
//!
//! The client is asynchronous and its sinks are not: each piece of work runs on a thread of its own
//! with a small runtime, while the sink's thread waits.

mod column;
mod error;
mod follower;
mod marker;
mod session;
mod table;

use std::time::Duration;

use arrow_array::{Array, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, SchemaRef};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Client;
use wasmill_core::{
    batch::Batch,
    pipeline::{self, document::PostgresSink},
};

use super::patience::{Patience, patiently};
use crate::{
    connector::{ConnectorError, Sink},
    format::{FormatError, encode::Metadata},
    spawn,
};
use session::{Session, drive};
use table::Table;

pub use error::PostgresError;
pub use follower::PostgresFollower;

/// A transaction is committed at each flush, and when it has so many rows or bytes.
const TRANSACTION_ROWS_MAX: usize = 50_000;
const TRANSACTION_BYTES_MAX: usize = 32 << 20;
/// What a zero byte becomes in a dead letter.
const REPLACED: &str = "\u{fffd}";

/// What is to be done with which table.
struct Target {
    sink: PostgresSink,
    /// What the database's own tools call the connection.
    name: String,
    /// The rows' columns.
    rows: SchemaRef,
}

/// A database and the connection to it, if there is one.
struct Database {
    target: Target,
    /// Whether zero bytes in texts are replaced: a stranger's row that failed must not fail the
    /// job.
    is_for_dead_letters: bool,
    runtime: Option<Runtime>,
    session: Option<Session>,
}

impl Database {
    fn new(sink: &pipeline::Sink, target: &PostgresSink, metadata: &Metadata, job: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        Self {
            target: Target {
                sink: target.clone(),
                name: format!("wasmill {job} {}", sink.name),
                rows: metadata.schema().clone(),
            },
            is_for_dead_letters: sink.is_for_dead_letters,
            runtime: Some(runtime.expect("the system gives a thread its timers and sockets")),
            session: None,
        }
    }

    /// How long it may be away.
    fn give_up_after(&self) -> Duration {
        Duration::from_micros(self.target.sink.give_up_after_us().unsigned_abs())
    }

    /// Does something with the database, over a new connection if there is none. What fails ends
    /// the connection, and with it the transaction.
    fn with<T: Send>(
        &mut self,
        work: impl AsyncFnOnce(&Client, &str, &Target) -> Result<T, ConnectorError> + Send,
    ) -> Result<T, ConnectorError> {
        let (session, target) = (self.session.take(), &self.target);
        let body = async move || {
            let mut session = match session.filter(|session| !session.client.is_closed()) {
                Some(session) => session,
                None => Session::connect(&target.sink, &target.name).await?,
            };
            let (client, database) = (&session.client, &session.database);
            let work = work(client, database, target);
            let done = drive(&mut session.driver, database, work).await?;
            Ok((done, session))
        };
        let runtime = self.runtime.as_ref().expect("it is there until the end");
        match spawn::aside("postgres", || runtime.block_on(body())) {
            Ok((done, session)) => {
                self.session = Some(session);
                Ok(done)
            }
            Err(ConnectorError::Postgres(PostgresError::Away { database, source })) => {
                Err(ConnectorError::Away {
                    place: format!("`{database}`"),
                    give_up_after: self.give_up_after(),
                    cause: Box::new(source),
                })
            }
            Err(other) => Err(other),
        }
    }

    /// Rows as PostgreSQL can hold them. Asked when rows come and not when they go out: what is in
    /// a decided checkpoint must go out.
    fn admit(&self, rows: RecordBatch) -> Result<RecordBatch, ConnectorError> {
        let fields = rows.schema();
        let mut bad = fields.fields().iter().zip(rows.columns());
        let Some((field, _)) = bad.find(|(_, column)| has_zero_byte(column.as_ref())) else {
            return Ok(rows);
        };
        if !self.is_for_dead_letters {
            let column = field.name().clone();
            return Err(PostgresError::ZeroByte { column }.into());
        }
        let columns = rows.columns().iter().map(without_zero_bytes).collect();
        let rows = RecordBatch::try_new(rows.schema(), columns);
        Ok(rows.map_err(FormatError::from)?)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.session = None;
        if let Some(runtime) = self.runtime.take() {
            // Where the job ends, another runtime may be at work on this thread.
            runtime.shutdown_background();
        }
    }
}

/// Whether a text in a column, or in a list or a struct of it, has a zero byte.
fn has_zero_byte(column: &dyn Array) -> bool {
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            let offsets = texts.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[texts.len()] as usize);
            memchr::memchr(0, &texts.value_data()[first..last]).is_some()
        }
        DataType::List(_) => has_zero_byte(column.as_list::<i32>().values().as_ref()),
        DataType::Struct(_) => {
            let fields = column.as_struct().columns().iter();
            fields.map(AsRef::as_ref).any(has_zero_byte)
        }
        _ => false,
    }
}

fn without_zero_bytes(column: &arrow_array::ArrayRef) -> arrow_array::ArrayRef {
    let Some(texts) = column.as_string_opt::<i32>() else {
        return column.clone();
    };
    let texts = texts.iter().map(|text| Some(text?.replace('\0', REPLACED)));
    std::sync::Arc::new(texts.collect::<arrow_array::StringArray>())
}

/// Writes rows as they come.
pub struct PostgresPlain {
    database: Database,
    metadata: Metadata,
    table: Option<Table>,
    /// Rows that are not committed.
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    pending_bytes: usize,
}

impl PostgresPlain {
    /// Looks at the table, and makes it if it is not there. If the database is away, that waits for
    /// the first rows.
    pub fn open(
        sink: &pipeline::Sink,
        target: &PostgresSink,
        metadata: Metadata,
        job: &str,
    ) -> Result<Self, ConnectorError> {
        let mut this = Self {
            database: Database::new(sink, target, &metadata, job),
            metadata,
            table: None,
            pending: Vec::new(),
            pending_rows: 0,
            pending_bytes: 0,
        };
        match this.try_commit() {
            Err(error @ ConnectorError::Away { .. }) => {
                tracing::warn!(sink = sink.name, %error, "going on without it for now");
            }
            other => other?,
        }
        Ok(this)
    }

    /// Brings out what is pending, in one transaction.
    fn try_commit(&mut self) -> Result<(), ConnectorError> {
        if self.table.is_none() {
            let prepared = self.database.with(async |client, database, target| {
                let failed = |error| PostgresError::of(database, "begin a transaction", &error);
                marker::begin(client).await.map_err(failed)?;
                let table = Table::prepare(client, database, &target.sink, &target.rows).await?;
                commit(client, database).await?;
                Ok(table)
            });
            self.table = Some(prepared?);
        }
        let table = self.table.as_ref().expect("it was prepared just now");
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = &self.pending;
        self.database.with(async |client, database, _| {
            let failed = |error| PostgresError::of(database, "begin a transaction", &error);
            marker::begin(client).await.map_err(failed)?;
            table
                .write(client, database, pending.iter().cloned().map(Ok))
                .await?;
            commit(client, database).await
        })
    }
}

impl Sink for PostgresPlain {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let rows = self.metadata.extend(batch).map_err(FormatError::from)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = self.database.admit(rows)?;
        self.pending_rows += rows.num_rows();
        self.pending_bytes += rows.get_array_memory_size();
        self.pending.push(rows);
        if self.pending_rows >= TRANSACTION_ROWS_MAX || self.pending_bytes >= TRANSACTION_BYTES_MAX
        {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        patiently(&mut Patience::default(), || self.try_commit())?;
        self.pending.clear();
        (self.pending_rows, self.pending_bytes) = (0, 0);
        Ok(())
    }
}

async fn commit(client: &Client, database: &str) -> Result<(), ConnectorError> {
    let committed = client.batch_execute("commit").await;
    committed.map_err(|error| PostgresError::of(database, "commit", &error).into())
}

#[cfg(test)]
mod tests;
