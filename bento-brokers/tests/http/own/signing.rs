//! Signatures, by Standard Webhooks.

use super::*;

#[tokio::test]
async fn a_body_is_signed_with_every_secret() {
    let receiver = Receiver::content();
    let signing_secrets = vec![NEW.into(), OLD.into()];
    let delivery = delivery("d");
    let publisher = HttpPublisher::new(HttpSettings {
        signing_secrets,
        ..settings(receiver.port)
    })
    .unwrap();
    publisher
        .publish(std::slice::from_ref(&delivery))
        .await
        .remove(0)
        .unwrap();
    let request = receiver.taken().remove(0);
    assert_eq!((&*request.method, &*request.path), ("POST", "/hook"));
    let id = delivery.envelope.event_id.to_string();
    assert_eq!(verify(&request, &request.body, NEW).as_ref(), Ok(&id));
    assert_eq!(verify(&request, &request.body, OLD).as_ref(), Ok(&id));
    assert_eq!(verify(&request, b"{}", NEW), Err(SignatureError::Mismatch));
    assert_eq!(
        verify(&request, &request.body, OTHER),
        Err(SignatureError::Mismatch)
    );
}

#[tokio::test]
async fn the_id_of_an_event_is_signed() {
    let receiver = Receiver::content();
    publish(HttpSettings {
        signing_secrets: vec![OLD.into()],
        ..settings(receiver.port)
    })
    .await
    .unwrap();
    let mut request = receiver.taken().remove(0);
    request.headers.insert(
        ID_HEADER.to_owned(),
        "018f0000-0000-7000-8000-000000000001".to_owned(),
    );
    assert_eq!(
        verify(&request, &request.body, OLD),
        Err(SignatureError::Mismatch)
    );
}

#[tokio::test]
async fn an_empty_or_short_signing_secret_is_refused_at_the_start() {
    for secret in ["", "whsec_", "whsec_c2hvcnQ="] {
        let refused = HttpPublisher::new(HttpSettings {
            signing_secrets: vec![secret.into()],
            ..settings(1)
        });
        let text = refused.unwrap_err().to_string();
        let why = if secret.is_empty() {
            "`signing_secrets` is empty"
        } else {
            "`signing_secrets`: signing secret 1 "
        };
        assert!(text.contains(why), "{text}");
    }
}
