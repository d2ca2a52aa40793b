//! Published events arrive: whole, in order, and once for each destination.

use std::collections::BTreeSet;
use std::sync::Arc;

use bento_relay::publish::{Destination, Publisher};

use super::bench::{all_confirmed, event, first_arrivals, own_headers, round, to};
use super::{Mode, PublisherHarness, skipped};

/// A batch without deliveries is answered at once, without answers.
pub async fn an_empty_batch_has_no_answers<H: PublisherHarness>(harness: &H) {
    assert!(
        harness
            .publisher(Mode::Binary)
            .await
            .publish(&[])
            .await
            .is_empty()
    );
}

/// A consumer gets the payload byte for byte, the application's headers, the topic, and the key
/// where there is one.
pub async fn every_event_arrives_with_its_body_and_headers<H: PublisherHarness>(harness: &H) {
    let publisher = harness.publisher(Mode::Binary).await;
    let batch = round(harness, 3, 1);
    all_confirmed(&batch, &publisher.publish(&batch).await);
    let received = harness.received(3).await;
    assert_eq!(received.len(), 3);
    for delivery in &batch {
        let arrived = received
            .iter()
            .find(|received| received.body == delivery.envelope.payload);
        let arrived = arrived.expect("every body arrived as it was");
        assert_eq!(arrived.topic, harness.topic());
        for (name, value) in own_headers() {
            assert_eq!(
                arrived.header(name),
                Some(value),
                "the header `{name}` of {:?}",
                arrived.headers
            );
        }
        if harness.traits().has_keys {
            assert_eq!(arrived.key.as_deref(), Some(delivery.partition_key()));
        }
    }
}

/// Bytes that are neither JSON nor text arrive as they are.
pub async fn a_payload_that_is_no_json_arrives_whole<H: PublisherHarness>(harness: &H) {
    let mut envelope = event("a", 1);
    envelope.content_encoding = Some("aes-gcm".to_owned());
    envelope.payload = (0..=255).collect::<Vec<u8>>().into();
    let batch = [to(harness, envelope)];
    all_confirmed(
        &batch,
        &harness.publisher(Mode::Binary).await.publish(&batch).await,
    );
    assert_eq!(harness.received(1).await[0].body, batch[0].envelope.payload);
}

/// 500 deliveries have 500 answers.
pub async fn a_large_batch_is_answered_one_by_one<H: PublisherHarness>(harness: &H) {
    let publisher = harness.publisher(Mode::Binary).await;
    let batch = round(harness, 500, 1);
    all_confirmed(&batch, &publisher.publish(&batch).await);
    assert_eq!(first_arrivals(&harness.received(500).await).len(), 500);
}

/// An event that is handed over after an earlier one of its aggregate was confirmed arrives after
/// it.
pub async fn an_aggregate_keeps_its_order_over_batches<H: PublisherHarness>(harness: &H) {
    const BATCHES: usize = 20;
    let publisher = harness.publisher(Mode::Binary).await;
    for number in 0..BATCHES {
        let batch = round(harness, 10, number);
        all_confirmed(&batch, &publisher.publish(&batch).await);
    }
    for (aggregate, numbers) in first_arrivals(&harness.received(10 * BATCHES).await) {
        assert!(
            numbers.into_iter().eq(0..BATCHES),
            "`{aggregate}` is out of order"
        );
    }
}

/// A publisher that says that it chains takes several events of one aggregate in a batch, and keeps
/// their order.
pub async fn a_chained_batch_keeps_the_order_of_an_aggregate<H: PublisherHarness>(harness: &H) {
    let publisher = harness.publisher(Mode::Binary).await;
    if !publisher.chains(&Destination::default().with_topic(harness.topic())) {
        return skipped(
            "a_chained_batch_keeps_the_order_of_an_aggregate",
            "the publisher chains nothing",
        );
    }
    let batch: Vec<_> = (0..100)
        .map(|number| to(harness, event(&format!("a{}", number % 3), number)))
        .collect();
    all_confirmed(&batch, &publisher.publish(&batch).await);
    for (aggregate, numbers) in first_arrivals(&harness.received(100).await) {
        assert!(
            numbers.is_sorted(),
            "`{aggregate}` is out of order: {numbers:?}"
        );
    }
}

