//! The marker: which checkpoint's rows are out, and which attempt may write.
//!
//! Both are records of a topic that belongs to one sink, by a key each. They are written in
//! transactions of the sink's own transactional id, so whoever has taken that over knows when it
//! has read all of them:
//!
//! ```text
//! init_transactions      ends what an earlier attempt has begun; it can commit no more
//! read to the end        has a later attempt been here?
//! attempt's record       in a transaction, with its delivery report's offset
//! read up to that        nothing of this sink stands behind it
//! ```

use std::time::Duration;

use rdkafka::{
    Message, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError as ClientError, RDKafkaErrorCode as Code},
};
use serde::{Deserialize, Serialize};
use wasmill_core::checkpoint::{AttemptId, CheckpointId, Digest, Verdict};

use super::{producer::PATIENCE, told::Told};
use crate::{
    clock,
    connector::{
        kafka::{KafkaError, client::Cluster},
        sink::Fence,
    },
};

/// The version of what is written.
const VERSION: u32 = 1;
/// From one look to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Which checkpoint's rows are out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connector::kafka) struct Marker {
    pub(in crate::connector::kafka) checkpoint: CheckpointId,
    /// Of the share's objects; of the prepared manifest, where the sink decides.
    pub(in crate::connector::kafka) digest: Digest,
    /// The attempt that has brought it out.
    pub(in crate::connector::kafka) attempt: AttemptId,
    /// Whether its transaction decided the checkpoint.
    pub(in crate::connector::kafka) decides: bool,
}

impl Marker {
    /// The marker of a transaction that decides.
    pub(in crate::connector::kafka) fn of(verdict: &Verdict) -> Self {
        Self {
            checkpoint: verdict.checkpoint,
            digest: verdict.digest,
            attempt: verdict.attempt,
            decides: true,
        }
    }

    /// What it decided, if it did.
    pub(in crate::connector::kafka) fn verdict(&self) -> Option<Verdict> {
        self.decides.then_some(Verdict {
            attempt: self.attempt,
            checkpoint: self.checkpoint,
            digest: self.digest,
        })
    }
}

/// Which attempt may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connector::kafka) struct Taken {
    pub(in crate::connector::kafka) fence: Fence,
    /// The attempt that found no record in the topic: what earlier ones wrote is gone.
    pub(in crate::connector::kafka) first: AttemptId,
}

/// Whose markers they are, and where they stand.
#[derive(Debug, Clone)]
pub(in crate::connector::kafka) struct Place {
    pub(in crate::connector::kafka) topic: String,
    pub(in crate::connector::kafka) job: String,
    pub(in crate::connector::kafka) sink: String,
}

/// What the topic says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::connector::kafka) struct Found {
    pub(in crate::connector::kafka) taken: Option<Taken>,
    pub(in crate::connector::kafka) marker: Option<Marker>,
}

/// A record's value.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    markers: u32,
    job: String,
    sink: String,
    attempt: AttemptId,
    begun: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<AttemptId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<CheckpointId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    decides: bool,
}

impl Place {
    /// The key of the record that says which checkpoint is out.
    pub(in crate::connector::kafka) fn marker_key(&self) -> String {
        format!("{}/{}/marker", self.job, self.sink)
    }

    /// The key of the record that says which attempt may write.
    pub(in crate::connector::kafka) fn attempt_key(&self) -> String {
        format!("{}/{}/attempt", self.job, self.sink)
    }

    fn note(&self, fence: Fence) -> Note {
        Note {
            markers: VERSION,
            job: self.job.clone(),
            sink: self.sink.clone(),
            attempt: fence.attempt,
            begun: fence.begun_us,
            first: None,
            checkpoint: None,
            since: None,
            digest: None,
            decides: false,
        }
    }

    /// The value of the record that says which attempt may write.
    pub(in crate::connector::kafka) fn attempt(&self, taken: &Taken) -> Vec<u8> {
        written(&Note {
            first: Some(taken.first),
            ..self.note(taken.fence)
        })
    }

    /// The value of the record that says which checkpoint is out, and behind which its rows begin.
    pub(in crate::connector::kafka) fn marker(
        &self,
        fence: Fence,
        marker: &Marker,
        since: Option<CheckpointId>,
    ) -> Vec<u8> {
        written(&Note {
            checkpoint: Some(marker.checkpoint),
            since,
            digest: Some(marker.digest.to_string()),
            decides: marker.decides,
            ..self.note(fence)
        })
    }

