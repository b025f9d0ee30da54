//! Topics that follow checkpoints: rows and marker in one transaction.

use std::{
    io::{self, BufReader, Read},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasmill_core::{
    batch::Batch,
    checkpoint::{AttemptId, CheckpointId, Digest},
    pipeline::{self, EncodeSpec, document::KafkaSink},
};

use super::{
    away, give_up_after,
    marker::{Marker, Place},
    record::{self, RecordEncoder},
    session::{Before, Session, Target, no_markers},
    topic_of_all,
};
use crate::{
    connector::{
        ConnectorError, FollowError, Follower, KafkaError,
        sink::{
            Opening, chained,
            share::{Share, ShareState},
            spool::Spool,
        },
    },
    crash_point::CrashPoint,
    format::encode::Metadata,
};

/// Bytes of a share that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// Writes rows into topics, those of decided checkpoints only. What the newest of these is stands
/// in the sink's topic of markers.
pub struct KafkaFollower {
    target: Target,
    give_up_after: Duration,
    before: Before,
    encoder: RecordEncoder,
    spool: Spool,
    /// None before the cluster has been asked, and after anything went wrong.
    session: Option<Session>,
}

/// What the state of a share says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    format: Format,
    /// The topic of records that name none.
    topic: Option<String>,
    /// The attempt that handed it in, if its record stood in the topic of markers by then.
    attempt: Option<AttemptId>,
}

/// How the objects are written.
#[derive(Debug, Serialize, Deserialize)]
enum Format {
    /// Records, one behind the other.
    #[serde(rename = "kafka-records")]
    KafkaRecords,
}

impl KafkaFollower {
    /// Takes the topics over from earlier attempts. Rows are added to those in the topics, also by
    /// a run that begins anew: what is there may be others', and cannot be taken back.
    ///
    /// If the brokers are away, all this waits until the marker is asked for.
    pub fn open(
        sink: &pipeline::Sink,
        (target, format): (&KafkaSink, &EncodeSpec),
        metadata: Metadata,
        opening: &Opening<'_>,
    ) -> Result<Self, ConnectorError> {
        let (job, is_fresh) = (opening.job, opening.is_fresh);
        let before = match is_fresh || opening.is_detour {
            true => Before::Nothing { is_fresh },
            false => Before::Follows(opening.since),
        };
        let mut follower = Self {
            target: Target::new(target, (job, &sink.name), opening.fence),
            give_up_after: give_up_after(target),
            before,
            // A row stands in the output once: what it is called is the reader's to ask for.
            encoder: RecordEncoder::new((target, format), metadata, (job, false))?,
            spool: Spool::new(opening.spool, opening.since),
            session: None,
        };
        match follower.prepare() {
            Err(error @ ConnectorError::Away { .. }) => {
                tracing::warn!(sink = sink.name, %error, "going on without it for now");
            }
            other => {
                other?;
            }
        }
        Ok(follower)
    }

    /// Takes the topics over, unless that is done.
    fn prepare(&mut self) -> Result<&mut Session, ConnectorError> {
        if self.session.is_none() {
            let opened = Session::open(&self.target, &self.before);
            let session = opened.map_err(|error| self.outcome(error))?;
            self.before = Before::Known(session.marker.clone());
            self.session = Some(session);
        }
        Ok(self.session.as_mut().expect("it was opened just now"))
    }

    fn throw_away(&mut self) {
        if let Some(session) = self.session.take() {
            session.throw_away();
        }
    }

    /// What is to be tried again is away for now. So is a producer that another one has taken the
    /// transactional id from: the next look at the markers tells whether that was a later attempt.
    fn outcome(&self, error: ConnectorError) -> ConnectorError {
        match error {
            ConnectorError::Kafka(KafkaError::Fenced { brokers, id }) => {
                let reason = format!("another producer has used the transactional id `{id}`");
                away(KafkaError::Unsure { brokers, reason }, self.give_up_after)
            }
            ConnectorError::Kafka(error) => away(error, self.give_up_after),
            other => other,
        }
    }

