//! The meaning of Kafka's errors for a source.

use bento_relay::source::SourceError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::super::client::{Watcher, unreachable};
use super::KafkaSourceSettings;
use crate::ConnectError;

/// The answer of Kafka, or the absence of one, as the error of a source.
pub(super) fn failure(
    error: KafkaError,
    settings: &KafkaSourceSettings,
    watcher: &Watcher,
) -> SourceError {
    use RDKafkaErrorCode as Code;
    let topic = &settings.topic;
    let failure = match error.rdkafka_error_code() {
        Some(
            Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
            | Code::UnknownPartition,
        ) => SourceError::refused(format!(
            "Kafka has no topic `{topic}`, or it lacks a partition, or the user may not see it: \
             make it, or set `create = true`"
        )),
        Some(Code::TopicAuthorizationFailed) => SourceError::refused(format!(
            "the user may not read the topic `{topic}`: allow it `Describe` and `Read`, with \
             `kafka-acls --add --allow-principal User:… --operation Read --topic {topic}`"
        )),
        Some(Code::InvalidTopic) => {
            SourceError::refused(format!("Kafka does not allow the topic `{topic}`"))
        }
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => SourceError::unavailable(format!(
            "the topic `{topic}` no longer has the next message: a new subscription begins at the \
             first one that it has"
        )),
        // The codes of the protocol are positive; those of the client itself are not.
        Some(code) if code as i32 > 0 && code != Code::SaslAuthenticationFailed => {
            SourceError::unavailable(format!("Kafka could not give the topic `{topic}`"))
        }
        _ => return no_answer(unreachable(watcher, &settings.servers, error.into())),
    };
    failure.because(error)
}

/// The error of a cluster that did not answer, or did not let the user in.
pub(super) fn no_answer(error: ConnectError) -> SourceError {
    match &error {
        ConnectError::Credentials { .. } => {
            SourceError::refused("Kafka does not accept the user: mend `sasl` or `tls`")
        }
        _ => SourceError::unavailable("Kafka does not answer"),
    }
    .because(error)
}

/// True if one server is away, which the client mends by itself; or if the group may not be used,
/// to which places are committed for tools alone.
pub(super) fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::PartitionEOF
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::GroupAuthorizationFailed
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: RDKafkaErrorCode) -> SourceError {
        let settings = KafkaSourceSettings {
            topic: "orders".to_owned(),
            ..KafkaSourceSettings::default()
        };
        failure(
            KafkaError::MessageConsumption(code),
            &settings,
            &Watcher::default(),
        )
    }

    #[test]
    fn what_an_operator_has_to_mend_is_refused() {
        use RDKafkaErrorCode as Code;
        for (code, is_refused, says) in [
            (Code::UnknownTopicOrPartition, true, "no topic `orders`"),
            (
                Code::TopicAuthorizationFailed,
                true,
                "allow it `Describe` and `Read`",
            ),
            (Code::InvalidTopic, true, "does not allow"),
            (Code::AutoOffsetReset, false, "a new subscription begins"),
            (
                Code::RequestTimedOut,
                false,
                "could not give the topic `orders`",
            ),
            (
                Code::AllBrokersDown,
                false,
                "no connection to localhost:9092",
            ),
        ] {
            let error = failed(code);
            assert_eq!(error.is_refused(), is_refused, "{code:?}");
            assert!(error.chain().contains(says), "{}", error.chain());
        }
        let address = "localhost:9092".to_owned();
        let source = "SASL".into();
        assert!(no_answer(ConnectError::Credentials { address, source }).is_refused());
    }
}
