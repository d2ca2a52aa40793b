//! The CloudEvents attribute `source`, which must be a URI-reference.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;

/// The source of events whose metadata names none: a non-empty URI-reference, `/shop` or
/// `https://shop.example/orders`.
///
/// What a URI-reference cannot hold, a space for instance, is percent-encoded.
///
/// ```
/// use bento_brokers::message::Source;
///
/// assert_eq!(Source::new("order service")?.as_str(), "order%20service");
/// assert!(Source::new("").is_err());
/// # Ok::<_, bento_brokers::message::EmptySource>(())
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Source(Arc<str>);

/// A source is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source of events is empty; name the service that raises them, `/shop` for instance")]
pub struct EmptySource;

impl Source {
    /// The source of this name.
    ///
    /// # Errors
    /// If the name is empty.
    pub fn new(name: &str) -> Result<Self, EmptySource> {
        if name.is_empty() {
            Err(EmptySource)
        } else {
            Ok(Self(uri_reference(name).into()))
        }
    }

    /// The URI-reference.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Source {
    fn default() -> Self {
        Self("/bento".into())
    }
}

impl TryFrom<String> for Source {
    type Error = EmptySource;

    fn try_from(name: String) -> Result<Self, EmptySource> {
        Self::new(&name)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// `name` with everything percent-encoded that a URI-reference cannot hold where it stands.
pub(super) fn uri_reference(name: &str) -> Cow<'_, str> {
    let bytes = name.as_bytes();
    if bytes
        .iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte))
    {
        return Cow::Borrowed(name);
    }
    let scheme = scheme_end(bytes);
    let first_segment = bytes
        .iter()
        .position(|byte| b"/?#".contains(byte))
        .unwrap_or(bytes.len());
    let fragment = bytes.iter().position(|&byte| byte == b'#');
    let mut reference = String::with_capacity(name.len() + 8);
    for (index, &byte) in bytes.iter().enumerate() {
        let fits = match byte {
            b'%' => bytes
                .get(index + 1..index + 3)
                .is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)),
            // A colon in the first segment is the end of a scheme or nothing.
            b':' => index >= first_segment || scheme.is_some(),
            b'#' => Some(index) == fragment,
            byte => byte.is_ascii_alphanumeric() || b"-._~/?!$&'()*+,;=@".contains(&byte),
        };
        if fits {
            reference.push(char::from(byte));
        } else {
            write!(reference, "%{byte:02X}").expect("a String takes every text");
        }
    }
    Cow::Owned(reference)
}

/// The position of the colon behind a scheme.
fn scheme_end(bytes: &[u8]) -> Option<usize> {
    let end = bytes
        .iter()
        .position(|byte| b":/?#".contains(byte))
        .filter(|&end| bytes[end] == b':')?;
    let (first, rest) = bytes[..end].split_first()?;
    let fits = first.is_ascii_alphabetic()
        && rest
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    fits.then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reference_cannot_hold_is_encoded() {
        for (name, reference) in [
            ("shop", "shop"),
            (
                "https://shop.example:80/a?b=c#d",
                "https://shop.example:80/a?b=c#d",
            ),
            ("urn:shop:eu", "urn:shop:eu"),
            ("order service", "order%20service"),
            ("Zürich", "Z%C3%BCrich"),
            (":shop", "%3Ashop"),
            ("1st:shop/a:b", "1st%3Ashop/a:b"),
            ("a#b#c", "a#b%23c"),
            ("100%", "100%25"),
            ("a%20b", "a%20b"),
            ("a\r\nb[0]", "a%0D%0Ab%5B0%5D"),
        ] {
            assert_eq!(uri_reference(name), reference);
        }
    }
}
