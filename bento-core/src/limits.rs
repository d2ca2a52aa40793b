//! The limits within which every back end stores a value whole. An event that breaks one is refused
//! at the flush, before it is in the outbox.
//!
//! The widths are those of the narrowest back end, MySQL. No text that keeps them is too long for
//! an index of PostgreSQL, which takes 2,700 bytes: the columns of one index have 635 characters
//! together, of 4 bytes at most.

use chrono::{DateTime, Datelike, Utc};

use crate::envelope::Envelope;
use crate::metadata::Metadata;

/// The most characters of an event type.
pub const EVENT_TYPE: usize = 190;
/// The most characters of a tenant's id.
pub const TENANT_ID: usize = 190;
/// The most characters of the name of a destination or route.
pub const DESTINATION: usize = 190;
/// The most characters of the reason that an operator gives.
pub const REASON: usize = 4_000;
/// The most characters of the name of an operator.
pub const ACTOR: usize = 255;

/// A value that some back end would not store whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unstorable {
    /// A text is too long.
    #[error("`{column}` has {characters} characters and may have {limit}; shorten it")]
    TooLong {
        /// The column.
        column: &'static str,
        /// The number of characters that the text has.
        characters: usize,
        /// The number of characters that it may have.
        limit: usize,
    },
    /// A text contains U+0000, which PostgreSQL does not store.
    #[error("`{column}` contains the character U+0000 at byte {at}; remove it")]
    Nul {
        /// The column.
        column: &'static str,
        /// The place of the first one, in bytes.
        at: usize,
    },
    /// A time lies outside of the years 1000 to 9999.
    #[error(
        "`{column}` is in the year {year}, and may be in the years 1000 to 9999; correct the \
         clock or the value"
    )]
    OutOfTime {
        /// The column.
        column: &'static str,
        /// The year.
        year: i32,
    },
    /// A time lies in a leap second, `23:59:60`.
    #[error("`{column}` is in a leap second; use the second before or after it")]
    LeapSecond {
        /// The column.
        column: &'static str,
    },
}

/// Checks a text against the width of its column.
///
/// # Errors
/// [`Unstorable::TooLong`], [`Unstorable::Nul`].
pub fn check_text(column: &'static str, text: &str, limit: usize) -> Result<(), Unstorable> {
    // Mostly a text has fewer bytes than it may have characters.
    if text.len() > limit {
        let characters = text.chars().count();
        if characters > limit {
            return Err(Unstorable::TooLong {
                column,
                characters,
                limit,
            });
        }
    }
    if !text.as_bytes().contains(&0) {
        return Ok(());
    }
    let at = text.find('\0').unwrap_or_default();
    Err(Unstorable::Nul { column, at })
}

/// Checks the columns of an event that are texts and times.
///
/// # Errors
/// The first value that not every back end stores whole.
pub fn check_envelope(event: &Envelope) -> Result<(), Unstorable> {
    let optional = |text: &Option<String>, column, limit| match text {
        Some(text) => check_text(column, text, limit),
        None => Ok(()),
    };
    check_text("event_type", &event.event_type, EVENT_TYPE)?;
    check_text("aggregate_type", &event.aggregate_type, 190)?;
    check_text("aggregate_id", &event.aggregate_id, 255)?;
    optional(&event.tenant_id, "tenant_id", TENANT_ID)?;
    optional(&event.topic, "topic", 255)?;
    optional(&event.routing_key, "routing_key", 255)?;
    optional(&event.content_encoding, "content_encoding", 64)?;
    optional(&event.key_id, "key_id", 255)?;
    check_time("occurred_at", event.occurred_at)
}

/// Checks the destinations and times that an event itself names.
pub(crate) fn check_routing(metadata: &Metadata) -> Result<(), Unstorable> {
    metadata
        .destinations
        .iter()
        .try_for_each(|name| check_text("destinations", name, DESTINATION))?;
    for (column, time) in [
        ("deliver_at", metadata.deliver_at),
        ("expires_at", metadata.expires_at),
    ] {
        time.map_or(Ok(()), |time| check_time(column, time))?;
    }
    Ok(())
}

