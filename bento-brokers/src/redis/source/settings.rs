//! The settings of a stream that is read.

use std::time::Duration;

use serde::Deserialize;

use super::super::{RedisSettings, link};
use crate::{ConnectError, Secret, ServerUrl, TlsSettings};

/// The settings of a stream that is read.
///
/// ```
/// use bento_brokers::redis::{RedisSourceSettings, RedisStart};
///
/// let settings = RedisSourceSettings {
///     stream: "shop:order.created".to_owned(),
///     start: RedisStart::New,
///     ..RedisSourceSettings::default()
/// };
/// settings.check()?;
/// # Ok::<_, bento_brokers::ConnectError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSourceSettings {
    /// The server, `redis://localhost:6379` by default; `rediss://` asks for TLS. The path is the
    /// number of the database.
    pub url: ServerUrl,
    /// The name, in place of that in the URL.
    pub user: Option<String>,
    /// The password, in place of that in the URL.
    pub password: Option<Secret>,
    /// Transport security.
    pub tls: TlsSettings,
    /// The time limit of an answer; 5 s by default. A read waits for half of it.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub timeout: Duration,
    /// The time limit of connecting; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub connect_timeout: Duration,
    /// The key of the stream. It has to be set.
    pub stream: String,
    /// The name of the consumer group, which no one else reads; that of the source by default.
    pub group: Option<String>,
    /// True to make an empty stream if it is not there; false by default.
    pub create: bool,
    /// The place at which a new group begins; `all` by default.
    pub start: RedisStart,
}

/// The place at which a new group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedisStart {
    /// The first entry of the stream.
    #[default]
    All,
    /// Behind the last entry at the first subscription.
    New,
}

impl Default for RedisSourceSettings {
    fn default() -> Self {
        let connection = RedisSettings::default();
        Self {
            url: connection.url,
            user: connection.user,
            password: connection.password,
            tls: connection.tls,
            timeout: connection.timeout,
            connect_timeout: connection.connect_timeout,
            stream: String::new(),
            group: None,
            create: false,
            start: RedisStart::default(),
        }
    }
}

impl RedisSourceSettings {
    /// The settings of the connection.
    pub(super) fn connection(&self) -> RedisSettings {
        RedisSettings {
            url: self.url.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            tls: self.tls.clone(),
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            ..RedisSettings::default()
        }
    }

    /// Checks what can be checked without a server.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn check(&self) -> Result<(), ConnectError> {
        crate::tls::check(&self.tls)?;
        link::client(&self.connection())?;
        if self.stream.is_empty() {
            return Err(ConnectError::settings(
                "`stream` is empty: set it to the key of the stream",
            ));
        }
        if self.group.as_deref() == Some("") {
            return Err(ConnectError::settings(
                "`group` is empty: leave it out, or name the group",
            ));
        }
        if self.timeout.is_zero() {
            return Err(ConnectError::settings(
                "`timeout` must be greater than 0: a read waits for half of it",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_file_are_read_and_checked() {
        let json = r#"{"url": "redis://h", "stream": "s", "start": "new"}"#;
        let settings: RedisSourceSettings = serde_json::from_str(json).unwrap();
        settings.check().unwrap();
        assert_eq!(settings.start, RedisStart::New);
        for (json, expected) in [
            ("{}", "`stream` is empty"),
            (r#"{"stream": "s", "group": ""}"#, "`group` is empty"),
            (r#"{"stream": "s", "timeout": "0s"}"#, "greater than 0"),
            (r#"{"stream": "s", "url": "http://h"}"#, "redis://"),
        ] {
            let settings: RedisSourceSettings = serde_json::from_str(json).unwrap();
            let text = settings.check().unwrap_err().to_string();
            assert!(text.contains(expected), "{json}: {text}");
        }
        assert!(serde_json::from_str::<RedisSourceSettings>(r#"{"key": "s"}"#).is_err());
    }
}
