//! What is wrong with a cluster, a topic or a record, and what to do about it.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::client::Trouble;
use crate::secret::SecretError;

/// Why a topic cannot be read or written. No message holds a secret or a value of a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// A secret is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An option that librdkafka does not take.
    #[error("{reason}; mend `options`: their names are librdkafka's")]
    Option {
        /// In librdkafka's words, which name the option.
        reason: String,
    },
    /// What a variable or a file holds is no address.
    #[error(
        "{place} does not hold addresses of brokers; write `HOST:PORT`, with commas between several"
    )]
    Address {
        /// The variable or the file. What it holds may be a secret that went astray.
        place: String,
    },
    /// No broker answers now; one may later.
    #[error("no broker of `{brokers}` answers: {reason}")]
    Away {
        /// The addresses.
        brokers: String,
        /// What happened last.
        reason: String,
    },
    /// What was asked for may be done or not; trying again tells.
    #[error("`{brokers}` may or may not have done it: {reason}")]
    Unsure {
        /// The addresses.
        brokers: String,
        /// What happened.
        reason: String,
    },
    /// The cluster does not let us in.
    #[error("`{brokers}` refuses the connection: {reason}; {remedy}")]
    Login {
        /// The addresses.
        brokers: String,
        /// What it said.
        reason: String,
        /// What to look at.
        remedy: &'static str,
    },
    /// The topic is not there.
    #[error("there is no topic `{topic}` at `{brokers}`; make it, or mend its name")]
    NoTopic {
        /// The topic.
        topic: String,
        /// The addresses.
        brokers: String,
    },
    /// A row of a changelog without a key.
    #[error(
        "a row has no key, so nobody knows which record it replaces; take out `upsert`, or filter \
         such rows"
    )]
    NoKey,
    /// A number that no partition has.
    #[error("a row is for partition {number}; partitions are counted from 0")]
    NotAPartition {
        /// What the row says.
        number: i128,
    },
    /// A partition that the topic does not have.
    #[error(
        "a row is for a partition that `{topic}` does not have; give the topic more partitions, \
         or mend the column that `partition` names"
    )]
    NoPartition {
        /// The topic.
        topic: String,
    },
    /// A row that says no topic.
    #[error(
        "a row's column for the topic holds no name of a topic: letters, digits, `.`, `_` and \
         `-`, at most 249 of them"
    )]
    NotATopic,
    /// A record that is too large.
    #[error(
        "a record for `{topic}` is too large: raise `message.max.bytes` in `options`, and \
         `max.message.bytes` of the topic"
    )]
    TooLarge {
        /// The topic.
        topic: String,
    },
    /// Another producer has taken the transactional id.
    #[error("another producer writes to `{brokers}` as `{id}`")]
    Fenced {
        /// The addresses.
        brokers: String,
        /// The transactional id.
        id: String,
    },
    /// The markers of a sink are gone.
    #[error(
        "the markers in topic `{topic}` are gone, so nobody knows which rows of sink `{sink}` are \
         out; bring the topic back, or begin anew with --fresh"
    )]
    NoMarkers {
        /// The topic of the markers.
        topic: String,
        /// The sink.
        sink: String,
    },
    /// A topic of markers that could lose them.
    #[error("the topic of markers `{topic}` {what}; {remedy}")]
    Markers {
        /// The topic of the markers.
        topic: String,
        /// What is wrong with it.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A topic or partition that was read is not there any more.
    #[error(
        "`{split}` is not at `{brokers}` any more: its topic was deleted; what was read of it is \
         not lost. Take it out of the source, make it anew and begin anew with --fresh"
    )]
    TopicGone {
        /// The partition.
        split: String,
        /// The addresses.
        brokers: String,
    },
    /// The records to go on with are not there.
    #[error(
        "`{split}` at `{brokers}` has no record {offset} to go on with: records were deleted \
         before they were read, or the topic was made anew; keep records for longer \
         (`retention.ms`), and begin anew with --fresh: what is still there is then read again, \
         and its rows come out once more"
    )]
    OutOfRange {
        /// The partition.
        split: String,
        /// The offset to go on from.
        offset: u64,
        /// The addresses.
        brokers: String,
    },
    /// An offset to begin with that the partition does not have.
    #[error(
        "`{split}` has no offset {offset} to begin with: it holds {oldest} to {end}; mend \
         `start: {{ offsets: .. }}`"
    )]
    NoOffset {
        /// The partition.
        split: String,
        /// What the document says.
        offset: u64,
        /// The oldest that there is.
        oldest: u64,
        /// Behind the newest.
        end: u64,
    },
    /// Dead letters that cannot be read back.
    #[error("the dead letters {what}; {remedy}")]
    Letters {
        /// What is wrong with them.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The cluster refuses to do something.
    #[error("`{brokers}` refuses to {what}: {reason}; {remedy}")]
    Refused {
        /// The addresses.
        brokers: String,
        /// What was asked for.
        what: String,
        /// What it said.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl KafkaError {
    /// Of a client that cannot be made.
    pub(super) fn of_client(error: ClientError) -> Self {
        let reason = match error {
            ClientError::ClientConfig(_, reason, name, _) => format!("option `{name}`: {reason}"),
            other => other.to_string(),
        };
        Self::Option { reason }
    }

    /// Of something that the cluster was asked to do; `trouble` is what the client said last.
    pub(super) fn of(
        brokers: &str,
        what: impl Into<String>,
        error: &ClientError,
        trouble: Option<&Trouble>,
    ) -> Self {
        let code = code_of(error);
        let told = trouble.map(|trouble| trouble.reason.clone());
        let brokers = brokers.to_owned();
        let refused = trouble.and_then(|trouble| trouble.code).or(code);
        if let Some(remedy) = refused.and_then(login_remedy) {
            let reason = told.unwrap_or_else(|| error.to_string());
            return Self::Login {
                brokers,
                reason,
                remedy,
            };
        }
        if code.is_some_and(is_away) {
            let reason = told.unwrap_or_else(|| error.to_string());
            return Self::Away { brokers, reason };
        }
        Self::Refused {
            brokers,
            what: what.into(),
            reason: error.to_string(),
            remedy: code.map_or("look at the broker's log", remedy),
        }
    }

    /// Whether it may work later without anybody changing anything.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Unsure { .. })
    }
}

