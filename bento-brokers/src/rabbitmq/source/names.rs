//! The names that AMQP takes.

use lapin::types::ShortString;

/// The name of a queue that can be declared.
pub(super) fn queue(name: &str) -> Result<ShortString, String> {
    if name.is_empty() {
        return Err("the name of the queue must not be empty".to_owned());
    }
    if name.starts_with("amq.") {
        return Err(format!(
            "names that begin with `amq.` are RabbitMQ's own: give the queue `{name}` another one"
        ));
    }
    short("queue", name)
}

/// A text of AMQP's short form.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|_| {
        format!(
            "the name of the {what} has {} bytes, more than the 255 that AMQP allows",
            text.len()
        )
    })
}
