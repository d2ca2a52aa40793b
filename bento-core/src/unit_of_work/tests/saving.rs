//! Aggregates with a version, and those whose key the database generates.

use super::*;
use crate::saving::SavingError;

#[aggregate(events(Counted))]
struct Meter {
    id: u32,
    #[aggregate(version)]
    version: u16,
    events: PendingEvents,
}

impl Meter {
    fn at(version: u16) -> Self {
        Self {
            id: 1,
            version,
            events: PendingEvents::default(),
        }
    }

    fn count(&mut self, number: u32) {
        self.raise(Counted { number });
    }
}

fn save(unit_of_work: &UnitOfWork, frame: FrameId, meter: &mut Meter) {
    unit_of_work
        .save(frame, meter)
        .unwrap()
        .done(meter)
        .unwrap();
}

/// Flushes and returns the numbers that were counted, each with its sequence.
fn sequences(unit_of_work: &UnitOfWork, frame: FrameId) -> Vec<(String, Option<i64>)> {
    let mut flush = unit_of_work.flush(frame, &Sharding::default()).unwrap();
    let entries = std::mem::take(&mut flush.entries);
    flush.done();
    let payload = |payload: Bytes| String::from_utf8(payload.into()).unwrap();
    entries
        .into_iter()
        .map(|entry| (payload(entry.envelope.payload), entry.envelope.sequence))
        .collect()
}

fn numbered(range: impl IntoIterator<Item = (u32, i64)>) -> Vec<(String, Option<i64>)> {
    range
        .into_iter()
        .map(|(number, sequence)| (format!(r#"{{"number":{number}}}"#), Some(sequence)))
        .collect()
}

#[test]
fn events_are_numbered_in_the_order_of_raising() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(0);
    meter.count(1);
    unit_of_work.scope_sync(|| meter.count(2));
    save(&unit_of_work, root, &mut meter);
    assert_eq!(meter.version, 2);
    unit_of_work.scope_sync(|| meter.count(3));
    save(&unit_of_work, root, &mut meter);
    assert_eq!(meter.version, 3);
    assert_eq!(
        sequences(&unit_of_work, root),
        numbered([(1, 1), (2, 2), (3, 3)])
    );
}

#[test]
fn a_version_rises_by_one_without_events() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(7);
    save(&unit_of_work, root, &mut meter);
    assert_eq!(meter.version, 8);
    assert!(!unit_of_work.has_events());
}

#[test]
fn an_event_of_an_unsaved_aggregate_is_refused_at_the_flush() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| Meter::at(0).count(1));
    let refused = unit_of_work.flush(root, &Sharding::default()).unwrap_err();
    assert!(
        matches!(
            refused,
            FlushError::Unsaved {
                aggregate_type: "meter",
                ..
            }
        ),
        "{refused}"
    );

    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(3);
    save(&unit_of_work, root, &mut meter);
    unit_of_work.scope_sync(|| meter.count(1));
    unit_of_work.flush(root, &Sharding::default()).unwrap_err();
    save(&unit_of_work, root, &mut meter);
    assert_eq!(sequences(&unit_of_work, root), numbered([(1, 5)]));
}

#[test]
fn what_is_collected_and_never_saved_is_refused_at_the_flush() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(0);
    meter.count(1);
    unit_of_work
        .collect(root, meter.pending_events_mut())
        .unwrap();
    let refused = unit_of_work.flush(root, &Sharding::default()).unwrap_err();
    assert!(matches!(refused, FlushError::Unsaved { .. }), "{refused}");
    meter.discard();
    assert!(sequences(&unit_of_work, root).is_empty());
}

#[test]
fn a_discarded_savepoint_takes_version_and_numbers_back() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(0);
    unit_of_work.scope_sync(|| meter.count(1));
    save(&unit_of_work, root, &mut meter);
    let child = push(&unit_of_work, root);
    unit_of_work.scope_sync(|| meter.count(2));
    save(&unit_of_work, child, &mut meter);
    unit_of_work.scope_sync(|| meter.count(3));
    save(&unit_of_work, child, &mut meter);
    unit_of_work.discard(child);
    assert_eq!(meter.version, 3, "the column in memory stays");
    let saving = unit_of_work.save(root, &mut meter).unwrap();
    assert_eq!(
        (saving.version_before(), saving.version_after()),
        (Some(1), Some(3))
    );
    saving.done(&mut meter).unwrap();
    assert_eq!(
        sequences(&unit_of_work, root),
        numbered([(1, 1), (2, 2), (3, 3)])
    );
}

