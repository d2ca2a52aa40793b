//! The rules that only NATS has: its durable consumer, its filters, and where a source begins.

use std::time::Duration;

use async_nats::jetstream::consumer::{Info, PullConsumer};
use bento_brokers::nats::{NatsSource, NatsSourceSettings, NatsStart, NatsSubscription};
use bento_core::Envelope;
use bento_relay::source::{Cursor, Message, Most, Received, Resume, Source, Subscription};
use bento_testkit::source::{Sent, SourceBench};
use futures_util::StreamExt as _;
use tokio::time::sleep;

use super::bench::Bench;

pub(crate) fn event(number: i64) -> Sent {
    let mut event = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
    event.aggregate_type = "thing".into();
    event.aggregate_id = "a".to_owned();
    event.sequence = Some(number);
    Sent::event(event)
}

pub(crate) fn events(numbers: impl IntoIterator<Item = i64>) -> Vec<Sent> {
    numbers.into_iter().map(event).collect()
}

pub(crate) fn resume() -> Resume {
    Resume::new("outside").lease(Duration::from_secs(1))
}

async fn subscribe(source: &NatsSource, cursor: Option<Cursor>) -> NatsSubscription {
    source.subscribe(resume().behind(cursor)).await.unwrap()
}

/// Longer than a message that comes takes, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn most(messages: usize) -> Most {
    Most {
        messages,
        bytes: 1 << 20,
        wait: PATIENCE,
    }
}

/// The bounds of a receive for which nothing comes.
fn idle() -> Most {
    Most {
        wait: Duration::from_secs(1),
        ..most(10)
    }
}

/// Receives exactly this number of messages; no request stays open.
async fn take(subscription: &mut NatsSubscription, count: usize) -> Received {
    take_asking(subscription, count, |missing| missing).await
}

/// The same, with a number to ask for that depends on the number that is missing.
async fn take_asking(
    subscription: &mut NatsSubscription,
    count: usize,
    asked: impl Fn(usize) -> usize,
) -> Received {
    let mut all = Received::default();
    while all.messages.len() < count {
        let bounds = most(asked(count - all.messages.len()));
        let received = subscription.receive(bounds).await.unwrap();
        assert!(
            !received.messages.is_empty(),
            "{} of {count} came",
            all.messages.len()
        );
        all.messages.extend(received.messages);
        all.cursor = received.cursor;
    }
    all
}

fn numbers(received: &Received) -> Vec<i64> {
    let number = |message: &Message| match message {
        Message::Event { envelope, .. } => envelope.sequence.unwrap(),
        other => panic!("{other:?} is no event"),
    };
    received.messages.iter().map(number).collect()
}

async fn consumer(bench: &Bench) -> PullConsumer {
    let stream = bench.context().await.get_stream(&bench.name).await.unwrap();
    let name = bench.settings().durable.unwrap();
    stream.get_consumer(&name).await.unwrap()
}

