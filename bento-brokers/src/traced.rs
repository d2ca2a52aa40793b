//! Batches and failures in the trace.

use bento_relay::publish::{
    Answering, Delivery, Destination, FailureClass, HandlerRoute, PublishError, Publisher,
    RelayTerms, UnfitPublisher,
};
use bento_relay::telemetry::TARGET_PUBLISH;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// Puts each batch of another publisher into a span, and each failure into an event in it.
///
/// The span `publish` has the fields `destination`, `topic` (of the first delivery), `events` and
/// `failed`. A failure is logged with its `event_id`, `topic`, `class` and `error`: as a warning
/// when it is permanent, else at level debug, because the relay tries again. All under the target
/// `bento::publish`.
///
/// It is about the batch: how long the publisher took, and what it logs meanwhile. Each event has a
/// span of its own from the relay, [`bento.publish`](bento_relay::telemetry::SPAN_PUBLISH), which
/// belongs to the trace that raised the event. This one belongs to none of them, because the events
/// of a batch come from many.
///
/// ```
/// use bento_brokers::{MemoryPublisher, Traced};
///
/// let traced = Traced::new(MemoryPublisher::new());
/// ```
#[derive(Clone, Debug)]
pub struct Traced<P>(P);

impl<P> Traced<P> {
    /// `inner`, in spans.
    pub fn new(inner: P) -> Self {
        Self(inner)
    }
}

impl<P: Publisher> Publisher for Traced<P> {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let span = span(batch);
        let answers = self.0.publish(batch).instrument(span.clone()).await;
        let failed = answers
            .iter()
            .zip(batch)
            .filter_map(|(answer, delivery)| Some((answer.as_ref().err()?, delivery)));
        let count = failed
            .map(|(error, delivery)| span.in_scope(|| record(error, delivery)))
            .count();
        span.record("failed", count);
        answers
    }

    fn chains(&self, destination: &Destination) -> bool {
        self.0.chains(destination)
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.0.serves(destination)
    }

    fn answering(&self, destination: &Destination) -> Answering {
        self.0.answering(destination)
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        self.0.handlers()
    }

    fn has_only_handlers(&self) -> bool {
        self.0.has_only_handlers()
    }

    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        self.0.prepare(terms)
    }
}

fn span(batch: &[Delivery]) -> Span {
    let span = tracing::info_span!(
        target: TARGET_PUBLISH,
        "publish",
        destination = Empty,
        topic = Empty,
        events = batch.len(),
        failed = Empty,
    );
    if let Some(first) = batch.first() {
        span.record("destination", &*first.destination.name);
        span.record("topic", &*first.topic());
    }
    span
}

fn record(error: &PublishError, delivery: &Delivery) {
    let (event_id, topic) = (delivery.envelope.event_id, delivery.topic());
    // As a text and not as it displays itself, so that a line break in it begins no line of the
    // log.
    let topic = &*topic;
    let (class, error, attempts) = (error.class(), error.chain(), delivery.attempts);
    match class {
        FailureClass::Permanent => tracing::warn!(
            target: TARGET_PUBLISH, %event_id, topic, class = class.as_str(), error, attempts,
            "an event cannot be published"
        ),
        _ => tracing::debug!(
            target: TARGET_PUBLISH, %event_id, topic, class = class.as_str(), error, attempts,
            "an event was not published"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use bento_core::Envelope;
    use bento_relay::publish::MemoryPublisher;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_batch_is_a_span_and_a_failure_an_event_in_it() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .without_time()
            .with_ansi(false);
        let _guard = tracing::subscriber::set_default(subscriber.finish());
        let broker = MemoryPublisher::new();
        broker.fail(|_| Some(PublishError::permanent("no such topic").because("it says")));
        let event = Envelope::with_id(
            bento_core::EventId::new(),
            "a.b",
            1,
            chrono::DateTime::UNIX_EPOCH,
            "{}",
        );
        let id = event.event_id;
        let batch = [Delivery::new(Arc::new(event), Destination::new("audit"))];
        assert!(Traced::new(broker).publish(&batch).await[0].is_err());
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            format!(
                " WARN publish{{events=1 destination=\"audit\" topic=\"a.b\"}}: bento::publish: \
                 an event cannot be published event_id={id} topic=\"a.b\" class=\"permanent\" \
                 error=\"no such topic: it says\" attempts=0\n"
            )
        );
    }
    #[tokio::test]
    async fn a_topic_with_a_line_break_begins_no_line_of_the_log() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false);
        let _guard = tracing::subscriber::set_default(subscriber.finish());
        let broker = MemoryPublisher::new();
        broker.fail(|_| Some(PublishError::permanent("no topic `a\n ERROR forged`")));
        let event = Envelope::new("a.b\n ERROR forged", 1, chrono::Utc::now(), "{}");
        let destination = Destination::new("d\n ERROR forged").with_topic("t\r\n ERROR forged");
        assert!(
            Traced::new(broker)
                .publish(&[Delivery::new(Arc::new(event), destination)])
                .await[0]
                .is_err()
        );
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            (text.lines().count(), text.matches("forged").count()),
            (1, 4),
            "{text}"
        );
    }
}
