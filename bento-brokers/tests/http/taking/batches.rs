//! Several CloudEvents in one request.

use super::*;

fn batch(body: impl Into<Bytes>) -> (HeaderMap, Bytes) {
    let body = body.into();
    let mut headers = signed(OLD, "msg_1", Utc::now(), &body);
    let content_type = "Application/CloudEvents-Batch+JSON; charset=utf-8";
    headers.insert("content-type", HeaderValue::from_static(content_type));
    (headers, body)
}

#[tokio::test]
async fn each_event_of_a_batch_is_a_message_in_order() {
    let (inbox, receiver) = receiver(&[OLD]);
    let second = ORDER.replace(r#""id": "7""#, r#""id": "8""#);
    let answer = receive(&receiver, batch(format!("[{ORDER}, {second}]"))).await;
    assert_eq!(answer.status(), 204);
    let events = inbox.events();
    assert_eq!(events.len(), 2);
    assert_ne!(events[0].event_id, events[1].event_id);
    receive(&receiver, batch(format!("[{second}, {ORDER}]"))).await;
    let again = inbox.events();
    assert_eq!(again[0].event_id, events[1].event_id);
    assert_eq!(&*again[0].payload, br#"{"total": 1.10}"#);
}

#[tokio::test]
async fn what_is_no_event_in_a_batch_is_kept_by_itself() {
    let (inbox, receiver) = receiver(&[OLD]);
    let mut earlier = Vec::new();
    for _ in 0..2 {
        let answer = receive(&receiver, batch(format!("[7, {ORDER}, {{}}]"))).await;
        assert_eq!(answer.status(), 202);
        assert!(
            answer.body().starts_with("2 of 3 messages"),
            "{}",
            answer.body()
        );
        let all = inbox.all();
        let [
            Message::Unreadable(first),
            Message::Event { .. },
            Message::Unreadable(last),
        ] = &all[..]
        else {
            panic!("{all:?}");
        };
        assert_eq!((&*first.raw.body, &*last.raw.body), (&b"7"[..], &b"{}"[..]));
        assert!(
            last.raw.place.ends_with("event 3 of 3"),
            "{}",
            last.raw.place
        );
        earlier.push([first.id, last.id]);
    }
    assert_ne!(earlier[0][0], earlier[0][1]);
    assert_eq!(earlier[0], earlier[1], "sent again");
}

#[tokio::test]
async fn a_batch_that_is_no_array_is_one_dead_letter() {
    let (inbox, receiver) = receiver(&[OLD]);
    for body in [ORDER.as_bytes(), b"", b"[1,", b"[\xff]"] {
        assert_eq!(receive(&receiver, batch(body)).await.status(), 202);
        let letters = inbox.unreadable();
        assert_eq!(letters.len(), 1);
        assert!(
            letters[0].error.contains("not a JSON array"),
            "{}",
            letters[0].error
        );
        assert_eq!(letters[0].raw.body, body);
    }
}

#[tokio::test]
async fn a_batch_may_be_empty_and_not_too_long() {
    let (inbox, receiver) = receiver(&[OLD]);
    assert_eq!(receive(&receiver, batch("[]")).await.status(), 204);
    let many = |count: usize| batch(format!("[{}]", vec!["1"; count].join(",")));
    let answer = receive(&receiver, many(1001)).await;
    assert_eq!(answer.status(), 413);
    let text = "the batch has 1001 events and may have 1000: send it in parts";
    assert_eq!(answer.body(), text);
    assert!(inbox.all().is_empty());
    assert_eq!(receive(&receiver, many(1000)).await.status(), 202);
    assert_eq!(inbox.unreadable().len(), 1000);
}
