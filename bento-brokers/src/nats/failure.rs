//! The meaning of a refusal for the next attempt.

use std::error::Error;
use std::time::Duration;

use async_nats::client::{PublishError as ClientError, PublishErrorKind};
use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use bento_relay::publish::PublishError;

/// A stream that is full stays so until a consumer or a limit makes room.
const FULL: Duration = Duration::from_secs(1);

/// The client did not send a message.
pub(super) fn unsent(error: ClientError) -> PublishError {
    let class: fn(String) -> PublishError = match error.kind() {
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::InvalidSubject => {
            |text| PublishError::permanent(text)
        }
        PublishErrorKind::Send => |text| PublishError::unavailable(text),
    };
    // The client's error repeats its source in its own text.
    match Error::source(&error) {
        Some(source) => class(format!("NATS did not take the event: {source}"))
            .because(error.kind().to_string()),
        None => class(format!("NATS did not take the event: {}", error.kind())),
    }
}

/// A stream did not take a message.
pub(super) fn refused(error: &jetstream::Error) -> PublishError {
    class(error)(format!("NATS did not take the event: {error}"))
}

/// Another stream answered than the one that must take every event.
pub(super) fn elsewhere(stream: &str, expected: &str) -> PublishError {
    let stream = stream.escape_debug();
    PublishError::unavailable(format!(
        "the stream `{stream}` of NATS answered, and not `{expected}`, which is expected"
    ))
}

fn class(error: &jetstream::Error) -> fn(String) -> PublishError {
    match error.error_code() {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            |text| PublishError::permanent(text)
        }
        // The stream is not the expected one, or accepts no more messages: an operator has to act.
        ErrorCode::STREAM_NOT_MATCH | ErrorCode::STREAM_SEALED => {
            |text| PublishError::unavailable(text)
        }
        // "maximum messages exceeded" and its like come under the first code.
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_TOO_MANY_REQUESTS => |text| PublishError::throttled(text, FULL),
        // What JetStream says of itself, as HTTP does.
        _ if error.code() >= 500 => |text| PublishError::unavailable(text),
        _ => |text| PublishError::transient(text),
    }
}
