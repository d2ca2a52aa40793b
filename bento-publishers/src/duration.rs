//! How long something lasts, as configuration writes it.

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// Reads seconds, or a text with its unit: `5`, `0.5`, `"500ms"`, `"5s"`, `"2m"`, `"1h"`.
///
/// # Errors
/// When it is something else.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Seconds)
}

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds, or a text such as `500ms`, `5s`, `2m` or `1h`")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
        Ok(Duration::from_secs(seconds))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
        let found = Unexpected::Signed(seconds);
        u64::try_from(seconds).map(Duration::from_secs).map_err(|_| E::invalid_value(found, &self))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
        Duration::try_from_secs_f64(seconds).map_err(|_| E::invalid_value(Unexpected::Float(seconds), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
        let seconds = match unit {
            "ms" => Some(0.001),
            "s" | "" => Some(1.0),
            "m" => Some(60.0),
            "h" => Some(3600.0),
            _ => None,
        };
        let number = number.trim().parse::<f64>().ok();
        let duration = seconds.zip(number).map(|(unit, number)| Duration::try_from_secs_f64(unit * number));
        duration.and_then(Result::ok).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_texts_with_a_unit_are_read() {
        #[derive(serde::Deserialize)]
        struct Waits(#[serde(deserialize_with = "deserialize")] Duration);
        let read = |json: &str| serde_json::from_str::<Waits>(json).map(|waits| waits.0.as_millis()).ok();
        for (json, milliseconds) in [
            ("5", 5_000),
            ("0.25", 250),
            (r#""500ms""#, 500),
            (r#""5s""#, 5_000),
            (r#""1.5m""#, 90_000),
            (r#""2h""#, 7_200_000),
        ] {
            assert_eq!(read(json), Some(milliseconds), "{json}");
        }
        for json in ["-1", "-0.5", r#""5 weeks""#, r#""s""#, "null", "1e300"] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
