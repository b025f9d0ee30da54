//! What a producer's error codes mean.

use rdkafka::error::RDKafkaErrorCode as Code;

/// Whether an error only follows from another one, which says more.
pub(super) fn follows(code: Code) -> bool {
    matches!(
        code,
        Code::Fatal | Code::State | Code::PurgeQueue | Code::PurgeInflight
    )
}

/// Whether the cluster would refuse the same again. Anything else that it says of a producer may be
/// over with the next one.
pub(super) fn is_refusal(code: Code) -> bool {
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
