//! HTTP webhooks.
//!
//! Each event is a POST of its own, by the HTTP binding of CloudEvents; a 2xx answer confirms it.
//! It is a webhook of [Standard Webhooks](https://www.standardwebhooks.com) 1.0: the header
//! `webhook-id` holds the id of the message, `webhook-timestamp` the time of the attempt, and
//! `webhook-signature` a signature for each of the [secrets](HttpSettings::signing_secrets), if
//! there are any.
//!
//! ```
//! use bento_brokers::http::{HttpPublisher, HttpSettings};
//!
//! let publisher = HttpPublisher::new(HttpSettings {
//!     url: Some("https://hooks.example/events/{topic}".into()),
//!     signing_secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()],
//! #   tls: bento_brokers::TlsSettings::default(), allow_http: true,
//!     ..HttpSettings::default()
//! });
//! ```
//!
//! # For the receiver
//!
//! [`HttpReceiver`] does what follows, and hands the events to the handlers of a service. Any other
//! receiver: verify the signature before the body is parsed, with [`SigningSecrets::verify`] or any
//! library for Standard Webhooks. Remember `webhook-id`, because the same event can come again.
//! Answer 2xx once the event is stored, and soon. The signature covers id, time and body, not the
//! other headers: use [`Format::Structured`](crate::message::Format::Structured) if the type of the
//! event must be trusted.
//!
//! # What HTTP guarantees
//!
//! * **Order**: none between requests. The relay sends the next event of an aggregate when the one
//!   before it is confirmed, so the first requests of an aggregate's events come in order.
//! * **Deduplication**: the receiver's own, by `webhook-id`. An answer that did not come in time
//!   leaves open whether the event was stored.
//! * **Durability**: what the receiver's 2xx means.
//! * **Zombies**: a relay that was thought dead may still send what it had begun. Nothing fences
//!   it.
//!
//! # Failures
//!
//! | what happens | class |
//! |---|---|
//! | no connection, no answer in time, 502, 503, 504 and other answers of a gateway | unavailable |
//! | 401, 403, 407: the credentials or rights, not the event | unavailable |
//! | 404, 405, 421, a redirect: the address, not the event | unavailable |
//! | the call has no time left for the event, which is not sent | unavailable |
//! | no answer in time, while the receiver answered another request | transient |
//! | any other 5xx; 408, 425 | transient |
//! | 408, 425, 429, 503 with `Retry-After` (seconds or a date) | throttled, for so long |
//! | 429 without it | throttled, 1 s |
//! | any other 4xx, 410 among them | permanent |
//! | the destination has no URL, the topic cannot be a part of one | permanent |
//!
//! A redirect is not followed, so that a signed body reaches its receiver alone.
//!
//! A call sends [`concurrency`](HttpSettings::concurrency) requests at once, and begins none that
//! it could not wait for within the relay's `publish_timeout`: what is left then is sent with the
//! next call. A request is waited for no longer than half of that time.
//!
//! The error holds the first 512 bytes of the answer as one line of text, with `***` for the parts
//! of the URL's path and query that it repeats. Errors and logs show scheme, host and port of the
//! URL alone: a path can be as secret as a password.
//!
//! Only destinations of the settings decide where requests go, never an event: its topic fills one
//! part of the path. TLS is rustls with ring, whatever the application has installed as its
//! default. Proxies of the environment are not used.
//!
//! The feature `http` turns on reqwest's `rustls-no-provider`. An application that uses reqwest
//! itself without choosing a TLS then has to install a default,
//! `rustls::crypto::ring::default_provider().install_default()`, before it makes a client.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bento_relay::publish::{Delivery, Destination, PublishError, Publisher};
use bytes::Bytes;
use chrono::Utc;
use futures_util::StreamExt as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use uuid::Uuid;

mod alert;
mod answer;
mod client;
mod receiver;
mod settings;
mod signature;
mod target;

