//! A table that follows checkpoints: rows and marker in one transaction.

use tokio_postgres::Client;
use wasmill_core::{
    batch::Batch,
    checkpoint::{CheckpointId, Digest},
    pipeline::{self, document::PostgresSink},
};

use super::{
    Database, PostgresError, commit,
    marker::{self, Marker, Place, Row},
    table::Table,
};
use crate::{
    connector::{
        ConnectorError, FollowError, Follower,
        sink::{
            Fence, Opening, chained,
            rows::{self, RowSpool},
            share::Share,
        },
    },
    crash_point::{CrashPoint, reach},
    format::{FormatError, encode::Metadata},
};

/// Held while tables are made, so that two sinks that need the same do not get into each other's
/// way: "wasmill" as a number.
const TABLES_LOCK: i64 = 0x77_61_73_6d_69_6c_6c;

/// Writes rows into a table, those of decided checkpoints only. What the newest of these is stands
/// in the table `wasmill_commits` of the same schema.
pub struct PostgresFollower {
    database: Database,
    place: Place,
    fence: Fence,
    is_fresh: bool,
    metadata: Metadata,
    rows: RowSpool,
    /// None before the database has been asked.
    known: Option<Known>,
}

/// What is known of the database.
struct Known {
    table: Table,
    marker: Option<Marker>,
}

impl PostgresFollower {
    /// Takes the table over from earlier attempts, and makes it if it is not there. Rows are added
    /// to those in the table, also by a run that begins anew: what is in the table may be others'.
    ///
    /// If the database is away, all this waits until the marker is asked for.
    pub fn open(
        sink: &pipeline::Sink,
        target: &PostgresSink,
        metadata: Metadata,
        opening: &Opening<'_>,
    ) -> Result<Self, ConnectorError> {
        let mut follower = Self {
            database: Database::new(sink, target, &metadata, opening.job),
            place: Place {
                job: opening.job.into(),
                sink: sink.name.clone(),
                told: target.told_table(),
            },
            fence: opening.fence,
            is_fresh: opening.is_fresh,
            rows: RowSpool::new(metadata.clone(), opening.spool, opening.since),
            metadata,
            known: None,
        };
        match follower.prepare() {
            Err(error @ ConnectorError::Away { .. }) => {
                tracing::warn!(sink = sink.name, %error, "going on without it for now");
            }
            other => other?,
        }
        Ok(follower)
    }

    /// Takes the table over, unless that is done.
    fn prepare(&mut self) -> Result<(), ConnectorError> {
        if self.known.is_some() {
            return Ok(());
        }
        let (place, taking) = (&self.place, (self.fence, self.is_fresh));
        let known = self.database.with(async |client, database, target| {
            let failed = |error| PostgresError::of(database, "keep markers", &error);
            marker::begin(client).await.map_err(failed)?;
            marker::lock(client, database, TABLES_LOCK).await?;
            let table = Table::prepare(client, database, &target.sink, &target.rows).await?;
            let schema = &table.schema;
            marker::prepare(client, schema).await.map_err(failed)?;
            marker::lock(client, database, marker::lock_of(schema, place)).await?;
            let found = marker::read(client, schema, place).await.map_err(failed)?;
            let row = marker::taken_over(found, taking, place)?;
            if let Some(marker) = row.marker.as_ref().filter(|_| table.is_new) {
                return Err(gone(place, marker.checkpoint).into());
            }
            marker::write(client, schema, place, &row)
                .await
                .map_err(failed)?;
            commit(client, database).await?;
            let Row { marker, .. } = row;
            Ok(Known { table, marker })
        });
        self.known = Some(known?);
        Ok(())
    }
}

/// What is to be applied.
struct Applying<'a> {
    place: &'a Place,
    fence: Fence,
    checkpoint: CheckpointId,
    digest: Digest,
    share: &'a Share,
}

impl Applying<'_> {
    /// Applies the share within a transaction, and commits it; what it returns is the marker.
    async fn apply(
        &self,
        (client, database): (&Client, &str),
        Known { table, marker }: &Known,
    ) -> Result<Marker, ConnectorError> {
        let (place, fence) = (self.place, self.fence);
        let what = format!("keep the marker of the table `{}`", place.told);
        let failed = |error| PostgresError::of(database, &what, &error);
        marker::begin(client).await.map_err(failed)?;
        marker::lock(client, database, marker::lock_of(&table.schema, place)).await?;
        let found = marker::read(client, &table.schema, place).await;
        let found = found.map_err(failed)?;
        let new = Marker {
            checkpoint: self.checkpoint,
            digest: self.digest,
        };
        if found.as_ref().and_then(|row| row.marker.as_ref()) == Some(&new) {
            // The answer to an earlier commit was lost, or who took over has done the same.
            commit(client, database).await?;
            return Ok(new);
        }
        marker::is_ours(found.as_ref(), (fence, marker.as_ref()), place)?;
        let since = rows::since(self.share, &place.sink)?;
        let before = marker.as_ref().map(|marker| marker.checkpoint);
        chained(
            &format!("the table `{}`", place.told),
            self.checkpoint,
            since,
            before,
        )?;
        let batches = rows::batches(self.share, &place.sink);
        table.write(client, database, batches).await?;
        let row = Row {
            fence,
            marker: Some(new.clone()),
        };
        let written = marker::write(client, &table.schema, place, &row).await;
        written.map_err(failed)?;
        reach(CrashPoint::PostgresWritten);
        commit(client, database).await?;
        reach(CrashPoint::PostgresCommitted);
        Ok(new)
    }
}

impl Follower for PostgresFollower {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let rows = self.metadata.extend(batch).map_err(FormatError::from)?;
        self.rows.write_rows(&self.database.admit(rows)?)
    }

    fn share(&mut self, checkpoint: CheckpointId) -> Result<Share, ConnectorError> {
        self.rows.share(checkpoint)
    }

    fn decided(&mut self, checkpoint: CheckpointId) {
        self.rows.decided(checkpoint);
    }

    fn apply(&mut self, checkpoint: CheckpointId, share: &Share) -> Result<(), ConnectorError> {
        self.prepare()?;
        let known = self.known.as_mut().expect("it was prepared just now");
        let marker = known.marker.as_ref().map(|marker| marker.checkpoint);
        if marker >= Some(checkpoint) {
            return Ok(());
        }
        let digest = share.digest(b"").map_err(|error| FollowError::Share {
            sink: self.place.sink.clone(),
            reason: error.to_string(),
        })?;
        let applying = Applying {
            place: &self.place,
            fence: self.fence,
            checkpoint,
            digest,
            share,
        };
        let before = &*known;
        let applied = self
            .database
            .with(async |client, database, _| applying.apply((client, database), before).await);
        known.marker = Some(applied?);
        Ok(())
    }

    fn marker(&mut self) -> Result<Option<CheckpointId>, ConnectorError> {
        self.prepare()?;
        let marker = self.known.as_ref().and_then(|known| known.marker.as_ref());
        Ok(marker.map(|marker| marker.checkpoint))
    }

    fn commit_point(&self) -> Option<CrashPoint> {
        Some(CrashPoint::PostgresCommitted)
    }

    fn waiting_bytes(&self) -> u64 {
        self.rows.waiting_bytes()
    }
}

fn gone(place: &Place, marker: CheckpointId) -> FollowError {
    FollowError::Gone {
        place: format!("the table `{}`", place.told),
        marker,
    }
}
