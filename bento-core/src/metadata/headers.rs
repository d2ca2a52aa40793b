//! Reading of the stored headers.
//!
//! By hand, because a derived `flatten` keeps all that is not a field in a list of values first,
//! for every event that is published.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::Headers;

/// A key of a JSON object, copied only if it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct HeadersVisitor;

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = Headers::default();
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                "correlation_id" => set(&mut headers.correlation_id, "correlation_id", &mut map)?,
                "causation_id" => set(&mut headers.causation_id, "causation_id", &mut map)?,
                "source" => set(&mut headers.source, "source", &mut map)?,
                "actor" => set(&mut headers.actor, "actor", &mut map)?,
                _ => _ = headers.extra.insert(name.into_owned(), map.next_value()?),
            }
        }
        Ok(headers)
    }
}

fn set<'de, A: MapAccess<'de>>(
    field: &mut Option<String>,
    name: &'static str,
    map: &mut A,
) -> Result<(), A::Error> {
    if field.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *field = map.next_value()?;
    Ok(())
}
