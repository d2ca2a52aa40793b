//! From a source through the inbox to handlers, each event once, on every back end.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod leases;
mod messages;
mod outages;
#[path = "../../../bento-seaorm/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use bento_core::{Envelope, EventId, domain_event};
use bento_handlers::consumer::SourceStatus;
use bento_handlers::source::{
    Intake as _, IntakeError, MemorySource, Message, RawMessage, Resume, Source, SourceError,
};
use bento_handlers::{
    Consumer, ConsumerError, ConsumerHandle, ConsumerSettings, EventContext, HandleError, Handlers,
    SourceSettings, State, event_handler,
};
use bento_relay::dead_letter::{DeadLetter, DeadLetterQuery, DeadLetters as _};
use bento_seaorm::{Inbox, OutboxConnection, OutboxTransaction};
use chrono::Utc;
use sea_orm::ConnectionTrait;
use tokio::sync::watch;

use crate::support::{TestDatabase, on_every_back_end};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub order: String,
    pub number: i64,
}

/// The events that the handler has seen.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<watch::Sender<Vec<SeenEvent>>>);

/// The order, the number and the tenant of an event.
type SeenEvent = (String, i64, Option<String>);

impl Seen {
    async fn wait_for(&self, count: usize) {
        let mut seen = self.0.subscribe();
        let waiting = seen.wait_for(|seen| seen.len() >= count);
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(
            waited.is_ok(),
            "{count} are awaited, {:?} seen",
            self.numbers()
        );
    }

    fn numbers(&self) -> Vec<i64> {
        self.0
            .borrow()
            .iter()
            .map(|(_, number, _)| *number)
            .collect()
    }

    fn of(&self, order: &str) -> Vec<i64> {
        let seen = self.0.borrow();
        let of_order = seen.iter().filter(|(own, ..)| own == order);
        of_order.map(|(_, number, _)| *number).collect()
    }
}

#[event_handler(name = "stock.reserve")]
async fn reserve(
    event: OrderConfirmed,
    tx: &OutboxTransaction,
    context: EventContext,
    State(seen): State<Seen>,
) -> Result<(), HandleError> {
    tx.execute_unprepared("UPDATE counters SET n = n + 1")
        .await?;
    if event.number < 0 {
        return Err(HandleError::permanent("a negative number"));
    }
    let tenant = context.tenant().map(str::to_owned);
    seen.0
        .send_modify(|seen| seen.push((event.order, event.number, tenant)));
    Ok(())
}

struct Scene<'a> {
    database: &'a TestDatabase,
    seen: Seen,
    source: MemorySource,
}

impl<'a> Scene<'a> {
    async fn on(database: &'a TestDatabase) -> Self {
        for sql in [
            "CREATE TABLE counters (n BIGINT NOT NULL)",
            "INSERT INTO counters VALUES (0)",
        ] {
            database.db.execute_unprepared(sql).await.unwrap();
        }
        Self {
            database,
            seen: Seen::default(),
            source: MemorySource::default(),
        }
    }

    async fn builder(&self) -> bento_handlers::consumer::ConsumerBuilder {
        let pool = OutboxConnection::new(self.database.connect(5).await);
        let handlers = Handlers::registered().state(self.seen.clone());
        Consumer::builder(self.inbox().await, handlers.build(&pool).unwrap())
    }

    async fn inbox(&self) -> Inbox {
        Inbox::new(self.database.connect(5).await)
    }

    /// A consumer of the source with short times.
    async fn start(&self) -> ConsumerHandle {
        let builder = self.builder().await.settings(short());
        builder
            .source("orders", self.source.clone())
            .start()
            .await
            .unwrap()
    }

    async fn counter(&self) -> i64 {
        self.database.number("SELECT n FROM counters").await
    }

    async fn rows(&self, table: &str) -> i64 {
        self.database
            .number(&format!("SELECT count(*) FROM {table}"))
            .await
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        let store = self.inbox().await.store();
        store.list(&DeadLetterQuery::default()).await.unwrap()
    }
}

fn short() -> ConsumerSettings {
    ConsumerSettings {
        lease: Duration::from_secs(1),
        ..ConsumerSettings::default()
    }
}

