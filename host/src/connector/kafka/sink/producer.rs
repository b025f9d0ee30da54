//! A producer: records and what became of them, and transactions.

use std::{ffi::CStr, time::Duration};

use rdkafka::{
    config::FromClientConfigAndContext,
    error::{KafkaError as ClientError, KafkaResult, RDKafkaErrorCode as Code},
    producer::{BaseProducer, Producer as _},
};

use super::{
    codes::{follows, is_refusal},
    native::Native,
    record::Record,
    told::Told,
};
use crate::{
    clock,
    connector::kafka::{
        KafkaError,
        client::{Cluster, Context},
    },
    spawn,
};

/// So long a wait for reports of delivery lasts, and one in which the client keeps nothing back.
const TURN: Duration = Duration::from_millis(100);
const FLUSH_TURN: Duration = Duration::from_millis(1);
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
    /// Whether a transaction was perhaps asked twice to end.
    is_spent: bool,
}

/// A record that is not there.
#[derive(Debug, Clone)]
struct Failure {
    code: Code,
    topic: String,
}

impl Failure {
    fn follows(&self) -> bool {
        follows(self.code)
    }
}

impl Producer {
    /// A producer with these settings beside the usual ones.
    pub(super) fn new(
        cluster: &Cluster,
        defaults: &[(&str, &str)],
        own: &[(&str, &str)],
    ) -> Result<Self, KafkaError> {
        let id = own.iter().find(|(name, _)| *name == "transactional.id");
        let id = id.map_or_else(String::new, |(_, id)| (*id).to_owned());
        let defaults: Vec<_> = DEFAULTS.iter().chain(defaults).copied().collect();
        let again = if id.is_empty() { &[] } else { ASKS_AGAIN };
        let own: Vec<_> = OWN.iter().chain(again).chain(own).copied().collect();
        let config = cluster.config(&defaults, &own)?;
        let client = BaseProducer::from_config_and_context(&config, Told::new(cluster))
            .map_err(KafkaError::of_client)?;
        #[expect(unsafe_code, reason = "the crate has no safe way to the client")]
        // SAFETY: the client stands behind the native side in the same struct, and so outlives it.
        let native = unsafe { Native::new(client.client().native_ptr()) };
        Ok(Self {
            native,
            client,
            brokers: cluster.brokers.clone(),
            id,
            sent: 0,
            acked: 0,
            failed: None,
            noted: None,
            is_spent: false,
        })
    }

    fn context(&self) -> &Context {
        &self.client.client().context().0
    }

    /// Takes in one report; false if none has come.
    fn serve(&mut self, wait: Duration) -> bool {
        let (acked, failed, noted) = (&mut self.acked, &mut self.failed, &mut self.noted);
        let context = &self.client.client().context().0;
        self.native.serve(wait, context, |delivery| {
            match delivery.error {
                None => *acked += 1,
                Some(code) => {
                    failed.get_or_insert_with(|| Failure {
                        code,
                        topic: delivery.topic.to_string_lossy().into_owned(),
                    });
                }
            }
            if delivery.mark == NOTED && delivery.error.is_none() {
                *noted = Some(delivery.offset);
            }
        })
    }

    /// Takes in what has come, and waits for nothing.
    ///
    /// # Errors
    /// If a record has failed.
    pub(super) fn poll(&mut self) -> Result<(), KafkaError> {
        while self.serve(Duration::ZERO) {}
        self.check()
    }

    fn check(&self) -> Result<(), KafkaError> {
        if let Some(failure) = self.failed.as_ref().filter(|failure| !failure.follows()) {
            return Err(self.error_of(failure));
        }
        if let Some(reason) = self.client.client().context().aborted() {
            return Err(self.aborted(reason));
        }
        match &self.failed {
            None => Ok(()),
            Some(failure) => Err(self.error_of(failure)),
        }
    }

