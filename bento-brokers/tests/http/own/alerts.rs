//! Alerts about dead letters, sent to a webhook.

use super::*;

fn dead_letter() -> DeadLetter {
    let Delivery { envelope, .. } = delivery("audit");
    let error = "no such topic".to_owned();
    DeadLetter::new(
        "audit".into(),
        3,
        7,
        2,
        "permanent".to_owned(),
        error,
        Utc::now(),
        false,
        envelope,
    )
}

#[tokio::test]
async fn an_alert_names_each_dead_letter_without_its_payload() {
    let receiver = Receiver::content();
    let signing_secrets = vec![OLD.into()];
    let hook = WebhookAlert::new(HttpSettings {
        signing_secrets,
        ..settings(receiver.port)
    })
    .unwrap();
    let letters = [dead_letter(), dead_letter()];
    hook.alert(&letters).await.unwrap();
    let request = receiver.taken().remove(0);
    let id = verify(&request, &request.body, OLD).unwrap();
    hook.alert(&letters).await.unwrap();
    assert_eq!(
        receiver.taken()[1].headers[ID_HEADER],
        id,
        "the same batch is the same message"
    );
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["dead_letters"].as_array().unwrap().len(), 2);
    let first = &body["dead_letters"][0];
    assert_eq!(first["event_id"], letters[0].envelope.event_id.to_string());
    assert_eq!(
        [&first["route"], &first["cause"], &first["error"]],
        ["audit", "permanent", "no such topic"]
    );
    assert!(
        !String::from_utf8(request.body).unwrap().contains("1.10"),
        "a payload may be for other eyes"
    );
}

#[tokio::test]
async fn an_alert_that_is_refused_has_failed_with_its_cause() {
    let receiver = Receiver::new(|_| Some((500, Vec::new(), "not today".to_owned())));
    let hook = WebhookAlert::new(settings(receiver.port)).unwrap();
    let error = hook.alert(&[dead_letter()]).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("500") && cause.contains("not today"),
        "{cause}"
    );
    let nowhere = WebhookAlert::new(HttpSettings {
        url: None,
        ..settings(1)
    })
    .unwrap_err();
    assert!(nowhere.to_string().contains("`url`"), "{nowhere}");
}