fn check_time(column: &'static str, time: DateTime<Utc>) -> Result<(), Unstorable> {
    let year = time.year();
    if !(1000..=9999).contains(&year) {
        return Err(Unstorable::OutOfTime { column, year });
    }
    if time.timestamp_subsec_nanos() >= 1_000_000_000 {
        return Err(Unstorable::LeapSecond { column });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Envelope {
        Envelope::new("order.placed", 1, Utc::now(), "{}")
    }

    #[test]
    fn every_text_has_its_width_in_characters() {
        type Set = fn(&mut Envelope, String);
        let texts: [(&str, usize, Set); 8] = [
            ("event_type", 190, |event, text| {
                event.event_type = text.into()
            }),
            ("aggregate_type", 190, |event, text| {
                event.aggregate_type = text.into()
            }),
            ("aggregate_id", 255, |event, text| event.aggregate_id = text),
            ("tenant_id", 190, |event, text| event.tenant_id = Some(text)),
            ("topic", 255, |event, text| event.topic = Some(text)),
            ("routing_key", 255, |event, text| {
                event.routing_key = Some(text)
            }),
            ("content_encoding", 64, |event, text| {
                event.content_encoding = Some(text)
            }),
            ("key_id", 255, |event, text| event.key_id = Some(text)),
        ];
        for (column, limit, set) in texts {
            let refusal = |text: String| {
                let mut event = event();
                set(&mut event, text);
                check_envelope(&event).err()
            };
            assert_eq!(refusal("🍱".repeat(limit)), None, "{column}");
            let characters = limit + 1;
            assert_eq!(
                refusal("ö".repeat(characters)),
                Some(Unstorable::TooLong {
                    column,
                    characters,
                    limit
                })
            );
            assert_eq!(
                refusal("no\0such".to_owned()),
                Some(Unstorable::Nul { column, at: 2 })
            );
        }
    }

    #[test]
    fn a_time_has_a_year_of_four_digits() {
        let of = |text: &str| Envelope {
            occurred_at: text.parse().unwrap(),
            ..event()
        };
        for good in [
            "1000-01-01T00:00:00Z",
            "1969-07-20T20:17:40Z",
            "2040-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
        ] {
            assert_eq!(check_envelope(&of(good)), Ok(()), "{good}");
        }
        for (bad, year) in [
            ("0999-12-31T23:59:59Z", 999),
            ("+20255-01-01T00:00:00Z", 20_255),
            ("-0001-01-01T00:00:00Z", -1),
        ] {
            let refused = check_envelope(&of(bad)).unwrap_err();
            assert_eq!(
                refused,
                Unstorable::OutOfTime {
                    column: "occurred_at",
                    year
                },
                "{bad}"
            );
        }
        let leap = check_envelope(&of("2016-12-31T23:59:60Z")).unwrap_err();
        assert_eq!(
            leap.to_string(),
            "`occurred_at` is in a leap second; use the second before or after it"
        );
    }

    #[test]
    fn names_and_times_of_routing_keep_the_same_limits() {
        let to = |name: &str| check_routing(&Metadata::default().with_destinations([name]));
        assert_eq!(to(&"d".repeat(190)), Ok(()));
        let long = to(&"d".repeat(3000)).unwrap_err();
        assert_eq!(
            long.to_string(),
            "`destinations` has 3000 characters and may have 190; shorten it"
        );
        assert_eq!(
            to("no\0such"),
            Err(Unstorable::Nul {
                column: "destinations",
                at: 2
            })
        );
        let late = Metadata::default().with_expires_at(DateTime::<Utc>::MAX_UTC);
        assert!(matches!(
            check_routing(&late),
            Err(Unstorable::OutOfTime {
                column: "expires_at",
                ..
            })
        ));
        let early = Metadata::default().with_deliver_at(DateTime::<Utc>::MIN_UTC);
        assert!(matches!(
            check_routing(&early),
            Err(Unstorable::OutOfTime {
                column: "deliver_at",
                ..
            })
        ));
    }
}
