//! The stored events of one aggregate, by their key, and differences of all of them.

use bento_core::AggregateKey;
use sea_orm::DbErr;

use crate::error::Error;
use crate::tables::Tables;

/// The aggregate whose stored events are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamId {
    pub(crate) aggregate_type: &'static str,
    pub(crate) aggregate_id: String,
}

impl StreamId {
    /// `None` for a key that no event has: without any text, or with a character that no back end
    /// is given.
    pub(crate) fn new(aggregate_type: &'static str, key: AggregateKey) -> Option<Self> {
        let aggregate_id = key.into_text().filter(|text| is_stored(text))?;
        Some(Self {
            aggregate_type,
            aggregate_id,
        })
    }
}

/// True if events with this text can be stored. PostgreSQL refuses even to look for others.
pub(crate) fn is_stored(text: &str) -> bool {
    !text.contains('\0')
}

/// The head of an aggregate: the number of its last event, before and after.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) stream: StreamId,
    /// 0 for an aggregate that is new.
    pub(crate) before: i64,
    pub(crate) after: i64,
}

impl Head {
    /// The error about another head, with the database's error if the database has told it.
    pub(crate) fn conflict(&self, actual: Option<i64>, source: Option<DbErr>) -> Error {
        Error::Conflict {
            aggregate_type: self.stream.aggregate_type,
            id: self.stream.aggregate_id.clone(),
            expected: self.before,
            actual,
            source: source.map(Box::new),
        }
    }
}

/// The events that a snapshot of the database shows and an earlier one does not, for back ends
/// whose positions are not in the order of the commits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference<'a> {
    /// The earlier snapshot.
    pub(crate) seen: &'a str,
    /// The highest position that was read before.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "for PostgreSQL")
    )]
    pub(crate) high: i64,
    /// The later snapshot; `None` for that of the query itself.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "for PostgreSQL")
    )]
    pub(crate) target: Option<&'a str>,
}

impl Difference<'_> {
    /// The events that the query itself sees.
    pub(crate) const EVERYTHING: Self = Self {
        seen: "1:1:",
        high: 0,
        target: None,
    };
}

/// A page of all events, or of those of one event type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageOf<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) event_type: Option<&'a str>,
    /// The position behind which it begins.
    pub(crate) after: i64,
    pub(crate) limit: u64,
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "for PostgreSQL")
    )]
    pub(crate) difference: Difference<'a>,
}
