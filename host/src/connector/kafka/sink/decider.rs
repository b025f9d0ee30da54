//! Topics whose transactions decide checkpoints: rows go out into an open transaction as they come,
//! and the checkpoint's verdict with them.

use std::{ffi::CString, time::Duration};

use serde_json::json;
use wasmill_core::{
    batch::Batch,
    checkpoint::{AttemptId, CheckpointId, Notes, Verdict},
    pipeline::{self, EncodeSpec, document::KafkaSink},
};

use super::{
    away, give_up_after,
    marker::Marker,
    record::{self, RecordEncoder},
    session::{self, Before, Session, Target},
    topic, topic_of_all,
};
use crate::{
    connector::{
        ConnectorError, Decider, Follower, KafkaError,
        sink::{
            DecidingSink, Fence, Opening,
            patience::{Patience, patiently},
            share::Share,
        },
    },
    crash_point::CrashPoint,
    format::encode::Metadata,
};

/// Writes rows into topics as they come, in a transaction for each checkpoint.
pub struct KafkaDecider {
    target: Target,
    give_up_after: Duration,
    topic: CString,
    encoder: RecordEncoder,
    session: Session,
    /// Whether a transaction has begun.
    is_open: bool,
    /// The checkpoint whose barrier has come, and that is not committed and not given up.
    awaited: Option<CheckpointId>,
    /// Records behind that barrier.
    held: Vec<u8>,
    /// Records on their way to the client.
    buffer: Vec<u8>,
}

impl KafkaDecider {
    /// Takes the topics over from earlier attempts.
    ///
    /// # Errors
    /// If the brokers are away, or a later attempt has taken them over.
    pub fn open(
        sink: &pipeline::Sink,
        (kafka, format): (&KafkaSink, &EncodeSpec),
        metadata: Metadata,
        opening: &Opening<'_>,
    ) -> Result<Self, ConnectorError> {
        let (job, is_fresh) = (opening.job, opening.is_fresh);
        let target = Target::new(kafka, (job, &sink.name), opening.fence);
        let give_up_after = give_up_after(kafka);
        let before = match is_fresh || opening.is_detour {
            true => Before::Nothing { is_fresh },
            false => Before::GoesOn(opening.since),
        };
        let session = open(&target, &before, give_up_after)?;
        Ok(Self {
            target,
            give_up_after,
            topic: topic_of_all(topic(kafka)),
            encoder: RecordEncoder::new((kafka, format), metadata, (job, false))?,
            session,
            is_open: false,
            awaited: None,
            held: Vec::new(),
            buffer: Vec::new(),
        })
    }

    /// Hands the records of the buffer over, as part of the open transaction.
    fn send(&mut self) -> Result<(), ConnectorError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.begin()?;
        record::for_each_in(&self.buffer, |record| {
            self.session.send(&self.topic, record)
        })?;
        self.buffer.clear();
        Ok(())
    }

    fn begin(&mut self) -> Result<(), ConnectorError> {
        if !self.is_open {
            if self.session.is_spent() {
                let before = Before::Known(self.session.marker.clone());
                let session = open(&self.target, &before, self.give_up_after)?;
                std::mem::replace(&mut self.session, session).throw_away();
            }
            self.session.begin()?;
            self.is_open = true;
        }
        Ok(())
    }

    /// Goes on with the records that were held back.
    fn resume(&mut self) -> Result<(), ConnectorError> {
        self.awaited = None;
        std::mem::swap(&mut self.held, &mut self.buffer);
        self.send()
    }

    /// What an error of the open transaction comes to. Its rows are gone from the cluster, and come
    /// again from the checkpoint before, unless another attempt has taken the sink over.
    fn lost(&mut self, error: ConnectorError) -> ConnectorError {
        match error {
            ConnectorError::Kafka(KafkaError::Fenced { .. }) => {
                let before = Before::Known(self.session.marker.clone());
                match Session::open(&self.target, &before) {
                    Ok(session) => session.throw_away(),
                    Err(error @ ConnectorError::Follow(_)) => return error,
                    Err(_) => {}
                }
                told(error, self.give_up_after)
            }
            // A client waits for a topic that is gone as it does for brokers.
            ConnectorError::Kafka(KafkaError::Away { .. }) => {
                let found = self.target.topic.clone();
                match found.map(|topic| self.session.find_topic(&topic)) {
                    Some(Err(error @ KafkaError::NoTopic { .. })) => error.into(),
                    _ => told(error, self.give_up_after),
                }
            }
            other => told(other, self.give_up_after),
        }
    }

    /// After a commit whose answer did not come: only the marker tells whether it happened.
    fn ask(&mut self, marker: &Marker, error: KafkaError) -> Result<(), ConnectorError> {
        tracing::debug!(sink = self.target.place.sink, %error, "asking whether a commit happened");
        let before = Before::Known(self.session.marker.clone());
        let session = open(&self.target, &before, self.give_up_after)?;
        std::mem::replace(&mut self.session, session).throw_away();
        match &self.session.marker {
            Some(found) if found == marker => Ok(()),
            // It was aborted, and the rows with it: they come again from the checkpoint before.
            _ => Err(told(error.into(), self.give_up_after)),
        }
    }
}

