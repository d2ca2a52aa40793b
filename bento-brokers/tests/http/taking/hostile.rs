//! Requests of any kind.

use proptest::prelude::*;

use super::*;

fn names() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "ce-specversion",
        "ce-id",
        "ce-type",
        "ce-time",
        "ce-schemaversion",
        "ce-aggregatesequence",
        "bento-event-id",
        "bento-event-type",
        "bento-route",
        "content-type",
        "content-encoding",
        "traceparent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[a-z*-]{1,20}"]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "1.0",
        "application/json",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "UTF-8''%C3%28",
        "2026-05-04T03:02:01Z",
    ]);
    let known = known.prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![known, prop::collection::vec(any::<u8>(), 0..30)]
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let json = "(\\[|\\{)[ -~]{0,40}(\\]|\\})".prop_map(String::into_bytes);
    let order = Just(ORDER.as_bytes().to_vec());
    let broken = (0..ORDER.len(), any::<u8>()).prop_map(|(place, byte)| {
        let mut body = ORDER.as_bytes().to_vec();
        body[place] = byte;
        body
    });
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        json,
        order,
        broken
    ]
}

fn request() -> impl Strategy<Value = (HeaderMap, Bytes)> {
    let list = prop::collection::vec((names(), values()), 0..12);
    (list, bodies()).prop_map(|(list, body)| {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.append(name, value);
            }
        }
        (headers, body.into())
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Once the signature is right, no request is lost and none is refused for what it holds.
    #[test]
    fn no_signed_request_is_lost((mut headers, body) in request()) {
        let (inbox, receiver) = receiver(&[OLD]);
        headers.remove("content-encoding");
        headers.extend(signed(OLD, "msg_1", Utc::now(), &body));
        let status = block_on(receive(&receiver, (headers, body.clone()))).status().as_u16();
        let taken = inbox.all();
        let has_letters = taken.iter().any(|taken| matches!(taken, Message::Unreadable(_)));
        prop_assert_eq!(status, if has_letters { 202 } else { 204 });
        let is_empty_batch = body.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"[]");
        prop_assert!(!taken.is_empty() || is_empty_batch);
    }

    #[test]
    fn no_forged_request_is_taken((headers, body) in request()) {
        let (inbox, receiver) = receiver(&[OLD]);
        let answer = block_on(receive(&receiver, (headers, body)));
        prop_assert_eq!(answer.status().as_u16(), 401);
        prop_assert!(inbox.all().is_empty());
    }
}
