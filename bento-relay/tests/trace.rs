//! Spans across the hop: from the request that raises an event to its publication.

#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::{Arc, Mutex};

use bento_core::outbox::Sharding;
use bento_core::unit_of_work::{FrameId, UnitOfWork};
use bento_core::{Metadata, PendingEvents, aggregate, domain_event};
use bento_relay::publish::{Delivery, Destination, MemoryPublisher, PublishError};
use bento_relay::route::Router;
use bento_relay::{MemoryStore, Relay};
use tracing_subscriber::fmt::format::FmtSpan;

#[path = "../../bento-testkit/tests/logs/each_time.rs"]
mod each_time;
#[cfg(feature = "opentelemetry")]
#[path = "trace/hop.rs"]
mod hop;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Clone, Debug)]
struct OrderCreated {
    order_id: u64,
}

#[aggregate(events(OrderCreated))]
struct Order {
    id: u64,
    events: PendingEvents,
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// An outbox, a broker, and the relay between them.
struct Scene {
    store: MemoryStore,
    broker: MemoryPublisher,
}

impl Scene {
    /// Comes first in each test, before anything that logs.
    fn new() -> Self {
        each_time::ask_each_time();
        Self {
            store: MemoryStore::default(),
            broker: MemoryPublisher::new(),
        }
    }

    /// A transaction in which one order is created.
    fn create_order(&self) {
        let (unit_of_work, frame) = UnitOfWork::open();
        unit_of_work
            .scope_sync(|| bento_core::raise(OrderCreated { order_id: 7 }))
            .unwrap();
        self.commit(&unit_of_work, frame);
    }

    fn commit(&self, unit_of_work: &UnitOfWork, frame: FrameId) {
        let mut flush = unit_of_work.flush(frame, &Sharding::default()).unwrap();
        self.store.append(std::mem::take(&mut flush.entries));
        flush.done();
        assert!(unit_of_work.seal(frame).unwrap());
        unit_of_work.committed();
    }

    /// The deliveries of the broker after the relay has run.
    async fn relayed(&self) -> Vec<Delivery> {
        let router = Router::to(
            Destination::new("audit")
                .via("nats")
                .with_topic("audit.log"),
        );
        Relay::builder(self.store.clone(), self.broker.clone())
            .router(router)
            .run_once()
            .await
            .unwrap();
        self.broker.published()
    }
}

fn header(delivery: &Delivery, name: &str) -> Option<String> {
    delivery
        .envelope
        .headers()
        .unwrap()
        .extra
        .get(name)
        .cloned()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Listens to spans until the guard goes.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_span_events(FmtSpan::CLOSE)
            .without_time()
            .with_ansi(false);
        tracing::subscriber::set_default(subscriber.finish())
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_publication_is_a_span_with_its_event_and_trace() {
    let (scene, log) = (Scene::new(), Log::default());
    let metadata = Metadata::default()
        .with_tenant("acme")
        .with_header("traceparent", PARENT);
    metadata.scope_sync(|| scene.create_order());
    let guard = log.listen();
    let [delivery] = &scene.relayed().await[..] else {
        panic!("one event")
    };
    drop(guard);
    let text = log.text();
    let published = text
        .lines()
        .find(|line| line.contains("bento.publish{"))
        .unwrap_or_else(|| panic!("{text}"));
    let expected = format!(
        "bento.publish{{otel.kind=\"producer\" messaging.system=\"nats\" \
         messaging.operation.type=\"send\" messaging.destination.name=\"audit.log\" \
         messaging.message.id={} event_type=\"order.created\" tenant_id=\"acme\" \
         destination=\"audit\" attempts=0 traceparent=\"{PARENT}\" outcome=\"published\"}}: \
         bento::relay: close",
        delivery.envelope.event_id
    );
    assert!(published.contains(&expected), "{published}");
    assert_eq!(
        header(delivery, "traceparent").as_deref(),
        Some(PARENT),
        "it passes as it is"
    );
}

#[tokio::test]
async fn a_failure_is_recorded_in_the_span() {
    let (scene, log) = (Scene::new(), Log::default());
    scene.create_order();
    scene
        .broker
        .fail(|_| Some(PublishError::permanent("no such topic").because("it says")));
    let guard = log.listen();
    scene.relayed().await;
    drop(guard);
    let text = log.text();
    let expected = "outcome=\"failed\" error.type=\"permanent\" error=\"no such topic: it says\" \
                    otel.status_code=\"ERROR\"}: bento::relay: close";
    assert!(text.contains(expected), "{text}");
}
