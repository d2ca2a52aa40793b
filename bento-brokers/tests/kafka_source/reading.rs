//! Messages as a mapping sees them.

use std::sync::{Arc, Mutex};

use bento_brokers::kafka::KafkaSource;
use bento_brokers::message::Reading;
use bento_core::Envelope;
use bento_relay::source::{Message, Resume, Source as _, Subscription as _};
use bento_testkit::source::{Sent, SourceBench as _};

use super::bench::{Bench, take};

#[tokio::test]
async fn a_mapping_sees_key_topic_and_headers() {
    let bench = Bench::on_mock_cluster(1);
    let mut sent = Sent::raw("order-42", "");
    sent.headers
        .push(("KAFKA-KEY".to_owned(), b"forged".to_vec()));
    sent.headers.push(("x-own".to_owned(), b"\xffown".to_vec()));
    bench.send(&[sent]).await;
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&seen);
    let reading = Reading::default().mapping(move |message| {
        let header = |name| message.header(name).unwrap_or_default().to_owned();
        let subject = message.subject().to_owned();
        assert!(message.body().is_empty() && message.sent_at().is_none());
        *kept.lock().unwrap() = vec![subject, header("kafka-key"), header("x-own")];
        message.event("order.deleted", 1, "{}")
    });
    let source = KafkaSource::new(bench.settings.clone())
        .unwrap()
        .reading(reading);
    let mut subscription = source.subscribe(Resume::new("outside")).await.unwrap();
    let messages = take(&mut subscription, 1).await.messages;
    assert!(matches!(messages[0], Message::Event { .. }), "{messages:?}");
    let expected = [&*bench.settings.topic, "order-42", "\u{fffd}own"];
    assert_eq!(*seen.lock().unwrap(), expected);
    subscription.close().await;
}

#[tokio::test]
async fn the_key_is_no_header_of_an_event() {
    let bench = Bench::on_mock_cluster(1);
    let mut event = Envelope::new("order.created", 1, chrono::Utc::now(), "{}");
    event.aggregate_id = "42".to_owned();
    let mut sent = Sent::event(event);
    sent.headers.push(("x-own".to_owned(), b"1".to_vec()));
    bench.send(&[sent]).await;
    let mut subscription = bench.subscribe(None).await.unwrap();
    let messages = take(&mut subscription, 1).await.messages;
    let Message::Event { envelope, .. } = &messages[0] else {
        panic!("{messages:?}");
    };
    let headers = String::from_utf8(envelope.headers.to_vec()).unwrap();
    assert!(
        headers.contains("x-own") && !headers.contains("kafka-key"),
        "{headers}"
    );
    subscription.close().await;
}
