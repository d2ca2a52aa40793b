//! The receiver of webhooks, with an inbox that only counts.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use bento_brokers::Secret;
use bento_brokers::http::{
    HttpPublisher, HttpReceiver, HttpReceiverSettings, HttpSettings, SigningSecrets,
};
use bento_brokers::message::{Format, MessageSettings, Reading};
use bento_core::Envelope;
use bento_relay::publish::{Delivery, Destination, Publisher as _};
use bento_relay::source::{Intake, IntakeError, Message, Taken, Unreadable};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use standardwebhooks::Webhook;

mod batches;
mod hostile;
mod served;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "whsec_//////////////////////////////////////////8=";

/// Keeps what it takes, unless it is told to fail.
#[derive(Debug, Default)]
struct Inbox {
    taken: Mutex<Vec<Message>>,
    fails: Mutex<Option<IntakeError>>,
}

impl Intake for Inbox {
    fn take(
        &self,
        messages: Vec<Message>,
    ) -> Pin<Box<dyn Future<Output = Result<Taken, IntakeError>> + Send + '_>> {
        Box::pin(async move {
            if let Some(error) = self.fails.lock().unwrap().take() {
                return Err(error);
            }
            let is_event = |message: &&Message| matches!(message, Message::Event { .. });
            let mut taken = Taken::default();
            taken.stored = messages.iter().filter(is_event).count();
            taken.refused = messages.len() - taken.stored;
            self.taken.lock().unwrap().extend(messages);
            Ok(taken)
        })
    }

    fn name(&self) -> &str {
        "hooks"
    }
}

impl Inbox {
    fn all(&self) -> Vec<Message> {
        std::mem::take(&mut self.taken.lock().unwrap())
    }

    fn events(&self) -> Vec<Envelope> {
        let event = |message| match message {
            Message::Event { envelope, .. } => *envelope,
            message => panic!("{message:?}"),
        };
        self.all().into_iter().map(event).collect()
    }

    fn unreadable(&self) -> Vec<Unreadable> {
        let unreadable = |message| match message {
            Message::Unreadable(unreadable) => unreadable,
            message => panic!("{message:?}"),
        };
        self.all().into_iter().map(unreadable).collect()
    }
}

fn settings(secrets: &[&str]) -> HttpReceiverSettings {
    HttpReceiverSettings {
        signing_secrets: secrets.iter().map(|&secret| secret.into()).collect(),
        ..HttpReceiverSettings::default()
    }
}

fn receiver(secrets: &[&str]) -> (Arc<Inbox>, HttpReceiver) {
    let inbox = Arc::<Inbox>::default();
    let receiver = HttpReceiver::new(inbox.clone(), settings(secrets)).unwrap();
    (inbox, receiver)
}

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let headers = list.iter().map(|(name, value)| {
        let name = HeaderName::try_from(*name).unwrap();
        (name, HeaderValue::try_from(*value).unwrap())
    });
    headers.collect()
}

/// The headers of a signature by this secret.
fn signed(secret: &str, id: &str, now: DateTime<Utc>, body: &[u8]) -> HeaderMap {
    let secrets = SigningSecrets::new(&[Secret::from(secret)]).unwrap();
    let time = now.timestamp().to_string();
    headers(&[
        ("webhook-id", id),
        ("webhook-timestamp", &time),
        ("webhook-signature", &secrets.sign(id, now, body)),
    ])
}

const ORDER: &str = r#"{
    "specversion": "1.0", "id": "7", "source": "/shop", "type": "order.created",
    "subject": "42", "aggregatesequence": "3", "data": {"total": 1.10}
}"#;

/// A CloudEvent in structured mode, signed by the reference implementation.
fn order(secret: &str, id: &str) -> (HeaderMap, Bytes) {
    let time = Utc::now().timestamp();
    let webhook = Webhook::new(secret).unwrap();
    let headers = headers(&[
        ("webhook-id", id),
        ("webhook-timestamp", &time.to_string()),
        (
            "webhook-signature",
            &webhook.sign(id, time, ORDER.as_bytes()).unwrap(),
        ),
        (
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        ),
    ]);
    (headers, ORDER.into())
}

async fn receive(receiver: &HttpReceiver, request: (HeaderMap, Bytes)) -> Response<String> {
    receiver.receive("/hooks", &request.0, request.1).await
}

