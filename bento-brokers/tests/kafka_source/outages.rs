//! Refusals and outages of a cluster, on librdkafka's mock cluster, which answers as it is told.

use std::time::{Duration, Instant};

use bento_relay::source::{SourceError, Subscription as _};
use bento_testkit::source::SourceBench as _;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Code};

use super::bench::{Away, Bench, Subscription, bodies, most, take, texts};

const PATIENCE: Duration = Duration::from_secs(30);

/// Receives until the subscription ends.
async fn ended(subscription: &mut Subscription) -> SourceError {
    let begun = Instant::now();
    loop {
        match subscription
            .receive(most(9, Duration::from_millis(200)))
            .await
        {
            Ok(received) => assert!(received.messages.is_empty()),
            Err(error) => return error,
        }
        assert!(begun.elapsed() < PATIENCE, "the subscription goes on");
    }
}

#[tokio::test]
async fn a_topic_that_may_not_be_seen_is_refused() {
    let bench = Bench::on_mock_cluster(1);
    let topic = &bench.settings.topic;
    let code = Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    bench.mock().topic_error(topic, code).unwrap();
    let error = bench.subscribe(None).await.unwrap_err();
    assert!(error.is_refused(), "{}", error.chain());
    assert!(
        error.chain().contains("kafka-acls --add"),
        "{}",
        error.chain()
    );
    let code = Code::RD_KAFKA_RESP_ERR_NO_ERROR;
    bench.mock().topic_error(topic, code).unwrap();
    bench.send(&texts([1])).await;
    let mut subscription = bench.subscribe(None).await.unwrap();
    assert_eq!(bodies(&take(&mut subscription, 1).await.messages), ["1"]);
    subscription.close().await;
}

#[tokio::test]
async fn a_missing_topic_says_how_to_make_it() {
    let mut bench = Bench::on_mock_cluster(1);
    bench.settings.topic.push_str("-missing");
    let error = bench.subscribe(None).await.unwrap_err();
    assert!(error.is_refused(), "{}", error.chain());
    let chain = error.chain();
    assert!(
        chain.contains(&bench.settings.topic) && chain.contains("`create = true`"),
        "{chain}"
    );
}

#[tokio::test]
async fn a_subscription_that_loses_its_right_is_refused() {
    let bench = Bench::on_mock_cluster(1);
    let mut subscription = bench.subscribe(None).await.unwrap();
    let code = Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    bench.refuse(RDKafkaApiKey::Fetch, &[code; 3]);
    let error = ended(&mut subscription).await;
    assert!(error.is_refused(), "{}", error.chain());
    subscription.close().await;
}

#[tokio::test]
async fn messages_deleted_under_way_end_the_subscription() {
    let bench = Bench::on_mock_cluster(1);
    bench.send(&texts([1, 2])).await;
    let code = Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    bench.refuse(RDKafkaApiKey::Fetch, &[code]);
    let mut first = bench.subscribe(None).await.unwrap();
    let error = ended(&mut first).await;
    assert!(!error.is_refused(), "{}", error.chain());
    assert!(
        error.chain().contains("a new subscription begins"),
        "{}",
        error.chain()
    );
    first.close().await;
    let mut second = bench.subscribe(None).await.unwrap();
    assert_eq!(bodies(&take(&mut second, 2).await.messages), ["1", "2"]);
    second.close().await;
}

#[tokio::test]
async fn a_cluster_that_is_away_ends_the_subscription() {
    let bench = Bench::on_mock_cluster(2);
    bench.send(&texts([1])).await;
    let mut subscription = bench.subscribe(None).await.unwrap();
    let cursor = take(&mut subscription, 1).await.cursor;
    let away = Away::new(&bench);
    let error = ended(&mut subscription).await;
    assert!(!error.is_refused(), "{}", error.chain());
    let begun = Instant::now();
    subscription.acknowledge().await.unwrap();
    subscription.close().await;
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    let error = bench.subscribe(cursor.clone()).await.unwrap_err();
    assert!(!error.is_refused(), "{}", error.chain());
    drop(away);
    bench.send(&texts([2])).await;
    let mut next = bench.subscribe(cursor).await.unwrap();
    assert_eq!(bodies(&take(&mut next, 1).await.messages), ["2"]);
    next.close().await;
}

#[tokio::test]
async fn what_passes_is_mended_by_the_client() {
    let bench = Bench::on_mock_cluster(1);
    let mut subscription = bench.subscribe(None).await.unwrap();
    for code in [
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
    ] {
        bench.refuse(RDKafkaApiKey::Fetch, &[code]);
        let body = format!("{code:?}");
        bench.send(&texts([&body])).await;
        assert_eq!(bodies(&take(&mut subscription, 1).await.messages), [body]);
    }
    bench.refuse(
        RDKafkaApiKey::Fetch,
        &[Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT; 3],
    );
    let error = ended(&mut subscription).await;
    assert!(!error.is_refused(), "{}", error.chain());
    subscription.close().await;
}
