//! A producer: records and what became of them, and transactions.

use std::{ffi::CStr, time::Duration};

use rdkafka::{
    config::FromClientConfigAndContext,
    error::{KafkaError as ClientError, KafkaResult, RDKafkaErrorCode as Code},
    producer::{BaseProducer, Producer as _},
};

use super::{native::Native, record::Record, told::Told};
use crate::{
    clock,
    connector::kafka::{
        KafkaError,
        client::{Cluster, Context},
    },
    spawn,
};

/// From one look at a call that takes long to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// So long a producer waits for a sign of life before it is given up for now.
pub(in crate::connector::kafka) const PATIENCE: Duration = Duration::from_secs(10);
/// The client asks again for the end of a transaction, and does not say so, if no answer came: not
/// sooner than this after it has asked, with what [`ASKS_AGAIN`] says.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(300);
/// When the client asks again, give or take a fifth.
const ASKS_AGAIN: &[(&str, &str)] = &[
    ("retry.backoff.ms", "500"),
    ("retry.backoff.max.ms", "1000"),
];
/// So many records are handed over between two looks at what became of others.
const SERVE_EVERY: u64 = 1_000;
/// What the records of a transaction are marked with whose offset is wanted.
const NOTED: usize = 1;

/// What every producer sets, unless the document says otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    // As Java's clients do it, so that records of a key meet whoever writes them.
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.messages", "500000"),
    ("queue.buffering.max.kbytes", "131072"),
    // A broker that was away is back at once for us.
    ("reconnect.backoff.max.ms", "1000"),
    // A topic that nobody knows for so long is not there.
    ("topic.metadata.propagation.max.ms", "10000"),
];
/// What no document may change.
const OWN: &[(&str, &str)] = &[("enable.idempotence", "true"), ("acks", "all")];

/// Counts its records: what is handed over is there or has failed, and nothing is forgotten.
pub(super) struct Producer {
    /// Stands before the client: fields are dropped in this order.
    native: Native,
    client: BaseProducer<Told>,
    brokers: String,
    /// The transactional id; empty without transactions.
    id: String,
    sent: u64,
    acked: u64,
    failed: Option<Failure>,
    /// The offset of the newest record that was marked.
    noted: Option<i64>,
    /// Whether a transaction was perhaps asked twice to end. Brokers do not tell the transactions
    /// of one producer apart, so the first of the two, if it is still on its way, would end the
    /// next transaction, with a part of its records: there must be none. The next producer is safe,
    /// for a broker refuses what an earlier one has sent.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// Aborts the transaction, and forgets its records.
    pub(super) fn abort(&mut self) -> Result<(), KafkaError> {
        let began = clock::monotonic_us();
        self.repeat("abort a transaction", |client| {
            client.abort_transaction(LOOK_AGAIN)
        })?;
        self.is_spent |= is_over(began, ASKED_AGAIN_AFTER);
        while self.serve(Duration::ZERO) {}
        (self.sent, self.acked, self.failed) = (0, 0, None);
        self.client.client().context().is_over();
        Ok(())
    }

    /// Calls what waits for the cluster until it is done. It is asked again in short turns, so that
    /// what the client wants meanwhile is done.
    fn repeat(
        &mut self,
        what: &str,
        call: impl Fn(&BaseProducer<Told>) -> KafkaResult<()>,
    ) -> Result<(), KafkaError> {
        let began = clock::monotonic_us();
        loop {
            let error = match call(&self.client) {
                Ok(()) => {
                    self.context().is_well();
                    return Ok(());
                }
                Err(error) => error,
            };
            while self.serve(Duration::ZERO) {}
            let is_slow = error.rdkafka_error_code() == Some(Code::OperationTimedOut);
            let told = self.error(what, &error);
            let can_go_on =
                matches!(&error, ClientError::Transaction(error) if error.is_retriable());
            if !(is_slow || told.is_away()) || !can_go_on || is_over(began, PATIENCE) {
                return Err(told);
            }
        }
    }

    /// Lets go of a producer that may be in the middle of something: that may take long, and nobody
    /// waits for it.
    pub(super) fn throw_away(self) {
        drop(spawn::thread("kafka-reaper", move || drop(self)));
    }
}

/// Whether the cluster would refuse the same again. Anything else that it says of a producer may be
/// over with the next one.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTransactionTimeout
            | Code::InvalidTimestamp
            | Code::InvalidRecord
            | Code::InvalidTopic
            | Code::InvalidArgument
            | Code::InvalidConfig
            | Code::NotConfigured
            | Code::PolicyViolation
            | Code::SecurityDisabled
            | Code::UnsupportedFeature
            | Code::UnsupportedForMessageFormat
            | Code::UnsupportedVersion
    )
}

fn is_over(began_us: i64, limit: Duration) -> bool {
    let waited = clock::monotonic_us().saturating_sub(began_us);
    waited.unsigned_abs() > u64::try_from(limit.as_micros()).unwrap_or(u64::MAX)
}
