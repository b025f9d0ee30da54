//! The topic of markers: made if it is not there, and looked at if it is. Whatever may lose a
//! record of it sooner than the output loses one is refused.

use std::time::Duration;

use futures_executor::block_on;
use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier,
        ResourceSpecifier, TopicReplication,
    },
    config::FromClientConfigAndContext,
    error::{KafkaError as ClientError, RDKafkaErrorCode as Code},
};

use super::{native::Native, producer::PATIENCE, told::Told};
use crate::{
    clock,
    connector::kafka::{KafkaError, client::Cluster},
    spawn,
};

/// From one look to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long the cluster may take for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// What is to be known of a topic.
#[derive(Debug, PartialEq, Eq)]
struct Topic {
    partitions: usize,
    /// The smallest number of replicas of a partition.
    replicas: usize,
}

/// Asks a cluster about topics.
struct Admin<'a> {
    /// Stands before the client: fields are dropped in this order.
    native: Native,
    client: AdminClient<Told>,
    brokers: &'a str,
}

/// Makes sure that the topic of markers is there and at least as durable as the output; none where
/// rows say their topics themselves. False if it is not there, and is not to be made.
pub(super) fn prepare(
    cluster: &Cluster,
    (topic, makes): (&str, bool),
    output: Option<&str>,
) -> Result<bool, KafkaError> {
    let config = cluster.config(&[("reconnect.backoff.max.ms", "1000")], &[])?;
    let client = AdminClient::from_config_and_context(&config, Told::new(cluster))
        .map_err(KafkaError::of_client)?;
    #[expect(unsafe_code, reason = "the crate has no safe way to the client")]
    // SAFETY: the client stands behind the native side in the same struct, and so outlives it.
    let native = unsafe { Native::new(client.inner().native_ptr()) };
    let admin = Admin {
        native,
        client,
        brokers: &cluster.brokers,
    };
    let wanted = match output {
        None => None,
        Some(output) => {
            let found = admin.find(output)?;
            let found = found.ok_or_else(|| KafkaError::NoTopic {
                topic: output.into(),
                brokers: cluster.brokers.clone(),
            })?;
            let in_sync = admin.setting(output, "min.insync.replicas")?;
            Some((
                output,
                found.replicas,
                in_sync.unwrap_or_else(|| "1".into()),
            ))
        }
    };
    let Some(found) = admin.find(topic)? else {
        let (replicas, in_sync) = match &wanted {
            Some((_, replicas, in_sync)) => (*replicas as i32, Some(&**in_sync)),
            None => (-1, None),
        };
        if makes {
            admin.make(topic, replicas, in_sync)?;
        }
        return Ok(makes);
    };
    admin.check(topic, &found, wanted)?;
    Ok(true)
}

