//! The meaning of RabbitMQ's errors.

use bento_relay::publish::PublishError;
use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::ConnectError;

/// The reason why connecting failed.
pub(super) fn connecting(address: String, error: lapin::Error) -> ConnectError {
    let kind = match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind().clone()),
        _ => None,
    };
    match kind {
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => ConnectError::Credentials {
            address,
            source: error.into(),
        },
        Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) => ConnectError::Unfit {
            address,
            what: "the virtual host does not exist, or the user may not use it".to_owned(),
            source: Some(error.into()),
        },
        _ => ConnectError::Unreachable {
            address,
            source: error.into(),
        },
    }
}

/// The reason why a message that was sent alone was not confirmed.
///
/// An error that closes a channel is the message's own fault and comes again with it, except for a
/// missing right or exchange, which can be given without a change of the message. Any other error
/// says nothing about the message.
pub(super) fn publishing(error: lapin::Error) -> PublishError {
    if is_denial(&error) {
        return PublishError::unavailable("RabbitMQ does not let the user write to the exchange")
            .because(error);
    }
    if !is_refusal(&error) {
        return PublishError::unavailable(
            "the connection to RabbitMQ was lost before the event was confirmed",
        )
        .because(error);
    }
    if is_missing(&error) {
        return PublishError::unavailable("RabbitMQ does not have what the event is sent to")
            .because(error);
    }
    PublishError::permanent("RabbitMQ refused the event").because(error)
}

/// True if the server closed the channel because the user lacks a permission.
pub(super) fn is_denial(error: &lapin::Error) -> bool {
    matches!(mistake(error), Some((AMQPSoftError::ACCESSREFUSED, _)))
}

/// True if the server closed the channel because the exchange does not exist.
fn is_missing(error: &lapin::Error) -> bool {
    matches!(mistake(error), Some((AMQPSoftError::NOTFOUND, _)))
}

/// True if the server closed the channel because of a message.
pub(super) fn is_refusal(error: &lapin::Error) -> bool {
    matches!(
        mistake(error),
        Some((
            AMQPSoftError::NOTFOUND
                | AMQPSoftError::ACCESSREFUSED
                | AMQPSoftError::PRECONDITIONFAILED
                | AMQPSoftError::CONTENTTOOLARGE,
            _
        ))
    )
}

/// The reason for which the server closed the channel, and its text.
pub(super) fn mistake(error: &lapin::Error) -> Option<(&AMQPSoftError, &str)> {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return None;
    };
    match error.kind() {
        AMQPErrorKind::Soft(kind) => Some((kind, error.get_message().as_str())),
        AMQPErrorKind::Hard(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bento_relay::publish::FailureClass;
    use lapin::protocol::AMQPError;

    use super::*;

    #[test]
    fn an_error_has_the_class_of_what_can_be_done() {
        for (kind, class) in [
            (
                AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED),
                FailureClass::Unavailable,
            ),
            (
                AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND),
                FailureClass::Unavailable,
            ),
            (
                AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED),
                FailureClass::Permanent,
            ),
            (
                AMQPErrorKind::Soft(AMQPSoftError::CONTENTTOOLARGE),
                FailureClass::Permanent,
            ),
            (
                AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED),
                FailureClass::Unavailable,
            ),
        ] {
            let error = ErrorKind::ProtocolError(AMQPError::new(kind.clone(), "why".into())).into();
            assert_eq!(publishing(error).class(), class, "{kind:?}");
        }
    }
}
