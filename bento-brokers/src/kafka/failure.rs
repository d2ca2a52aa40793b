//! The meaning of Kafka's errors, and the names that it allows.

use std::time::Duration;

use bento_relay::publish::PublishError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The pause before the next attempt while the client's queue is full.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest name of a topic, in bytes.
const LONGEST: usize = 249;

pub(super) fn failure(error: KafkaError, topic: &str) -> PublishError {
    use RDKafkaErrorCode as Code;
    let failure = match error.rdkafka_error_code() {
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            PublishError::unavailable(format!("Kafka has no topic `{topic}`: create the topic"))
        }
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::MessageBatchTooLarge
            | Code::InvalidRecord
            | Code::InvalidTopic
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::UnsupportedForMessageFormat,
        ) => PublishError::permanent(format!("Kafka refused the event for the topic `{topic}`")),
        Some(Code::QueueFull | Code::ThrottlingQuotaExceeded) => {
            PublishError::throttled("the queue of Kafka's client is full", PAUSE)
        }
        // Not the event's fault: whoever gives the right back need not touch it.
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => PublishError::unavailable(format!(
            "Kafka does not let the producer write to the topic `{topic}`"
        )),
        _ => PublishError::unavailable(format!(
            "Kafka did not confirm the event for the topic `{topic}`"
        )),
    };
    failure.because(error)
}

/// True if the producer that met this error has to be replaced: the cluster does not accept its
/// sequence numbers.
///
/// librdkafka gives itself a new epoch after it gave a message up. A cluster that does not follow
/// refuses all that comes after.
pub(super) fn wears(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::Fatal
                | Code::InvalidProducerEpoch
                | Code::ProducerFenced
                | Code::OutOfOrderSequenceNumber
                | Code::DuplicateSequenceNumber
                | Code::UnknownProducerId
        )
    )
}

/// # Errors
/// If Kafka can have no topic of this name.
pub(super) fn check_topic(name: &str) -> Result<(), PublishError> {
    topic_rule(name).map_err(|why| {
        PublishError::permanent(format!(
            "invalid Kafka topic `{}`: {why}",
            name.escape_debug()
        ))
    })
}

/// # Errors
/// The rule that the name of a topic breaks.
pub(super) fn topic_rule(name: &str) -> Result<(), &'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || matches!(name, "." | "..") {
        Err("it is empty or dots alone")
    } else if name.len() > LONGEST {
        Err("it is longer than 249 bytes")
    } else if !name.bytes().all(is_allowed) {
        Err("it may hold ASCII letters, digits, `.`, `_` and `-` only")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bento_relay::publish::FailureClass;

    use super::*;

    #[test]
    fn topics_are_checked_as_kafka_does() {
        for name in ["order.created", "a", "A_b-9", &"x".repeat(249)] {
            check_topic(name).unwrap();
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            assert_eq!(
                check_topic(name).unwrap_err().class(),
                FailureClass::Permanent,
                "{name}"
            );
        }
    }

    #[test]
    fn an_error_has_the_class_of_what_can_be_done() {
        use RDKafkaErrorCode as Code;
        for (code, class) in [
            (Code::MessageSizeTooLarge, FailureClass::Permanent),
            (Code::UnknownTopicOrPartition, FailureClass::Unavailable),
            (Code::InvalidRecord, FailureClass::Permanent),
            (Code::TopicAuthorizationFailed, FailureClass::Unavailable),
            (Code::ClusterAuthorizationFailed, FailureClass::Unavailable),
            (Code::SaslAuthenticationFailed, FailureClass::Unavailable),
            (Code::QueueFull, FailureClass::Throttled),
            (Code::MessageTimedOut, FailureClass::Unavailable),
            (Code::NotEnoughReplicas, FailureClass::Unavailable),
            (Code::OutOfOrderSequenceNumber, FailureClass::Unavailable),
            (Code::Fatal, FailureClass::Unavailable),
        ] {
            let failure = failure(KafkaError::MessageProduction(code), "t");
            assert_eq!(failure.class(), class, "{code:?}");
            assert!(std::error::Error::source(&failure).is_some());
        }
    }
}
