//! Changes to the headers of a dead letter, so that its replay can succeed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_core::envelope::Envelope;
use bento_core::metadata::{Headers, UnsendableHeader, check_header};
use bento_core::report::with_causes;
use bytes::Bytes;

use super::DeadLetter;
use crate::store::StoreError;

/// A change to the headers of a dead letter: some are set, some are removed, the others stay.
///
/// The metadata stored beside the headers (correlation, causation, source, actor) stays the same,
/// and so does the rest of the event.
///
/// ```
/// use bento_relay::dead_letter::Amendment;
///
/// let amendment = Amendment::default()
///     .with_header("x-user-name", "Zoë")
///     .without_header("authorization");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amendment {
    removes_all: bool,
    /// The new value of each header; `None` removes it.
    headers: BTreeMap<String, Option<String>>,
}

impl Amendment {
    /// Sets a header; an earlier value is replaced.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), Some(value.into()));
        self
    }

    /// Removes a header if it exists. The name is case-sensitive.
    #[must_use]
    pub fn without_header(mut self, name: impl Into<String>) -> Self {
        self.headers.insert(name.into(), None);
        self
    }

    /// Removes all headers that this amendment does not set. Unreadable stored headers can be
    /// repaired only in this way; their correlation, causation, source and actor are lost.
    #[must_use]
    pub fn without_other_headers(mut self) -> Self {
        self.removes_all = true;
        self
    }

    /// Returns the changed headers of a dead letter in their stored form. A store calls it while no
    /// other process can replay the dead letter.
    ///
    /// # Errors
    /// [`StoreError::NotReplayable`] for a dead letter with [`raw`](DeadLetter::raw),
    /// [`StoreError::UnreadableHeaders`], and [`StoreError::Unsendable`] if a header cannot be
    /// sent, changed by this amendment or not.
    pub fn apply(&self, dead_letter: &DeadLetter) -> Result<Bytes, StoreError> {
        let (event_id, route) = (dead_letter.envelope.event_id, &dead_letter.route);
        if dead_letter.raw.is_some() {
            return Err(StoreError::NotReplayable {
                event_id,
                route: Arc::clone(route),
            });
        }
        let mut headers = match dead_letter.envelope.headers() {
            Ok(headers) => headers,
            Err(_) if self.removes_all => Headers::default(),
            Err(source) => {
                return Err(StoreError::UnreadableHeaders {
                    event_id,
                    route: Arc::clone(route),
                    source,
                });
            }
        };
        if self.removes_all {
            headers.extra.clear();
        }
        for (name, value) in &self.headers {
            match value {
                Some(value) => _ = headers.extra.insert(name.clone(), value.clone()),
                None => _ = headers.extra.remove(name),
            }
        }
        unsendable(&headers).next().map_or(Ok(()), Err)?;
        Ok(headers.encoded())
    }
}

/// The headers that cannot be sent.
fn unsendable(headers: &Headers) -> impl Iterator<Item = UnsendableHeader> {
    headers
        .extra
        .iter()
        .filter_map(|(name, value)| check_header(name, value).err())
}

/// The reason why the headers of an event cannot be sent; `None` if they can.
pub(super) fn obstacle(event: &Envelope) -> Option<String> {
    let why = match event.headers() {
        Ok(headers) => unsendable(&headers)
            .map(|refused| refused.to_string())
            .collect::<Vec<_>>()
            .join("; "),
        Err(error) => format!(
            "its stored headers are not a JSON object of texts: {}",
            with_causes(&error)
        ),
    };
    (!why.is_empty()).then_some(why)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn dead_letter(headers: &'static str) -> DeadLetter {
        let mut event = Envelope::new("thing.happened", 1, DateTime::UNIX_EPOCH, "{}");
        event.headers = Bytes::from_static(headers.as_bytes());
        let (route, cause) = ("d".into(), "permanent".to_owned());
        DeadLetter::new(
            route,
            0,
            1,
            1,
            cause,
            String::new(),
            DateTime::UNIX_EPOCH,
            true,
            Arc::new(event),
        )
    }

    #[test]
    fn headers_are_set_and_removed_and_the_rest_stays() {
        let dead_letter =
            dead_letter(r#"{"actor":"ann","authorization":"Bearer t","x-a":"1","x-b":"2"}"#);
        let amended = |amendment: Amendment| {
            String::from_utf8(amendment.apply(&dead_letter).unwrap().to_vec()).unwrap()
        };
        let some = Amendment::default()
            .with_header("x-b", "ë")
            .with_header("x-c", "")
            .without_header("authorization");
        assert_eq!(
            amended(some.clone()),
            r#"{"actor":"ann","x-a":"1","x-b":"ë","x-c":""}"#
        );
        assert_eq!(
            amended(some.without_other_headers()),
            r#"{"actor":"ann","x-b":"ë","x-c":""}"#
        );
    }

    #[test]
    fn headers_that_still_cannot_be_sent_are_refused() {
        let dead_letter = dead_letter(r#"{"x-a":"line\nbreak","nats-x":"1"}"#);
        let refused = |amendment: Amendment| match amendment.apply(&dead_letter) {
            Err(StoreError::Unsendable(header)) => header.name,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refused(Amendment::default().without_header("x-a")),
            "nats-x"
        );
        let others = Amendment::default().without_other_headers();
        assert_eq!(
            refused(others.clone().with_header("actor", "evil")),
            "actor"
        );
        assert_eq!(others.apply(&dead_letter).unwrap(), "");
    }

    #[test]
    fn unreadable_headers_can_only_be_replaced() {
        let unreadable = dead_letter(r#"{"x-a":1}"#);
        let some = Amendment::default().with_header("x-a", "1");
        assert!(matches!(
            some.apply(&unreadable),
            Err(StoreError::UnreadableHeaders { .. })
        ));
        assert_eq!(
            some.without_other_headers().apply(&unreadable).unwrap(),
            r#"{"x-a":"1"}"#
        );
        let raw = DeadLetter {
            raw: Some("{}".to_owned()),
            ..dead_letter("")
        };
        assert!(matches!(
            Amendment::default().apply(&raw),
            Err(StoreError::NotReplayable { .. })
        ));
    }

    #[test]
    fn an_obstacle_names_every_header() {
        let of = |headers| obstacle(&dead_letter(headers).envelope);
        assert_eq!(of(r#"{"x-user":"Zoë","actor":"a"}"#), None);
        let both = of(r#"{"x-a":"line\nbreak","nats-x":"1"}"#).unwrap();
        assert!(
            both.contains("`x-a`") && both.contains("`nats-x`"),
            "{both}"
        );
        let unreadable = of("[]").unwrap();
        assert!(
            unreadable.starts_with("its stored headers are not a JSON object of texts: "),
            "{unreadable}"
        );
    }
}
