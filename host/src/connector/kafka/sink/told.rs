//! What a client tells: as any client of ours, and why its transaction is broken.

use parking_lot::Mutex;
use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::KafkaError as ClientError,
    producer::{DeliveryResult, ProducerContext},
    statistics::Statistics,
};

use crate::connector::kafka::client::{Cluster, Context};

/// What a client tells.
pub(in crate::connector::kafka) struct Told(
    pub(in crate::connector::kafka) Context,
    Mutex<Option<String>>,
);

impl Told {
    pub(in crate::connector::kafka) fn new(cluster: &Cluster) -> Self {
        Self(cluster.context(), Mutex::default())
    }

    /// The transaction is aborted.
    pub(super) fn is_over(&self) {
        *self.1.lock() = None;
    }

    /// Why the transaction can only be aborted, if that is so. There is no call that tells.
    pub(super) fn aborted(&self) -> Option<String> {
        self.1.lock().clone()
    }
}

impl ClientContext for Told {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "TXNERR" {
            *self.1.lock() = Some(message.into());
        }
        self.0.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.stats(statistics);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.0.error(error, reason);
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.0.generate_oauth_token(config)
    }
}

impl ConsumerContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = usize;

    /// Reports are taken in by `Native::serve`; what comes here is of a client that is being
    /// thrown away.
    fn delivery(&self, _: &DeliveryResult<'_>, _: usize) {}
}
