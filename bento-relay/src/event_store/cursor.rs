//! The place behind a stored event.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A place in the stored events, from which reading goes on.
///
/// It is opaque: the store that made it reads it. It can be kept as text. A place in one
/// [`Selection`](super::Selection) means nothing in another one.
///
/// ```
/// use bento_relay::event_store::Cursor;
///
/// let place = Cursor::START;
/// let kept = place.to_string();
/// assert_eq!(kept.parse::<Cursor>()?, place);
/// # Ok::<_, bento_relay::event_store::InvalidCursor>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cursor {
    position: i64,
    basis: Option<Arc<str>>,
}

impl Cursor {
    /// The place before every event.
    pub const START: Self = Self {
        position: 0,
        basis: None,
    };

    /// A place behind the event with this position, as a store makes it. The basis says what the
    /// position is counted in, where it is not always the same.
    pub fn new(position: i64, basis: Option<Arc<str>>) -> Self {
        Self { position, basis }
    }

    /// The position of the last event.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The basis of the position.
    pub fn basis(&self) -> Option<&Arc<str>> {
        self.basis.as_ref()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.basis {
            Some(basis) => write!(f, "{}@{basis}", self.position),
            None => self.position.fmt(f),
        }
    }
}

/// A text does not name a place in the stored events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid place `{text}` in the stored events: it begins with a number; keep the text of a \
     `Cursor` as it is, and begin with `Cursor::START`"
)]
pub struct InvalidCursor {
    text: String,
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (position, basis) = match text.split_once('@') {
            Some((position, basis)) => (position, Some(Arc::from(basis))),
            None => (text, None),
        };
        let position = position.parse().map_err(|_| InvalidCursor {
            text: text.to_owned(),
        })?;
        Ok(Self { position, basis })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        for place in [
            Cursor::START,
            Cursor::new(7, None),
            Cursor::new(7, Some("10:12:10,11@x".into())),
        ] {
            assert_eq!(place.to_string().parse(), Ok(place.clone()));
            let json = serde_json::to_string(&place).unwrap();
            assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), place);
        }
        assert!("".parse::<Cursor>().is_err() && "x@1".parse::<Cursor>().is_err());
    }
}
