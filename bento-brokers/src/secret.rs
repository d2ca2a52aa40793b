//! Secrets, which are never printed.

use std::fmt;

use serde::Deserialize;

/// A password, token or key. It prints as `***`; only [`expose`](Self::expose) shows it.
///
/// It is read by serde and never written.
///
/// ```
/// use bento_brokers::Secret;
///
/// let password = Secret::from("hunter2");
/// assert_eq!(format!("{password} {password:?}"), "*** ***");
/// assert_eq!(password.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the client of the broker alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The secret itself, under the key `key` of the settings.
    ///
    /// # Errors
    /// An empty or blank secret: a file that was not filled, or a variable that was not set.
    #[cfg(feature = "_broker")]
    pub(crate) fn required(&self, key: &str) -> Result<&str, crate::ConnectError> {
        match self.0.trim() {
            "" => Err(crate::ConnectError::settings(format!(
                "`{key}` is empty; leave it out if there is none"
            ))),
            _ => Ok(&self.0),
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