fn event(order: &str, number: i64) -> Envelope {
    let payload = format!(r#"{{"order":"{order}","number":{number}}}"#);
    let mut event = Envelope::new("order.confirmed", 1, Utc::now(), payload);
    event.aggregate_type = "order".into();
    event.aggregate_id = order.to_owned();
    event
}

async fn messages_are_handled_once_in_the_order_of_their_aggregates(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let consumer = scene.start().await;
    for number in 0..60 {
        let event = event(&format!("o{}", number % 3), number);
        scene.source.send(event.clone());
        // The sender was not sure, and sends some of them again.
        if number % 4 == 0 {
            scene.source.send(event);
        }
    }
    scene.seen.wait_for(60).await;
    scene.source.wait_for_acknowledged(75).await;
    for order in ["o0", "o1", "o2"] {
        assert!(
            scene.seen.of(order).is_sorted(),
            "{:?}",
            scene.seen.of(order)
        );
    }
    consumer.stop().await.unwrap();
    assert_eq!(scene.counter().await, 60);
    assert_eq!(scene.rows("bento_inbox").await, 0);
    assert_eq!(scene.rows("bento_outbox").await, 0);
}

async fn what_was_stored_and_not_acknowledged_is_not_handled_again(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    for number in 0..10 {
        scene.source.send(event("o", number));
    }
    let first = scene.start().await;
    scene.seen.wait_for(10).await;
    first.stop().await.unwrap();
    // As if the place in the source had been lost.
    let forget = "UPDATE bento_source SET place = NULL";
    database.db.execute_unprepared(forget).await.unwrap();
    scene.source.send(event("o", 10));
    let second = scene.start().await;
    scene.seen.wait_for(11).await;
    second.stop().await.unwrap();
    assert_eq!(scene.counter().await, 11);
    assert_eq!(scene.seen.numbers(), (0..11).collect::<Vec<_>>());
}

async fn a_full_inbox_takes_nothing_more_until_there_is_room(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let settings = ConsumerSettings {
        max_backlog: 3,
        batch: 1,
        ..short()
    };
    let consumer = scene
        .builder()
        .await
        .settings(settings)
        .source("orders", scene.source.clone())
        .start()
        .await
        .unwrap();
    // A dead letter parks its aggregate: what comes behind it stays in the inbox.
    scene.source.send(event("o", -1));
    while scene.dead().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for number in 1..10 {
        scene.source.send(event("o", number));
    }
    let full = SourceStatus::Full { limit: 3 };
    let status = || consumer.health().sources["orders"].status.clone();
    let is_full = async {
        while status() != full {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_full)
        .await
        .unwrap();
    assert!(consumer.health().is_ready());
    assert!(consumer.health().faults()[0].contains("`max_backlog` = 3"));
    assert!(scene.source.acknowledged() < 10);
    let intake = consumer.intake("webhooks", SourceSettings::default());
    let refused = intake.take(vec![Message::event(event("o", 99))]).await;
    assert!(
        matches!(refused, Err(IntakeError::Full { limit: 3, .. })),
        "{refused:?}"
    );
    let dead = scene.dead().await.remove(0);
    let discarded = consumer.inbox().store();
    let reason = bento_relay::dead_letter::Discarding::because("a test").unwrap();
    discarded
        .discard(dead.envelope.event_id, &dead.route, &reason)
        .await
        .unwrap();
    scene.seen.wait_for(9).await;
    let probe = consumer.probe();
    assert!(probe.health().is_alive() && probe.health().is_ready());
    consumer.stop().await.unwrap();
    assert!(!probe.health().is_alive());
    assert_eq!(scene.seen.numbers(), (1..10).collect::<Vec<_>>());
}

async fn an_intake_stores_before_it_answers(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let consumer = scene.builder().await.start().await.unwrap();
    let intake = consumer.intake("webhooks", SourceSettings::default());
    let (known, foreign) = (
        event("o", 1),
        Envelope::new("mail.sent", 1, Utc::now(), "{}"),
    );
    let raw = RawMessage::new("a request", "no event");
    let garbage = Message::unreadable(EventId::new(), "the message is not an event", raw);
    let messages = [
        Message::event(known.clone()),
        Message::event(foreign),
        garbage,
    ];
    let taken = intake.take(messages.into()).await.unwrap();
    assert_eq!((taken.stored, taken.ignored, taken.refused), (1, 1, 1));
    scene.seen.wait_for(1).await;
    intake.take(vec![Message::event(known)]).await.unwrap();
    consumer.stop().await.unwrap();
    assert_eq!(scene.counter().await, 1);
}

async fn one_process_reads_and_the_other_takes_over(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    // With the default lease: on a busy machine too the first one keeps the source until it stops.
    let start = async || {
        let builder = scene.builder().await;
        let builder = builder.source("orders", scene.source.clone());
        builder.start().await.unwrap()
    };
    let (first, second) = (start().await, start().await);
    let status = |consumer: &ConsumerHandle| consumer.health().sources["orders"].status.clone();
    assert_eq!(status(&first), SourceStatus::Subscribed);
    assert_eq!(status(&second), SourceStatus::Standby);
    for number in 0..20 {
        scene.source.send(event("o", number));
    }
    scene.source.wait_for_acknowledged(20).await;
    first.stop().await.unwrap();
    for number in 20..40 {
        scene.source.send(event("o", number));
    }
    scene.seen.wait_for(40).await;
    assert_eq!(status(&second), SourceStatus::Subscribed);
    second.stop().await.unwrap();
    assert_eq!(scene.seen.numbers(), (0..40).collect::<Vec<_>>());
    assert_eq!(scene.counter().await, 40);
}

async fn a_source_that_is_refused_or_away_is_told_at_the_start(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let start = async |limit| {
        let settings = ConsumerSettings {
            start_timeout: limit,
            ..short()
        };
        let builder = scene.builder().await.settings(settings);
        builder.source("orders", scene.source.clone())
    };
    scene.source.fail(true);
    let error = start(Duration::from_secs(30))
        .await
        .start()
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConsumerError::Refused { name, .. } if name == "orders"),
        "{error:?}"
    );
    scene.source.fail(false);
    let error = start(Duration::from_millis(300))
        .await
        .start()
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConsumerError::Unreachable { .. }),
        "{error:?}"
    );
    let consumer = start(Duration::from_secs(30)).await;
    let consumer = consumer.start_in_background().await.unwrap();
    scene.source.send(event("o", 1));
    assert!(!consumer.health().is_ready());
    scene.source.recover();
    scene.seen.wait_for(1).await;
    // Later failures are waited out, and a stream that was made anew is read from its beginning.
    scene.source.restart();
    scene.source.send(event("o", 2));
    scene.seen.wait_for(2).await;
    scene.source.make_anew();
    scene.source.send(event("o", 3));
    scene.seen.wait_for(3).await;
    consumer.stop().await.unwrap();
    assert_eq!(scene.seen.numbers(), [1, 2, 3]);
}

