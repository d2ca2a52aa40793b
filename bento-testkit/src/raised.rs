//! The events that were raised, as they would be stored, and what is asserted of them.

use std::fmt;

use bento_core::codec::DecodeError;
use bento_core::event::{AnyEvent, EventDescriptor, EventKind};
use bento_core::outbox::Sharding;
use bento_core::unit_of_work::{FrameId, UnitOfWork};
use bento_core::{Envelope, Registry};

/// Returns the events that `action` raises, as they would be stored: those of aggregates with their
/// keys, those of [`raise`](bento_core::raise) without one. It runs as in a transaction, without a
/// database. The integration events that are made from them are left out: their `From` can be
/// called by itself.
///
/// ```
/// use bento_core::{domain_event, raise};
/// use bento_testkit::raised_by;
///
/// #[domain_event(schema = "order.paid", version = 1)]
/// #[derive(Clone, Debug)]
/// pub struct OrderPaid {
///     pub order_id: u32,
/// }
///
/// let events = raised_by(|| raise(OrderPaid { order_id: 7 }).unwrap());
/// assert_eq!(events[0].event_type, "order.paid");
/// ```
///
/// # Panics
/// If an event cannot be written, because its aggregate has no id, serde refuses it or the `From`
/// of an integration event panics, or cannot be read again.
#[track_caller]
pub fn raised_by(action: impl FnOnce()) -> Vec<Envelope> {
    let (unit_of_work, frame) = UnitOfWork::open();
    unit_of_work.scope_sync(action);
    written(&unit_of_work, frame)
}

/// The events of a unit of work, which ends.
#[track_caller]
pub(crate) fn written(unit_of_work: &UnitOfWork, frame: FrameId) -> Vec<Envelope> {
    let mut flush = match unit_of_work.flush(frame, &Sharding::default()) {
        Ok(flush) => flush,
        Err(error) => panic!("a raised event could not be written: {error}"),
    };
    let written = std::mem::take(&mut flush.entries).into_iter();
    let raised: Vec<_> = written
        .map(|entry| entry.envelope)
        .filter(|event| event.kind == EventKind::Domain)
        .collect();
    flush.done();
    unit_of_work.seal(frame).expect("everything is written");
    unit_of_work.committed();
    assert_read_back(&raised);
    raised
}

/// A build with debug assertions has looked when it wrote them.
#[track_caller]
fn assert_read_back(raised: &[Envelope]) {
    for event in raised.iter().filter(|_| !cfg!(debug_assertions)) {
        let read =
            Registry::global().decode(&event.event_type, event.schema_version, &event.payload);
        if let Err(error @ DecodeError::Malformed { .. }) = read {
            panic!("a raised event can be written and not read: {error}");
        }
    }
}

/// The event behind the first `seen` is `expected`, and is seen then.
#[track_caller]
pub(crate) fn assert_next(raised: &[Envelope], seen: &mut usize, expected: &dyn AnyEvent) {
    let EventDescriptor {
        schema: event_type,
        version,
        ..
    } = *expected.descriptor();
    let mut payload = Vec::new();
    expected
        .encode(&mut payload)
        .expect("an expected event can be written");
    let is_it = |event: &Envelope| {
        event.event_type == event_type
            && event.schema_version == version
            && same(&event.payload, &payload)
    };
    assert!(
        raised.get(*seen).is_some_and(is_it),
        "`{event_type}` v{version} {} was expected, {}",
        String::from_utf8_lossy(&payload),
        Raised(raised, *seen),
    );
    *seen += 1;
}

/// There is no event behind the first `seen`.
#[track_caller]
pub(crate) fn assert_nothing_from(raised: &[Envelope], seen: usize) {
    assert!(
        seen == raised.len(),
        "nothing else was expected, {}",
        Raised(raised, seen)
    );
}

/// Equal as JSON: the order of a map's keys may differ from one encoding to the next.
fn same(left: &[u8], right: &[u8]) -> bool {
    let parsed = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    left == right || parsed(left).is_some_and(|left| Some(left) == parsed(right))
}

/// The events from the `1`-th on, for a message.
pub(crate) struct Raised<'a>(pub(crate) &'a [Envelope], pub(crate) usize);

impl fmt::Display for Raised<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seen, rest) = self.0.split_at(self.1);
        match (rest, seen.len()) {
            ([], 0) => return f.write_str("but no event was raised"),
            ([], seen) => return write!(f, "but no event was raised after the first {seen}"),
            (_, 0) => f.write_str("but what was raised is:")?,
            (_, seen) => write!(f, "but what was raised after the first {seen} is:")?,
        }
        rest.iter().try_for_each(|event| {
            let payload = String::from_utf8_lossy(&event.payload);
            write!(
                f,
                "\n  `{}` v{} {payload}",
                event.event_type, event.schema_version
            )
        })
    }
}
