//! The place at which a subscription begins, on librdkafka's mock cluster.

use std::time::Duration;

use bento_brokers::kafka::{KafkaSourceSettings, KafkaStart};
use bento_relay::source::{Cursor, Message, Subscription as _};
use bento_testkit::source::{Sent, SourceBench as _};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use super::bench::{Bench, bodies, most, subscribe, take, texts};

/// The offset that a consumer group has for the only partition.
fn committed(bench: &Bench, group: &str) -> Offset {
    let mut config = ClientConfig::new();
    let servers = &bench.settings.servers[0];
    let consumer: BaseConsumer = config
        .set("bootstrap.servers", servers)
        .set("group.id", group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(&bench.settings.topic, 0);
    let list = consumer
        .committed_offsets(list, Duration::from_secs(20))
        .unwrap();
    list.elements()[0].offset()
}

/// The cursor, with another time of the last message.
fn of_another_topic(cursor: &Cursor) -> Cursor {
    let place: serde_json::Value = serde_json::from_str(&cursor.place).unwrap();
    let (next, time) = (&place["0"][0], place["0"][1].as_i64().unwrap());
    Cursor {
        place: format!(r#"{{"0":[{next},{}]}}"#, time - 1),
        ..cursor.clone()
    }
}

#[tokio::test]
async fn the_start_at_new_messages_is_stored_before_any_message() {
    let bench = Bench::on_mock_cluster(3);
    bench.send(&texts([1, 2])).await;
    let settings = KafkaSourceSettings {
        start: KafkaStart::New,
        ..bench.settings.clone()
    };
    let mut first = subscribe(settings.clone(), None).await.unwrap();
    assert_eq!(first.lag().await.unwrap(), Some(0));
    let long = Duration::from_secs(5);
    let received = first.receive(most(9, long)).await.unwrap();
    assert!(received.messages.is_empty());
    bench.send(&texts([3])).await;
    assert_eq!(bodies(&take(&mut first, 1).await.messages), ["3"]);
    drop(first);
    // It ended before it stored the message, and begins where the first one did.
    bench.send(&texts([4])).await;
    assert!(received.cursor.is_some());
    let mut second = subscribe(settings, received.cursor).await.unwrap();
    assert_eq!(bodies(&take(&mut second, 2).await.messages), ["3", "4"]);
    second.close().await;
}

#[tokio::test]
async fn a_place_that_was_deleted_gives_way_to_the_first() {
    let bench = Bench::on_mock_cluster(1);
    bench.send(&texts([1, 2, 3])).await;
    let mut first = bench.subscribe(None).await.unwrap();
    let cursor = take(&mut first, 1).await.cursor;
    first.close().await;
    // The cluster keeps 5 MiB.
    for _ in 0..7 {
        bench.send(&texts(["x".repeat(900_000)])).await;
    }
    let mut second = bench.subscribe(cursor).await.unwrap();
    let lag = usize::try_from(second.lag().await.unwrap().unwrap()).unwrap();
    assert!((1..7).contains(&lag), "{lag} messages are left");
    let received = take(&mut second, lag).await;
    assert!(
        bodies(&received.messages)
            .iter()
            .all(|body| body.len() == 900_000)
    );
    assert!(received.cursor.unwrap().place.starts_with(r#"{"0":[10,"#));
    second.close().await;
}

#[tokio::test]
async fn a_topic_made_anew_is_read_from_its_beginning() {
    let bench = Bench::on_mock_cluster(1);
    bench.send(&texts([1, 2, 3])).await;
    let mut first = bench.subscribe(None).await.unwrap();
    let own = take(&mut first, 2).await.cursor.unwrap();
    first.close().await;
    let shorter = Cursor {
        place: r#"{"0":[9,1]}"#.to_owned(),
        ..own.clone()
    };
    let elsewhere = Cursor {
        incarnation: "another/topic".to_owned(),
        ..own.clone()
    };
    let unread = Cursor {
        place: "9".to_owned(),
        ..own.clone()
    };
    let another = of_another_topic(&own);
    for (cursor, expected) in [
        (own, &["3"][..]),
        (another, &["1", "2", "3"]),
        (shorter, &["1", "2", "3"]),
        (elsewhere, &["1", "2", "3"]),
        (unread, &["1", "2", "3"]),
    ] {
        let place = format!("{cursor:?}");
        let mut next = bench.subscribe(Some(cursor)).await.unwrap();
        assert_eq!(
            bodies(&take(&mut next, expected.len()).await.messages),
            expected,
            "{place}"
        );
        let idle = Duration::from_millis(200);
        assert!(
            next.receive(most(9, idle))
                .await
                .unwrap()
                .messages
                .is_empty(),
            "{place}"
        );
        next.close().await;
    }
}

#[tokio::test]
async fn another_time_in_a_place_gives_another_id() {
    let mut ids = Vec::new();
    let bench = Bench::on_mock_cluster(1);
    bench.send(&texts(["x"])).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    bench.send(&texts(["x"])).await;
    for _ in 0..2 {
        let mut subscription = bench.subscribe(None).await.unwrap();
        for message in take(&mut subscription, 2).await.messages {
            let Message::Unreadable(message) = message else {
                panic!("{message:?} is an event");
            };
            ids.push(message.id);
        }
        subscription.close().await;
    }
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[..2], ids[2..], "the same each time they come");
}

#[tokio::test]
async fn places_are_committed_to_the_group_for_tools() {
    let bench = Bench::on_mock_cluster(1);
    bench
        .send(&[Sent::raw("k", "1"), Sent::raw("k", "2")])
        .await;
    let mut subscription = bench.subscribe(None).await.unwrap();
    take(&mut subscription, 2).await;
    assert_eq!(committed(&bench, "outside"), Offset::Invalid);
    subscription.acknowledge().await.unwrap();
    subscription.close().await;
    assert_eq!(committed(&bench, "outside"), Offset::Offset(2));
    let group = Some("shop".to_owned());
    let settings = KafkaSourceSettings {
        group,
        ..bench.settings.clone()
    };
    // The places of a group decide nothing.
    let mut named = subscribe(settings, None).await.unwrap();
    take(&mut named, 1).await;
    named.acknowledge().await.unwrap();
    named.close().await;
    assert_eq!(committed(&bench, "shop"), Offset::Offset(1));
    let mut again = bench.subscribe(None).await.unwrap();
    assert_eq!(bodies(&take(&mut again, 2).await.messages), ["1", "2"]);
    again.close().await;
}

#[tokio::test]
async fn a_group_that_may_not_be_used_does_no_harm() {
    let bench = Bench::on_mock_cluster(1);
    let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    bench.refuse(RDKafkaApiKey::OffsetCommit, &[code; 3]);
    bench.refuse(RDKafkaApiKey::FindCoordinator, &[code; 3]);
    let mut subscription = bench.subscribe(None).await.unwrap();
    for body in ["1", "2", "3", "4"] {
        bench.send(&texts([body])).await;
        assert_eq!(bodies(&take(&mut subscription, 1).await.messages), [body]);
        subscription.acknowledge().await.unwrap();
    }
    subscription.close().await;
}

/// The mock cluster makes no topics on request.
#[tokio::test]
async fn a_missing_topic_is_made_on_request() {
    let mut bench = match Bench::of_the_environment().await {
        Some(bench) if !bench.is_mock() => bench,
        _ => return,
    };
    bench.settings.topic.push_str("-made");
    bench.settings.create = true;
    let mut first = bench.subscribe(None).await.unwrap();
    bench.send(&texts([1])).await;
    let cursor = take(&mut first, 1).await.cursor;
    first.close().await;
    bench.send(&texts([2])).await;
    let mut second = bench.subscribe(cursor).await.unwrap();
    assert_eq!(bodies(&take(&mut second, 1).await.messages), ["2"]);
    second.close().await;
}
