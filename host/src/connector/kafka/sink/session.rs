//! A sink's transactions: taken over from earlier attempts, each with its marker.
//!
//! Whatever goes wrong, a session is of no use any more: throw it away and open the next, which
//! tells by the marker what has become of the last transaction.

use std::{
    ffi::{CStr, CString},
    time::Duration,
};

use wasmill_core::{
    checkpoint::{AttemptId, CheckpointId},
    pipeline::{MARKERS_PREFIX, document::KafkaSink},
};

use super::{
    marker::{Found, Marker, Place, Reader, Taken},
    marker_topic,
    producer::{PATIENCE, Producer},
    record::Record,
    told, topic,
};
use crate::{
    connector::{
        ConnectorError, FollowError,
        kafka::{KafkaError, client::Cluster},
        sink::{Fence, adds_to},
    },
    crash_point::{CrashPoint, reach},
};

/// What transactions set, unless the document says otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    // The most that brokers allow by default. Nothing is lost when one takes longer: it is
    // aborted, and its rows go out in the next.
    ("transaction.timeout.ms", "900000"),
    // Nobody reads a row before the commit, which waits for none of this: requests may fill.
    ("linger.ms", "20"),
];

/// What transactions are for.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) cluster: Cluster,
    pub(super) place: Place,
    pub(super) fence: Fence,
    /// The topic of all rows, if it is one.
    pub(super) topic: Option<String>,
    /// It as people read it.
    pub(super) told: String,
    /// Has a transaction fail.
    #[cfg(test)]
    pub(super) fuse: super::tests::Fuse,
}

/// What this attempt knows before it opens a session.
#[derive(Debug, Clone)]
pub(super) enum Before {
    /// Nothing; an attempt that begins anew wants no marker.
    Nothing { is_fresh: bool },
    /// It goes on from this checkpoint, and nothing else must be out.
    GoesOn(Option<CheckpointId>),
    /// It goes on from this checkpoint, and nothing newer must be out.
    Follows(Option<CheckpointId>),
    /// It has taken the topics over, and this was the marker.
    Known(Option<Marker>),
}

/// A producer whose transactions are this attempt's.
pub(super) struct Session {
    producer: Producer,
    target: Target,
    marker_topic: CString,
    /// How long it waits while nothing moves.
    pub(super) patience: Duration,
    /// Which checkpoint is out.
    pub(super) marker: Option<Marker>,
    /// What attempts before this one wrote is gone.
    pub(super) first: AttemptId,
}

impl Target {
    /// The transactions of a job's sink for an attempt.
    pub(super) fn new(sink: &KafkaSink, (job, name): (&str, &str), fence: Fence) -> Self {
        Self {
            cluster: Cluster::new(&sink.brokers, &sink.options),
            place: Place {
                topic: sink.marker_topic(job, name),
                job: job.into(),
                sink: name.into(),
            },
            fence,
            topic: topic(sink).map(Into::into),
            told: told(sink),
            #[cfg(test)]
            fuse: Default::default(),
        }
    }

    /// The name by which the cluster tells a sink's producers from others: the same for every
    /// attempt, so that a later one ends what an earlier one has begun. Who has other markers has
    /// another name: two jobs of one name would throw each other out and never know why.
    fn transactional_id(&self) -> String {
        let Place { job, sink, topic } = &self.place;
        match *topic == default_topic(job, sink) {
            true => format!("wasmill.{job}.{sink}"),
            false => format!("wasmill.{job}.{sink}.{topic}"),
        }
    }

    /// A producer of that name.
    fn producer(&self) -> Result<Producer, KafkaError> {
        let id = self.transactional_id();
        Producer::new(&self.cluster, DEFAULTS, &[("transactional.id", &*id)])
    }
}

impl Session {
    /// Takes the topics over from earlier attempts: they can commit no more, and what they have
    /// begun is aborted. Then reads the marker.
    ///
    /// # Errors
    /// If a later attempt has taken them over, or the markers are not as they were left.
    pub(super) fn open(target: &Target, before: &Before) -> Result<Self, ConnectorError> {
        let Target { cluster, place, .. } = target;
        let is_known = matches!(before, Before::Known(_));
        let output = target.topic.as_deref();
        if !marker_topic::prepare(cluster, (&place.topic, !is_known), output)? {
            return Err(no_markers(place).into());
        }
        if let Before::Follows(since) = before {
            fits(target, *since)?;
        }
        let mut producer = target.producer()?;
        let taken = take_over(&mut producer, target, before).and_then(|taken| {
            if producer.is_spent() {
                renew(&mut producer, target)?;
            }
            Ok(taken)
        });
        match taken {
            Ok((marker, first)) => Ok(Self {
                producer,
                target: target.clone(),
                marker_topic: topic_name(place),
                patience: PATIENCE,
                marker,
                first,
            }),
            Err(error) => {
                producer.throw_away();
                Err(error)
            }
        }
    }