#[tokio::test]
async fn an_event_is_stored_before_the_answer() {
    let (inbox, receiver) = receiver(&[OLD]);
    let answer = receive(&receiver, order(OLD, "msg_1")).await;
    assert_eq!(
        (answer.status().as_u16(), answer.body().as_str()),
        (204, "")
    );
    let event = inbox.events().remove(0);
    assert_eq!(
        (&*event.event_type, &*event.aggregate_id),
        ("order.created", "42")
    );
    assert_eq!(
        (event.sequence, &*event.payload),
        (Some(3), &br#"{"total": 1.10}"#[..])
    );
    assert!(!String::from_utf8_lossy(&event.headers).contains("webhook"));
}

#[tokio::test]
async fn an_unsigned_or_forged_request_is_refused() {
    let (inbox, receiver) = receiver(&[OLD, NEW]);
    let now = Utc::now();
    let hour = chrono::TimeDelta::hours(1);
    let body = ORDER.as_bytes();
    let mut foreign_id = signed(OLD, "msg_1", now, body);
    foreign_id.insert("webhook-id", HeaderValue::from_static("msg_2"));
    let mut without_time = signed(OLD, "msg_1", now, body);
    without_time.remove("webhook-timestamp");
    for (headers, why) in [
        (HeaderMap::new(), "the header `webhook-id` is missing"),
        (without_time, "the header `webhook-timestamp` is missing"),
        (
            signed(OLD, "msg_1", now - hour, body),
            "signed at another time than now",
        ),
        (
            signed(OLD, "msg_1", now + hour, body),
            "signed at another time than now",
        ),
        (signed(OTHER, "msg_1", now, body), "no signature matches"),
        (signed(OLD, "msg_1", now, b"{}"), "no signature matches"),
        (foreign_id, "no signature matches"),
    ] {
        let answer = receive(&receiver, (headers, ORDER.into())).await;
        assert_eq!(answer.status(), 401, "{why}");
        let text = answer.body();
        assert!(text.contains(why), "{text}");
        assert!(!text.contains("MfKQ") && !text.contains("AAEC"), "{text}");
    }
    assert!(inbox.all().is_empty());
}

#[tokio::test]
async fn either_secret_counts_while_one_is_replaced() {
    let (inbox, receiver) = receiver(&[OLD, NEW]);
    for (secret, status) in [(OLD, 204), (NEW, 204), (OTHER, 401)] {
        let answer = receive(&receiver, order(secret, "msg_1")).await;
        assert_eq!(answer.status(), status, "{secret}");
    }
    let events = inbox.events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].event_id, events[1].event_id);
}

#[tokio::test]
async fn the_tolerance_of_the_settings_counts() {
    let inbox = Arc::<Inbox>::default();
    let settings = HttpReceiverSettings {
        tolerance: Duration::from_secs(7200),
        ..settings(&[OLD])
    };
    let receiver = HttpReceiver::new(inbox, settings).unwrap();
    let earlier = Utc::now() - chrono::TimeDelta::hours(1);
    let headers = signed(OLD, "msg_1", earlier, b"{}");
    assert_eq!(
        receive(&receiver, (headers, "{}".into())).await.status(),
        202
    );
}