    fn error_of(&self, Failure { code, topic }: &Failure) -> KafkaError {
        let topic = topic.clone();
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic => KafkaError::NoTopic {
                topic,
                brokers: self.brokers.clone(),
            },
            Code::UnknownPartition => KafkaError::NoPartition { topic },
            Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
                KafkaError::TooLarge { topic }
            }
            code => {
                let error = ClientError::MessageProduction(*code);
                self.error(format!("take a record for `{topic}`"), &error)
            }
        }
    }

    /// What an error of the client means.
    fn error(&self, what: impl Into<String>, error: &ClientError) -> KafkaError {
        let mut code = error.rdkafka_error_code();
        let fatal = self.client.client().fatal_error().map(|(code, _)| code);
        let fatal = fatal.filter(|_| code.is_some_and(follows));
        code = fatal.or(code);
        let is_fenced = matches!(
            code,
            Some(
                Code::Fenced
                    | Code::ProducerFenced
                    | Code::InvalidProducerEpoch
                    | Code::InvalidProducerIdMapping
            )
        );
        if is_fenced && !self.id.is_empty() {
            return KafkaError::Fenced {
                brokers: self.brokers.clone(),
                id: self.id.clone(),
            };
        }
        let trouble = self.context().trouble();
        let fatal = fatal.map(ClientError::Global);
        let error = fatal.as_ref().unwrap_or(error);
        match KafkaError::of(&self.brokers, what, error, trouble.as_ref()) {
            KafkaError::Refused {
                brokers, reason, ..
            } if !code.is_some_and(is_refusal) => KafkaError::Unsure { brokers, reason },
            other => other,
        }
    }

    /// Of a transaction that can only be aborted: records of it would wait for ever.
    fn aborted(&self, reason: String) -> KafkaError {
        let brokers = self.brokers.clone();
        if !reason.contains("AUTHORIZATION_FAILED") {
            return KafkaError::Unsure { brokers, reason };
        }
        KafkaError::Refused {
            brokers,
            what: "take records in a transaction".into(),
            reason,
            remedy: "give the user rights for the topics and the transactional id",
        }
    }

    fn away(&self, reason: &str) -> KafkaError {
        let error = ClientError::Global(Code::OperationTimedOut);
        match self.error(reason, &error) {
            KafkaError::Away { brokers, .. } if self.context().trouble().is_none() => {
                let reason = reason.into();
                KafkaError::Away { brokers, reason }
            }
            other => other,
        }
    }

    /// Hands a record over; `topic` is for those that name none. Where the client has no room, that
    /// waits until it has, as long as anything moves.
    ///
    /// # Errors
    /// If this or an earlier record has failed, or nothing has moved for `patience`.
    pub(super) fn send(
        &mut self,
        topic: &CStr,
        record: &Record<'_>,
        patience: Duration,
    ) -> Result<(), KafkaError> {
        self.send_marked(topic, record, 0, patience)
    }

    /// As [`Producer::send`]; [`Producer::noted`] then tells its offset.
    pub(super) fn send_noted(
        &mut self,
        topic: &CStr,
        record: &Record<'_>,
    ) -> Result<(), KafkaError> {
        self.noted = None;
        self.send_marked(topic, record, NOTED, PATIENCE)
    }

    fn send_marked(
        &mut self,
        topic: &CStr,
        record: &Record<'_>,
        mark: usize,
        patience: Duration,
    ) -> Result<(), KafkaError> {
        loop {
            match self.native.produce(topic, record, mark) {
                Ok(()) => break,
                Err(Code::QueueFull) => {
                    let before = self.done();
                    self.wait(patience, |this| this.done() > before, Self::turn)?;
                }
                Err(code) => {
                    let topic = record.topic.unwrap_or(topic);
                    let topic = topic.to_string_lossy().into_owned();
                    return Err(self.error_of(&Failure { code, topic }));
                }
            }
        }
        self.sent += 1;
        if self.sent.is_multiple_of(SERVE_EVERY) {
            self.poll()?;
        }
        Ok(())
    }

    /// Records of which it is known what became of them; one failure ends all.
    fn done(&self) -> u64 {
        self.acked
    }

    /// Waits until something is so, as long as anything moves.
    fn wait(
        &mut self,
        patience: Duration,
        is_so: impl Fn(&Self) -> bool,
        turn: impl Fn(&mut Self, Duration),
    ) -> Result<(), KafkaError> {
        let now = clock::monotonic_us;
        let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
        let (mut moved_us, mut done) = (now(), self.done());
        let (mut is_told, mut waited) = (false, 0);
        while !is_so(self) {
            turn(self, Duration::from_micros(waited));
            self.check()?;
            if self.done() > done {
                (moved_us, done) = (now(), self.done());
            }
            let still = now().saturating_sub(moved_us);
            waited = still.unsigned_abs();
            if still > patience {
                return Err(self.away("it takes no records"));
            }
            if waited > 2_000_000 && !is_told {
                is_told = true;
                let trouble = self.context().trouble();
                let reason = trouble.map_or_else(String::new, |trouble| trouble.reason);
                tracing::warn!(brokers = self.brokers, reason, "waiting for the brokers");
            }
        }
        if is_told {
            tracing::info!(brokers = self.brokers, "the brokers are back");
        }
        self.context().is_well();
        Ok(())
    }

    /// Waits until every record that was handed over is there, as long as anything moves.
    ///
    /// # Errors
    /// If one has failed, or nothing has moved for `patience`.
    pub(super) fn settle(&mut self, patience: Duration) -> Result<(), KafkaError> {
        self.poll()?;
        self.wait(patience, |this| this.acked == this.sent, Self::flush)
    }

    /// Waits a moment for reports.
    fn turn(&mut self, _waited: Duration) {
        self.serve(TURN);
    }

    /// Waits a moment in which records do not wait for others: a short one, since the client takes
    /// no reports meanwhile. Where nothing has moved for long, these are ever more seldom.
    fn flush(&mut self, waited: Duration) {
        self.native.flush(FLUSH_TURN);
        self.serve((waited / 8).min(TURN));
        while self.serve(Duration::ZERO) {}
    }

    /// The offset of the newest record that was to be noted, once it is there.
    pub(super) fn noted(&self) -> Option<i64> {
        self.noted
    }

    /// Whether a topic is there. Where brokers make topics by themselves, it is made.
    pub(super) fn find_topic(&mut self, topic: &str) -> Result<(), KafkaError> {
        let what = || format!("tell of topic `{topic}`");
        let began = clock::monotonic_us();
        loop {
            let client = self.client.client();
            let error = match client.fetch_metadata(Some(topic), LOOK_AGAIN) {
                Ok(found) => match found.topics().first().and_then(|topic| topic.error()) {
                    None => return Ok(()),
                    Some(error) => Code::from(error),
                },
                Err(error) => error.rdkafka_error_code().unwrap_or(Code::Fail),
            };
            while self.serve(Duration::ZERO) {}
            let failure = Failure {
                code: error,
                topic: topic.into(),
            };
            let told = match self.error_of(&failure) {
                KafkaError::Refused { .. } => {
                    self.error(what(), &ClientError::MetadataFetch(error))
                }
                other => other,
            };
            if !told.is_away() || is_over(began, PATIENCE) {
                return Err(told);
            }
            spawn::pause(Duration::from_millis(50));
        }
    }

    /// Takes the transactional id over: whoever had it can commit no more, and what it has begun is
    /// aborted.
    pub(super) fn init(&mut self) -> Result<(), KafkaError> {
        self.repeat("give out a transactional id", |client| {
            client.init_transactions(LOOK_AGAIN)
        })
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<(), KafkaError> {
        let begun = self.client.begin_transaction();
        begun.map_err(|error| self.error("begin a transaction", &error))
    }

    /// Commits the transaction; every record of it must be there.
    ///
    /// # Errors
    /// It may be committed all the same: throw the producer away, and have another one look at the
    /// marker.
    pub(super) fn commit(&mut self) -> Result<(), KafkaError> {
        debug_assert_eq!(self.acked, self.sent);
        let began = clock::monotonic_us();
        self.repeat("commit a transaction", |client| {
            client.commit_transaction(LOOK_AGAIN)
        })?;
        self.is_spent |= is_over(began, ASKED_AGAIN_AFTER);
        Ok(())
    }

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
            let told = self.error(what, &error);
            // Who is not let in waits in vain.
            let is_slow = error.rdkafka_error_code() == Some(Code::OperationTimedOut)
                && !matches!(told, KafkaError::Login { .. });
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

fn is_over(began_us: i64, limit: Duration) -> bool {
    let waited = clock::monotonic_us().saturating_sub(began_us);
    waited.unsigned_abs() > u64::try_from(limit.as_micros()).unwrap_or(u64::MAX)
}