    /// Whether it must have no more transactions: see [`Producer::is_spent`].
    pub(super) fn is_spent(&self) -> bool {
        self.producer.is_spent()
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<(), KafkaError> {
        self.producer.begin()?;
        reach(CrashPoint::KafkaBegun);
        self.step(false)
    }

    /// Hands a record of the transaction over; `topic` is for those that name none.
    pub(super) fn send(&mut self, topic: &CStr, record: &Record<'_>) -> Result<(), KafkaError> {
        self.step(false)?;
        self.producer.send(topic, record, self.patience)
    }

    /// Waits until every record of the transaction is there.
    pub(super) fn settle(&mut self) -> Result<(), KafkaError> {
        self.producer.settle(self.patience)
    }

    /// Whether a topic is there.
    pub(super) fn find_topic(&mut self, topic: &str) -> Result<(), KafkaError> {
        self.producer.find_topic(topic)
    }

    /// The attempt whose transactions they are.
    pub(super) fn attempt(&self) -> AttemptId {
        self.target.fence.attempt
    }

    /// Commits the transaction with the marker, when every record of it is there.
    ///
    /// # Errors
    /// It may be committed all the same: the next session knows.
    pub(super) fn commit(
        &mut self,
        marker: Marker,
        since: Option<CheckpointId>,
    ) -> Result<(), KafkaError> {
        reach(CrashPoint::KafkaRowsSent);
        let place = &self.target.place;
        let key = place.marker_key();
        let value = place.marker(self.target.fence, &marker, since);
        let record = of_topic(&key, Some(&value));
        let patience = self.patience;
        let sent = self.producer.send(&self.marker_topic, &record, patience);
        reach(CrashPoint::KafkaMarkerSent);
        let settled = sent.and_then(|()| self.producer.settle(patience));
        settled.map_err(|error| gone(error, place))?;
        reach(CrashPoint::KafkaWritten);
        self.step(false)?;
        self.producer.commit()?;
        reach(CrashPoint::KafkaCommitted);
        self.step(true)?;
        self.marker = Some(marker);
        Ok(())
    }

    /// Aborts the transaction.
    ///
    /// # Errors
    /// Then the next session does.
    pub(super) fn abort(&mut self) -> Result<(), KafkaError> {
        self.producer.abort()
    }

    #[cfg(test)]
    pub(super) fn set_fuse(&mut self, fuse: &super::tests::Fuse) {
        self.target.fuse = fuse.clone();
    }

    /// A place where a test may have the transaction fail, before or after its end.
    fn step(&self, _has_ended: bool) -> Result<(), KafkaError> {
        #[cfg(test)]
        self.target.fuse.step(_has_ended)?;
        Ok(())
    }

    /// Lets go of a session after something went wrong.
    pub(super) fn throw_away(self) {
        self.producer.throw_away();
    }
}

/// Goes on with another producer behind a take-over that was perhaps asked twice to commit. Its
/// record stands, so this is no transaction, and cannot take long in the same way.
fn renew(producer: &mut Producer, target: &Target) -> Result<(), ConnectorError> {
    let spent = std::mem::replace(producer, target.producer()?);
    spent.throw_away();
    producer.init()?;
    let mut reader = Reader::new(&target.cluster, &target.place)?;
    let taken = reader.read(None)?.taken.map(|taken| taken.fence);
    match taken {
        Some(fence) if fence != target.fence => Err(fenced(target, fence).into()),
        _ => Ok(()),
    }
}

/// Sees, before anything of others is ended, that no later attempt writes and that nothing newer
/// than a checkpoint is out: that would be another job's of the same name, or this one's whose
/// checkpoints are lost.
fn fits(target: &Target, since: Option<CheckpointId>) -> Result<(), ConnectorError> {
    let found = noted(target)?;
    let taken = found.taken.map(|taken| taken.fence);
    if let Some(later) = taken.filter(|fence| fence.attempt > target.fence.attempt) {
        return Err(fenced(target, later).into());
    }
    let marker = found.marker.map(|marker| marker.checkpoint);
    match marker.filter(|marker| Some(*marker) > since) {
        Some(marker) => Err(FollowError::Ahead { marker, since }.into()),
        None => Ok(()),
    }
}

/// What is noted, read beside whoever writes there: an end of a transaction may be on its way.
/// Nothing is noted where the topic of markers is not there.
pub(super) fn noted(target: &Target) -> Result<Found, ConnectorError> {
    let Target { cluster, place, .. } = target;
    let output = target.topic.as_deref();
    if !marker_topic::prepare(cluster, (&place.topic, false), output)? {
        return Ok(Found::default());
    }
    let mut reader = Reader::new(cluster, place)?;
    Ok(reader.read(None)?.clone())
}

/// The same behind the end of what earlier attempts have open: they can commit no more.
pub(super) fn found(target: &Target) -> Result<Found, ConnectorError> {
    let mut producer = target.producer()?;
    let ended = producer.init().map_err(Into::into);
    let read = ended.and_then(|()| noted(target));
    producer.throw_away();
    read
}

/// What [`Session::open`] does with its producer; gives the marker, and the first attempt.
fn take_over(
    producer: &mut Producer,
    target: &Target,
    before: &Before,
) -> Result<(Option<Marker>, AttemptId), ConnectorError> {
    let Target { cluster, place, .. } = target;
    producer.init()?;
    reach(CrashPoint::KafkaInitialized);
    let mut reader = Reader::new(cluster, place)?;
    let (taken, forgets) = taken_over(reader.read(None)?, target, before)?;
    let topic = topic_name(place);
    producer.begin()?;
    if forgets {
        adds_to(&place.sink, &target.told);
        let key = place.marker_key();
        producer.send(&topic, &of_topic(&key, None), PATIENCE)?;
    }
    let (key, value) = (place.attempt_key(), place.attempt(&taken));
    producer.send_noted(&topic, &of_topic(&key, Some(&value)))?;
    let settled = producer.settle(PATIENCE);
    settled.map_err(|error| gone(error, place))?;
    producer.commit()?;
    reach(CrashPoint::KafkaTakenOver);
    let found = reader.read(producer.noted())?;
    if found.taken != Some(taken) {
        let fence = found.taken.map_or(target.fence, |taken| taken.fence);
        return Err(fenced(target, fence).into());
    }
    // Brokers that lose the end of a transaction show a marker late.
    if let Before::GoesOn(since) = before {
        is_there(target, found, *since)?;
    }
    Ok((found.marker.clone(), taken.first))
}

/// What the attempt's record says when this attempt has taken over, and whether the marker is to be
/// forgotten.
fn taken_over(
    found: &Found,
    target: &Target,
    before: &Before,
) -> Result<(Taken, bool), ConnectorError> {
    let fence = target.fence;
    let nothing = Before::Nothing { is_fresh: false };
    let before = match before {
        Before::GoesOn(since) => {
            is_there(target, found, *since)?;
            &nothing
        }
        Before::Follows(_) => &nothing,
        other => other,
    };
    match (before, &found.taken) {
        (Before::GoesOn(_) | Before::Follows(_), _) => unreachable!("it is like nothing now"),
        (Before::Nothing { is_fresh }, None) => {
            let first = fence.attempt;
            Ok((Taken { fence, first }, *is_fresh && found.marker.is_some()))
        }
        (Before::Nothing { is_fresh }, Some(taken)) => {
            // A job that begins anew after its checkpoints were deleted has a smaller number than
            // the last attempt before, and began later.
            let begins_anew = *is_fresh && fence.begun_us > taken.fence.begun_us;
            if taken.fence.attempt > fence.attempt && !begins_anew {
                return Err(fenced(target, taken.fence).into());
            }
            let forgets = *is_fresh && taken.fence != fence;
            let first = match forgets {
                true => fence.attempt,
                false => taken.first,
            };
            Ok((Taken { fence, first }, forgets))
        }
        (Before::Known(_), None) => Err(no_markers(&target.place).into()),
        (Before::Known(known), Some(taken)) => {
            if taken.fence != fence {
                return Err(fenced(target, taken.fence).into());
            }
            let checkpoint = |marker: &Option<Marker>| marker.as_ref().map(|it| it.checkpoint);
            let (marker, known) = (checkpoint(&found.marker), checkpoint(known));
            if marker < known {
                let place = target.told.clone();
                return Err(FollowError::Older {
                    place,
                    marker,
                    known,
                }
                .into());
            }
            Ok((*taken, false))
        }
    }
}

/// Sees that the output is where the attempt goes on.
fn is_there(
    target: &Target,
    found: &Found,
    since: Option<CheckpointId>,
) -> Result<(), ConnectorError> {
    let marker = found.marker.as_ref().map(|marker| marker.checkpoint);
    match marker {
        _ if marker == since => Ok(()),
        // Another attempt has committed since the log was read: the next one enters that.
        Some(marker) if Some(marker) > since => {
            Err(FollowError::Committed { marker, since }.into())
        }
        Some(marker) => Err(FollowError::Older {
            place: target.told.clone(),
            marker: Some(marker),
            known: since,
        }
        .into()),
        None => Err(no_markers(&target.place).into()),
    }
}

/// The topic of markers where the document names none.
fn default_topic(job: &str, sink: &str) -> String {
    format!("{MARKERS_PREFIX}{job}.{sink}")
}

fn fenced(target: &Target, found: Fence) -> FollowError {
    FollowError::Fenced {
        place: target.told.clone(),
        attempt: found.attempt,
        own: target.fence.attempt,
    }
}

/// Earlier markers are not there any more.
pub(super) fn no_markers(place: &Place) -> KafkaError {
    KafkaError::NoMarkers {
        topic: place.topic.clone(),
        sink: place.sink.clone(),
    }
}

/// A topic of markers that is not there any more is worse than another one.
fn gone(error: KafkaError, place: &Place) -> KafkaError {
    match error {
        KafkaError::NoTopic { topic, .. } if topic == place.topic => no_markers(place),
        other => other,
    }
}

fn topic_name(place: &Place) -> CString {
    CString::new(place.topic.as_str()).unwrap_or_default()
}

fn of_topic<'a>(key: &'a str, value: Option<&'a [u8]>) -> Record<'a> {
    Record {
        partition: Some(0),
        key: Some(key.as_bytes()),
        value,
        ..Record::default()
    }
}
