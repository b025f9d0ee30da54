//! Rows go out as they come, each with its id.

use std::{ffi::CString, time::Duration};

use wasmill_core::{
    batch::Batch,
    duration,
    pipeline::{
        self, EncodeSpec,
        document::{Delivery, KafkaSink},
    },
};

use super::{
    give_up_after,
    producer::Producer,
    record::{self, RecordEncoder},
    topic, topic_of_all,
};
use crate::{
    connector::{
        ConnectorError, Sink,
        kafka::{KafkaError, client::Cluster},
    },
    format::encode::Metadata,
};

/// Writes rows as they come. A checkpoint waits until every record is there.
pub struct KafkaPlain {
    producer: Producer,
    encoder: RecordEncoder,
    topic: CString,
    give_up_after: Duration,
    buffer: Vec<u8>,
}

impl KafkaPlain {
    /// Looks whether the topic is there. If the brokers are away, that waits for the first rows.
    pub fn open(
        sink: &pipeline::Sink,
        (target, format): (&KafkaSink, &EncodeSpec),
        metadata: Metadata,
        job: &str,
    ) -> Result<Self, ConnectorError> {
        let cluster = Cluster::new(&target.brokers, &target.options);
        let give_up_after = give_up_after(target);
        // With 0 each record is a request of its own: a broker has then more to do than to write.
        let linger = match sink.delivery {
            Delivery::Early => "0",
            _ => "1",
        };
        let lasts = give_up_after.as_millis().clamp(1_000, i32::MAX as u128);
        let lasts = lasts.to_string();
        let defaults = [("linger.ms", linger), ("message.timeout.ms", &lasts)];
        let mut this = Self {
            producer: Producer::new(&cluster, &defaults, &[])?,
            encoder: RecordEncoder::new((target, format), metadata, (job, true))?,
            topic: topic_of_all(topic(target)),
            give_up_after,
            buffer: Vec::new(),
        };
        if let Some(topic) = topic(target) {
            match this.producer.find_topic(topic) {
                Err(error) if error.is_away() => {
                    tracing::warn!(sink = sink.name, %error, "going on without it for now");
                }
                other => other?,
            }
        }
        Ok(this)
    }

    /// What fails here has been waited for already.
    fn over(&self, error: KafkaError) -> ConnectorError {
        match error {
            KafkaError::Away { ref brokers, .. } => ConnectorError::GaveUp {
                place: format!("`{brokers}`"),
                waited: duration::print(self.give_up_after),
                source: Box::new(error),
            },
            other => other.into(),
        }
    }
}

impl Sink for KafkaPlain {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.buffer.clear();
        self.encoder.encode(batch, &mut self.buffer)?;
        let sent = record::for_each_in(&self.buffer, |record| {
            self.producer.send(&self.topic, record, self.give_up_after)
        });
        sent.map_err(|error| self.over(error))
    }

    /// The client sends by itself; nobody waits for it.
    fn flush(&mut self) -> Result<(), ConnectorError> {
        let polled = self.producer.poll();
        polled.map_err(|error| self.over(error))
    }

    fn settle(&mut self) -> Result<(), ConnectorError> {
        let settled = self.producer.settle(self.give_up_after);
        settled.map_err(|error| self.over(error))
    }
}
