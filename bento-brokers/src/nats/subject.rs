//! From topics to subjects.

use std::borrow::Cow;

use async_nats::Subject;
use bento_relay::publish::PublishError;

/// The server drops a connection whose control line is longer than 4,096 bytes; the reply subject
/// and the sizes stand there as well.
const LIMIT: usize = 2_048;

/// The subject of a topic.
///
/// # Errors
/// A permanent failure when no message can be published there.
pub(super) fn subject(prefix: &str, topic: &str) -> Result<String, PublishError> {
    match fault(topic).or_else(|| (prefix.len() + topic.len() >= LIMIT).then_some(TOO_LONG)) {
        Some(why) => Err(PublishError::permanent(format!(
            "invalid NATS subject `{}` from the topic: {why}",
            shown(topic)
        ))),
        None if prefix.is_empty() => Ok(topic.to_owned()),
        None => Ok(format!("{prefix}.{topic}")),
    }
}

/// The subjects of a batch, where neighbours mostly have the same topic.
#[derive(Default)]
pub(super) struct Subjects {
    last: Option<(String, Subject)>,
}

impl Subjects {
    /// The subject of a topic, made anew only if the last one had another. `prefix` is the same for
    /// all.
    pub(super) fn of(&mut self, prefix: &str, topic: &str) -> Result<Subject, PublishError> {
        if let Some((last, subject)) = &self.last
            && last == topic
        {
            return Ok(subject.clone());
        }
        let subject = Subject::from(subject(prefix, topic)?);
        self.last = Some((topic.to_owned(), subject.clone()));
        Ok(subject)
    }
}

const TOO_LONG: &str = "it is longer than 2,048 bytes";

/// The reason why a text cannot be the subject of a message.
pub(super) fn fault(text: &str) -> Option<&'static str> {
    if text.len() >= LIMIT {
        Some(TOO_LONG)
    } else if text.split('.').any(str::is_empty) {
        Some("a token between its dots is empty")
    } else if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Some("it has a space or a control character")
    } else if text.contains(['*', '>']) {
        Some("`*` and `>` are wildcards, for subscribers only")
    } else if text.starts_with('$') {
        Some("what begins with `$` is the server's own")
    } else {
        None
    }
}

/// Short enough for an error.
fn shown(topic: &str) -> Cow<'_, str> {
    match topic.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", topic[..end].escape_debug()).into(),
        None => topic.escape_debug().to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_becomes_a_subject_behind_the_prefix() {
        assert_eq!(subject("", "order.created.v2").unwrap(), "order.created.v2");
        assert_eq!(
            subject("shop.eu", "order.created").unwrap(),
            "shop.eu.order.created"
        );
        assert_eq!(subject("", "Zürich").unwrap(), "Zürich");
    }

    #[test]
    fn each_topic_of_a_batch_has_its_own_subject() {
        let mut subjects = Subjects::default();
        let made = ["a", "a", "b", "a"].map(|topic| subjects.of("shop", topic).unwrap());
        assert_eq!(
            made.map(|subject| subject.to_string()),
            ["shop.a", "shop.a", "shop.b", "shop.a"]
        );
        subjects.of("shop", "order created").unwrap_err();
        assert_eq!(subjects.of("shop", "a").unwrap().as_str(), "shop.a");
    }

    #[test]
    fn what_is_no_subject_is_refused_for_good_and_explained() {
        let long = "x".repeat(3_000);
        for (topic, why) in [
            ("", "a token between its dots is empty"),
            ("order..created", "a token between its dots is empty"),
            ("order.", "a token between its dots is empty"),
            ("order created", "it has a space or a control character"),
            ("order\r\nPUB", "it has a space or a control character"),
            ("order.*", "`*` and `>` are wildcards, for subscribers only"),
            ("order.>", "`*` and `>` are wildcards, for subscribers only"),
            (
                "$JS.API.STREAM.DELETE.x",
                "what begins with `$` is the server's own",
            ),
            (&long, TOO_LONG),
        ] {
            let error = subject("shop", topic).unwrap_err();
            assert_eq!(error.class(), bento_relay::publish::FailureClass::Permanent);
            let text = error.to_string();
            assert!(text.ends_with(why) && text.len() < 300, "{text}");
        }
    }
}
