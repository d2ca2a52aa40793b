//! The queue: made, or checked.

use bento_relay::source::SourceError;
use lapin::Connection;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::super::failure;
use super::ended;
use super::settings::{RabbitMqQueueType, RabbitMqSourceSettings};

const SINGLE_ACTIVE: &str = "x-single-active-consumer";
const DELIVERY_LIMIT: &str = "x-delivery-limit";
/// As good as none. -1 is without limit since RabbitMQ 4; before, it was taken as well, and every
/// message that came back was dropped.
const NO_LIMIT: i64 = 1_000_000_000;

/// Makes the queue and its bindings, or checks that it is there and can be read in order.
///
/// Each question has a channel of its own: the server closes it to say no.
pub(super) async fn prepare(
    connection: &Connection,
    name: &ShortString,
    settings: &RabbitMqSourceSettings,
) -> Result<(), SourceError> {
    if !settings.create {
        // First, because the declaration that compares the arguments would make a missing queue.
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = declare(connection, name, options, FieldTable::default()).await;
        declared.map_err(|error| refusal(name, error))?;
    }
    if settings.assume_single_active {
        return Ok(());
    }
    compare(connection, name, settings).await?;
    for binding in &settings.bind {
        let bound = async {
            let channel = connection.create_channel().await?;
            let (exchange, key) = (&*binding.exchange, &*binding.routing_key);
            let options = QueueBindOptions::default();
            let arguments = FieldTable::default();
            channel
                .queue_bind(
                    name.clone(),
                    exchange.into(),
                    key.into(),
                    options,
                    arguments,
                )
                .await
        };
        bound.await.map_err(|error| {
            let exchange = &binding.exchange;
            let text = match failure::mistake(&error) {
                Some((AMQPSoftError::NOTFOUND, _)) => format!(
                    "RabbitMQ has no exchange `{exchange}`, to which `bind` binds the queue \
                     `{name}`: declare it"
                ),
                Some((AMQPSoftError::ACCESSREFUSED, _)) => format!(
                    "the user may not bind the queue `{name}` to the exchange `{exchange}`: grant \
                     `write` on the queue and `read` on the exchange, or bind it yourself and \
                     leave `bind` out"
                ),
                _ => return ended(name, error),
            };
            SourceError::refused(text).because(error)
        })?;
    }
    Ok(())
}

async fn declare(
    connection: &Connection,
    name: &ShortString,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let declared = channel.queue_declare(name.clone(), options, arguments);
    declared.await.map(drop)
}

/// Declares the queue with the arguments that it should have: a missing one is made, and one with
/// other arguments is refused by the server, which names the first that differs.
async fn compare(
    connection: &Connection,
    name: &ShortString,
    settings: &RabbitMqSourceSettings,
) -> Result<(), SourceError> {
    let mut arguments = FieldTable::default();
    for (name, value) in &settings.arguments {
        arguments.insert(name.as_str().into(), value.into());
    }
    let kind = settings.queue_type.as_str();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    arguments.insert(SINGLE_ACTIVE.into(), AMQPValue::Boolean(true));
    // A queue that others have declared may have no argument.
    let says_none = settings.queue_type == RabbitMqQueueType::Quorum
        && !settings.arguments.contains_key(DELIVERY_LIMIT);
    if says_none {
        let mut unlimited = arguments.clone();
        unlimited.insert(DELIVERY_LIMIT.into(), AMQPValue::LongLongInt(NO_LIMIT));
        match declare(connection, name, QueueDeclareOptions::durable(), unlimited).await {
            Ok(()) => return Ok(()),
            Err(error) if differs_in(&error, DELIVERY_LIMIT) => {}
            Err(error) => return Err(difference(name, settings, error)),
        }
    }
    let declared = declare(connection, name, QueueDeclareOptions::durable(), arguments).await;
    declared.map_err(|error| difference(name, settings, error))
}

/// True if the server names this argument, or property, as the one that differs.
fn differs_in(error: &lapin::Error, argument: &str) -> bool {
    let Some((AMQPSoftError::PRECONDITIONFAILED, text)) = failure::mistake(error) else {
        return false;
    };
    text.contains(&format!("'{argument}'"))
}

fn difference(
    name: &ShortString,
    settings: &RabbitMqSourceSettings,
    error: lapin::Error,
) -> SourceError {
    let text = match failure::mistake(&error) {
        Some((AMQPSoftError::PRECONDITIONFAILED, text)) => {
            let differs = |argument| differs_in(&error, argument);
            if differs(SINGLE_ACTIVE) {
                format!(
                    "the queue `{name}` has no single active consumer, so its messages could be \
                     read out of order, and an existing queue cannot get one: make another queue \
                     with the argument `{SINGLE_ACTIVE} = true`, as `create = true` does, bind it \
                     like this one, and name it with `queue`"
                )
            } else if differs("x-queue-type") {
                let kind = settings.queue_type;
                format!(
                    "the queue `{name}` is not a {kind} queue: set `queue_type` to its type, \
                     `quorum` or `classic`; a queue of any other type cannot be read"
                )
            } else if differs(DELIVERY_LIMIT) {
                format!(
                    "the queue `{name}` has a delivery limit: a message that came back more often \
                     is dropped or dead-lettered; make a queue without one, as `create = true` \
                     does, or accept it with `arguments = {{ {DELIVERY_LIMIT} = … }}`"
                )
            } else if differs("durable") || differs("auto_delete") {
                format!(
                    "the queue `{name}` is not durable, or is deleted with its last consumer, so \
                     messages would be lost: make a durable queue, as `create = true` does"
                )
            } else {
                format!(
                    "the queue `{name}` has other arguments than the settings say: name them in \
                     `arguments`; RabbitMQ says: {text}"
                )
            }
        }
        Some((AMQPSoftError::ACCESSREFUSED, _)) => format!(
            "the user may not declare the queue `{name}`, by which it is checked: grant \
             `configure` on it, or vouch for it with `assume_single_active = true`"
        ),
        _ => return refusal(name, error),
    };
    SourceError::refused(text).because(error)
}

/// The meaning of the refusal of a question about the queue.
pub(super) fn refusal(name: &ShortString, error: lapin::Error) -> SourceError {
    let text = match failure::mistake(&error) {
        Some((AMQPSoftError::NOTFOUND, _)) => format!(
            "RabbitMQ has no queue `{name}` in this virtual host: declare it, or set `create = \
             true`"
        ),
        Some((AMQPSoftError::ACCESSREFUSED, _)) => format!(
            "the user may not read the queue `{name}`: grant `read` on it, and end other consumers \
             that are exclusive"
        ),
        Some((AMQPSoftError::RESOURCELOCKED, _)) => {
            format!("the queue `{name}` is exclusive to another connection: make one that is not")
        }
        _ => return ended(name, error),
    };
    SourceError::refused(text).because(error)
}
