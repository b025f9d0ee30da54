//! Where partitions begin and end, as the cluster says.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError as ClientError, RDKafkaErrorCode},
};
use wasmill_core::pipeline::document::KafkaStart;

use super::{
    super::{KafkaError, client::Cluster},
    native::Client,
};

/// How long the cluster may take to answer one question.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What a client may have to say at once.
const POLLS: usize = 32;

/// A partition, by its topic and number.
pub(super) type Place = (String, i32);

/// What asks a cluster.
pub(super) struct Asking<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) client: &'a Client,
}

impl Asking<'_> {
    /// An error in our words.
    pub(super) fn error(&self, what: &str, error: &ClientError) -> KafkaError {
        self.serve();
        let brokers = &self.cluster.brokers;
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) {
            // The cluster has told of it: it has no leader for the moment.
            return KafkaError::Away {
                brokers: brokers.clone(),
                reason: "a partition has no leader".into(),
            };
        }
        let trouble = self.client.context().trouble();
        KafkaError::of(brokers, what, error, trouble.as_ref())
    }

    /// Takes in what the client has to say and asks for.
    pub(super) fn serve(&self) {
        // A poll that has served something gives nothing, as one that found nothing does.
        for _ in 0..POLLS {
            // Partitions have queues of their own, so this is about the client as a whole.
            if let Some(Err(error)) = self.client.poll(Duration::ZERO) {
                tracing::debug!(%error, "a client of Kafka tells");
            }
        }
    }

    /// The oldest offset of each partition.
    pub(super) fn oldest(&self, places: &[Place]) -> Result<BTreeMap<Place, u64>, KafkaError> {
        self.offsets(places, Offset::Beginning)
    }

    /// The offset behind the newest committed record of each partition.
    pub(super) fn ends(&self, places: &[Place]) -> Result<BTreeMap<Place, u64>, KafkaError> {
        self.offsets(places, Offset::End)
    }

    /// Where partitions begin that no checkpoint knows.
    pub(super) fn start(
        &self,
        start: &KafkaStart,
        places: &[Place],
    ) -> Result<BTreeMap<Place, u64>, KafkaError> {
        match start {
            KafkaStart::Earliest => self.oldest(places),
            KafkaStart::Latest => self.ends(places),
            KafkaStart::Timestamp(text) => {
                let time = text.parse::<jiff::Timestamp>();
                // It was checked with the document.
                let time_ms = time.map_or(0, |time| time.as_millisecond()).max(0);
                let mut found = self.offsets(places, Offset::Offset(time_ms))?;
                // Where no record is that new, the next one is.
                let missing: Vec<Place> = places
                    .iter()
                    .filter(|place| !found.contains_key(*place))
                    .cloned()
                    .collect();
                found.extend(self.ends(&missing)?);
                Ok(found)
            }
            KafkaStart::Group(group) => {
                let mut found = self.oldest(places)?;
                for (place, offset) in self.committed(group, places)? {
                    // What the group has not read may be deleted; then the oldest is next.
                    found.entry(place).and_modify(|at| *at = offset.max(*at));
                }
                Ok(found)
            }
            KafkaStart::Offsets(offsets) => {
                let (oldest, ends) = (self.oldest(places)?, self.ends(places)?);
                let mut found = oldest.clone();
                for (topic, partitions) in offsets {
                    for (partition, offset) in partitions {
                        let number = i32::try_from(*partition).unwrap_or(i32::MAX);
                        let place = (topic.clone(), number);
                        let range = oldest.get(&place).zip(ends.get(&place));
                        let Some((oldest, end)) = range else { continue };
                        if !(*oldest..=*end).contains(offset) {
                            return Err(KafkaError::NoOffset {
                                split: format!("{topic}/{partition}"),
                                offset: *offset,
                                oldest: *oldest,
                                end: *end,
                            });
                        }
                        found.insert(place, *offset);
                    }
                }
                Ok(found)
            }
        }
    }

    /// What partitions answer for a time, or for their oldest or newest place. Those that have no
    /// answer are left out.
    fn offsets(&self, places: &[Place], what: Offset) -> Result<BTreeMap<Place, u64>, KafkaError> {
        if places.is_empty() {
            return Ok(BTreeMap::new());
        }
        let told = |error: ClientError| self.error("tell offsets", &error);
        let mut asked = TopicPartitionList::with_capacity(places.len());
        for (topic, partition) in places {
            let added = asked.add_partition_offset(topic, *partition, what);
            added.map_err(told)?;
        }
        let answer = self.client.offsets_for_times(asked, ANSWER_WAIT);
        self.found(&answer.map_err(told)?)
    }

    /// What a group has committed.
    fn committed(&self, group: &str, places: &[Place]) -> Result<BTreeMap<Place, u64>, KafkaError> {
        let config = self.cluster.config(&[], &[("group.id", group)])?;
        let client: Client = config
            .create_with_context(self.cluster.context())
            .map_err(KafkaError::of_client)?;
        let asking = Asking {
            cluster: self.cluster,
            client: &client,
        };
        let mut asked = TopicPartitionList::with_capacity(places.len());
        for (topic, partition) in places {
            asked.add_partition(topic, *partition);
        }
        asking.serve();
        let answer = client.committed_offsets(asked, ANSWER_WAIT);
        let told = |error: ClientError| asking.error("tell what the group has read", &error);
        asking.found(&answer.map_err(told)?)
    }

    fn found(&self, answer: &TopicPartitionList) -> Result<BTreeMap<Place, u64>, KafkaError> {
        let mut found = BTreeMap::new();
        for place in answer.elements() {
            let told = |error: ClientError| self.error("tell offsets", &error);
            place.error().map_err(told)?;
            if let Offset::Offset(offset) = place.offset() {
                let offset = u64::try_from(offset).unwrap_or(0);
                found.insert((place.topic().into(), place.partition()), offset);
            }
        }
        Ok(found)
    }
}
