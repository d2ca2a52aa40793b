//! The routing that is stored with an event: the destinations and times that the event itself
//! names.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Metadata;

/// The destinations and times that an event itself names. They win over the rules of a router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Routing {
    /// The names of the destinations; empty to ask the rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<String>,
    /// The time before which the event is not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<DateTime<Utc>>,
    /// The time from which on the event is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// The routing that is stored with an event cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoutingError {
    /// Another release wrote it, in another form.
    #[error(
        "its routing has version {found}, this release reads version {}",
        Routing::VERSION
    )]
    Version {
        /// The version that was found.
        found: u16,
    },
    /// The stored JSON is not that of a routing.
    #[error("its routing cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl Routing {
    /// The form that this release writes and reads.
    pub const VERSION: u16 = 1;

    /// The values of the columns `routing` and `routing_version`: empty and 0 for no routing.
    pub fn encode(&self) -> (Bytes, u16) {
        if *self == Self::default() {
            return (Bytes::new(), 0);
        }
        let text = serde_json::to_vec(self).expect("texts and times are JSON");
        (text.into(), Self::VERSION)
    }

    pub(crate) fn decode(text: &[u8], version: u16) -> Result<Self, RoutingError> {
        match version {
            0 if text.is_empty() => Ok(Self::default()),
            Self::VERSION => Ok(serde_json::from_slice(text)?),
            found => Err(RoutingError::Version { found }),
        }
    }
}

impl Metadata {
    /// The part of this that travels in the `routing` column, for an event that was raised at this
    /// time by the clock of the database.
    pub fn routing(&self, raised: DateTime<Utc>) -> Routing {
        let after = |wait| after(raised, wait);
        Routing {
            destinations: self.destinations.clone(),
            deliver_at: self.deliver_at.or_else(|| self.deliver_after.map(after)),
            expires_at: self.expires_at.or_else(|| self.expires_after.map(after)),
        }
    }
}

/// The time `wait` after `time`, at most the last that every database can store.
fn after(time: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    /// The last second of the year 9999.
    const LAST: DateTime<Utc> =
        DateTime::from_timestamp(253_402_300_799, 0).expect("it is in the calendar");
    let wait = TimeDelta::from_std(wait).ok();
    wait.and_then(|wait| time.checked_add_signed(wait))
        .map_or(LAST, |time| time.min(LAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_takes_no_room_and_the_rest_comes_back() {
        assert_eq!(
            Metadata::default().routing(Utc::now()).encode(),
            (Bytes::new(), 0)
        );
        let metadata = Metadata::default()
            .with_destinations(["a", "b"])
            .with_expires_at(DateTime::UNIX_EPOCH);
        let (text, version) = metadata.routing(Utc::now()).encode();
        assert_eq!(
            (&*text, version),
            (
                &br#"{"destinations":["a","b"],"expires_at":"1970-01-01T00:00:00Z"}"#[..],
                1
            )
        );
        let read = Routing::decode(&text, version).unwrap();
        assert_eq!(
            (read.destinations, read.expires_at),
            (metadata.destinations, metadata.expires_at)
        );
    }

    #[test]
    fn a_wait_counts_from_when_it_was_raised_and_a_time_wins_over_it() {
        let waiting = Metadata::default().with_deliver_after(Duration::from_secs(60));
        assert_eq!(
            waiting.routing(DateTime::UNIX_EPOCH).deliver_at,
            DateTime::from_timestamp(60, 0)
        );
        let forever = Metadata::default().with_deliver_after(Duration::MAX);
        assert_eq!(
            forever.routing(Utc::now()).deliver_at.unwrap().to_rfc3339(),
            "9999-12-31T23:59:59+00:00"
        );
        let both = waiting.with_deliver_at(DateTime::UNIX_EPOCH);
        assert_eq!(
            both.routing(Utc::now()).deliver_at,
            Some(DateTime::UNIX_EPOCH)
        );
        let mortal = Metadata::default().with_expires_after(Duration::from_secs(60));
        assert_eq!(
            mortal.routing(DateTime::UNIX_EPOCH).expires_at,
            DateTime::from_timestamp(60, 0)
        );
        let both = mortal.with_expires_at(DateTime::UNIX_EPOCH);
        assert_eq!(
            both.routing(Utc::now()).expires_at,
            Some(DateTime::UNIX_EPOCH)
        );
    }

    #[test]
    fn another_form_is_an_error_of_its_own() {
        assert!(matches!(
            Routing::decode(b"{}", 2),
            Err(RoutingError::Version { found: 2 })
        ));
        assert!(matches!(
            Routing::decode(b"{}", 0),
            Err(RoutingError::Version { found: 0 })
        ));
        for text in [
            &b""[..],
            b"7",
            b"{",
            br#"{"deliver_to":"x"}"#,
            br#"{"deliver_at":"soon"}"#,
        ] {
            assert!(matches!(
                Routing::decode(text, 1),
                Err(RoutingError::Unreadable(_))
            ));
        }
    }
}