    /// Has a test's fuse in each transaction.
    #[cfg(test)]
    pub(super) fn set_fuse(&mut self, fuse: &super::tests::Fuse) {
        self.target.fuse = fuse.clone();
        if let Some(session) = &mut self.session {
            session.set_fuse(fuse);
        }
    }

    /// Brings out a share, whose rows begin where the output ends.
    fn bring_out(
        session: &mut Session,
        checkpoint: CheckpointId,
        share: &Share,
        place: &Place,
    ) -> Result<(), ConnectorError> {
        let ShareState { since, rows } = share.state::<Rows>(&place.sink)?;
        let Rows {
            format: Format::KafkaRecords,
            topic,
            ..
        } = rows;
        let topic = topic_of_all(topic.as_deref());
        let unread = |reason| {
            let sink = place.sink.clone();
            FollowError::Share { sink, reason }.into()
        };
        session.begin()?;
        let mut reader = BufReader::with_capacity(READ_BYTES, Hashing::new(share.reader()));
        let send = |record: &record::Record<'_>| Ok(session.send(&topic, record)?);
        record::for_each(&mut reader, send, unread)?;
        let digest = reader.into_inner().digest();
        let marker = Marker {
            checkpoint,
            digest,
            attempt: session.attempt(),
            decides: false,
        };
        session.commit(marker, since)?;
        Ok(())
    }
}

impl Follower for KafkaFollower {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.encoder.encode(batch, self.spool.buffer())?;
        self.spool.settle()
    }

    fn share(&mut self, checkpoint: CheckpointId) -> Result<Share, ConnectorError> {
        let is_known = matches!(self.before, Before::Known(_));
        let state = ShareState {
            since: self.spool.since(),
            rows: Rows {
                format: Format::KafkaRecords,
                topic: self.target.topic.clone(),
                attempt: is_known.then_some(self.target.fence.attempt),
            },
        };
        Ok(Share::new(&state, self.spool.seal(checkpoint)?))
    }

    fn decided(&mut self, checkpoint: CheckpointId) {
        self.spool.decided(checkpoint);
    }

    fn apply(&mut self, checkpoint: CheckpointId, share: &Share) -> Result<(), ConnectorError> {
        let place = self.target.place.clone();
        let told = self.target.told.clone();
        let session = self.prepare()?;
        let marker = session.marker.as_ref().map(|marker| marker.checkpoint);
        if marker >= Some(checkpoint) {
            return Ok(());
        }
        let ShareState { since, rows } = share.state::<Rows>(&place.sink)?;
        if rows.attempt.is_some_and(|attempt| attempt < session.first) {
            // It was handed in when the topic had markers.
            return Err(no_markers(&place).into());
        }
        chained(&told, checkpoint, since, marker)?;
        match Self::bring_out(session, checkpoint, share, &place) {
            Ok(()) => {
                let is_spent = session.is_spent();
                self.before = Before::Known(session.marker.clone());
                if is_spent {
                    self.throw_away();
                }
                Ok(())
            }
            Err(error) => {
                // What is wrong with a share is not wrong with the session.
                let is_share = matches!(error, ConnectorError::Follow(_));
                if !is_share || session.abort().is_err() || session.is_spent() {
                    self.throw_away();
                }
                Err(self.outcome(error))
            }
        }
    }

    fn marker(&mut self) -> Result<Option<CheckpointId>, ConnectorError> {
        let session = self.prepare()?;
        Ok(session.marker.as_ref().map(|marker| marker.checkpoint))
    }

    fn commit_point(&self) -> Option<CrashPoint> {
        Some(CrashPoint::KafkaCommitted)
    }

    fn waiting_bytes(&self) -> u64 {
        self.spool.waiting_bytes()
    }
}

/// Reads, and computes the digest of what it has read.
struct Hashing<R> {
    reader: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            hash: Sha256::new(),
        }
    }

    fn digest(self) -> Digest {
        Digest::from_bytes(self.hash.finalize().into())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(out)?;
        self.hash.update(&out[..len]);
        Ok(len)
    }
}
