//! What must never be printed.

use std::fmt;

use serde::Deserialize;

/// A password, token or key. It prints as `***`; only [`expose`](Self::expose) shows it.
///
/// It is read by serde and never written.
///
/// ```
/// use bento_publishers::Secret;
///
/// let password = Secret::from("hunter2");
/// assert_eq!(format!("{password} {password:?}"), "*** ***");
/// assert_eq!(password.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the client of the broker and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The secret itself, under the key `key` of the settings.
    ///
    /// # Errors
    /// When it is empty: a file that was not filled, or a variable that was not set.
    #[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis", feature = "kafka", feature = "http"))]
    pub(crate) fn required(&self, key: &str) -> Result<&str, crate::ConnectError> {
        match self.0.as_str() {
            "" => Err(crate::ConnectError::settings(format!("`{key}` is empty; leave it out if there is none"))),
            secret => Ok(secret),
        }
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The URL of a server, which may hold a password: printed, it shows `***` in the place of the password and of the query.
///
/// ```
/// use bento_publishers::ServerUrl;
///
/// let url = ServerUrl::from("redis://relay:hunter2@cache.local:6379/0?token=abc");
/// assert_eq!(url.to_string(), "redis://relay:***@cache.local:6379/0?***");
/// assert_eq!(url.address(), "cache.local:6379");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The URL with its password, for the client of the broker and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Host and port as they are written there.
    pub fn address(&self) -> &str {
        self.parts().address
    }

    fn parts(&self) -> Parts<'_> {
        let (scheme, rest) = self.0.split_once("://").map_or((None, &*self.0), |(scheme, rest)| (Some(scheme), rest));
        // A password may hold what should have been encoded: the last `@` ends it, unless it comes after the query began.
        let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
        let (before, query) = if !before.contains('@') && query.is_some_and(|query| query.contains('@')) {
            (rest, None)
        } else {
            (before, query)
        };
        let (user_info, host) = before.rsplit_once('@').map_or((None, before), |(user, host)| (Some(user), host));
        let (address, path) = host.split_at(host.find(['/', '#']).unwrap_or(host.len()));
        Parts { scheme, user_info, address, path, has_query: query.is_some() }
    }
}

struct Parts<'a> {
    scheme: Option<&'a str>,
    user_info: Option<&'a str>,
    address: &'a str,
    path: &'a str,
    has_query: bool,
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
        let Parts { scheme, user_info, address, path, has_query } = self.parts();
        if let Some(scheme) = scheme {
            write!(f, "{scheme}://")?;
        }
        match user_info.map(|info| info.split_once(':')) {
            Some(Some((user, _))) => write!(f, "{user}:***@")?,
            // A name without a password is a token with some brokers.
            Some(None) => f.write_str("***@")?,
            None => {}
        }
        write!(f, "{address}{path}{}", if has_query { "?***" } else { "" })
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
    fn no_part_of_a_url_that_may_be_secret_is_printed() {
        let printed = |url: &str| format!("{:?}", ServerUrl::from(url));
        assert_eq!(printed("nats://localhost:4222"), r#""nats://localhost:4222""#);
        assert_eq!(printed("localhost:4222"), r#""localhost:4222""#);
        assert_eq!(printed("nats://hunter2@h"), r#""nats://***@h""#);
        assert_eq!(printed("redis://:hunter2@h:1/0"), r#""redis://:***@h:1/0""#);
        assert_eq!(printed("amqp://u:hunt:er2@h/%2f"), r#""amqp://u:***@h/%2f""#);
        for odd in ["amqp://u:hun/ter2@h/v", "amqp://u:hun?ter2@h/v", "amqp://u:hun@ter2@h/v", "u:hun#ter2@h"] {
            let printed = printed(odd);
            assert!(!printed.contains("ter2") && printed.contains("@h"), "{printed}");
        }
    }

    #[test]
    fn an_address_holds_no_name_and_no_password() {
        assert_eq!(ServerUrl::from("nats://u:p@[::1]:4222/x").address(), "[::1]:4222");
        assert_eq!(ServerUrl::from("broker").address(), "broker");
    }
}
