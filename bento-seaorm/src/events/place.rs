//! A place in all events on a back end that numbers transactions when they begin.
//!
//! Positions are drawn before the commit, so a lower one may be committed later. The events are
//! read as differences of two snapshots of the database: what the later one shows and the earlier
//! one does not. Within a difference they are in the order of their positions. An event of an
//! aggregate is committed before the next one gets its position, so the order of an aggregate is
//! kept.
//!
//! A difference has two parts. Behind the highest position that was read before are new events; up
//! to it only those of transactions that were running when the earlier snapshot was taken.
//!
//! Decision: docs/decisions/0042-all-events-are-differences-of-snapshots.md

use std::sync::Arc;

use bento_relay::event_store::{Cursor, EventStoreError};

use crate::stream::Difference;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The last position in this difference; 0 at its beginning.
    pub(crate) position: i64,
    /// The earlier snapshot.
    seen: String,
    /// The highest position that was read before this difference.
    high: i64,
    /// The later snapshot; `None` until the difference is begun.
    target: Option<String>,
    /// True if the later snapshot was that of the last query.
    pub(crate) was_present: bool,
}

impl Place {
    /// Reads the place.
    ///
    /// # Errors
    /// [`EventStoreError::Cursor`] if it is none.
    pub(crate) fn of(cursor: &Cursor) -> Result<Self, EventStoreError> {
        let refused = || EventStoreError::Cursor {
            cursor: cursor.clone(),
            reason: "it is a place in another selection, or of another store; begin with \
                     `Cursor::START`"
                .to_owned(),
        };
        let Some(basis) = cursor.basis() else {
            return match *cursor == Cursor::START {
                true => Ok(Self::start()),
                false => Err(refused()),
            };
        };
        let [seen, high, target] = basis
            .split('/')
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| refused())?;
        if !is_snapshot(seen) || !(target.is_empty() || is_snapshot(target)) {
            return Err(refused());
        }
        Ok(Self {
            position: cursor.position(),
            seen: seen.to_owned(),
            high: high.parse().map_err(|_| refused())?,
            target: Some(target.to_owned()).filter(|target| !target.is_empty()),
            was_present: false,
        })
    }

    fn start() -> Self {
        Self {
            position: 0,
            seen: Difference::EVERYTHING.seen.to_owned(),
            high: 0,
            target: None,
            was_present: false,
        }
    }

    pub(crate) fn difference(&self) -> Difference<'_> {
        Difference {
            seen: &self.seen,
            high: self.high,
            target: self.target.as_deref(),
        }
    }

    /// Notes the later snapshot, which the query has answered.
    pub(crate) fn read_up_to(&mut self, target: String) {
        self.was_present = self.target.is_none();
        self.target = Some(target);
    }

    /// The basis of the positions in this difference.
    pub(crate) fn basis(&self) -> Arc<str> {
        let target = self.target.as_deref().unwrap_or_default();
        format!("{}/{}/{target}", self.seen, self.high).into()
    }

    /// The place before the next difference, after the whole of this one.
    pub(crate) fn into_next(self) -> Self {
        Self {
            position: 0,
            high: self.high.max(self.position),
            seen: self.target.unwrap_or(self.seen),
            target: None,
            was_present: self.was_present,
        }
    }

    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::new(self.position, Some(self.basis()))
    }
}

/// True for the text of a snapshot: two numbers, and a list of numbers between them.
fn is_snapshot(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let (Some(Ok(first)), Some(Ok(last)), Some(running)) = (
        parts.next().map(str::parse::<u64>),
        parts.next().map(str::parse::<u64>),
        parts.next(),
    ) else {
        return false;
    };
    let is_within = |number: &str| {
        number
            .parse()
            .is_ok_and(|number: u64| (first..last).contains(&number))
    };
    first > 0 && first <= last && (running.is_empty() || running.split(',').all(is_within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_as_text() {
        let mut place = Place::of(&Cursor::START).unwrap();
        place.read_up_to("10:14:11,12".to_owned());
        place.position = 7;
        assert!(place.was_present);
        let kept = place.cursor().to_string().parse().unwrap();
        let again = Place::of(&kept).unwrap();
        assert_eq!(
            (again.position, again.difference().target),
            (7, Some("10:14:11,12"))
        );
        let next = again.into_next();
        assert_eq!(
            (next.position, next.high, next.seen.as_str()),
            (0, 7, "10:14:11,12")
        );
        assert_eq!(Place::of(&next.cursor()).unwrap().difference().target, None);
    }

    #[test]
    fn a_text_that_is_no_place_is_refused() {
        for text in [
            "5",
            "0@",
            "0@x",
            "0@1:1:",
            "0@1:1:/0",
            "0@1:1:/x/",
            "0@2:1:/0/",
            "0@1:5:9/0/",
            "0@1:5:,/0/",
            "0@0:5:/0/",
            "0@1:1:/0/x",
            "0@1:1:'/0/",
            "0@1:1:/0/1:2:/3",
        ] {
            let cursor: Cursor = text.parse().unwrap();
            assert!(
                matches!(Place::of(&cursor), Err(EventStoreError::Cursor { .. })),
                "{text}"
            );
        }
    }
}