/// A publisher that says that it chains publishes nothing of an aggregate behind an event of it
/// that fails.
pub async fn a_chained_batch_stops_an_aggregate_at_its_first_failure<H: PublisherHarness>(
    harness: &H,
) {
    const RULE: &str = "a_chained_batch_stops_an_aggregate_at_its_first_failure";
    let publisher = harness.publisher(Mode::Binary).await;
    if !publisher.chains(&Destination::default().with_topic(harness.topic())) {
        return skipped(RULE, "the publisher chains nothing");
    }
    let Some(bytes) = harness.traits().too_large else {
        return skipped(RULE, "no event is too large");
    };
    let mut batch: Vec<_> = (0..10)
        .map(|number| to(harness, event(["a", "b"][number % 2], number)))
        .collect();
    let bad = Arc::make_mut(&mut batch[4].envelope);
    bad.payload = format!("\"{}\"", "x".repeat(bytes)).into();
    let answers = publisher.publish(&batch).await;
    let confirmed: Vec<_> = (0..10).filter(|&number| answers[number].is_ok()).collect();
    assert_eq!(confirmed, [0, 1, 2, 3, 5, 7, 9], "{answers:?}");
    let arrived = first_arrivals(&harness.received(7).await);
    assert_eq!(
        (&arrived["a"], &arrived["b"]),
        (&vec![0, 2], &vec![1, 3, 5, 7, 9])
    );
}

/// Several tasks publish by one publisher at the same time.
pub async fn calls_at_the_same_time_all_arrive<H: PublisherHarness>(harness: &H) {
    const TASKS: usize = 4;
    let publisher = Arc::new(harness.publisher(Mode::Binary).await);
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let batches: Vec<Vec<_>> = (0..10)
            .map(|number| {
                (0..10)
                    .map(|event_of| to(harness, event(&format!("t{task}-{event_of}"), number)))
                    .collect()
            })
            .collect();
        let publisher = Arc::clone(&publisher);
        tasks.push(tokio::spawn(async move {
            for batch in batches {
                all_confirmed(&batch, &publisher.publish(&batch).await);
            }
        }));
    }
    for task in tasks {
        task.await.expect("the task publishes");
    }
    let arrived = first_arrivals(&harness.received(TASKS * 100).await);
    assert_eq!(arrived.len(), TASKS * 10);
    for (aggregate, numbers) in arrived {
        assert!(
            numbers.into_iter().eq(0..10),
            "`{aggregate}` is incomplete or out of order"
        );
    }
}

/// Deduplication, where there is one, does not take an event for a second destination for a
/// repetition of the first.
pub async fn an_event_for_two_destinations_arrives_for_each<H: PublisherHarness>(harness: &H) {
    let publisher = harness.publisher(Mode::Binary).await;
    let one = to(harness, event("a", 1));
    let mut other = one.clone();
    other.destination = Destination::new("copy").with_topic(harness.topic());
    for delivery in [one, other] {
        all_confirmed(
            std::slice::from_ref(&delivery),
            &publisher.publish(std::slice::from_ref(&delivery)).await,
        );
    }
    assert_eq!(harness.received(2).await.len(), 2);
}

/// An event that is published again arrives once where the broker knows it again, and twice where
/// it does not.
pub async fn an_event_published_again_arrives_as_often_as_the_broker_says<H: PublisherHarness>(
    harness: &H,
) {
    let publisher = harness.publisher(Mode::Binary).await;
    let batch = round(harness, 5, 1);
    all_confirmed(&batch, &publisher.publish(&batch).await);
    all_confirmed(&batch, &publisher.publish(&batch).await);
    // Behind the repeated ones, so that they have arrived when this one has.
    let last = [to(harness, event("last", 1))];
    all_confirmed(&last, &publisher.publish(&last).await);
    let times = if harness.traits().deduplicates { 1 } else { 2 };
    let received = harness.received(5 * times + 1).await;
    assert_eq!(received.len(), 5 * times + 1);
    let bodies: BTreeSet<_> = received.iter().map(|received| &received.body).collect();
    assert_eq!(bodies.len(), 6);
}
