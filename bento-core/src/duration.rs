//! Durations as people write them in settings and rules: `500ms`, `30s`, `1h30m`, `7d`.
//!
//! A field of a struct that serde reads says `#[serde(with = "bento_core::duration")]`, an optional
//! one `#[serde(default, with = "bento_core::duration::option")]`.
//!
//! ```
//! # use std::time::Duration;
//! use bento_core::duration;
//!
//! assert_eq!(duration::parse("1h30m")?, Duration::from_secs(5400));
//! assert_eq!(duration::format(Duration::from_millis(1500)), "1500ms");
//! assert_eq!(
//!     duration::parse("10").unwrap_err().to_string(),
//!     "invalid duration `10`: write whole numbers with a unit of d, h, m, s or ms, \
//!      as in `30s` or `1h30m`"
//! );
//! # Ok::<_, duration::DurationError>(())
//! ```

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{Error, Visitor};

const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("ns", 1),
];

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid duration `{text}`: write whole numbers with a unit of d, h, m, s or ms, as in `30s` \
     or `1h30m`"
)]
pub struct DurationError {
    text: String,
}

/// Reads a whole number and a unit, several times if need be. Units are `d`, `h`, `m`, `s`, `ms`,
/// `us` and `ns`.
///
/// # Errors
/// [`DurationError`] for any other text, and for a number too large for a [`Duration`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    nanos(text)
        .and_then(from_nanos)
        .ok_or_else(|| DurationError {
            text: text.to_owned(),
        })
}

/// Writes a duration in the largest unit of which it is a whole number.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fits = |(_, size): &&(&str, u128)| nanos.is_multiple_of(*size) && nanos >= *size;
    let (name, size) = UNITS.iter().find(fits).unwrap_or(&("s", 1_000_000_000));
    format!("{}{name}", nanos / size)
}

/// Reads a duration as serde hands it over.
///
/// # Errors
/// If the value is not a text, or the text is not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Written)
}

/// Durations that may be left out.
pub mod option {
    use super::{Deserializer, Duration};

    /// Reads a duration as serde hands it over, if there is one.
    ///
    /// # Errors
    /// If the value is not a text, or the text is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        #[derive(serde::Deserialize)]
        struct Given(#[serde(with = "super")] Duration);

        let given = <Option<Given> as serde::Deserialize>::deserialize(deserializer)?;
        Ok(given.map(|Given(duration)| duration))
    }
}

fn nanos(text: &str) -> Option<u128> {
    let mut rest = text;
    let mut nanos = 0u128;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit())?);
        let (unit, next) = behind.split_at(
            behind
                .find(|letter: char| letter.is_ascii_digit())
                .unwrap_or(behind.len()),
        );
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(number.parse::<u128>().ok()?.checked_mul(*size)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(nanos)
}

fn from_nanos(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let below = u32::try_from(nanos % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, below))
}

struct Written;

impl Visitor<'_> for Written {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration as in \"30s\" or \"1h30m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn they_are_read_as_people_write_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "1x",
            "1s2",
            "99999999999999999999d",
            "٣s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn serde_reads_them_as_text_alone() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Read {
            #[serde(with = "super")]
            wait: Duration,
            #[serde(default, with = "super::option")]
            keep: Option<Duration>,
        }
        let read = |json| serde_json::from_str::<Read>(json).map_err(|error| error.to_string());
        let wait = Duration::from_secs(1);
        assert_eq!(read(r#"{"wait":"1s"}"#), Ok(Read { wait, keep: None }));
        assert_eq!(
            read(r#"{"wait":"1s","keep":null}"#),
            Ok(Read { wait, keep: None })
        );
        assert_eq!(
            read(r#"{"wait":"1s","keep":"1m"}"#),
            Ok(Read {
                wait,
                keep: Some(wait * 60)
            })
        );
        assert!(
            read(r#"{"wait":1}"#)
                .unwrap_err()
                .contains("expected a duration as in")
        );
        assert!(
            read(r#"{"wait":"1s","keep":"soon"}"#)
                .unwrap_err()
                .contains("invalid duration `soon`")
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in any::<u64>(), nanos in 0u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
