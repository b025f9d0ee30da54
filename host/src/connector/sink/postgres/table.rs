//! A table: whether it takes the rows, and how it gets them.

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, CopyInSink};
use wasmill_core::pipeline::document::PostgresSink;

use super::{
    column::{self, Found, Wire},
    error::PostgresError,
};
use crate::{connector::ConnectorError, format::encode};

/// Rows are handed over in pieces of about so many bytes.
const PIECE_BYTES: usize = 256 << 10;
/// What stands before the first row, and after the last.
const COPY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const COPY_END: &[u8] = &[0xff, 0xff];
/// Where rows wait that replace others.
const STAGE: &str = "pg_temp.wasmill_rows";

/// A table that takes the rows.
#[derive(Debug)]
pub(super) struct Table {
    /// The schema that it stands in.
    pub(super) schema: String,
    /// Whether it was made just now.
    pub(super) is_new: bool,
    told: String,
    rows: SchemaRef,
    wires: Vec<Wire>,
    copy: String,
    upsert: Option<Upsert>,
}

/// How rows replace others.
#[derive(Debug)]
struct Upsert {
    /// Makes the place where they wait, until the transaction ends.
    stage: String,
    /// Brings them into the table, of each key the last.
    merge: String,
}

impl Table {
    /// Looks at the table, and makes it if it is not there. Within a transaction.
    pub(super) async fn prepare(
        client: &Client,
        database: &str,
        sink: &PostgresSink,
        rows: &SchemaRef,
    ) -> Result<Self, PostgresError> {
        let failed = |error| PostgresError::of(database, "show its tables", &error);
        let refused = |mistakes: String| PostgresError::Table {
            table: sink.told_table(),
            database: database.to_owned(),
            mistakes,
        };
        let schema = schema_of(client, sink).await.map_err(failed)?;
        let schema = schema.ok_or_else(|| {
            refused("the user's `search_path` names no schema that is there; say `schema`".into())
        })?;
        let find = "select c.oid, c.relkind::text from pg_class c \
             join pg_namespace n on n.oid = c.relnamespace \
             where n.nspname = $1::text and c.relname = $2::text";
        let found = client.query_opt(find, &[&schema, &sink.table]).await;
        let (is_new, wires) = match found.map_err(failed)? {
            None => {
                let create = create(&schema, sink, rows);
                let made = client.batch_execute(&create).await;
                let what = format!("make the table `{}`", sink.told_table());
                made.map_err(|error| PostgresError::of(database, &what, &error))?;
                let wires = rows.fields().iter();
                (
                    true,
                    wires
                        .map(|field| column::declared(field.data_type()).1)
                        .collect(),
                )
            }
            Some(row) => {
                let (oid, kind): (u32, String) = (row.get(0), row.get(1));
                if !matches!(kind.as_str(), "r" | "p") {
                    return Err(refused("it is no table".into()));
                }
                let found = columns(client, oid).await.map_err(failed)?;
                let mut mistakes = Vec::new();
                let wires = compare(rows, &found, &mut mistakes);
                if !sink.upsert.is_empty() && !has_key(client, oid, sink).await.map_err(failed)? {
                    let key = sink.upsert.join(", ");
                    mistakes.push(format!(
                        "there is no primary key or unique index on ({key})"
                    ));
                }
                if !mistakes.is_empty() {
                    return Err(refused(mistakes.join(", ")));
                }
                (false, wires)
            }
        };
        let place = format!("{}.{}", quoted(&schema), quoted(&sink.table));
        let upsert = (!sink.upsert.is_empty()).then(|| upsert(&place, sink, rows));
        let copy = match &upsert {
            Some(upsert) => upsert.copy.clone(),
            None => copy_into(&place, &names(rows)),
        };
        Ok(Self {
            schema,
            is_new,
            told: sink.told_table(),
            rows: rows.clone(),
            wires,
            copy,
            upsert: upsert.map(|it| it.steps),
        })
    }