    /// Takes in a record of the topic.
    fn take(
        &self,
        found: &mut Found,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), KafkaError> {
        let key = key.unwrap_or_default();
        let is_marker = key == self.marker_key().as_bytes();
        if !is_marker && key != self.attempt_key().as_bytes() {
            let key = String::from_utf8_lossy(key);
            return Err(self.wrong(
                format!("has records that are not sink `{}`'s: `{key}`", self.sink),
                "give each sink a topic of its own with `markers`",
            ));
        }
        let Some(value) = value else {
            match is_marker {
                true => found.marker = None,
                false => found.taken = None,
            }
            return Ok(());
        };
        let damaged = |what: String| {
            let remedy = "only wasmill writes there: bring the topic back, or begin anew with \
                          --fresh in another one";
            self.wrong(format!("holds {what}"), remedy)
        };
        let note: Note = serde_json::from_slice(value)
            .map_err(|error| damaged(format!("what is no marker: {error}")))?;
        if note.markers != VERSION {
            return Err(damaged(format!("markers of version {}", note.markers)));
        }
        if is_marker {
            let digest = note.digest.as_deref().and_then(Digest::parse);
            let (Some(checkpoint), Some(digest)) = (note.checkpoint, digest) else {
                return Err(damaged("a marker without a checkpoint".into()));
            };
            found.marker = Some(Marker {
                checkpoint,
                digest,
                attempt: note.attempt,
                decides: note.decides,
            });
        } else {
            let fence = Fence {
                attempt: note.attempt,
                begun_us: note.begun,
            };
            let first = note.first.unwrap_or(note.attempt);
            found.taken = Some(Taken { fence, first });
        }
        Ok(())
    }

    fn wrong(&self, what: String, remedy: &'static str) -> KafkaError {
        KafkaError::Markers {
            topic: self.topic.clone(),
            what,
            remedy,
        }
    }
}

fn written(note: &Note) -> Vec<u8> {
    serde_json::to_vec(note).expect("numbers and texts are JSON")
}

/// Reads a topic of markers from its start.
pub(in crate::connector::kafka) struct Reader<'a> {
    place: &'a Place,
    brokers: &'a str,
    consumer: BaseConsumer<Told>,
    found: Found,
}

impl<'a> Reader<'a> {
    pub(in crate::connector::kafka) fn new(
        cluster: &'a Cluster,
        place: &'a Place,
    ) -> Result<Self, KafkaError> {
        let defaults = [
            ("fetch.wait.max.ms", "10"),
            ("reconnect.backoff.max.ms", "1000"),
        ];
        let own = [
            // A consumer must be of a group; it is never joined, and nothing is committed.
            ("group.id", "wasmill"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
        ];
        let config = cluster.config(&defaults, &own)?;
        let consumer: BaseConsumer<Told> =
            BaseConsumer::from_config_and_context(&config, Told::new(cluster))
                .map_err(KafkaError::of_client)?;
        let reader = Self {
            place,
            brokers: &cluster.brokers,
            consumer,
            found: Found::default(),
        };
        // A client that is told `Beginning` asks where that is, and rests half a second before.
        // Where this record is gone the oldest one comes, as the options say.
        let mut from = TopicPartitionList::new();
        let added = from.add_partition_offset(&place.topic, 0, Offset::Offset(0));
        let assigned = added.and_then(|()| reader.consumer.assign(&from));
        assigned.map_err(|error| reader.error(&error))?;
        Ok(reader)
    }

    /// What the topic says, up to its end, or up to this offset and what stands there.
    ///
    /// # Errors
    /// Where the topic holds what is not this sink's; if the brokers are away, or a transaction of
    /// somebody else's stands in the way.
    pub(in crate::connector::kafka) fn read(
        &mut self,
        up_to: Option<i64>,
    ) -> Result<&Found, KafkaError> {
        let limit_us = i64::try_from(PATIENCE.as_micros()).unwrap_or(i64::MAX);
        let mut moved_us = clock::monotonic_us();
        loop {
            match self.consumer.poll(LOOK_AGAIN) {
                Some(Ok(message)) => {
                    let (key, value) = (message.key(), message.payload());
                    self.place.take(&mut self.found, key, value)?;
                    if up_to.is_some_and(|offset| message.offset() >= offset) {
                        return Ok(&self.found);
                    }
                    moved_us = clock::monotonic_us();
                }
                Some(Err(ClientError::PartitionEOF(_))) if up_to.is_none() => {
                    return Ok(&self.found);
                }
                Some(Err(ClientError::PartitionEOF(_))) | None => {}
                Some(Err(error)) => {
                    let error = self.error(&error);
                    if !error.is_away() {
                        return Err(error);
                    }
                }
            }
            if clock::monotonic_us().saturating_sub(moved_us) > limit_us {
                let trouble = self.consumer.context().0.trouble();
                let reason = trouble.map(|trouble| trouble.reason).unwrap_or_else(|| {
                    format!(
                        "the markers in `{}` cannot be read to their end",
                        self.place.topic
                    )
                });
                let brokers = self.brokers.to_owned();
                return Err(KafkaError::Away { brokers, reason });
            }
        }
    }

    fn error(&self, error: &ClientError) -> KafkaError {
        let code = error.rdkafka_error_code();
        if matches!(
            code,
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic)
        ) {
            return KafkaError::NoTopic {
                topic: self.place.topic.clone(),
                brokers: self.brokers.into(),
            };
        }
        let what = format!("read the markers in `{}`", self.place.topic);
        let trouble = self.consumer.context().0.trouble();
        KafkaError::of(self.brokers, what, error, trouble.as_ref())
    }
}
