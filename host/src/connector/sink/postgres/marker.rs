//! The marker: which checkpoint's rows are in the table, and which attempt may write there.
//!
//! ```text
//! begin
//!   advisory lock of (schema, job, sink)     nobody else applies for this sink
//!   select ... for update                    what the marker says, and to whom the table belongs
//!   rows, marker                             both or none
//! commit
//! ```
//!
//! A session that a stopped or unreachable process left behind, and that holds the lock, is ended
//! by the database on our behalf. It loses nothing by that: nothing of it was committed, and the
//! attempt that has taken over brings out the same rows.

use std::time::Duration;

use tokio_postgres::Client;
use wasmill_core::checkpoint::{AttemptId, CheckpointId, Digest};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    error::{Cause, PostgresError},
    table::quoted,
};
use crate::{
    connector::sink::{Fence, FollowError, adds_to},
    spawn,
};

/// Between two looks at a lock that somebody else holds.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Looks at it until its holder is ended, and until we give up for now.
const LOOKS_BEFORE_END: usize = 20;
const LOOKS_MAX: usize = 300;

/// What the database says is in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) checkpoint: CheckpointId,
    /// Digest of the share's objects.
    pub(super) digest: Digest,
}

/// The row of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) fence: Fence,
    /// None if nothing is applied.
    pub(super) marker: Option<Marker>,
}

/// Where the row of a sink stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) job: String,
    pub(super) sink: String,
    /// The table as people read it.
    pub(super) told: String,
}

/// Prepares a transaction: how long it waits for locks, and that what it commits is durable.
pub(super) async fn begin(client: &Client) -> Result<(), tokio_postgres::Error> {
    let begin = "begin; set local lock_timeout = '10s'; \
         select set_config('synchronous_commit', 'on', true) \
         where current_setting('synchronous_commit') = 'off'";
    client.batch_execute(begin).await
}

/// The lock of a sink: nobody else applies for it.
pub(super) fn lock_of(schema: &str, place: &Place) -> i64 {
    let name = format!("wasmill\0{schema}\0{}\0{}", place.job, place.sink);
    xxh3_64(name.as_bytes()) as i64
}

/// Takes a lock that is held until the transaction ends.
pub(super) async fn lock(client: &Client, database: &str, key: i64) -> Result<(), PostgresError> {
    let failed = |error| PostgresError::of(database, "lock the marker", &error);
    for look in 0..LOOKS_MAX {
        let locked = client
            .query_one("select pg_try_advisory_xact_lock($1)", &[&key])
            .await;
        if locked.map_err(failed)?.get(0) {
            return Ok(());
        }
        if look == LOOKS_BEFORE_END {
            end_holder(client, key).await.map_err(failed)?;
        }
        spawn::rest(LOOK_AGAIN).await;
    }
    Err(PostgresError::Away {
        database: database.into(),
        source: Cause("another session holds the lock of the marker".into()),
    })
}

/// Ends the session that holds the lock, if it is this user's: those of others must not be.
async fn end_holder(client: &Client, key: i64) -> Result<(), tokio_postgres::Error> {
    let (high, low) = ((key as u64 >> 32) as u32, key as u32);
    let end = "select l.pid, pg_terminate_backend(l.pid) from pg_locks l \
         join pg_stat_activity a on a.pid = l.pid and a.usename = current_user \
         where l.locktype = 'advisory' and l.classid = $1 and l.objid = $2 and l.objsubid = 1 \
         and l.granted and a.datname = current_database() \
         and l.database = (select oid from pg_database where datname = current_database())";
    for row in client.query(end, &[&high, &low]).await? {
        let pid: i32 = row.get(0);
        tracing::warn!(
            pid,
            "ended a session of an earlier attempt that held the lock"
        );
    }
    Ok(())
}

/// Makes the table of markers if it is not there.
pub(super) async fn prepare(client: &Client, schema: &str) -> Result<(), tokio_postgres::Error> {
    let find = "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1::text and c.relname = 'wasmill_commits'";
    if client.query_opt(find, &[&schema]).await?.is_some() {
        return Ok(());
    }
    let create = format!(
        "create table {} (job text not null, sink text not null, attempt bigint not null, \
         begun bigint not null, checkpoint bigint not null, digest text not null, \
         primary key (job, sink))",
        commits(schema)
    );
    client.batch_execute(&create).await
}

