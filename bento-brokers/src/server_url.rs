//! URLs of servers, which may hold secrets in every part but scheme, host and port.

use std::fmt;

use serde::Deserialize;
use url::{Position, Url};

/// The text in place of a secret.
const HIDDEN: &str = "***";
/// The scheme by which an address without one is parsed.
const NO_SCHEME: &str = "server";

/// The URL of a server. Printed, it shows scheme, host and port alone: a name, a password, a path,
/// a query or a fragment may be secret.
///
/// A URL that cannot be parsed, or has no host, shows `***` in place of host and port. So does one
/// of a broker with an `@` behind its port: that is a password in which `/`, `?` or `#` was not
/// percent-encoded.
///
/// ```
/// use bento_brokers::ServerUrl;
///
/// let url = ServerUrl::from("redis://relay:hunter2@cache.local:6379/0?token=abc");
/// assert_eq!(url.to_string(), "redis://cache.local:6379");
/// assert_eq!(url.address(), "cache.local:6379");
///
/// let url = ServerUrl::from("https://hooks.example/services/T0/hunter2");
/// assert_eq!(url.to_string(), "https://hooks.example");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// Returns the whole URL with its secrets, for the client of the broker and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns host and port. A port that is the default of `http` or `https` is left out.
    pub fn address(&self) -> String {
        let text = if self.has_scheme() {
            self.0.clone()
        } else {
            format!("{NO_SCHEME}://{}", self.0)
        };
        let Ok(url) = Url::parse(&text) else {
            return HIDDEN.to_owned();
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return HIDDEN.to_owned();
        };
        let is_web = matches!(url.scheme(), "http" | "https");
        match url[Position::AfterPort..].contains('@') {
            false => url[Position::BeforeHost..Position::AfterPort].to_owned(),
            true if !is_web => HIDDEN.to_owned(),
            // The port may be the beginning of a password: the path or the query of a webhook may
            // hold an `@`.
            true => host.to_owned(),
        }
    }

    /// # Errors
    /// A name with an empty password: a template that was not filled. Some clients would take the
    /// name for a token.
    #[cfg(feature = "_server")]
    pub(crate) fn check_password(&self) -> Result<(), crate::ConnectError> {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        match authority.rsplit_once('@') {
            Some((user_info, _)) if user_info.ends_with(':') => {
                Err(crate::ConnectError::settings(format!(
                    "the password in the URL `{self}` is empty; leave out name and password if \
                     there are none"
                )))
            }
            _ => Ok(()),
        }
    }

    fn has_scheme(&self) -> bool {
        self.0.contains("://")
    }
}

impl From<String> for ServerUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for ServerUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split_once("://").map(|(scheme, _)| scheme);
        let is_plain = |scheme: &&str| {
            scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        match scheme {
            Some(scheme) if is_plain(&scheme) => write!(f, "{scheme}://{}", self.address()),
            Some(_) => f.write_str(HIDDEN),
            None => f.write_str(&self.address()),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_port_are_printed_and_nothing_else() {
        for (url, printed) in [
            ("nats://localhost:4222", "nats://localhost:4222"),
            ("localhost:4222", "localhost:4222"),
            ("broker", "broker"),
            ("nats://hunter2@h", "nats://h"),
            ("hunter2@h:1", "h:1"),
            ("redis://:hunter2@h:1/0", "redis://h:1"),
            ("amqp://u:hunt:er2@h/%2f", "amqp://h"),
            ("nats://u:hunter2@[::1]:4222/x", "nats://[::1]:4222"),
            (
                "https://hooks.example/services/T0/hunter2",
                "https://hooks.example",
            ),
            (
                "https://hooks.example:8443/{topic}?token=hunter2",
                "https://hooks.example:8443",
            ),
            ("https://h:8443?user=a@b.c&token=hunter2", "https://h"),
            ("https://u:hunter2@h/?user=a@b.c&token=hunter2", "https://h"),
            ("https://h/#hunter2", "https://h"),
            (
                "redis+unix:///run/redis.sock?pass=hunter2",
                "redis+unix://***",
            ),
        ] {
            let url = ServerUrl::from(url);
            assert_eq!(
                (url.to_string(), format!("{url:?}")),
                (printed.to_owned(), format!("{printed:?}"))
            );
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_not_printed() {
        for odd in [
            "amqp://u:hun/ter2@h/v",
            "amqp://u:12/hunter2@h/v",
            "amqp://u:hun?ter2@h/v",
            "amqp://u:hun@ter2@h/v",
            "amqp://u:h@hun/ter2@h/v",
            "u:hun#ter2@h",
            "u:hun ter2@h",
            "u:hun://ter2@h",
            "https://u:12/hunter2@h",
        ] {
            let printed = ServerUrl::from(odd).to_string();
            assert!(
                !["hun", "ter2", "12"]
                    .iter()
                    .any(|part| printed.contains(part)),
                "{odd}: {printed}"
            );
        }
    }

    #[test]
    fn an_address_is_host_and_port() {
        assert_eq!(
            ServerUrl::from("nats://u:p@[::1]:4222/x").address(),
            "[::1]:4222"
        );
        assert_eq!(ServerUrl::from("https://h:443/x").address(), "h");
        assert_eq!(ServerUrl::from("amqp://u:p:q@").address(), "***");
    }
}
