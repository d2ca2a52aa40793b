//! An event that cannot be published is refused alone, with the right class.

use bento_relay::publish::{Delivery, FailureClass, Publisher};
use bytes::Bytes;

use super::bench::{event, only_the_second_is_refused, to, to_topic};
use super::{Mode, PublisherHarness, skipped};

/// A message that is too large is refused for good; its neighbours arrive.
pub async fn an_oversized_message_is_refused_alone<H: PublisherHarness>(harness: &H) {
    let Some(bytes) = harness.traits().too_large else {
        return skipped(
            "an_oversized_message_is_refused_alone",
            "there is no limit to reach",
        );
    };
    let mut large = event("large", 1);
    large.payload = format!("\"{}\"", "x".repeat(bytes)).into();
    refused_alone(harness, to(harness, large), FailureClass::Permanent).await;
}

/// A topic that the broker does not have makes an event unavailable, for an operator can make the
/// topic; the neighbours arrive.
pub async fn a_topic_that_is_not_there_is_waited_for_and_costs_no_other_event<
    H: PublisherHarness,
>(
    harness: &H,
) {
    let Some(topic) = harness.missing_topic() else {
        return skipped(
            "a_topic_that_is_not_there_is_waited_for_and_costs_no_other_event",
            "the broker makes every topic",
        );
    };
    refused_alone(
        harness,
        to_topic(&topic, event("elsewhere", 1)),
        FailureClass::Unavailable,
    )
    .await;
}

/// A name that no topic can have is refused for good; the neighbours arrive.
pub async fn a_topic_that_cannot_be_is_refused_alone<H: PublisherHarness>(harness: &H) {
    let Some(topic) = harness.impossible_topic() else {
        return skipped(
            "a_topic_that_cannot_be_is_refused_alone",
            "every text is a topic",
        );
    };
    refused_alone(
        harness,
        to_topic(&topic, event("nowhere", 1)),
        FailureClass::Permanent,
    )
    .await;
}

/// A header that the message already uses for something else is refused for good; the neighbours
/// arrive.
pub async fn a_header_that_cannot_travel_is_refused_alone<H: PublisherHarness>(harness: &H) {
    if harness.traits().wire.is_none() {
        return skipped(
            "a_header_that_cannot_travel_is_refused_alone",
            "events are kept as they are",
        );
    }
    let mut envelope = event("odd", 1);
    envelope.headers = Bytes::from_static(br#"{"content-type":"text/plain"}"#);
    refused_alone(harness, to(harness, envelope), FailureClass::Permanent).await;
}

/// Stored headers that are not JSON are refused for good; the neighbours arrive.
pub async fn headers_that_cannot_be_read_are_refused_alone<H: PublisherHarness>(harness: &H) {
    if harness.traits().wire.is_none() {
        return skipped(
            "headers_that_cannot_be_read_are_refused_alone",
            "events are kept as they are",
        );
    }
    let mut envelope = event("odd", 1);
    envelope.headers = Bytes::from_static(b"\xff");
    refused_alone(harness, to(harness, envelope), FailureClass::Permanent).await;
}

async fn refused_alone<H: PublisherHarness>(harness: &H, refused: Delivery, class: FailureClass) {
    let publisher = harness.publisher(Mode::Binary).await;
    let batch = [
        to(harness, event("before", 1)),
        refused,
        to(harness, event("after", 1)),
    ];
    let answers = publisher.publish(&batch).await;
    only_the_second_is_refused(harness, &batch, &answers, class).await;
}