/// The row of a sink, locked until the transaction ends.
pub(super) async fn read(
    client: &Client,
    schema: &str,
    place: &Place,
) -> Result<Option<Row>, tokio_postgres::Error> {
    let read = format!(
        "select attempt, begun, checkpoint, digest from {} where job = $1 and sink = $2 for update",
        commits(schema)
    );
    let Some(row) = client.query_opt(&read, &[&place.job, &place.sink]).await? else {
        return Ok(None);
    };
    let (attempt, begun_us): (i64, i64) = (row.get(0), row.get(1));
    let (checkpoint, digest): (i64, String) = (row.get(2), row.get(3));
    let checkpoint = CheckpointId(checkpoint.unsigned_abs());
    let digest = Digest::parse(&digest);
    Ok(Some(Row {
        fence: Fence {
            attempt: AttemptId(attempt.unsigned_abs()),
            begun_us,
        },
        marker: digest
            .filter(|_| checkpoint > CheckpointId(0))
            .map(|digest| Marker { checkpoint, digest }),
    }))
}

/// Writes the row of a sink.
pub(super) async fn write(
    client: &Client,
    schema: &str,
    place: &Place,
    row: &Row,
) -> Result<(), tokio_postgres::Error> {
    let write = format!(
        "insert into {} (job, sink, attempt, begun, checkpoint, digest) \
         values ($1, $2, $3, $4, $5, $6) on conflict (job, sink) do update set \
         attempt = excluded.attempt, begun = excluded.begun, checkpoint = excluded.checkpoint, \
         digest = excluded.digest",
        commits(schema)
    );
    let attempt = signed(row.fence.attempt.0);
    let marker = row.marker.as_ref();
    let checkpoint = marker.map_or(0, |marker| signed(marker.checkpoint.0));
    let digest = marker.map_or_else(String::new, |marker| marker.digest.to_string());
    let (job, sink, begun) = (&place.job, &place.sink, row.fence.begun_us);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [job, sink, &attempt, &begun, &checkpoint, &digest];
    client.execute(&write, &values).await.map(drop)
}

/// What the row of a sink is when this attempt has taken the table over.
///
/// # Errors
/// If a later attempt has. A job that begins anew after its checkpoints were deleted has a smaller
/// number than the last attempt before, and began later.
pub(super) fn taken_over(
    found: Option<Row>,
    (fence, is_fresh): (Fence, bool),
    place: &Place,
) -> Result<Row, FollowError> {
    let Some(found) = found else {
        return Ok(Row {
            fence,
            marker: None,
        });
    };
    let begins_anew = is_fresh && fence.begun_us > found.fence.begun_us;
    if found.fence.attempt > fence.attempt && !begins_anew {
        return Err(fenced(&found, fence, place));
    }
    if is_fresh && found.marker.is_some() && found.fence != fence {
        adds_to(&place.sink, &format!("the table `{}`", place.told));
    }
    let marker = found.marker.filter(|_| !is_fresh);
    Ok(Row { fence, marker })
}

/// Whether the row is as this attempt left it.
pub(super) fn is_ours(
    found: Option<&Row>,
    (fence, known): (Fence, Option<&Marker>),
    place: &Place,
) -> Result<(), FollowError> {
    let marker = found.and_then(|row| row.marker.as_ref());
    if let Some(found) = found.filter(|found| found.fence != fence) {
        return Err(fenced(found, fence, place));
    }
    if found.is_some() && marker == known {
        return Ok(());
    }
    let checkpoint = |marker: Option<&Marker>| marker.map(|marker| marker.checkpoint);
    let (marker, known) = (checkpoint(marker), checkpoint(known));
    let place = format!("the table `{}`", place.told);
    if found.is_none() || marker < known {
        return Err(FollowError::Older {
            place,
            marker,
            known,
        });
    }
    Err(FollowError::Overtaken { place, marker })
}

fn fenced(found: &Row, fence: Fence, place: &Place) -> FollowError {
    FollowError::Fenced {
        place: format!("the table `{}`", place.told),
        attempt: found.fence.attempt,
        own: fence.attempt,
    }
}

fn commits(schema: &str) -> String {
    format!("{}.wasmill_commits", quoted(schema))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