pub use self::alert::WebhookAlert;
pub use self::receiver::{HttpReceiver, HttpReceiverSettings};
pub use self::settings::{HttpAuthorization, HttpSettings};
pub use self::signature::{
    ID_HEADER, SIGNATURE_HEADER, SignatureError, SigningSecretError, SigningSecrets,
    TIMESTAMP_HEADER,
};
use self::target::Target;
use crate::ConnectError;
use crate::message::{Binding, Message};
use crate::patience::{left, patience};

/// Publishes by webhooks. See the [module](self).
pub struct HttpPublisher {
    settings: HttpSettings,
    client: Client,
    default: Option<Target>,
    by_destination: BTreeMap<String, Target>,
    /// The same for every request.
    headers: HeaderMap,
    signing: Option<SigningSecrets>,
}

type Answer = Result<(), PublishError>;

impl HttpPublisher {
    /// Checks the settings. Nothing is sent before the first event.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: HttpSettings) -> Result<Self, ConnectError> {
        let allow_http = settings.allow_http && !settings.tls.required;
        let default = settings
            .url
            .as_ref()
            .map(|url| Target::new(url, allow_http))
            .transpose()?;
        let named = settings
            .urls
            .iter()
            .map(|(name, url)| Ok((name.clone(), Target::new(url, allow_http)?)));
        let by_destination = named.collect::<Result<BTreeMap<_, _>, ConnectError>>()?;
        let mut targets = default.iter().chain(by_destination.values()).peekable();
        if targets.peek().is_none() {
            return Err(ConnectError::settings(
                "no URL of a webhook: set `url` or `urls`",
            ));
        }
        if settings.concurrency == 0 {
            return Err(ConnectError::settings(
                "`concurrency` must be greater than 0",
            ));
        }
        for secret in &settings.signing_secrets {
            secret.required("signing_secrets")?;
        }
        let client = client::client(&settings, targets.any(|target| target.is_encrypted))?;
        let headers = own_headers(&settings)?;
        let signing = signing(&settings)?;
        Ok(Self {
            settings,
            client,
            default,
            by_destination,
            headers,
            signing,
        })
    }

    fn target(&self, destination: &Destination) -> Option<&Target> {
        self.by_destination
            .get(&*destination.name)
            .or(self.default.as_ref())
    }

    /// Sends an event, if there is time for its answer.
    async fn send(&self, delivery: &Delivery, limit: Duration) -> Answer {
        if left(delivery).is_some_and(|left| left < limit) {
            return Err(PublishError::unavailable(
                "the webhook is slow: the call had no time left to send the event",
            ));
        }
        let name = &delivery.destination.name;
        let target = self.target(&delivery.destination);
        let target = target.ok_or_else(|| {
            PublishError::permanent(format!("the destination `{name}` has no URL"))
        })?;
        let url = target.url(&delivery.topic())?;
        let message = self.settings.message.message(delivery, &Binding::HTTP)?;
        let headers = self.message_headers(&message)?;
        let id = *delivery.envelope.event_id.as_uuid();
        self.post(target, url, id, headers, message.body, limit)
            .await
    }

    /// Signs a message, sends it and reads the answer.
    async fn post(
        &self,
        target: &Target,
        url: Url,
        id: Uuid,
        mut headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Answer {
        let (id, now) = (id.to_string(), Utc::now());
        if let Some(signing) = &self.signing {
            let signature = signing.sign(&id, now, &body);
            headers.insert(
                SIGNATURE_HEADER,
                signature.parse().expect("base64 is ASCII"),
            );
        }
        headers.insert(ID_HEADER, id.parse().expect("a UUID is ASCII"));
        headers.insert(TIMESTAMP_HEADER, now.timestamp().into());
        let answered = target.answered.load(Ordering::Relaxed);
        match self
            .client
            .post(url)
            .headers(headers)
            .body(body)
            .timeout(limit)
            .send()
            .await
        {
            Ok(response) => {
                target.answered.fetch_add(1, Ordering::Relaxed);
                answer::judge(response, target, Utc::now()).await
            }
            Err(error) => {
                let address = target.address();
                // One event for which the receiver hangs, if it answers others meanwhile.
                let is_to_blame =
                    !error.is_connect() && answered != target.answered.load(Ordering::Relaxed);
                let failure = match error.is_timeout() {
                    true if is_to_blame => PublishError::transient(format!(
                        "the webhook at {address} did not answer in time"
                    )),
                    true => PublishError::unavailable(format!(
                        "the webhook at {address} did not answer in time"
                    )),
                    false => PublishError::unavailable(format!(
                        "no connection to the webhook at {address}"
                    )),
                };
                // The URL may hold a password.
                Err(failure.because(error.without_url()))
            }
        }
    }

    fn message_headers(&self, message: &Message<'_>) -> Result<HeaderMap, PublishError> {
        let count = message.headers.len() + self.headers.len() + 3;
        // There is room for all, so that nothing below asks for more than HTTP's client holds,
        // which would panic.
        let mut headers = HeaderMap::try_with_capacity(count).map_err(|error| {
            PublishError::permanent(format!(
                "the message has {count} headers, more than HTTP carries"
            ))
            .because(error)
        })?;
        for (name, value) in &message.headers {
            let cannot = |why: &str| {
                PublishError::permanent(format!(
                    "the header `{}` cannot travel: {why}",
                    name.escape_debug()
                ))
            };
            let parsed = HeaderName::try_from(&**name)
                .map_err(|error| cannot("HTTP does not allow its name").because(error))?;
            if self.headers.contains_key(&parsed) {
                return Err(cannot("`headers` in the settings of the webhook sets it"));
            }
            let value = HeaderValue::try_from(&**value);
            headers.append(
                parsed,
                value.map_err(|error| cannot("HTTP does not allow its value").because(error))?,
            );
        }
        headers.extend(
            self.headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        if let Some(content_type) = message.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Ok(headers)
    }
}

impl Publisher for HttpPublisher {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Answer> {
        // Half of the time at most, so that there is time for those that wait for a place.
        let limit = patience(batch, self.settings.timeout * 2) / 2;
        let requests: Vec<_> = batch
            .iter()
            .map(|delivery| self.send(delivery, limit))
            .collect();
        futures_util::stream::iter(requests)
            .buffered(self.settings.concurrency)
            .collect()
            .await
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.target(destination).is_some()
    }
}

impl fmt::Debug for HttpPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPublisher")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn signing(settings: &HttpSettings) -> Result<Option<SigningSecrets>, ConnectError> {
    if settings.signing_secrets.is_empty() {
        return Ok(None);
    }
    let secrets = SigningSecrets::new(&settings.signing_secrets);
    secrets
        .map(Some)
        .map_err(|error| ConnectError::settings(format!("`signing_secrets`: {error}")))
}

/// The headers of the settings and the authorization.
fn own_headers(settings: &HttpSettings) -> Result<HeaderMap, ConnectError> {
    let mut headers = HeaderMap::new();
    let mut insert = |name: &str, value: &str| {
        let unusable = || {
            ConnectError::settings(format!(
                "`headers`: `{}` is not a valid header",
                name.escape_debug()
            ))
        };
        let name = HeaderName::try_from(name).map_err(|_| unusable())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| unusable())?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok::<_, ConnectError>(())
    };
    for (name, value) in &settings.headers {
        insert(name, value.required(&format!("headers.{name}"))?)?;
    }
    match &settings.authorization {
        None => {}
        Some(HttpAuthorization::Bearer(token)) => insert(
            AUTHORIZATION.as_str(),
            &format!("Bearer {}", token.required("bearer")?),
        )?,
        Some(HttpAuthorization::Basic { user, password }) => {
            let pair = STANDARD.encode(format!("{user}:{}", password.required("password")?));
            insert(AUTHORIZATION.as_str(), &format!("Basic {pair}"))?;
        }
    }
    Ok(headers)
}
