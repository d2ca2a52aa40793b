//! What RabbitMQ's errors mean.

use bento_core::publish::PublishError;
use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::ConnectError;

/// Why no connection came about.
pub(super) fn connecting(address: &str, error: lapin::Error) -> ConnectError {
    let address = address.to_owned();
    let kind = match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind().clone()),
        _ => None,
    };
    match kind {
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => {
            ConnectError::Credentials { address, source: error.into() }
        }
        Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) => ConnectError::Unfit {
            address,
            what: "there is no such virtual host, or the user may not use it".to_owned(),
            source: Some(error.into()),
        },
        _ => ConnectError::Unreachable { address, source: error.into() },
    }
}

/// Why a message that was sent alone was not confirmed.
///
/// What closes a channel is the message's own fault and comes again with it; anything else may pass.
pub(super) fn publishing(error: lapin::Error) -> PublishError {
    if !is_refusal(&error) {
        return PublishError::transient("the connection to RabbitMQ was lost before the event was confirmed")
            .because(error);
    }
    PublishError::permanent("RabbitMQ refused the event").because(error)
}

/// Whether the server closed the channel because of a message.
pub(super) fn is_refusal(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(
        error.kind(),
        AMQPErrorKind::Soft(
            AMQPSoftError::NOTFOUND
                | AMQPSoftError::ACCESSREFUSED
                | AMQPSoftError::PRECONDITIONFAILED
                | AMQPSoftError::CONTENTTOOLARGE
        )
    )
}
