//! The rules of the module, one by one.

use serde::{Deserialize, Serialize, Serializer};

use super::*;
use crate::aggregate::Aggregate;
use crate::{aggregate, domain_event};

mod collecting;
mod failing;
mod flushing;
mod lanes;
mod saving;
mod scopes;
mod serialising;

#[domain_event(schema = "unit.counted", version = 1)]
#[derive(Debug)]
struct Counted {
    number: u32,
}

#[domain_event(
    schema = "unit.announced",
    version = 1,
    topic = "announcements",
    routing_key = "all"
)]
#[derive(Debug)]
struct Announced {}

#[domain_event(schema = "unit.refused", version = 1)]
#[derive(Debug)]
struct Refused {
    content: Unserialisable,
}

#[derive(Debug, Deserialize)]
struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

#[aggregate(events(Counted, Announced, Refused))]
struct Counter {
    id: u32,
    events: PendingEvents,
}

impl Counter {
    fn new(id: u32) -> Self {
        Self {
            id,
            events: PendingEvents::default(),
        }
    }

    fn count(&mut self, number: u32) {
        self.raise(Counted { number });
    }

    fn pending_numbers(&self) -> Vec<String> {
        self.events
            .snapshot()
            .iter()
            .map(|event| format!("{:?}", event.event().unwrap()))
            .collect()
    }
}

fn raise_number(number: u32) {
    raise(Counted { number }).unwrap();
}

/// Flushes and returns the payloads.
fn flush(unit_of_work: &UnitOfWork, frame: FrameId) -> Vec<String> {
    let mut flush = unit_of_work.flush(frame, &Sharding::default()).unwrap();
    let entries = std::mem::take(&mut flush.entries);
    flush.done();
    entries
        .into_iter()
        .map(|entry| String::from_utf8(entry.envelope.payload.into()).unwrap())
        .collect()
}

fn numbers(range: impl IntoIterator<Item = u32>) -> Vec<String> {
    range
        .into_iter()
        .map(|number| format!(r#"{{"number":{number}}}"#))
        .collect()
}

fn commit(unit_of_work: &UnitOfWork, frame: FrameId) {
    assert!(unit_of_work.seal(frame).unwrap(), "everything is flushed");
    unit_of_work.committed();
}

fn push(unit_of_work: &UnitOfWork, parent: FrameId) -> FrameId {
    unit_of_work.push_frame(parent, Opener::Caller).unwrap()
}

#[test]
fn an_event_belongs_to_the_top_frame() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    let child = push(&unit_of_work, root);
    unit_of_work.scope_sync(|| raise_number(2));
    unit_of_work.discard(child);
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
}

#[test]
fn merging_moves_events_down() {
    let (unit_of_work, root) = UnitOfWork::open();
    let child = push(&unit_of_work, root);
    unit_of_work.scope_sync(|| raise_number(1));
    unit_of_work.merge(child).unwrap();
    unit_of_work.scope_sync(|| raise_number(2));
    assert_eq!(flush(&unit_of_work, root), numbers([1, 2]));
}

#[test]
fn discarding_a_frame_discards_those_above_it() {
    let (unit_of_work, root) = UnitOfWork::open();
    let child = push(&unit_of_work, root);
    let grandchild = push(&unit_of_work, child);
    unit_of_work.scope_sync(|| raise_number(1));
    assert!(unit_of_work.discard(child));
    assert!(!unit_of_work.contains(grandchild));
    assert!(!unit_of_work.discard(grandchild), "it has ended already");
    assert!(flush(&unit_of_work, root).is_empty());
}

#[test]
fn below_an_open_child_everything_is_refused() {
    let (unit_of_work, root) = UnitOfWork::open();
    let child = push(&unit_of_work, root);
    let refused = FrameError::ChildOpen;
    assert_eq!(
        unit_of_work.collect(root, &mut PendingEvents::default()),
        Err(refused.clone())
    );
    assert_eq!(
        unit_of_work.enqueue(root, "topic", "", Bytes::new()),
        Err(refused.clone())
    );
    assert_eq!(unit_of_work.keep_pending(root), Err(refused.clone()));
    assert_eq!(unit_of_work.discard_pending(root), Err(refused.clone()));
    assert_eq!(unit_of_work.check_flushable(root), Err(refused.clone()));
    assert_eq!(unit_of_work.merge(root), Err(refused.clone()));
    assert_eq!(unit_of_work.seal(root), Err(refused));
    unit_of_work.merge(child).unwrap();
    commit(&unit_of_work, root);
}

#[test]
fn an_ended_frame_refuses_everything() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.discard(root);
    assert_eq!(
        unit_of_work.collect(root, &mut PendingEvents::default()),
        Err(FrameError::Ended)
    );
    assert_eq!(unit_of_work.check_flushable(root), Err(FrameError::Ended));
    assert_eq!(
        unit_of_work.push_frame(root, Opener::Caller),
        Err(FrameError::Ended)
    );
    assert!(!unit_of_work.is_open());
}

#[test]
fn nothing_is_raised_into_a_sealed_unit_of_work() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut counter = Counter::new(1);
    unit_of_work.scope_sync(|| raise_number(1));
    assert!(
        !unit_of_work.seal(root).unwrap(),
        "there is something to flush"
    );
    flush(&unit_of_work, root);
    assert!(unit_of_work.seal(root).unwrap());
    unit_of_work.scope_sync(|| {
        assert!(matches!(
            raise(Counted { number: 2 }),
            Err(RaiseError::NoScope { .. })
        ));
        counter.count(3);
    });
    unit_of_work.committed();
    assert_eq!(
        counter.pending_numbers(),
        ["Counted { number: 3 }"],
        "the aggregate keeps it"
    );
    counter.discard();
}
