//! A table that follows checkpoints: rows and marker in one transaction.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use wasmill_core::{
    batch::Batch,
    checkpoint::{CheckpointId, Digest},
    pipeline::document,
};

use super::{connect, error, insert, insert_rows, prepare};
use crate::{
    connector::{
        ConnectorError, FollowError, Follower,
        sink::{
            Opening, adds_to, chained,
            rows::{self, RowSpool},
            share::Share,
        },
    },
    crash_point::{CrashPoint, reach},
    format::encode::Metadata,
};

/// How long the database may belong to another writer, such as another sink with much to apply.
const BUSY_MAX: Duration = Duration::from_secs(60);
const CREATE: &str = "create table if not exists wasmill_commits (job text not null, \
     sink text not null, checkpoint integer not null, digest text not null, \
     primary key (job, sink)) without rowid";
const READ: &str = "select checkpoint, digest from wasmill_commits where job = ? and sink = ?";
const WRITE: &str = "insert or replace into wasmill_commits (job, sink, checkpoint, digest) \
     values (?, ?, ?, ?)";
const FORGET: &str = "delete from wasmill_commits where job = ? and sink = ?";

/// Appends rows to a table, those of decided checkpoints only. What the newest of these is stands
/// in the table `wasmill_commits` of the same database.
pub struct SqliteFollower {
    path: PathBuf,
    connection: Connection,
    table: String,
    job: String,
    sink: String,
    marker: Option<Marker>,
    rows: RowSpool,
}

/// What the database says is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marker {
    checkpoint: CheckpointId,
    /// Digest of the share's objects.
    digest: Digest,
}

impl SqliteFollower {
    /// Opens the database, and makes it and its tables if they are not there. Rows are added to
    /// those in the table, also by a run that begins anew: what is in the table may be others'.
    pub fn open(
        sink: &str,
        target: &document::SqliteSink,
        metadata: Metadata,
        opening: &Opening<'_>,
    ) -> Result<Self, ConnectorError> {
        let path = Path::new(&target.path);
        // A marker that was told must outlive a power cut: what it covers is forgotten.
        let connection = connect(path, "full")?;
        let waits = connection.busy_timeout(BUSY_MAX);
        waits.map_err(|source| error(path, source))?;
        let mut follower = Self {
            path: path.into(),
            connection,
            table: target.table.clone(),
            job: opening.job.into(),
            sink: sink.into(),
            marker: None,
            rows: RowSpool::new(metadata, opening.spool, opening.since),
        };
        let marker = follower.begin(opening.is_fresh);
        follower.marker = marker.map_err(|source| error(path, source))?;
        Ok(follower)
    }

    fn begin(&self, is_fresh: bool) -> rusqlite::Result<Option<Marker>> {
        prepare(&self.connection, &self.table, self.rows.schema())?;
        self.connection.execute(CREATE, ())?;
        if is_fresh {
            let forgotten = self.connection.execute(FORGET, (&self.job, &self.sink))?;
            if forgotten > 0 {
                adds_to(&self.sink, &format!("the table `{}`", self.table));
            }
        }
        // Whoever committed last may have been killed before that was synced.
        let checkpoint = "pragma wal_checkpoint(passive)";
        self.connection.query_row(checkpoint, (), |_| Ok(()))?;
        read_marker(&self.connection, &self.job, &self.sink)
    }

    /// Applies a share within a transaction; what it returns is the marker.
    fn apply_in(
        &self,
        checkpoint: CheckpointId,
        since: Option<CheckpointId>,
        share: &Share,
    ) -> Result<Marker, ConnectorError> {
        let failed = |source| error(&self.path, source);
        let place = format!("the table `{}` of `{}`", self.table, self.path.display());
        let found = read_marker(&self.connection, &self.job, &self.sink).map_err(failed)?;
        let marker = found.as_ref().map(|found| found.checkpoint);
        let digest = share.digest(b"").map_err(|error| FollowError::Share {
            sink: self.sink.clone(),
            reason: error.to_string(),
        })?;
        let new = Marker { checkpoint, digest };
        if found.as_ref() == Some(&new) {
            return Ok(new);
        }
        if found != self.marker {
            return Err(FollowError::Overtaken { place, marker }.into());
        }
        chained(&place, checkpoint, since, marker)?;
        rows::for_each(share, &self.sink, |rows| {
            let insert = insert(&self.table, &rows.schema());
            insert_rows(&self.connection, &insert, rows, &self.path)
        })?;
        let number = i64::try_from(checkpoint.0).unwrap_or(i64::MAX);
        let row = (&self.job, &self.sink, number, new.digest.to_string());
        self.connection.execute(WRITE, row).map_err(failed)?;
        Ok(new)
    }
}

impl Follower for SqliteFollower {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.rows.write(batch)
    }

    fn share(&mut self, checkpoint: CheckpointId) -> Result<Share, ConnectorError> {
        self.rows.share(checkpoint)
    }

    fn decided(&mut self, checkpoint: CheckpointId) {
        self.rows.decided(checkpoint);
    }

    fn apply(&mut self, checkpoint: CheckpointId, share: &Share) -> Result<(), ConnectorError> {
        let since = rows::since(share, &self.sink)?;
        let marker = self.marker.as_ref().map(|marker| marker.checkpoint);
        if marker >= Some(checkpoint) {
            return Ok(());
        }
        let failed = |source| error(&self.path, source);
        let immediate = TransactionBehavior::Immediate;
        let transaction = Transaction::new_unchecked(&self.connection, immediate);
        let transaction = transaction.map_err(failed)?;
        // Dropped without a commit, it is rolled back.
        let applied = self.apply_in(checkpoint, since, share)?;
        reach(CrashPoint::SqliteWritten);
        transaction.commit().map_err(failed)?;
        reach(CrashPoint::SqliteCommitted);
        self.marker = Some(applied);
        Ok(())
    }

    fn marker(&mut self) -> Result<Option<CheckpointId>, ConnectorError> {
        Ok(self.marker.as_ref().map(|marker| marker.checkpoint))
    }

    fn commit_point(&self) -> Option<CrashPoint> {
        Some(CrashPoint::SqliteCommitted)
    }
}

fn read_marker(connection: &Connection, job: &str, sink: &str) -> rusqlite::Result<Option<Marker>> {
    let mut statement = connection.prepare_cached(READ)?;
    let row = statement.query_row((job, sink), |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    });
    let Some((checkpoint, digest)) = row.optional()? else {
        return Ok(None);
    };
    let digest = Digest::parse(&digest).ok_or(rusqlite::Error::InvalidQuery)?;
    let checkpoint = CheckpointId(checkpoint.unsigned_abs());
    Ok(Some(Marker { checkpoint, digest }))
}

#[cfg(test)]
mod tests;
