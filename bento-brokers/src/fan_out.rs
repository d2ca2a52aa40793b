//! One destination, several brokers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bento_relay::publish::{
    BoxPublisher, Delivery, Destination, FailureClass, PublishError, Publisher, RelayTerms,
    UnfitPublisher,
};
use futures_util::future::join_all;

type Answer = Result<(), PublishError>;

/// Brings each delivery to several publishers at the same time; it is confirmed when all of them
/// have confirmed it.
///
/// If one fails, the relay hands the delivery over again, to all: those that had confirmed get it
/// twice. If that matters, give each broker a destination of its own, so that progress is kept
/// for each. The failure of a delivery is permanent if one publisher's is, else throttled if one's
/// is, with the longest wait, else unavailable if one's is: it is an attempt only if all could be
/// asked. Its text names who failed.
///
/// ```
/// use bento_brokers::{ConsolePublisher, FanOut, MemoryPublisher};
///
/// let both = FanOut::new()
///     .with("console", ConsolePublisher::text())
///     .with("memory", MemoryPublisher::new());
/// ```
#[derive(Clone, Debug, Default)]
pub struct FanOut(Vec<(Arc<str>, BoxPublisher)>);

impl FanOut {
    /// A fan-out without publishers: it confirms everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// To one more; the name is for errors.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, publisher: impl Publisher) -> Self {
        self.0.push((name.into(), BoxPublisher::new(publisher)));
        self
    }
}

impl Publisher for FanOut {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Answer> {
        let answers = join_all(self.0.iter().map(|(_, publisher)| publisher.publish(batch))).await;
        let mut answers: Vec<_> = answers.into_iter().map(Vec::into_iter).collect();
        let missing = || {
            Err(PublishError::unavailable(
                "the publisher did not answer for this event",
            ))
        };
        let together = batch.iter().map(|_| {
            let of_each = answers
                .iter_mut()
                .map(|answers| answers.next().unwrap_or_else(missing));
            let failed = of_each
                .zip(&self.0)
                .filter_map(|(answer, (name, _))| answer.err().map(|error| (&**name, error)));
            together(failed.collect())
        });
        together.collect()
    }

    /// Never: where one publisher fails, another has published and goes on.
    fn chains(&self, _destination: &Destination) -> bool {
        false
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.0
            .iter()
            .all(|(_, publisher)| publisher.serves(destination))
    }

    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        let mut publishers = self.0.iter();
        publishers.try_for_each(|(_, publisher)| publisher.prepare(terms))
    }
}

fn together(mut failed: Vec<(&str, PublishError)>) -> Answer {
    let text = failed
        .iter()
        .fold(String::new(), |mut text, (name, error)| {
            let separator = if text.is_empty() { "" } else { "; " };
            write!(text, "{separator}{name}: {}", error.chain())
                .expect("a String takes every text");
            text
        });
    let severity = |error: &PublishError| match error.class() {
        FailureClass::NotTried => 0,
        FailureClass::Transient => 1,
        FailureClass::Unavailable => 2,
        FailureClass::Throttled => 3,
        FailureClass::Permanent => 4,
    };
    let wait = failed
        .iter()
        .filter_map(|(_, error)| error.retry_after())
        .max()
        .unwrap_or(Duration::ZERO);
    failed.sort_by_key(|(_, error)| std::cmp::Reverse(severity(error)));
    let Some((_, worst)) = failed.into_iter().next() else {
        return Ok(());
    };
    Err(match worst.class() {
        FailureClass::Permanent => PublishError::permanent(text),
        FailureClass::Throttled => PublishError::throttled(text, wait),
        FailureClass::Unavailable => PublishError::unavailable(text),
        FailureClass::Transient => PublishError::transient(text),
        FailureClass::NotTried => PublishError::not_tried(text),
    })
}

#[cfg(test)]
mod tests {
    use bento_core::Envelope;
    use bento_relay::publish::MemoryPublisher;

    use super::*;

    fn delivery(event_type: &'static str) -> Delivery {
        let event = Envelope::new(event_type, 1, chrono::DateTime::UNIX_EPOCH, "{}");
        Delivery::new(Arc::new(event), Destination::default())
    }

    #[tokio::test]
    async fn a_delivery_is_confirmed_when_all_have_it() {
        let (one, other) = (MemoryPublisher::new(), MemoryPublisher::new());
        one.fail(|delivery| {
            ["b", "d"]
                .contains(&&*delivery.topic())
                .then(|| PublishError::unavailable("away"))
        });
        other.fail(|delivery| match &*delivery.topic() {
            "b" => Some(PublishError::permanent("no such topic")),
            "c" => Some(PublishError::throttled("full", Duration::from_secs(3))),
            "d" => Some(PublishError::transient("busy")),
            _ => None,
        });
        let both = FanOut::new()
            .with("one", one.clone())
            .with("other", other.clone());
        let answers = both.publish(&["a", "b", "c", "d"].map(delivery)).await;
        assert!(answers[0].is_ok());
        let [_, Err(b), Err(c), Err(d)] = &answers[..] else {
            panic!("the others failed: {answers:?}")
        };
        assert_eq!(
            (b.class(), &*b.to_string()),
            (FailureClass::Permanent, "one: away; other: no such topic")
        );
        assert_eq!(
            (c.class(), c.retry_after()),
            (FailureClass::Throttled, Some(Duration::from_secs(3)))
        );
        assert_eq!(
            (d.class(), &*d.to_string()),
            (FailureClass::Unavailable, "one: away; other: busy")
        );
        assert_eq!((one.published().len(), other.published().len()), (2, 1));
    }

    #[test]
    fn it_chains_nothing_and_serves_what_all_serve() {
        let destination = Destination::new("d");
        let both = FanOut::new()
            .with("one", MemoryPublisher::chaining())
            .with("other", MemoryPublisher::chaining());
        assert!(!both.chains(&destination) && both.serves(&destination));
        let nobody = both.with("none", bento_relay::publish::Publishers::new());
        assert!(!nobody.serves(&destination));
    }
}