impl Admin<'_> {
    /// Whether a topic keeps markers as long as the output keeps rows.
    fn check(
        &self,
        topic: &str,
        found: &Topic,
        wanted: Option<(&str, usize, String)>,
    ) -> Result<(), KafkaError> {
        let wrong = |what: String, remedy| {
            let topic = topic.to_owned();
            Err(KafkaError::Markers {
                topic,
                what,
                remedy,
            })
        };
        if found.partitions != 1 {
            let what = format!("has {} partitions", found.partitions);
            return wrong(what, "it must have one: name another topic with `markers`");
        }
        let policy = self.setting(topic, "cleanup.policy")?;
        let Some(policy) = policy else {
            let what = "does not tell its settings".to_owned();
            return wrong(
                what,
                "give the user the right to describe its configuration",
            );
        };
        if policy != "compact" {
            let what = format!("has the cleanup policy `{policy}`, by which markers would be lost");
            return wrong(what, "set its `cleanup.policy` to `compact`");
        }
        let Some((output, replicas, in_sync)) = wanted else {
            return Ok(());
        };
        if found.replicas < replicas {
            let found = found.replicas;
            let what = format!("has {found} replicas, and `{output}` has {replicas}");
            return wrong(what, "give it as many");
        }
        let own = self.setting(topic, "min.insync.replicas")?;
        let number = |text: &str| text.parse::<u32>().unwrap_or(1);
        let own = own.unwrap_or_else(|| "1".into());
        if number(&own) < number(&in_sync) {
            let what = format!("has `min.insync.replicas` {own}, and `{output}` has {in_sync}");
            return wrong(what, "set it to as much");
        }
        Ok(())
    }

    fn error(&self, what: String, error: &ClientError) -> KafkaError {
        let trouble = self.client.inner().context().0.trouble();
        KafkaError::of(self.brokers, what, error, trouble.as_ref())
    }

    /// Repeats what the cluster may refuse because it is on the move.
    fn patiently<T>(
        &self,
        mut call: impl FnMut() -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let began = clock::monotonic_us();
        let limit_us = i64::try_from(PATIENCE.as_micros()).unwrap_or(i64::MAX);
        loop {
            // Such as that a token is wanted, which answers wait for.
            let context = &self.client.inner().context().0;
            while self.native.serve(Duration::ZERO, context, |_| {}) {}
            match call() {
                Err(error)
                    if error.is_away()
                        && clock::monotonic_us().saturating_sub(began) < limit_us =>
                {
                    spawn::pause(LOOK_AGAIN);
                }
                other => return other,
            }
        }
    }

    /// A topic, if it is there. All are asked for: a topic that is asked for by its name may be
    /// made by that.
    fn find(&self, topic: &str) -> Result<Option<Topic>, KafkaError> {
        self.patiently(|| {
            let what = || format!("tell of topic `{topic}`");
            let all = self
                .client
                .inner()
                .fetch_metadata(None, Duration::from_secs(1));
            let all = all.map_err(|error| self.error(what(), &error))?;
            let mut topics = all.topics().iter();
            let Some(found) = topics.find(|found| found.name() == topic) else {
                return Ok(None);
            };
            if let Some(error) = found.error() {
                let error = ClientError::MetadataFetch(Code::from(error));
                return Err(self.error(what(), &error));
            }
            let partitions = found.partitions();
            let replicas = partitions
                .iter()
                .map(|partition| partition.replicas().len());
            Ok(Some(Topic {
                partitions: partitions.len(),
                replicas: replicas.min().unwrap_or(0),
            }))
        })
    }

    /// A setting of a topic, its defaults included.
    fn setting(&self, topic: &str, name: &str) -> Result<Option<String>, KafkaError> {
        self.patiently(|| {
            let what = || format!("tell the settings of topic `{topic}`");
            let asked = [ResourceSpecifier::Topic(topic)];
            let options = AdminOptions::new().request_timeout(Some(ANSWER));
            let told = block_on(self.client.describe_configs(&asked, &options));
            let told = told.map_err(|error| self.error(what(), &error))?;
            let is_asked = |resource: &ConfigResource| {
                resource.specifier == OwnedResourceSpecifier::Topic(topic.into())
            };
            let mut found = None;
            for resource in told {
                let resource = match resource {
                    Ok(resource) => resource,
                    // It is there: not every broker knows yet.
                    Err(Code::UnknownTopicOrPartition) => {
                        return Err(KafkaError::Away {
                            brokers: self.brokers.into(),
                            reason: format!(
                                "the settings of topic `{topic}` are not to be had yet"
                            ),
                        });
                    }
                    Err(code) => {
                        return Err(self.error(what(), &ClientError::AdminOp(code)));
                    }
                };
                if is_asked(&resource) {
                    let entry = resource.get(name);
                    found = found.or_else(|| entry.and_then(|entry| entry.value.clone()));
                }
            }
            Ok(found)
        })
    }

    fn make(&self, topic: &str, replicas: i32, in_sync: Option<&str>) -> Result<(), KafkaError> {
        let what = || format!("make topic `{topic}` for markers");
        self.patiently(|| {
            let replicas = TopicReplication::Fixed(replicas);
            let mut new = NewTopic::new(topic, 1, replicas).set("cleanup.policy", "compact");
            if let Some(in_sync) = in_sync {
                new = new.set("min.insync.replicas", in_sync);
            }
            let options = AdminOptions::new().request_timeout(Some(ANSWER));
            let made = block_on(self.client.create_topics([&new], &options));
            let made = made.map_err(|error| self.error(what(), &error))?;
            for result in made {
                match result {
                    // A reader that comes too soon knows nothing of it and waits.
                    Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                    Err((_, code)) => {
                        let error = ClientError::MetadataFetch(code);
                        return Err(self.error(what(), &error));
                    }
                }
            }
            Ok(())
        })?;
        self.patiently(|| match self.find(topic)? {
            Some(_) => Ok(()),
            None => Err(KafkaError::Away {
                brokers: self.brokers.into(),
                reason: format!("topic `{topic}` is made, and not yet there"),
            }),
        })
    }
}
