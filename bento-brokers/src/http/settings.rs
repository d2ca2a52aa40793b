//! The settings of webhooks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::message::MessageSettings;
use crate::{Secret, ServerUrl, TlsSettings};

/// The settings of webhooks: their URLs, the sender, and time limits.
///
/// ```
/// use bento_brokers::http::{HttpAuthorization, HttpSettings};
///
/// let settings = HttpSettings {
///     url: Some("https://hooks.example/events/{topic}".into()),
///     authorization: Some(HttpAuthorization::Bearer("s3cret".into())),
///     signing_secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()],
///     ..HttpSettings::default()
/// };
/// assert!(!format!("{settings:?}").contains("s3cret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// The URL of every destination that `urls` does not name; none by default. `{topic}` in its
    /// path or query stands for the delivery's topic.
    pub url: Option<ServerUrl>,
    /// The URLs of destinations, by their names.
    pub urls: BTreeMap<String, ServerUrl>,
    /// True if `http://` is allowed; `false` by default, because a webhook leaves the own network.
    pub allow_http: bool,
    /// The credentials of the sender; none by default.
    pub authorization: Option<HttpAuthorization>,
    /// Further headers, the same for every request.
    pub headers: BTreeMap<String, Secret>,
    /// The secrets of [Standard Webhooks](super::SigningSecrets) that messages are signed with,
    /// `whsec_` and base64 of 24 to 64 bytes each; none by default, and no signature. The receiver
    /// may know any of several: to replace one, add the new one, let the receiver change, remove
    /// the old one.
    pub signing_secrets: Vec<Secret>,
    /// Transport security.
    pub tls: TlsSettings,
    /// The time limit of a request with its answer; 10 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub timeout: Duration,
    /// The time limit of connecting, a part of `timeout`; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub connect_timeout: Duration,
    /// The number of requests of a call that are under way at once; 16 by default. What a call has
    /// no time for is sent with the next one.
    pub concurrency: usize,
    /// The form of the messages.
    pub message: MessageSettings,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            url: None,
            urls: BTreeMap::new(),
            allow_http: false,
            authorization: None,
            headers: BTreeMap::new(),
            signing_secrets: Vec::new(),
            tls: TlsSettings::default(),
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            concurrency: 16,
            message: MessageSettings::default(),
        }
    }
}

/// The credentials with which webhooks are sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HttpAuthorization {
    /// `Authorization: Bearer …`.
    Bearer(Secret),
    /// `Authorization: Basic …`.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
}