#[tokio::test]
async fn what_is_no_event_is_kept_and_not_sent_again() {
    let (inbox, receiver) = receiver(&[OLD]);
    let mut ids = Vec::new();
    for id in ["msg_1", "msg_1", "msg_2"] {
        let headers = signed(OLD, id, Utc::now(), b"\xff\0");
        let answer = receive(&receiver, (headers, (&b"\xff\0"[..]).into())).await;
        assert_eq!(answer.status(), 202);
        assert!(
            answer.body().starts_with("1 of 1 messages"),
            "{}",
            answer.body()
        );
        let letter = inbox.unreadable().remove(0);
        assert_eq!(&*letter.raw.body, b"\xff\0");
        assert!(letter.error.contains("is not an event"), "{}", letter.error);
        assert_eq!(
            letter.raw.place,
            format!("request to /hooks, webhook-id {id}")
        );
        ids.push(letter.id);
    }
    assert_eq!(ids[0], ids[1], "sent again");
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn the_id_of_a_foreign_event_is_made_of_webhook_id() {
    let (inbox, receiver) = receiver(&[OLD]);
    let receiver = receiver.reading(Reading::default().mapping(|message| {
        assert_eq!((message.source(), message.subject()), ("hooks", "/hooks"));
        message.event("invoice.paid", 1, message.body().clone())
    }));
    for id in ["evt_1", "evt_1", "evt_2"] {
        let request = (signed(OLD, id, Utc::now(), b"{}"), "{}".into());
        assert_eq!(receive(&receiver, request).await.status(), 204);
    }
    let ids: Vec<_> = inbox.events().iter().map(|event| event.event_id).collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn a_large_or_compressed_body_is_refused() {
    let inbox = Arc::<Inbox>::default();
    let settings = HttpReceiverSettings {
        max_body: ORDER.len(),
        ..settings(&[OLD])
    };
    let receiver = HttpReceiver::new(inbox.clone(), settings).unwrap();
    assert_eq!(receiver.max_body(), ORDER.len());
    let (mut headers, _) = order(OLD, "msg_1");
    let answer = receive(&receiver, (headers.clone(), format!("{ORDER} ").into())).await;
    assert_eq!(answer.status(), 413);
    let (bytes, most) = (ORDER.len() + 1, ORDER.len());
    assert_eq!(
        *answer.body(),
        format!("the body has {bytes} bytes and may have {most}")
    );
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    assert_eq!(
        receive(&receiver, (headers.clone(), ORDER.into()))
            .await
            .status(),
        415
    );
    assert!(inbox.all().is_empty());
    headers.insert("content-encoding", HeaderValue::from_static("identity"));
    assert_eq!(
        receive(&receiver, (headers, ORDER.into())).await.status(),
        204
    );
}

#[tokio::test]
async fn a_request_that_is_not_stored_is_sent_again_later() {
    let (inbox, receiver) = receiver(&[OLD]);
    let full = IntakeError::Full {
        length: 100_001,
        limit: 100_000,
        retry_after: Duration::from_millis(2100),
    };
    let away = IntakeError::Unavailable {
        source: "postgres://user:hunter2@db is away".into(),
    };
    for (error, seconds, text) in [
        (full, "3", "the inbox is full"),
        (away, "5", "the inbox cannot be written"),
    ] {
        *inbox.fails.lock().unwrap() = Some(error);
        let answer = receive(&receiver, order(OLD, "msg_1")).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], seconds);
        assert!(answer.body().starts_with(text), "{}", answer.body());
        assert!(!answer.body().contains("hunter2"));
    }
    assert_eq!(receive(&receiver, order(OLD, "msg_1")).await.status(), 204);
}

#[tokio::test]
async fn a_request_that_can_never_be_stored_is_not_sent_again() {
    let (inbox, receiver) = receiver(&[OLD]);
    *inbox.fails.lock().unwrap() = Some(IntakeError::Refused {
        refused: 1,
        count: 2,
        source: "postgres://user:hunter2@db: too large".into(),
    });
    let answer = receive(&receiver, order(OLD, "msg_1")).await;
    assert_eq!(answer.status(), 422);
    assert!(!answer.headers().contains_key("retry-after"));
    let text = "the database refuses to store 1 of 2 messages";
    assert!(answer.body().starts_with(text), "{}", answer.body());
    assert!(!answer.body().contains("hunter2"));
}

#[tokio::test]
async fn credentials_are_not_stored() {
    let inbox = Arc::<Inbox>::default();
    let settings = HttpReceiverSettings {
        unsigned: true,
        secret_headers: vec!["X-Api-Key".to_owned()],
        ..HttpReceiverSettings::default()
    };
    let receiver = HttpReceiver::new(inbox.clone(), settings).unwrap();
    let list = [
        ("authorization", "Bearer hunter2"),
        ("cookie", "session=hunter2"),
        ("proxy-authorization", "Basic hunter2"),
        ("webhook-signature", "v1,hunter2"),
        ("x-api-key", "hunter2"),
        ("x-user-name", "ann"),
    ];
    let query = "/hooks?token=hunter2";
    receiver.receive(query, &headers(&list), "{}".into()).await;
    let structured = [
        &list[..],
        &[("content-type", "application/cloudevents+json")],
    ]
    .concat();
    receiver
        .receive(query, &headers(&structured), ORDER.into())
        .await;
    let all = inbox.all();
    assert!(matches!(
        all[..],
        [Message::Unreadable(_), Message::Event { .. }]
    ));
    for message in &all {
        let text = match message {
            Message::Event { envelope, .. } => {
                String::from_utf8_lossy(&envelope.headers).into_owned()
            }
            message => format!("{message:?}"),
        };
        assert!(
            text.contains("x-user-name") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