#[test]
fn a_discarded_savepoint_takes_the_numbers_of_earlier_events_back() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(0);
    unit_of_work.scope_sync(|| meter.count(1));
    let child = push(&unit_of_work, root);
    save(&unit_of_work, child, &mut meter);
    assert_eq!(
        sequences(&unit_of_work, child),
        numbered([(1, 1)]),
        "an early flush"
    );
    unit_of_work.discard(child);
    unit_of_work.flush(root, &Sharding::default()).unwrap_err();
    save(&unit_of_work, root, &mut meter);
    assert_eq!(
        (sequences(&unit_of_work, root), meter.version),
        (numbered([(1, 1)]), 1)
    );
}

#[test]
fn a_released_savepoint_leaves_its_numbers_to_the_frame_below() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(0);
    let child = push(&unit_of_work, root);
    let grandchild = push(&unit_of_work, child);
    unit_of_work.scope_sync(|| meter.count(1));
    save(&unit_of_work, grandchild, &mut meter);
    unit_of_work.merge(grandchild).unwrap();
    let sibling = push(&unit_of_work, child);
    unit_of_work.scope_sync(|| meter.count(2));
    save(&unit_of_work, sibling, &mut meter);
    unit_of_work.discard(sibling);
    save(&unit_of_work, child, &mut meter);
    unit_of_work.merge(child).unwrap();
    assert_eq!(
        (sequences(&unit_of_work, root), meter.version),
        (numbered([(1, 1), (2, 2)]), 2)
    );
    commit(&unit_of_work, root);
}

#[test]
fn after_a_rollback_the_aggregate_is_saved_as_if_nothing_had_been() {
    let mut meter = Meter::at(0);
    meter.count(1);
    for _ in 0..3 {
        let (unit_of_work, root) = UnitOfWork::open();
        save(&unit_of_work, root, &mut meter);
        unit_of_work.discard(root);
        assert!(
            meter
                .events
                .snapshot()
                .iter()
                .all(|event| event.sequence().is_none())
        );
    }
    let (unit_of_work, root) = UnitOfWork::open();
    save(&unit_of_work, root, &mut meter);
    assert_eq!(sequences(&unit_of_work, root), numbered([(1, 1)]));
    commit(&unit_of_work, root);

    let (unit_of_work, root) = UnitOfWork::open();
    meter.count(2);
    save(&unit_of_work, root, &mut meter);
    assert_eq!(sequences(&unit_of_work, root), numbered([(2, 2)]));
}

#[test]
fn a_save_that_failed_leaves_the_events_with_the_aggregate() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(0);
    meter.count(1);
    unit_of_work.save(root, &mut meter).unwrap().failed();
    assert!(!unit_of_work.has_events());
    assert_eq!((meter.events.len(), meter.version), (1, 0));
    meter.discard();
}

#[test]
fn a_save_that_was_cancelled_makes_the_events_doubtful() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(0);
    meter.count(1);
    drop(unit_of_work.save(root, &mut meter).unwrap());
    let refused = unit_of_work.check_mergeable(root).unwrap_err();
    assert!(
        matches!(refused, FrameError::Doubtful { events: 1, .. }),
        "{refused}"
    );
}

#[test]
fn a_frame_below_an_open_one_saves_nothing() {
    let (unit_of_work, root) = UnitOfWork::open();
    let child = push(&unit_of_work, root);
    let refused = unit_of_work.save(root, &mut Meter::at(0)).unwrap_err();
    assert_eq!(refused, SavingError::Frame(FrameError::ChildOpen));
    unit_of_work.discard(child);
}

#[test]
fn a_version_that_its_field_cannot_hold_is_refused() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut meter = Meter::at(u16::MAX);
    let refused = unit_of_work.save(root, &mut meter).unwrap_err();
    assert_eq!(
        refused,
        SavingError::VersionTooLarge {
            aggregate_type: "meter",
            version: 65_536
        }
    );
    assert_eq!(meter.version, u16::MAX);
    assert!(unit_of_work.seal(root).is_ok(), "nothing was written");
}

#[test]
fn an_aggregate_without_a_version_has_no_sequence() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut counter = Counter::new(1);
    counter.count(1);
    let saving = unit_of_work.save(root, &mut counter).unwrap();
    assert_eq!(
        (saving.version_before(), saving.version_after()),
        (None, None)
    );
    saving.done(&mut counter).unwrap();
    assert_eq!(
        sequences(&unit_of_work, root),
        [(r#"{"number":1}"#.to_owned(), None)]
    );
}

#[test]
fn a_bound_tenant_is_not_exchanged_for_another() {
    let (unit_of_work, _) = UnitOfWork::open();
    unit_of_work.bind_tenant("acme").unwrap();
    unit_of_work.bind_tenant("acme").unwrap();
    let refused = unit_of_work.bind_tenant("other").unwrap_err();
    assert_eq!(
        refused,
        FrameError::OtherTenant {
            bound: "acme".into(),
            wanted: "other".into()
        }
    );
}
