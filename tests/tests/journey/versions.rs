//! Every stored version of an event is published, and decoded as the current one.

use super::*;

on_every_back_end!(
    a_consumer_decodes_the_event_with_its_metadata,
    every_stored_version_is_published_as_it_is_and_decoded_or_named,
);

async fn a_consumer_decodes_the_event_with_its_metadata(database: &TestDatabase) {
    let journey = Journey::on(database).await;
    let mut metadata = Metadata::default();
    metadata.tenant_id = Some("acme".to_owned());
    metadata.correlation_id = Some("request-7".to_owned());
    let raise = journey
        .connection
        .transaction_async(async |tx| place(tx, 1..=1).await);
    metadata.scope(raise).await.unwrap();
    journey.publish_all().await;
    let envelope = journey.broker.published()[0].envelope.clone();
    let sent: ParcelSent = envelope.decode().unwrap();
    assert_eq!(
        sent,
        ParcelSent {
            parcel: 1,
            weight: 2,
            service: "express".to_owned()
        }
    );
    assert_eq!(envelope.aggregate_type, Parcel::TYPE);
    assert_eq!(envelope.tenant_id.as_deref(), Some("acme"));
    assert_eq!(
        envelope.headers().unwrap().correlation_id.as_deref(),
        Some("request-7")
    );
}

async fn every_stored_version_is_published_as_it_is_and_decoded_or_named(database: &TestDatabase) {
    let journey = Journey::on(database).await;
    let stored = [
        ("parcel.sent", 1, r#"{"parcel":7,"kilos":3}"#),
        (
            "parcel.sent",
            2,
            r#"{"parcel":7,"kilos":3,"service":"slow"}"#,
        ),
        ("parcel.sent", 9, r#"{"parcel":7,"from":"the future"}"#),
        ("parcel.lost", 1, r#"{"parcel":7}"#),
        ("parcel.sent", 3, r#"{"parcel":"seven"}"#),
        ("parcel.weighed", 1, r#"{"parcel":7,"pounds":2}"#),
    ];
    write_raw(&journey, &stored).await;
    journey.publish_all().await;
    let published: Vec<_> = journey.broker.published();
    let payloads: Vec<_> = published
        .iter()
        .map(|delivery| delivery.envelope.payload.clone())
        .collect();
    assert_eq!(payloads, stored.map(|(_, _, payload)| payload.as_bytes()));
    let decode = |index: usize| published[index].envelope.decode::<ParcelSent>();
    assert_eq!(
        decode(0).unwrap(),
        ParcelSent {
            parcel: 7,
            weight: 3,
            service: "standard".to_owned()
        }
    );
    assert_eq!(
        decode(1).unwrap(),
        ParcelSent {
            parcel: 7,
            weight: 3,
            service: "slow".to_owned()
        }
    );
    assert!(matches!(decode(2), Err(DecodeError::NewerVersion { .. })));
    assert!(matches!(
        published[3].envelope.decode_any(),
        Err(DecodeError::UnknownEventType { .. })
    ));
    assert!(matches!(decode(4), Err(DecodeError::Malformed { .. })));
    let weighed = published[5].envelope.decode::<ParcelWeighed>();
    assert!(
        matches!(weighed, Err(DecodeError::Retired { .. })),
        "{weighed:?}"
    );
}