impl Follower for KafkaDecider {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        if self.awaited.is_some() {
            return self.encoder.encode(batch, &mut self.held);
        }
        self.encoder.encode(batch, &mut self.buffer)?;
        self.send().map_err(|error| self.lost(error))
    }

    fn share(&mut self, checkpoint: CheckpointId) -> Result<Share, ConnectorError> {
        // What is held back from a checkpoint that was given up goes first.
        let resumed = self.resume();
        let settled = resumed.and_then(|()| Ok(self.session.settle()?));
        settled.map_err(|error| self.lost(error))?;
        self.awaited = Some(checkpoint);
        Ok(Share {
            state: json!({ "decides": self.target.place.topic }),
            objects: Vec::new(),
        })
    }

    fn decided(&mut self, _checkpoint: CheckpointId) {}

    fn apply(&mut self, checkpoint: CheckpointId, _share: &Share) -> Result<(), ConnectorError> {
        let marker = self.session.marker.as_ref().map(|marker| marker.checkpoint);
        if marker >= Some(checkpoint) {
            return Ok(());
        }
        // Its rows were committed with a note that is gone.
        Err(session::no_markers(&self.target.place).into())
    }

    fn marker(&mut self) -> Result<Option<CheckpointId>, ConnectorError> {
        Ok(self.session.marker.as_ref().map(|marker| marker.checkpoint))
    }

    fn waiting_bytes(&self) -> u64 {
        self.held.len() as u64
    }

    fn decider(&mut self) -> Option<&mut dyn Decider> {
        Some(self)
    }

    fn commit_point(&self) -> Option<CrashPoint> {
        Some(CrashPoint::KafkaCommitted)
    }
}

impl Decider for KafkaDecider {
    fn commit(&mut self, verdict: &Verdict) -> Result<(), ConnectorError> {
        // Also where no rows came: the marker is the decision.
        let begun = self.begin();
        begun.map_err(|error| self.lost(error))?;
        let marker = Marker::of(verdict);
        let since = self.session.marker.as_ref().map(|marker| marker.checkpoint);
        if let Err(error) = self.session.commit(marker.clone(), since) {
            self.ask(&marker, error)?;
        }
        self.is_open = false;
        self.resume().map_err(|error| self.lost(error))
    }

    fn aborted(&mut self, checkpoint: CheckpointId) -> Result<(), ConnectorError> {
        match self.awaited == Some(checkpoint) {
            true => self.resume().map_err(|error| self.lost(error)),
            false => Ok(()),
        }
    }
}

/// Reads what is noted, behind the end of what earlier attempts have open if `ends` says so. Gives
/// where that stands, too.
///
/// # Errors
/// If the brokers are away, or the topic of markers is not this sink's.
pub fn verdict(
    of: &DecidingSink,
    kafka: &KafkaSink,
    ends: bool,
) -> Result<(String, Notes), ConnectorError> {
    let nobody = Fence {
        attempt: AttemptId::FIRST,
        begun_us: 0,
    };
    let target = Target::new(kafka, (&of.job, &of.sink.name), nobody);
    let give_up_after = give_up_after(kafka);
    let found = patiently(&mut Patience::default(), || {
        let found = match ends {
            true => session::found(&target),
            false => session::noted(&target),
        };
        found.map_err(|error| told(error, give_up_after))
    })?;
    let notes = Notes {
        verdict: found.marker.and_then(|marker| marker.verdict()),
        taken: found.taken.map(|taken| taken.fence.attempt),
    };
    Ok((format!("the topic `{}`", target.place.topic), notes))
}

/// Takes the topics over, however long the brokers are away.
fn open(
    target: &Target,
    before: &Before,
    give_up_after: Duration,
) -> Result<Session, ConnectorError> {
    let mut session = patiently(&mut Patience::default(), || {
        Session::open(target, before).map_err(|error| told(error, give_up_after))
    })?;
    session.patience = give_up_after;
    Ok(session)
}

/// What is away may come back. A producer that another one has taken the transactional id from is
/// like that: the next look at the markers tells whether that was a later attempt.
fn told(error: ConnectorError, give_up_after: Duration) -> ConnectorError {
    match error {
        ConnectorError::Kafka(KafkaError::Fenced { brokers, id }) => {
            let reason = format!("another producer has used the transactional id `{id}`");
            away(KafkaError::Unsure { brokers, reason }, give_up_after)
        }
        ConnectorError::Kafka(error) => away(error, give_up_after),
        other => other,
    }
}
