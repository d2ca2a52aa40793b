//! The logs of the relay: levels, targets and fields.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_relay::publish::{Destination, PublishError};
use bento_relay::route::Router;
use bento_relay::telemetry::TARGET_RELAY;
use bento_testkit::Outage;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::each_time::ask_each_time;
use crate::scene::{Scene, event};

#[derive(Clone, Debug)]
struct Line {
    level: Level,
    target: String,
    fields: BTreeMap<String, String>,
}

impl Line {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<Line>>>);

impl Captured {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        ask_each_time();
        let captured = Self::default();
        let subscriber = tracing_subscriber::registry().with(captured.clone());
        (captured, tracing::subscriber::set_default(subscriber))
    }

    /// The one line with this message.
    fn line(&self, message: &str) -> Line {
        let lines = self.0.lock().unwrap().clone();
        let mut found = lines
            .iter()
            .filter(|line| line.field("message").contains(message));
        let line = found
            .next()
            .unwrap_or_else(|| panic!("`{message}` is not in {lines:#?}"));
        assert_eq!(line.target, TARGET_RELAY);
        line.clone()
    }
}

impl<S: Subscriber> Layer<S> for Captured {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            fields: BTreeMap::new(),
        };
        event.record(&mut Fields(&mut line.fields));
        self.0.lock().unwrap().push(line);
    }
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn each_event_is_told_with_its_fields_at_the_level_of_its_fate() {
    let (captured, _guard) = Captured::start();
    let scene = Scene::new();
    scene.broker.inner().fail(|delivery| {
        match (&*delivery.envelope.aggregate_id, delivery.attempts) {
            ("retried", 0) => Some(PublishError::transient("busy")),
            ("dead", _) => Some(
                PublishError::permanent("no such topic").because(std::io::Error::other("code 7")),
            ),
            _ => None,
        }
    });
    for id in ["fine", "retried", "retried", "dead"] {
        let mut event = event(id);
        event.tenant_id = Some("acme".into());
        event.headers = r#"{"correlation_id":"request-7"}"#.into();
        scene.commit_event(event);
    }
    let relay = scene.start();
    scene.wait_for(3).await;
    scene.wait_for_counts(0, 0, 1).await;
    relay.stop().await.unwrap();

    let expected = [
        ("published", Level::DEBUG, "fine"),
        ("publishing failed, will try again", Level::WARN, "retried"),
        ("held back", Level::DEBUG, "retried"),
        ("publishing failed for good", Level::ERROR, "dead"),
    ];
    for (message, level, aggregate_id) in expected {
        let lines = captured.0.lock().unwrap().clone();
        let line = lines
            .iter()
            .find(|line| {
                line.field("message").starts_with(message)
                    && line.field("aggregate_id") == aggregate_id
            })
            .unwrap_or_else(|| panic!("`{message}` of `{aggregate_id}` is not in {lines:#?}"));
        assert_eq!((line.level, &*line.target), (level, "bento::relay"));
        assert_eq!(
            (line.field("event_type"), line.field("aggregate_type")),
            ("order.paid", "order")
        );
        assert_eq!(
            (line.field("correlation_id"), line.field("tenant_id")),
            ("request-7", "acme")
        );
        assert_eq!(line.field("event_id").len(), 36);
    }
    let dead = captured.line("publishing failed for good");
    assert_eq!(
        (dead.field("error"), dead.field("cause")),
        ("no such topic: code 7", "permanent")
    );
    assert_eq!(captured.line("the relay starts").level, Level::INFO);
    let stops = captured.line("the relay stops");
    assert_eq!((stops.level, stops.field("published")), (Level::INFO, "3"));
}

#[tokio::test(start_paused = true)]
async fn a_takeover_is_info_and_a_lost_lease_an_error() {
    let (captured, _guard) = Captured::start();
    let scene = Scene::divided(1);
    let (store, relay) = scene.flaky_relay();
    let vanished = relay.start().unwrap();
    scene.commit("1");
    scene.wait_for(1).await;
    store.set(Outage::Hangs);
    let survivor = scene.start();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let takeover = captured.line("took shards over");
    assert_eq!(
        (takeover.level, takeover.field("shards")),
        (Level::INFO, "[0]")
    );
    store.set(Outage::None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        captured.line("the lease of a shard is lost").level,
        Level::ERROR
    );
    assert_eq!(
        captured
            .line("the outbox store failed, will try again")
            .level,
        Level::WARN
    );
    survivor.stop().await.unwrap();
    vanished.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_is_an_error() {
    let (captured, _guard) = Captured::start();
    let scene = Scene::divided(1);
    let (store, relay) = scene.flaky_relay();
    let relay = relay.start().unwrap();
    scene.commit("1");
    scene.wait_for(1).await;
    // The heartbeat is seconds away: the next call is a worker's.
    store.set(Outage::Panics);
    scene.commit("2");
    tokio::time::sleep(Duration::from_millis(50)).await;
    store.set(Outage::None);
    let failed = captured.line("a worker failed");
    assert_eq!((failed.level, failed.field("shard")), (Level::ERROR, "0"));
    scene.wait_for(2).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_broker_is_a_warning() {
    let (captured, _guard) = Captured::start();
    let scene = Scene::new();
    scene
        .broker
        .inner()
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    scene.commit_many(50, 50);
    let relay = scene.start();
    tokio::time::sleep(Duration::from_secs(60)).await;
    relay.stop().await.unwrap();
    let line = captured.line("the destination is unavailable");
    assert_eq!(
        (line.level, line.field("error")),
        (Level::WARN, "connection refused")
    );
}

#[tokio::test(start_paused = true)]
async fn rows_that_belong_to_nothing_are_a_warning_at_the_start() {
    let (captured, _guard) = Captured::start();
    let scene = Scene::new();
    let broker = scene.broker.inner();
    broker.fail(|_| Some(PublishError::permanent("refused")));
    let relay = scene.start();
    scene.commit_many(3, 3);
    scene.wait_for_counts(0, 0, 3).await;
    let again = scene.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    again.stop().await.unwrap();
    relay.stop().await.unwrap();
    let warnings = || captured.0.lock().unwrap().clone().into_iter();
    let is_of_leftovers = |line: &Line| line.field("message").contains("belong to");
    assert!(
        !warnings().any(|line| is_of_leftovers(&line)),
        "it is known"
    );
    let renamed = Router::to(Destination::new("renamed"));
    let relay = scene.relay().router(renamed).start().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    relay.stop().await.unwrap();
    let line = captured.line("0 held events and 3 dead letters belong to `default`");
    assert_eq!((line.level, line.field("route")), (Level::WARN, "default"));
}

#[test]
fn a_thread_without_a_log_takes_nothing_from_another() {
    let (captured, _guard) = Captured::start();
    let say = || tracing::debug!(target: TARGET_RELAY, "said");
    std::thread::spawn(say).join().unwrap();
    say();
    assert_eq!(captured.line("said").level, Level::DEBUG);
}