/// A source whose broker takes longer to confirm a subscription than the lease lasts.
#[derive(Debug)]
struct Slow(MemorySource);

impl Source for Slow {
    type Subscription = <MemorySource as Source>::Subscription;

    async fn subscribe(&self, resume: Resume) -> Result<Self::Subscription, SourceError> {
        tokio::time::sleep(short().lease * 3 / 2).await;
        self.0.subscribe(resume).await
    }
}

async fn a_subscription_may_take_longer_than_the_lease(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let builder = scene.builder().await.settings(short());
    let consumer = builder.source("orders", Slow(scene.source.clone()));
    let consumer = consumer.start().await.unwrap();
    scene.source.send(event("o1", 1));
    scene.seen.wait_for(1).await;
    assert_eq!(
        consumer.health().sources["orders"].status,
        SourceStatus::Subscribed
    );
    consumer.stop().await.unwrap();
}

async fn settings_and_names_are_checked(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let settings = ConsumerSettings {
        batch: 0,
        ..short()
    };
    let error = scene
        .builder()
        .await
        .settings(settings)
        .start()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`consumer.batch` is 0, and must be from 1 to 10,000"
    );
    let elsewhere = scene
        .inbox()
        .await
        .with_table_prefix("other_".parse().unwrap());
    let pool = OutboxConnection::new(database.connect(2).await);
    let handlers = Handlers::registered().state(scene.seen.clone());
    let handlers = handlers.build(&pool).unwrap();
    let error = Consumer::builder(elsewhere, handlers)
        .start()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("`other_`, and the connection"),
        "{error}"
    );
    let pool = OutboxConnection::new(database.connect(2).await);
    let none = Handlers::new(()).build(&pool).unwrap();
    let error = Consumer::builder(scene.inbox().await, none).start().await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("has no handlers"), "{error}");
    let twice = scene.builder().await.source("a", scene.source.clone());
    let error = twice
        .source("a", scene.source.clone())
        .start()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "source `a`: two sources have this name; give each a name of its own"
    );
}

on_every_back_end!(
    messages_are_handled_once_in_the_order_of_their_aggregates,
    what_was_stored_and_not_acknowledged_is_not_handled_again,
    a_full_inbox_takes_nothing_more_until_there_is_room,
    an_intake_stores_before_it_answers,
    one_process_reads_and_the_other_takes_over,
    a_source_that_is_refused_or_away_is_told_at_the_start,
    a_subscription_may_take_longer_than_the_lease,
    settings_and_names_are_checked,
);