async fn info(bench: &Bench) -> Info {
    consumer(bench).await.cached_info().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_acknowledgement_stands_for_a_whole_batch() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.send(&events(1..=100)).await;
    let source = bench.source();
    let mut subscription = subscribe(&source, None).await;
    let received = take(&mut subscription, 100).await;
    assert_eq!(info(&bench).await.num_ack_pending, 100);
    subscription.acknowledge().await.unwrap();
    // It returned when the server had it.
    let after = info(&bench).await;
    assert_eq!(
        (after.num_ack_pending, after.ack_floor.stream_sequence),
        (0, 100)
    );
    let cursor = received.cursor;
    let place = &cursor.as_ref().unwrap().place;
    assert!(place.starts_with("100@"), "{place}");
    subscription.close().await;
    let mut second = subscribe(&source, cursor).await;
    bench.send(&events([101])).await;
    assert_eq!(numbers(&take(&mut second, 1).await), [101]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stands_at_the_cursor_is_kept() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.send(&events(1..=5)).await;
    let source = bench.source();
    let mut subscription = subscribe(&source, None).await;
    // Exactly what is asked for: no request stays open.
    let cursor = take(&mut subscription, 5).await.cursor;
    subscription.acknowledge().await.unwrap();
    let created = info(&bench).await.created;
    subscription.close().await;
    let mut second = subscribe(&source, cursor).await;
    assert_eq!(info(&bench).await.created, created);
    bench.send(&events([6])).await;
    assert_eq!(numbers(&take(&mut second, 1).await), [6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_consumer_is_made_anew_behind_the_cursor() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.send(&events(1..=6)).await;
    let source = bench.source();
    let mut subscription = subscribe(&source, None).await;
    let cursor = take(&mut subscription, 2).await.cursor;
    let stream = bench.context().await.get_stream(&bench.name).await.unwrap();
    let name = bench.settings().durable.unwrap();
    let waiting = take_asking(&mut subscription, 4, |_| 100).await;
    assert_eq!(numbers(&waiting), [3, 4, 5, 6]);
    let (deleted, ended) =
        tokio::join!(stream.delete_consumer(&name), subscription.receive(most(1)));
    assert!(deleted.unwrap().success);
    let error = ended.unwrap_err();
    assert!(!error.is_refused(), "{}", error.chain());
    assert!(subscription.acknowledge().await.is_err());
    assert!(subscription.lag().await.is_err());
    let mut second = subscribe(&source, cursor).await;
    assert_eq!(numbers(&take(&mut second, 4).await), [3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_in_time_is_not_returned_twice() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.send(&events(1..=3)).await;
    let source = NatsSource::new(NatsSourceSettings {
        ack_wait: Duration::from_millis(1_200),
        ..bench.settings()
    });
    let source = source.unwrap();
    let mut subscription = subscribe(&source, None).await;
    let received = take_asking(&mut subscription, 3, |_| 50).await;
    assert_eq!(numbers(&received), [1, 2, 3]);
    // The request stays open, and so they come again, before the next one.
    while info(&bench).await.num_redelivered < 3 {
        sleep(Duration::from_millis(50)).await;
    }
    bench.send(&events([4])).await;
    assert_eq!(numbers(&take(&mut subscription, 1).await), [4]);
    subscription.acknowledge().await.unwrap();
    assert_eq!(info(&bench).await.num_ack_pending, 0);
    bench.send(&events([5])).await;
    assert_eq!(numbers(&take(&mut subscription, 1).await), [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_reader_of_the_consumer_costs_no_message() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.send(&events(1..=6)).await;
    let source = bench.source();
    let mut subscription = subscribe(&source, None).await;
    let cursor = take(&mut subscription, 2).await.cursor;
    subscription.acknowledge().await.unwrap();
    let other = consumer(&bench).await;
    let mut stolen = other.fetch().max_messages(2).messages().await.unwrap();
    while let Some(message) = stolen.next().await {
        message.unwrap();
    }
    let error = subscription.receive(most(10)).await.unwrap_err();
    assert!(
        error
            .chain()
            .contains("another process reads with the consumer"),
        "{}",
        error.chain()
    );
    drop(subscription);
    let mut second = subscribe(&source, cursor).await;
    assert_eq!(numbers(&take(&mut second, 4).await), [3, 4, 5, 6]);
    second.acknowledge().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_a_place_begins_at_the_start() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.send(&events(1..=4)).await;
    let source = bench.source();
    let mut subscription = subscribe(&source, None).await;
    take(&mut subscription, 2).await;
    subscription.acknowledge().await.unwrap();
    take(&mut subscription, 1).await;
    drop(subscription);
    // The consumer is behind 2: what it has acknowledged is not in this database.
    let mut second = subscribe(&source, None).await;
    assert_eq!(numbers(&take(&mut second, 4).await), [1, 2, 3, 4]);
}

/// A cursor behind the messages that a stream had before it lost them.
async fn cursor_at(bench: &Bench, place: u64, stored_before: chrono::TimeDelta) -> Cursor {
    let mut subscription = subscribe(&bench.source(), None).await;
    let mut cursor = take(&mut subscription, 1).await.cursor.unwrap();
    subscription.close().await;
    let first = cursor
        .place
        .split_once('@')
        .unwrap()
        .1
        .parse::<i64>()
        .unwrap();
    let time = first - stored_before.num_nanoseconds().unwrap();
    cursor.place = format!("{place}@{time}");
    cursor
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_end_is_read_on_behind_what_is_left() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.send(&events(1..=3)).await;
    let cursor = cursor_at(&bench, 900, chrono::TimeDelta::zero()).await;
    let mut second = subscribe(&bench.source(), Some(cursor)).await;
    bench.send(&events(4..=5)).await;
    assert_eq!(numbers(&take(&mut second, 2).await), [4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_a_stream_gives_out_again_are_other_messages() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    // The source has read two messages, and these have their numbers.
    bench.send(&events(11..=13)).await;
    let minute = chrono::TimeDelta::minutes(1);
    let cursor = cursor_at(&bench, 2, minute).await;
    let mut second = subscribe(&bench.source(), Some(cursor)).await;
    assert_eq!(numbers(&take(&mut second, 3).await), [11, 12, 13]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_begins_where_it_is_told_once() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.send(&events(1..=2)).await;
    sleep(Duration::from_millis(20)).await;
    let between = chrono::Utc::now();
    sleep(Duration::from_millis(20)).await;
    bench.send(&events([3])).await;
    let starting = |durable: &str, start| {
        let settings = NatsSourceSettings {
            durable: Some(format!("{}-{durable}", bench.name)),
            start,
            ..bench.settings()
        };
        NatsSource::new(settings).unwrap()
    };
    let new = starting("new", NatsStart::New);
    let first = subscribe(&new, None).await;
    bench.send(&events([4])).await;
    drop(first);
    // Nothing is stored, and the beginning stays where it was.
    let mut second = subscribe(&new, None).await;
    assert_eq!(numbers(&take(&mut second, 1).await), [4]);
    let mut timed = subscribe(&starting("timed", NatsStart::Time(between)), None).await;
    assert_eq!(numbers(&take(&mut timed, 2).await), [3, 4]);
    // Another stream of the same name is read whole, whatever the start.
    let cursor = take_cursor(&mut second).await;
    drop(second);
    assert!(bench.make_anew().await);
    bench.send(&events([11, 12])).await;
    let mut third = subscribe(&new, Some(cursor)).await;
    assert_eq!(numbers(&take(&mut third, 2).await), [11, 12]);
}

async fn take_cursor(subscription: &mut NatsSubscription) -> Cursor {
    subscription.acknowledge().await.unwrap();
    Cursor {
        incarnation: "2026-05-04T03:02:01.000000000Z".to_owned(),
        place: "4".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_filters_what_comes() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    for number in 1..=6 {
        let topic = if number % 2 == 0 { "even" } else { "odd" };
        bench.send_to(topic, &events([number])).await;
    }
    let settings = NatsSourceSettings {
        subjects: vec![format!("{}.even", bench.name)],
        ..bench.settings()
    };
    let source = NatsSource::new(settings).unwrap();
    let mut subscription = subscribe(&source, None).await;
    assert_eq!(subscription.lag().await.unwrap(), Some(3));
    let received = take(&mut subscription, 2).await;
    assert_eq!(numbers(&received), [2, 4]);
    subscription.acknowledge().await.unwrap();
    drop(subscription);
    let mut second = subscribe(&source, received.cursor).await;
    assert_eq!(numbers(&take(&mut second, 1).await), [6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_and_its_copy_are_two_messages() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.send_to("orders", &events([1])).await;
    bench.send_to("copies", &events([1])).await;
    bench
        .send_to("raw", &[Sent::raw("a", "hello"), Sent::raw("a", "hello")])
        .await;
    let mut subscription = subscribe(&bench.source(), None).await;
    let received = take(&mut subscription, 4).await;
    let ids: std::collections::BTreeSet<_> = received
        .messages
        .iter()
        .map(|message| match message {
            Message::Event {
                envelope, sent_at, ..
            } => {
                let age = chrono::Utc::now() - sent_at.unwrap();
                assert!(age.num_seconds() < 60, "{age}");
                envelope.event_id
            }
            Message::Unreadable(unreadable) => {
                assert!(
                    unreadable
                        .raw
                        .place
                        .starts_with(&format!("stream {}", bench.name))
                );
                unreadable.id
            }
        })
        .collect();
    assert_eq!(ids.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_gives_again_what_was_not_acknowledged() {
    let Some(bench) = Bench::on_a_private_server().await else {
        return;
    };
    bench.send(&events(1..=8)).await;
    let source = bench.source();
    let mut subscription = subscribe(&source, None).await;
    let cursor = take(&mut subscription, 2).await.cursor;
    subscription.acknowledge().await.unwrap();
    take(&mut subscription, 3).await;
    let server = bench.server.as_ref().unwrap();
    server.kill();
    let error = subscription.receive(most(10)).await.unwrap_err();
    assert!(!error.is_refused(), "{}", error.chain());
    assert!(subscription.acknowledge().await.is_err());
    let away = source.subscribe(resume()).await.unwrap_err();
    assert!(!away.is_refused(), "{}", away.chain());
    assert!(server.start());
    let mut second = subscribe(&source, cursor).await;
    let received = take(&mut second, 6).await;
    assert_eq!(numbers(&received), [3, 4, 5, 6, 7, 8]);
    second.acknowledge().await.unwrap();
    // The first messages after a lost connection are asked for one by one, the next ones are not.
    bench.send(&events(9..=12)).await;
    assert_eq!(second.lag().await.unwrap(), Some(4));
    assert_eq!(numbers(&take(&mut second, 4).await), [9, 10, 11, 12]);
    second.acknowledge().await.unwrap();
    assert_eq!(info(&bench).await.ack_floor.stream_sequence, 12);
    assert_eq!(second.lag().await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_given_up() {
    let Some(bench) = Bench::on_a_private_server().await else {
        return;
    };
    let source = bench.source();
    let mut subscription = subscribe(&source, None).await;
    let received = subscription.receive(idle()).await.unwrap();
    assert!(received.messages.is_empty());
    bench.server.as_ref().unwrap().signal("STOP");
    let begun = std::time::Instant::now();
    let error = loop {
        match subscription.receive(idle()).await {
            Ok(received) => assert!(received.messages.is_empty()),
            Err(error) => break error,
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it is not given up"
        );
    };
    bench.server.as_ref().unwrap().signal("CONT");
    assert!(!error.is_refused(), "{}", error.chain());
}
