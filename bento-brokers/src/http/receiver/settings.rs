//! The settings of the receiver of webhooks.

use std::time::Duration;

use serde::Deserialize;

use super::super::SigningSecrets;
use crate::{ConnectError, Secret};

/// The settings of a [receiver of webhooks](super::HttpReceiver).
///
/// ```
/// use bento_brokers::http::HttpReceiverSettings;
///
/// let settings = HttpReceiverSettings {
///     signing_secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()],
///     ..HttpReceiverSettings::default()
/// };
/// assert!(!format!("{settings:?}").contains("MfKQ"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpReceiverSettings {
    /// The secrets of [Standard Webhooks](super::super::SigningSecrets), `whsec_` and base64 of 24
    /// to 64 bytes each. A request is taken if one of them signed it: to replace one, add the new
    /// one, let the sender change, remove the old one.
    pub signing_secrets: Vec<Secret>,
    /// True if requests are not verified; `false` by default. Only for an endpoint where something
    /// else knows the senders, such as mutual TLS.
    pub unsigned: bool,
    /// The longest time between the signature of a request and now, in both directions; 5 min by
    /// default, which is usual.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub tolerance: Duration,
    /// The largest body in bytes; 1 MiB by default.
    pub max_body: usize,
    /// The names of further headers that hold credentials, such as `x-api-key`; none by default.
    /// They are not stored with an event.
    pub secret_headers: Vec<String>,
}

impl Default for HttpReceiverSettings {
    fn default() -> Self {
        Self {
            signing_secrets: Vec::new(),
            unsigned: false,
            tolerance: Duration::from_secs(300),
            max_body: 1024 * 1024,
            secret_headers: Vec::new(),
        }
    }
}

impl HttpReceiverSettings {
    /// Refuses settings that can never work.
    ///
    /// # Errors
    /// [`ConnectError::Settings`]
    pub fn check(&self) -> Result<(), ConnectError> {
        self.checked().map(drop)
    }

    /// The secrets, if the settings can be used; `None` if requests are not verified.
    pub(super) fn checked(&self) -> Result<Option<SigningSecrets>, ConnectError> {
        if self.max_body == 0 {
            return Err(ConnectError::settings("`max_body` must be greater than 0"));
        }
        if self.tolerance < Duration::from_secs(1) {
            return Err(ConnectError::settings(
                "`tolerance` must be 1 s or more: a signature says its time in whole seconds",
            ));
        }
        match (self.signing_secrets.is_empty(), self.unsigned) {
            (true, true) => return Ok(None),
            (true, false) => {
                return Err(ConnectError::settings(
                    "no secret to verify webhooks with: set `signing_secrets`, or \
                     `unsigned = true` if something else knows the senders",
                ));
            }
            (false, true) => {
                return Err(ConnectError::settings(
                    "`unsigned = true` and `signing_secrets` contradict each other: remove one",
                ));
            }
            (false, false) => {}
        }
        for secret in &self.signing_secrets {
            secret.required("signing_secrets")?;
        }
        let secrets = SigningSecrets::new(&self.signing_secrets);
        secrets
            .map(Some)
            .map_err(|error| ConnectError::settings(format!("`signing_secrets`: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn signed() -> HttpReceiverSettings {
        HttpReceiverSettings {
            signing_secrets: vec![SECRET.into()],
            ..HttpReceiverSettings::default()
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let refused = |settings: HttpReceiverSettings| settings.check().unwrap_err().to_string();
        let none = refused(HttpReceiverSettings::default());
        assert!(none.contains("set `signing_secrets`, or `unsigned = true`"));
        let both = HttpReceiverSettings {
            unsigned: true,
            ..signed()
        };
        assert!(refused(both).contains("contradict each other"));
        let short = HttpReceiverSettings {
            signing_secrets: vec![SECRET.into(), "whsec_AAAA".into()],
            ..signed()
        };
        assert!(refused(short).contains("`signing_secrets`: signing secret 2 has 3 bytes"));
        let empty = HttpReceiverSettings {
            signing_secrets: vec!["".into()],
            ..signed()
        };
        assert!(refused(empty).contains("`signing_secrets` is empty"));
        let bodiless = HttpReceiverSettings {
            max_body: 0,
            ..signed()
        };
        assert!(refused(bodiless).contains("`max_body`"));
        let impatient = HttpReceiverSettings {
            tolerance: Duration::from_millis(999),
            ..signed()
        };
        assert!(refused(impatient).contains("`tolerance`"));
        signed().check().unwrap();
    }

    #[test]
    fn settings_are_read_by_their_names() {
        let text = format!(
            r#"{{"signing_secrets": ["{SECRET}"], "tolerance": "1m", "max_body": 10,
                "secret_headers": ["x-api-key"]}}"#
        );
        let read: HttpReceiverSettings = serde_json::from_str(&text).unwrap();
        let expected = HttpReceiverSettings {
            tolerance: Duration::from_secs(60),
            max_body: 10,
            secret_headers: vec!["x-api-key".to_owned()],
            ..signed()
        };
        assert_eq!(read, expected);
        serde_json::from_str::<HttpReceiverSettings>(r#"{"secret": "x"}"#).unwrap_err();
    }
}
