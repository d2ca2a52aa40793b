//! The common parts of the rules: events, and the expected answers to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_core::Envelope;
use bento_relay::publish::{Delivery, Destination, FailureClass, PublishError};
use bytes::Bytes;
use chrono::{SubsecRound, Utc};

use super::{PublisherHarness, Received};

/// The headers that every event of the suite has.
const HEADERS: &str = concat!(
    r#"{"correlation_id":"correlation-1","causation_id":"causation-1","#,
    r#""source":"https://shop.example/orders","#,
    r#""actor":"ann","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","#,
    r#""tracestate":"vendor=1","x-own":"what the application says"}"#,
);

/// The headers of these events that are the application's own.
pub(super) fn own_headers() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "vendor=1"),
        ("x-own", "what the application says"),
    ])
}

/// The `number`-th event of an aggregate. Its number is a field of its payload.
pub(super) fn event(aggregate_id: &str, number: usize) -> Envelope {
    let payload = format!(r#"{{"aggregate":"{aggregate_id}","number":{number},"total":1.10}}"#);
    let mut envelope = Envelope::new("thing.happened", 3, Utc::now().trunc_subsecs(6), payload);
    envelope.aggregate_type = "thing".into();
    envelope.aggregate_id = aggregate_id.to_owned();
    envelope.sequence = i64::try_from(number).ok();
    envelope.tenant_id = Some("Zürich AG".to_owned());
    envelope.headers = Bytes::from_static(HEADERS.as_bytes());
    envelope
}

/// The event on its way to the harness's topic.
pub(super) fn to<H: PublisherHarness>(harness: &H, envelope: Envelope) -> Delivery {
    to_topic(harness.topic(), envelope)
}

pub(super) fn to_topic(topic: &str, envelope: Envelope) -> Delivery {
    Delivery::new(Arc::new(envelope), Destination::default().with_topic(topic))
}

/// The `number`-th events of aggregates `0..aggregates`.
pub(super) fn round<H: PublisherHarness>(
    harness: &H,
    aggregates: usize,
    number: usize,
) -> Vec<Delivery> {
    (0..aggregates)
        .map(|aggregate| to(harness, event(&format!("a{aggregate}"), number)))
        .collect()
}

#[track_caller]
pub(super) fn all_confirmed(batch: &[Delivery], answers: &[Result<(), PublishError>]) {
    assert_eq!(
        answers.len(),
        batch.len(),
        "there is one answer for each delivery"
    );
    for answer in answers {
        if let Err(error) = answer {
            panic!("not published: {}", error.chain());
        }
    }
}

/// Checks that the second of three was refused as `class`, the others confirmed, and that only
/// these arrived.
pub(super) async fn only_the_second_is_refused<H: PublisherHarness>(
    harness: &H,
    batch: &[Delivery; 3],
    answers: &[Result<(), PublishError>],
    class: FailureClass,
) {
    assert_eq!(answers.len(), 3, "there is one answer for each delivery");
    let error = answers[1]
        .as_ref()
        .expect_err("the second cannot be published");
    assert_eq!(error.class(), class, "{}", error.chain());
    for neighbour in [0, 2] {
        if let Err(error) = &answers[neighbour] {
            panic!(
                "the neighbour of a refused one was not published: {}",
                error.chain()
            );
        }
    }
    let mut expected = [&batch[0], &batch[2]]
        .map(|delivery| delivery.envelope.payload.clone())
        .to_vec();
    expected.sort_unstable();
    let mut arrived: Vec<_> = harness
        .received(2)
        .await
        .into_iter()
        .map(|received| received.body)
        .collect();
    arrived.sort_unstable();
    assert_eq!(arrived, expected);
}

/// The aggregate and number that [`event`] wrote into the payload.
pub(super) fn aggregate_and_number(received: &Received) -> (String, usize) {
    let payload: serde_json::Value =
        serde_json::from_slice(&received.body).expect("the payload is JSON");
    let number = payload["number"]
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
        .expect("it has a number");
    (
        payload["aggregate"]
            .as_str()
            .expect("it has an aggregate")
            .to_owned(),
        number,
    )
}

/// The numbers of each aggregate in the order in which they first came.
pub(super) fn first_arrivals(received: &[Received]) -> BTreeMap<String, Vec<usize>> {
    let mut numbers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for message in received {
        let (aggregate, number) = aggregate_and_number(message);
        let seen = numbers.entry(aggregate).or_default();
        if !seen.contains(&number) {
            seen.push(number);
        }
    }
    numbers
}
