//! Telling a webhook of dead letters.

use bento_relay::dead_letter::{AlertError, AlertHook, DeadLetter};
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use uuid::Uuid;

use super::{HttpPublisher, HttpSettings};
use crate::ConnectError;

/// Tells a webhook of dead letters: one POST for each batch of them, signed as events are.
///
/// The body is JSON, `{"dead_letters": [{"event_id": …, "event_type": …, "route": …, "cause": …,
/// "error": …}]}`, with what is listed below. It holds no payload: that may be for other eyes. A
/// 2xx answer is enough; anything else, a 4xx too, is tried again.
///
/// # Body
/// `event_id`, `event_type`, `schema_version`, `aggregate_type`, `aggregate_id`, `tenant_id`,
/// `route`, `attempts`, `cause`, `error`, `first_failed_at`, `failed_at` and `parks`, whether the
/// aggregate waits for an operator.
///
/// ```
/// use bento_relay::dead_letter::{AlertSettings, Alerts};
/// use bento_brokers::http::{HttpSettings, WebhookAlert};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = bento_relay::MemoryStore::default();
/// let hook = WebhookAlert::new(HttpSettings {
///     url: Some("http://alerts.internal/bento".into()),
///     allow_http: true,
///     signing_secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()],
///     ..HttpSettings::default()
/// })?;
/// let alerts = Alerts::start(store, hook, AlertSettings::default());
/// # alerts.stop().await; Ok(()) }
/// ```
#[derive(Debug)]
pub struct WebhookAlert(HttpPublisher);

impl WebhookAlert {
    /// Checks the settings. `url` says where alerts go, with `dead-letters` for its topic; `urls`,
    /// `concurrency` and `message` mean nothing here.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: HttpSettings) -> Result<Self, ConnectError> {
        if settings.url.is_none() {
            return Err(ConnectError::settings("no URL for alerts: set `url`"));
        }
        HttpPublisher::new(settings).map(Self)
    }
}

impl AlertHook for WebhookAlert {
    async fn alert(&self, letters: &[DeadLetter]) -> Result<(), AlertError> {
        let Self(webhook) = self;
        let failed =
            |source| AlertError::new("the webhook was not told of dead letters").because(source);
        let target = webhook.default.as_ref().expect("`new` has looked");
        let url = target.url("dead-letters").map_err(failed)?;
        let body = Body {
            dead_letters: letters.iter().map(Letter::of).collect(),
        };
        let body = serde_json::to_vec(&body).expect("texts, numbers and times are JSON");
        let mut headers = webhook.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // The same for the same batch, so that the receiver knows an alert that is sent again.
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, &body);
        webhook
            .post(
                target,
                url,
                id,
                headers,
                body.into(),
                webhook.settings.timeout,
            )
            .await
            .map_err(failed)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    dead_letters: Vec<Letter<'a>>,
}

#[derive(Serialize)]
struct Letter<'a> {
    event_id: String,
    event_type: &'a str,
    schema_version: u32,
    aggregate_type: &'a str,
    aggregate_id: &'a str,
    tenant_id: Option<&'a str>,
    route: &'a str,
    attempts: u32,
    cause: &'a str,
    error: &'a str,
    first_failed_at: DateTime<Utc>,
    failed_at: DateTime<Utc>,
    parks: bool,
}

impl<'a> Letter<'a> {
    fn of(letter: &'a DeadLetter) -> Self {
        let event = &*letter.envelope;
        Self {
            event_id: event.event_id.to_string(),
            event_type: &event.event_type,
            schema_version: event.schema_version,
            aggregate_type: &event.aggregate_type,
            aggregate_id: &event.aggregate_id,
            tenant_id: event.tenant_id.as_deref(),
            route: &letter.route,
            attempts: letter.attempts,
            cause: &letter.cause,
            error: &letter.error,
            first_failed_at: letter.first_failed_at,
            failed_at: letter.failed_at,
            parks: letter.parks,
        }
    }
}