    /// Writes rows within a transaction.
    pub(super) async fn write(
        &self,
        client: &Client,
        database: &str,
        batches: impl Iterator<Item = Result<RecordBatch, ConnectorError>>,
    ) -> Result<(), ConnectorError> {
        let what = format!("take rows into the table `{}`", self.told);
        let failed = |error| PostgresError::of(database, &what, &error);
        if let Some(upsert) = &self.upsert {
            client.batch_execute(&upsert.stage).await.map_err(failed)?;
        }
        let copying = client.copy_in::<_, Bytes>(&self.copy).await;
        let mut copying = Box::pin(copying.map_err(failed)?);
        let mut piece = COPY_HEAD.to_vec();
        let mut number = 0_i64;
        for batch in batches {
            let batch = batch?;
            self.check(&batch)?;
            let columns = encode::view(&batch)?;
            for row in 0..batch.num_rows() {
                let extra = self.upsert.is_some();
                let count = columns.len() as i16 + i16::from(extra);
                piece.extend_from_slice(&count.to_be_bytes());
                for (at, (column, wire)) in columns.iter().zip(&self.wires).enumerate() {
                    column::put(column, row, *wire, &mut piece).map_err(|reason| {
                        PostgresError::Value {
                            table: self.told.clone(),
                            column: self.rows.field(at).name().clone(),
                            reason,
                        }
                    })?;
                }
                if extra {
                    piece.extend_from_slice(&8_i32.to_be_bytes());
                    piece.extend_from_slice(&number.to_be_bytes());
                    number += 1;
                }
                if piece.len() >= PIECE_BYTES {
                    send(copying.as_mut(), &mut piece).await.map_err(failed)?;
                }
            }
        }
        piece.extend_from_slice(COPY_END);
        send(copying.as_mut(), &mut piece).await.map_err(failed)?;
        copying.as_mut().finish().await.map_err(failed)?;
        if let Some(upsert) = &self.upsert {
            client.batch_execute(&upsert.merge).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Rows of a share are those of the run that has made it: with other columns, the pipeline was
    /// changed since.
    fn check(&self, batch: &RecordBatch) -> Result<(), PostgresError> {
        let (found, wanted) = (batch.schema(), &self.rows);
        let is_same = |(a, b): (&arrow_schema::FieldRef, &arrow_schema::FieldRef)| {
            a.name() == b.name() && a.data_type() == b.data_type()
        };
        let mut pairs = found.fields().iter().zip(wanted.fields());
        if found.fields().len() == wanted.fields().len() && pairs.all(is_same) {
            return Ok(());
        }
        let columns = |schema: &Schema| names_of(schema).collect::<Vec<_>>().join(", ");
        Err(PostgresError::Columns {
            table: self.told.clone(),
            found: columns(&found),
            wanted: columns(wanted),
        })
    }
}

async fn send(
    mut copying: std::pin::Pin<&mut CopyInSink<Bytes>>,
    piece: &mut Vec<u8>,
) -> Result<(), tokio_postgres::Error> {
    let bytes = std::mem::replace(piece, Vec::with_capacity(PIECE_BYTES + (PIECE_BYTES >> 2)));
    copying.send(bytes.into()).await
}

/// The schema that the sink names, or else the user's own.
async fn schema_of(
    client: &Client,
    sink: &PostgresSink,
) -> Result<Option<String>, tokio_postgres::Error> {
    let find = "select coalesce($1::text, current_schema()::text)";
    let row = client.query_one(find, &[&sink.schema.as_deref()]).await?;
    Ok(row.get(0))
}

/// The columns of a table.
async fn columns(client: &Client, oid: u32) -> Result<Vec<Found>, tokio_postgres::Error> {
    let find = "select a.attname::text, t.typname::text, format_type(a.atttypid, a.atttypmod), \
             a.atttypmod, a.attnotnull, a.atthasdef or a.attidentity::text <> '', \
             a.attgenerated::text <> '' or a.attidentity::text = 'a' \
         from pg_attribute a join pg_type t on t.oid = a.atttypid \
         where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum";
    let found = client
        .query(find, &[&oid])
        .await?
        .into_iter()
        .map(|row| Found {
            name: row.get(0),
            base: row.get(1),
            told: row.get(2),
            modifier: row.get(3),
            is_not_null: row.get(4),
            has_default: row.get(5),
            is_generated: row.get(6),
        });
    Ok(found.collect())
}

/// Whether the table knows these columns to be a key.
async fn has_key(
    client: &Client,
    oid: u32,
    sink: &PostgresSink,
) -> Result<bool, tokio_postgres::Error> {
    let find = "select array_agg(a.attname::text) from pg_index i \
         cross join lateral unnest(i.indkey) with ordinality as k(number, at) \
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number \
         where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate \
             and i.indpred is null and i.indexprs is null and k.at <= i.indnkeyatts \
         group by i.indexrelid";
    let mut wanted = sink.upsert.clone();
    wanted.sort_unstable();
    let keys = client.query(find, &[&oid]).await?.into_iter().map(|row| {
        let mut key: Vec<String> = row.get(0);
        key.sort_unstable();
        key
    });
    Ok(keys.into_iter().any(|key| key == wanted))
}

/// How each of our columns goes into the table; what does not fit is noted.
fn compare(rows: &Schema, found: &[Found], mistakes: &mut Vec<String>) -> Vec<Wire> {
    let mut wires = Vec::new();
    for field in rows.fields() {
        let name = field.name();
        let Some(column) = found.iter().find(|column| column.name == *name) else {
            mistakes.push(format!(
                "the column `{name}` is missing ({})",
                column::wanted(field)
            ));
            continue;
        };
        if column.is_generated {
            mistakes.push(format!("the column `{name}` is computed by the database"));
        } else if field.is_nullable() && column.is_not_null {
            mistakes.push(format!(
                "the column `{name}` is `not null`, and the rows' may be null"
            ));
        } else if let Some(wire) = column::fitting(field.data_type(), column) {
            wires.push(wire);
        } else {
            let (told, wanted) = (&column.told, column::wanted(field));
            mistakes.push(format!(
                "the column `{name}` is {told}, and the rows' is {wanted}"
            ));
        }
    }
    for column in found {
        let is_ours = rows.field_with_name(&column.name).is_ok();
        if !is_ours && column.is_not_null && !column.has_default && !column.is_generated {
            let name = &column.name;
            mistakes.push(format!(
                "its column `{name}` is `not null` without a default, and the rows have none"
            ));
        }
    }
    wires
}

/// The statement that makes the table.
fn create(schema: &str, sink: &PostgresSink, rows: &Schema) -> String {
    let mut columns: Vec<String> = rows
        .fields()
        .iter()
        .map(|field| {
            let null = if field.is_nullable() { "" } else { " not null" };
            let declared = column::declared(field.data_type()).0;
            format!("{} {declared}{null}", quoted(field.name()))
        })
        .collect();
    if !sink.upsert.is_empty() {
        columns.push(format!("primary key ({})", list(&sink.upsert)));
    }
    format!(
        "create table {}.{} ({})",
        quoted(schema),
        quoted(&sink.table),
        columns.join(", ")
    )
}

/// The statements of rows that replace others.
struct Statements {
    copy: String,
    steps: Upsert,
}

fn upsert(place: &str, sink: &PostgresSink, rows: &Schema) -> Statements {
    let mut number = "number".to_owned();
    while rows.field_with_name(&number).is_ok() {
        number.push('_');
    }
    let (columns, key) = (names(rows), list(&sink.upsert));
    let others = names_of(rows).filter(|name| !sink.upsert.iter().any(|key| key == name));
    let updates: Vec<String> = others
        .map(|name| format!("{0} = excluded.{0}", quoted(name)))
        .collect();
    let action = match updates.is_empty() {
        true => "nothing".to_owned(),
        false => format!("update set {}", updates.join(", ")),
    };
    let numbered = format!("{columns}, {}", quoted(&number));
    Statements {
        copy: copy_into(STAGE, &numbered),
        steps: Upsert {
            stage: format!(
                "create temporary table {} on commit drop as \
                 select {columns}, 0::bigint as {} from {place} with no data",
                STAGE.trim_start_matches("pg_temp."),
                quoted(&number)
            ),
            merge: format!(
                "insert into {place} ({columns}) select distinct on ({key}) {columns} \
                 from {STAGE} order by {key}, {} desc on conflict ({key}) do {action}",
                quoted(&number)
            ),
        },
    }
}

fn copy_into(place: &str, columns: &str) -> String {
    format!("copy {place} ({columns}) from stdin (format binary)")
}

fn names_of(rows: &Schema) -> impl Iterator<Item = &str> {
    rows.fields().iter().map(|field| field.name().as_str())
}

fn names(rows: &Schema) -> String {
    names_of(rows).map(quoted).collect::<Vec<_>>().join(", ")
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    names.join(", ")
}

/// A name as it is, whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
