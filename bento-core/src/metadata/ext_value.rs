//! Values of headers that not every broker carries as they are.
//!
//! Such a value is written as RFC 8187 has it, under the name of the header with a `*` behind it:
//! `x-user-name: Zoë` becomes `x-user-name*: UTF-8''Zo%C3%AB`. It is the same on every broker, so
//! that a consumer need not know by which one a message came.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The end of a name whose value is encoded. No header of an event ends with it by itself.
const MARK: char = '*';
/// The beginning of an encoded value: the charset, and no language.
const UTF_8: &str = "UTF-8''";

/// Writes a header as every broker carries it: one whose value is printable ASCII without spaces at
/// its ends as it is, any other one with an encoded value.
///
/// ```
/// use bento_core::metadata::{decode_header, encode_header};
///
/// let (name, value) = encode_header("x-user-name".into(), "Zoë".into());
/// assert_eq!((&*name, &*value), ("x-user-name*", "UTF-8''Zo%C3%AB"));
/// assert_eq!(decode_header(&name, &value)?, ("x-user-name", "Zoë".into()));
/// # Ok::<_, bento_core::metadata::InvalidHeaderValue>(())
/// ```
pub fn encode_header(mut name: String, value: String) -> (String, String) {
    if is_carried(&value) {
        return (name, value);
    }
    name.push(MARK);
    let mut encoded = String::with_capacity(UTF_8.len() + value.len() * 3);
    encoded.push_str(UTF_8);
    for byte in value.bytes() {
        if is_of_attribute(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes every text");
        }
    }
    (name, encoded)
}

/// Reads a header as [`encode_header`] wrote it. One whose name does not end with `*` is left as it
/// is.
///
/// # Errors
/// A name that ends with `*` and a value that is not encoded, or not UTF-8.
pub fn decode_header<'a>(
    name: &'a str,
    value: &'a str,
) -> Result<(&'a str, Cow<'a, str>), InvalidHeaderValue> {
    let Some(own) = name.strip_suffix(MARK) else {
        return Ok((name, Cow::Borrowed(value)));
    };
    let decoded = text_of(value).ok_or_else(|| InvalidHeaderValue {
        name: name.to_owned(),
    })?;
    Ok((own, Cow::Owned(decoded)))
}

/// A header whose name ends with `*` and whose value is not encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the value of the header `{}` is not encoded as its name says; write it as RFC 8187 has it, \
     in UTF-8: `UTF-8''Zo%C3%AB`",
    name.escape_debug()
)]
#[non_exhaustive]
pub struct InvalidHeaderValue {
    /// The name, with its `*`.
    pub name: String,
}

/// The text of an encoded value, whatever its language.
fn text_of(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    let is_known = charset.eq_ignore_ascii_case("UTF-8");
    is_known
        .then(|| bytes_of(encoded))
        .flatten()
        .and_then(|bytes| String::from_utf8(bytes).ok())
}

fn bytes_of(encoded: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, behind @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = behind;
            continue;
        }
        let [high, low, behind @ ..] = behind else {
            return None;
        };
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = behind;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// True for a value that every broker carries as it is.
fn is_carried(value: &str) -> bool {
    let is_printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_printable && !value.starts_with(' ') && !value.ends_with(' ')
}

/// True for what RFC 8187 leaves as it is: `attr-char`.
fn is_of_attribute(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: &str) -> (String, String) {
        encode_header("x".to_owned(), value.to_owned())
    }

    #[test]
    fn what_every_broker_carries_is_left_alone() {
        for plain in ["", "a", "it \"is\" 100%", "UTF-8''a", "'*'", "~"] {
            assert_eq!(encoded(plain), ("x".to_owned(), plain.to_owned()));
        }
        for (value, expected) in [
            ("Zoë", "UTF-8''Zo%C3%AB"),
            ("£ and € rates", "UTF-8''%C2%A3%20and%20%E2%82%AC%20rates"),
            (" a", "UTF-8''%20a"),
            ("a ", "UTF-8''a%20"),
            ("é'*%", "UTF-8''%C3%A9%27%2A%25"),
        ] {
            assert_eq!(encoded(value), ("x*".to_owned(), expected.to_owned()));
        }
    }

    #[test]
    fn values_of_other_writers_are_read() {
        for (value, text) in [
            ("utf-8'en'%c2%a3%20rates", "£ rates"),
            ("UTF-8''", ""),
            ("UTF-8'de'a'b", "a'b"),
        ] {
            assert_eq!(decode_header("x*", value), Ok(("x", text.into())));
        }
        for wrong in [
            "",
            "a",
            "'a'",
            "UTF-8'a",
            "ISO-8859-1''%E9",
            "UTF-8''%E9",
            "UTF-8''%",
            "UTF-8''%C3%A",
            "UTF-8''%+1",
        ] {
            let refused = decode_header("x*", wrong).unwrap_err();
            assert_eq!(refused.name, "x*", "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(name in "[a-z-]{1,8}", value in any::<String>()) {
            let (carried, encoded) = encode_header(name.clone(), value.clone());
            prop_assert!(is_carried(&encoded), "{}", encoded);
            prop_assert_eq!(decode_header(&carried, &encoded), Ok((&*name, value.into())));
        }

        #[test]
        fn any_value_is_read_or_refused(
            name in "[a-z]{0,3}[*]?",
            value in "(UTF-8'')?[%0-9a-f'é]{0,12}",
        ) {
            prop_assert!(decode_header(&name, &value).is_ok() || name.ends_with('*'));
        }
    }
}
