//! Stored events back to an aggregate.

use super::EventSourced;
use crate::aggregate::AggregateEvents;
use crate::codec::DecodeError;
use crate::registry::Registry;

/// An aggregate that is being made of its stored events.
///
/// It drives no database: an adapter hands over each event in the order of the sequence. Not meant
/// for applications, which load by a transaction or an event store.
#[derive(Debug)]
pub struct Replay<A> {
    aggregate: A,
    sequence: i64,
}

/// The stored events of an aggregate are not what the aggregate can be made of. Nothing was
/// changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamFault {
    /// An event is missing.
    #[error(
        "event {expected} is missing, event {found} follows: rows of the stream were deleted or \
         never restored; restore them from a backup"
    )]
    Hole {
        /// The number of the event that should follow.
        expected: i64,
        /// The number of the event that does follow.
        found: i64,
    },
    /// An event is known, and the aggregate does not list it.
    #[error(
        "event {sequence} is `{event_type}`, which `{aggregate}` does not list; add it to \
         `#[aggregate(events(…))]` of `{aggregate}`, or load the aggregate as the type that \
         raised it"
    )]
    NotListed {
        /// The number of the event.
        sequence: i64,
        /// Its event type.
        event_type: String,
        /// The struct of the aggregate.
        aggregate: &'static str,
    },
    /// An event cannot be decoded: its type is unknown here, its version is newer or retired, or
    /// its payload is malformed.
    #[error("event {sequence} cannot be read")]
    Undecodable {
        /// The number of the event.
        sequence: i64,
        /// The reason.
        source: DecodeError,
    },
    /// The version field of the aggregate cannot hold the number of its events.
    #[error("event {sequence} is more than the version field of `{aggregate}` can hold; use `i64`")]
    VersionTooLarge {
        /// The number of the event.
        sequence: i64,
        /// The struct of the aggregate.
        aggregate: &'static str,
    },
}

impl<A: EventSourced> Replay<A> {
    /// An aggregate before its first event.
    pub fn new(id: A::Id) -> Self {
        Self {
            aggregate: A::with_id(id),
            sequence: 0,
        }
    }

    /// An aggregate as it was after the event with this number.
    pub fn from_state(aggregate: A, sequence: i64) -> Self {
        Self {
            aggregate,
            sequence,
        }
    }

    /// The number of the last event; 0 before the first.
    pub fn sequence(&self) -> i64 {
        self.sequence
    }

    /// Applies the next event.
    ///
    /// # Errors
    /// [`StreamFault`]; the aggregate is as it was.
    pub fn apply(
        &mut self,
        sequence: i64,
        event_type: &str,
        version: u32,
        payload: &[u8],
    ) -> Result<(), StreamFault> {
        let expected = self.sequence + 1;
        if sequence != expected {
            return Err(StreamFault::Hole {
                expected,
                found: sequence,
            });
        }
        let event = Registry::global()
            .decode(event_type, version, payload)
            .map_err(|source| StreamFault::Undecodable { sequence, source })?;
        let event = A::Event::from_any(event).ok_or_else(|| StreamFault::NotListed {
            sequence,
            event_type: event_type.to_owned(),
            aggregate: A::DESCRIPTOR.rust_name,
        })?;
        self.aggregate.apply_event(&event);
        self.sequence = sequence;
        Ok(())
    }

    /// The aggregate with the version that it has reached; `None` if there was no event.
    ///
    /// # Errors
    /// [`StreamFault::VersionTooLarge`].
    pub fn finish(mut self) -> Result<Option<A>, StreamFault> {
        if self.sequence == 0 {
            return Ok(None);
        }
        if !self.aggregate.set_version(self.sequence) {
            return Err(StreamFault::VersionTooLarge {
                sequence: self.sequence,
                aggregate: A::DESCRIPTOR.rust_name,
            });
        }
        Ok(Some(self.aggregate))
    }
}
