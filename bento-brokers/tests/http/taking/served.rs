//! The receiver behind a server, to which the publisher of webhooks sends.

use super::*;

fn event() -> Envelope {
    let mut event = Envelope::new("order.created", 2, Utc::now(), r#"{"total":1.10}"#);
    event.aggregate_type = "order".into();
    event.aggregate_id = "Zoë 42".to_owned();
    event.sequence = Some(3);
    event.tenant_id = Some("acme".to_owned());
    event.headers = r#"{"actor":"ann","source":"/shop","x-user-name":"Zoë"}"#.into();
    event
}

fn publisher(port: u16, format: Format) -> HttpPublisher {
    let message = MessageSettings {
        format,
        ..MessageSettings::default()
    };
    let settings = HttpSettings {
        url: Some(format!("http://127.0.0.1:{port}/hooks").as_str().into()),
        allow_http: true,
        signing_secrets: vec![NEW.into(), OLD.into()],
        headers: [("x-api-key".to_owned(), Secret::from("k"))].into(),
        message,
        ..HttpSettings::default()
    };
    HttpPublisher::new(settings).unwrap()
}

async fn publish(publisher: &HttpPublisher, event: &Envelope) {
    let delivery = Delivery::new(Arc::new(event.clone()), Destination::new("shipping"));
    publisher.publish(&[delivery]).await.remove(0).unwrap();
}

/// Serves a receiver until the test ends, and returns its port.
async fn serve(receiver: HttpReceiver) -> u16 {
    use axum::extract::State;
    use axum::http::Uri;
    async fn hook(
        State(receiver): State<HttpReceiver>,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response<String> {
        receiver.receive(uri.path(), &headers, body).await
    }
    let router = axum::Router::new().route("/hooks", axum::routing::post(hook));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(axum::serve(listener, router.with_state(receiver)).into_future());
    port
}

#[tokio::test]
async fn what_is_published_arrives_in_every_format() {
    let inbox = Arc::<Inbox>::default();
    let settings = HttpReceiverSettings {
        secret_headers: vec!["x-api-key".to_owned()],
        ..settings(&[OLD])
    };
    let port = serve(HttpReceiver::new(inbox.clone(), settings).unwrap()).await;
    for format in [Format::Binary, Format::Structured, Format::Plain] {
        let sent = event();
        publish(&publisher(port, format), &sent).await;
        let message = inbox.all().remove(0);
        let Message::Event {
            envelope, origin, ..
        } = message
        else {
            panic!("{format:?}: {message:?}");
        };
        assert_eq!(origin.as_deref(), Some("/shop"), "{format:?}");
        let known: BTreeMap<String, String> = serde_json::from_slice(&envelope.headers).unwrap();
        let own: BTreeMap<String, String> = serde_json::from_slice(&sent.headers).unwrap();
        assert_eq!(known, own, "{format:?}");
        let mut expected = sent;
        expected.headers = envelope.headers.clone();
        assert_eq!(*envelope, expected, "{format:?}");
    }
}

#[tokio::test]
async fn a_publisher_is_told_when_to_send_again() {
    let (inbox, receiver) = receiver(&[OLD]);
    let port = serve(receiver).await;
    let retry_after = Duration::from_secs(7);
    let full = IntakeError::Full {
        length: 2,
        limit: 1,
        retry_after,
    };
    *inbox.fails.lock().unwrap() = Some(full);
    let delivery = Delivery::new(Arc::new(event()), Destination::new("shipping"));
    let answers = publisher(port, Format::Binary).publish(&[delivery]).await;
    let error = answers.into_iter().next().unwrap().unwrap_err();
    assert_eq!(error.retry_after(), Some(retry_after), "{}", error.chain());
}