/// What went wrong, also with what an administrator asks for.
fn code_of(error: &ClientError) -> Option<Code> {
    match error {
        ClientError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// Errors of a network, or of a cluster that moves its leaders.
pub(super) fn is_away(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::BrokerDestroy
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::NetworkException
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::NotController
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::KafkaStorageError
    )
}

/// Whether the cluster does not let us in.
pub(super) fn is_login(code: Code) -> bool {
    login_remedy(code).is_some()
}

/// What to look at where the cluster does not let us in.
fn login_remedy(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "look at `sasl.mechanism`, `sasl.username` and `sasl.password` in `options`"
        }
        Code::SSL => "look at `security.protocol` and `ssl.ca.location` in `options`",
        Code::UnsupportedSASLMechanism => "look at `sasl.mechanism` in `options`",
        _ => return None,
    })
}

fn remedy(code: Code) -> &'static str {
    match code {
        Code::TopicAuthorizationFailed => "give the user rights for the topic",
        Code::GroupAuthorizationFailed => "give the user rights for the group",
        Code::ClusterAuthorizationFailed => "give the user rights for the cluster",
        Code::TransactionalIdAuthorizationFailed => {
            "give the user rights for transactional ids that begin with `wasmill.`"
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            "raise `message.max.bytes` in `options`, and `max.message.bytes` of the topic"
        }
        Code::InvalidTransactionTimeout => {
            "set `transaction.timeout.ms` in `options` to `transaction.max.timeout.ms` of the \
             broker, or less"
        }
        Code::InvalidTimestamp => {
            "raise `message.timestamp.after.max.ms` of the topic, or mend the rows' times"
        }
        Code::InvalidRecord => "a compacted topic takes no record without a key: say `key: COLUMN`",
        _ => "look at the broker's log",
    }
}
