//! The entries that a flush makes of events, and the events that it refuses.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::*;
use crate::envelope::Envelope;
use crate::limits::Unstorable;
use crate::outbox::{skew_writer, writer_now};

#[test]
fn an_event_that_cannot_be_serialised_is_an_error_and_stays() {
    let mut counter = Counter::new(1);
    counter.raise(Refused {
        content: Unserialisable,
    });
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    let refused = unit_of_work.flush(root, &Sharding::default()).unwrap_err();
    assert!(
        matches!(
            &refused,
            FlushError::Unserialisable { event_type, .. } if event_type == "unit.refused"
        ),
        "{refused}"
    );
    unit_of_work.discard(root);
    assert_eq!(counter.events.len(), 1);
}

#[aggregate(events(Counted))]
struct Unnamed {
    id: String,
    events: PendingEvents,
}

#[test]
fn an_aggregate_without_an_id_is_an_error() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut unnamed = Unnamed {
        id: String::new(),
        events: PendingEvents::default(),
    };
    unit_of_work.scope_sync(|| unnamed.raise(Counted { number: 1 }));
    drop(unnamed);
    let refused = unit_of_work.flush(root, &Sharding::default()).unwrap_err();
    assert!(
        matches!(
            refused,
            FlushError::UnsetAggregateId {
                aggregate_type: "unnamed",
                ..
            }
        ),
        "{refused}"
    );
}

fn with_tenant(tenant: &str) -> Metadata {
    Metadata {
        tenant_id: Some(tenant.to_owned()),
        ..Metadata::default()
    }
}

#[test]
fn a_bound_tenant_refuses_events_of_another() {
    let (unit_of_work, root) = with_tenant("acme").scope_sync(UnitOfWork::open);
    unit_of_work.scope_sync(|| {
        raise_number(1);
        raise_with(Counted { number: 2 }, |metadata| {
            metadata.with_tenant("other")
        })
        .unwrap();
    });
    let refused = unit_of_work.flush(root, &Sharding::default()).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("is of tenant `other`, the transaction is bound to `acme`"),
        "{refused}"
    );
}

#[test]
fn an_event_without_a_tenant_gets_the_bound_one() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.bind_tenant("acme").unwrap();
    unit_of_work.scope_sync(|| raise_number(1));
    let flush = unit_of_work.flush(root, &Sharding::default()).unwrap();
    assert_eq!(flush.entries[0].envelope.tenant_id.as_deref(), Some("acme"));
}

fn raise_as(id: Uuid, number: u32) {
    raise_with(Counted { number }, |metadata| metadata.with_event_id(id)).unwrap();
}

#[test]
fn a_repeated_id_is_written_once_and_a_clash_is_refused() {
    let (unit_of_work, root) = UnitOfWork::open();
    let id = Uuid::now_v7();
    unit_of_work.scope_sync(|| (raise_as(id, 1), raise_as(id, 1)));
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
    assert!(
        !unit_of_work.has_unflushed(),
        "the repeated one is done as well"
    );

    unit_of_work.scope_sync(|| raise_as(id, 1));
    assert!(flush(&unit_of_work, root).is_empty(), "also after a flush");
    unit_of_work.scope_sync(|| raise_as(id, 2));
    let refused = unit_of_work.flush(root, &Sharding::default()).unwrap_err();
    assert!(
        matches!(refused, FlushError::ConflictingId { event_id, .. } if event_id == id.into()),
        "{refused}"
    );
}

#[test]
fn what_is_said_beside_the_payload_reaches_the_envelope() {
    let occurred_at = "2020-02-29T12:00:00.123456Z".parse().unwrap();
    let (unit_of_work, root) = UnitOfWork::open();
    let service = Metadata {
        source: Some("shop".into()),
        ..Metadata::default()
    };
    let mut counter = Counter::new(1);
    let raise_both = || {
        counter.raise(Announced {});
        counter.raise_with(Announced {}, |metadata| {
            metadata
                .with_topic("elsewhere")
                .with_routing_key("eu.west")
                .with_occurred_at(occurred_at)
        });
        counter.count(1);
    };
    service.scope_sync(|| unit_of_work.scope_sync(raise_both));
    let flush = unit_of_work.flush(root, &Sharding::default()).unwrap();
    let [declared, said, plain] = [0, 1, 2].map(|nth: usize| &flush.entries[nth].envelope);
    let topics = [declared, said, plain].map(|envelope| envelope.topic.as_deref());
    assert_eq!(topics, [Some("announcements"), Some("elsewhere"), None]);
    let keys = [declared, said, plain].map(|envelope| envelope.routing_key.as_deref());
    assert_eq!(keys, [Some("all"), Some("eu.west"), None]);
    assert!(
        declared.occurred_at > occurred_at,
        "it happened when it was raised"
    );
    assert_eq!(said.occurred_at, occurred_at);
    assert_eq!(said.headers().unwrap().source.as_deref(), Some("shop"));
}

#[test]
fn a_scope_says_where_and_when_its_events_are_delivered() {
    let (unit_of_work, root) = UnitOfWork::open();
    let expires_at = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let wait = Duration::from_secs(60);
    let scope = Metadata::default()
        .with_destinations(["audit"])
        .with_deliver_after(wait)
        .with_expires_at(expires_at);
    let mut counter = Counter::new(1);
    let raise_two = || {
        counter.count(1);
        counter.raise_with(Counted { number: 2 }, |metadata| {
            metadata.with_destinations(["mail"])
        });
    };
    scope.scope_sync(|| unit_of_work.scope_sync(raise_two));
    let flush = unit_of_work.flush(root, &Sharding::default()).unwrap();
    let [first, second] = [0, 1].map(|nth: usize| &flush.entries[nth].envelope);
    let of = |envelope: &Envelope| envelope.routing().unwrap();
    assert_eq!(
        [of(first).destinations, of(second).destinations],
        [["audit"], ["mail"]]
    );
    for envelope in [first, second] {
        assert_eq!(of(envelope).expires_at, Some(expires_at));
        assert!(is_about(
            of(envelope).deliver_at.unwrap(),
            envelope.occurred_at + wait
        ));
    }
}

#[test]
fn an_unsendable_header_is_refused_and_the_event_stays() {
    for (name, value, why) in [
        (
            "x-note",
            "line\nbreak",
            "the control character U+000A at byte 4",
        ),
        ("x note", "1", "may have ASCII letters"),
        ("cookie", "1", "credential"),
        ("actor", "ann", "set the field"),
    ] {
        let (unit_of_work, root) = UnitOfWork::open();
        unit_of_work.scope_sync(|| {
            raise_number(1);
            raise_with(Counted { number: 2 }, |metadata| {
                metadata.with_header(name, value)
            })
            .unwrap();
        });
        let refused = unit_of_work.flush(root, &Sharding::default()).unwrap_err();
        let FlushError::Unsendable {
            event_type, header, ..
        } = &refused
        else {
            panic!("{name}: {refused}")
        };
        assert_eq!((&**event_type, &*header.name), ("unit.counted", name));
        let said = refused.to_string();
        assert!(
            said.contains(&format!("the header `{name}` cannot be sent: ")),
            "{said}"
        );
        assert!(said.contains(file!()), "{said}");
        assert!(header.rule.to_string().contains(why), "{said}");
        assert!(unit_of_work.has_unflushed());
    }
}

#[test]
fn a_header_of_any_other_text_is_stored_as_it_is() {
    let (unit_of_work, root) = UnitOfWork::open();
    let metadata = Metadata::default()
        .with_header("x-user-name", "Zoë")
        .with_header("x-spaces", " ");
    let headers = metadata.headers.clone();
    metadata.scope_sync(|| unit_of_work.scope_sync(|| raise_number(1)));
    let flush = unit_of_work.flush(root, &Sharding::default()).unwrap();
    assert_eq!(flush.entries[0].envelope.headers().unwrap().extra, headers);
}

#[test]
fn an_event_says_itself_where_and_when_it_is_delivered() {
    let (unit_of_work, root) = UnitOfWork::open();
    let occurred_at = DateTime::from_timestamp(1, 0).unwrap();
    unit_of_work.scope_sync(|| {
        raise_with(Counted { number: 1 }, |metadata| {
            metadata
                .with_occurred_at(occurred_at)
                .with_destinations(["audit"])
                .with_deliver_at(DateTime::from_timestamp(60, 0).unwrap())
                .with_expires_at(DateTime::from_timestamp(600, 0).unwrap())
        })
        .unwrap();
        raise_number(2);
    });
    let flush = unit_of_work.flush(root, &Sharding::default()).unwrap();
    let [said, plain] = [0, 1].map(|nth: usize| &flush.entries[nth].envelope);
    let routing = said.routing().unwrap();
    assert_eq!(
        (said.routing_version, routing.destinations.as_slice()),
        (1, &["audit".to_owned()][..])
    );
    assert_eq!(
        (routing.deliver_at, routing.expires_at),
        (
            DateTime::from_timestamp(60, 0),
            DateTime::from_timestamp(600, 0)
        )
    );
    assert_eq!(
        (plain.routing_version, plain.routing.len()),
        (0, 0),
        "it takes no room"
    );
}

/// An event of a writer whose clock is wrong by so much, and the right time of its raising.
fn raised_by_a_wrong_clock(
    wrong: TimeDelta,
    change: fn(Metadata) -> Metadata,
) -> (Envelope, DateTime<Utc>) {
    let (unit_of_work, root) = UnitOfWork::open();
    let right = Utc::now();
    let _skew = skew_writer(wrong);
    unit_of_work.scope_sync(|| raise_with(Counted { number: 1 }, change).unwrap());
    let reads = writer_now();
    unit_of_work.set_clock(ClockOffset::between(reads, reads, Utc::now()));
    let envelope = unit_of_work
        .flush(root, &Sharding::default())
        .unwrap()
        .entries
        .remove(0)
        .envelope;
    (envelope, right)
}

fn is_about(time: DateTime<Utc>, expected: DateTime<Utc>) -> bool {
    (time - expected).abs() < TimeDelta::seconds(30)
}

#[test]
fn every_time_that_counts_from_the_raising_is_one_of_the_database() {
    let minute = Duration::from_secs(60);
    for wrong in [
        TimeDelta::minutes(-5),
        TimeDelta::minutes(5),
        TimeDelta::zero(),
    ] {
        let (envelope, right) = raised_by_a_wrong_clock(wrong, |metadata| {
            metadata
                .with_deliver_after(Duration::from_secs(60))
                .with_expires_after(Duration::from_secs(120))
        });
        assert!(
            is_about(envelope.occurred_at, right),
            "{wrong}: {}",
            envelope.occurred_at
        );
        let own = envelope.routing().unwrap();
        assert!(
            is_about(own.deliver_at.unwrap(), right + minute),
            "{wrong}: {own:?}"
        );
        assert!(
            is_about(own.expires_at.unwrap(), right + minute * 2),
            "{wrong}: {own:?}"
        );
    }
}

#[test]
fn a_given_time_is_taken_as_it_is_and_moves_no_wait() {
    let (envelope, right) = raised_by_a_wrong_clock(TimeDelta::minutes(-5), |metadata| {
        metadata
            .with_occurred_at(DateTime::from_timestamp(1, 0).unwrap())
            .with_deliver_after(Duration::from_secs(60))
            .with_expires_at(DateTime::from_timestamp(600, 0).unwrap())
    });
    assert_eq!(
        envelope.occurred_at,
        DateTime::from_timestamp(1, 0).unwrap()
    );
    let own = envelope.routing().unwrap();
    assert_eq!(own.expires_at, DateTime::from_timestamp(600, 0));
    assert!(
        is_about(own.deliver_at.unwrap(), right + Duration::from_secs(60)),
        "{own:?}"
    );
}

#[test]
fn returned_events_are_raised_where_they_are_returned() {
    let (unit_of_work, root) = UnitOfWork::open();
    let metadata = Metadata::default().with_tenant("t".repeat(191));
    let line = line!() + 2;
    let all = || {
        vec![Counted { number: 1 }].raise_all().unwrap();
    };
    unit_of_work.scope_sync(|| metadata.scope_sync(all));
    let refused = unit_of_work.flush(root, &Sharding::default()).unwrap_err();
    let FlushError::Unstorable { raised_at, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!((raised_at.file(), raised_at.line()), (file!(), line));
}

#[test]
fn an_unstorable_value_is_refused_with_its_event_and_line() {
    let refusal = |change: fn(Metadata) -> Metadata| {
        let (unit_of_work, root) = UnitOfWork::open();
        unit_of_work.scope_sync(|| raise_with(Counted { number: 1 }, change).unwrap());
        unit_of_work.flush(root, &Sharding::default()).unwrap_err()
    };
    let refused = refusal(|metadata| metadata.with_tenant("t".repeat(191)));
    let FlushError::Unstorable {
        event_id,
        event_type,
        raised_at,
        rule,
    } = &refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (event_type.as_str(), raised_at.file()),
        ("unit.counted", file!())
    );
    assert_eq!(
        *rule,
        Unstorable::TooLong {
            column: "tenant_id",
            characters: 191,
            limit: 190
        }
    );
    assert!(
        refused
            .to_string()
            .starts_with(&format!("event {event_id} (`unit.counted`), raised at ")),
        "{refused}"
    );
    for change in [
        (|metadata| metadata.with_topic("no\0such")) as fn(Metadata) -> Metadata,
        |metadata| metadata.with_routing_key("k".repeat(256)),
        |metadata| metadata.with_destinations(["audit".to_owned(), "d".repeat(3000)]),
        |metadata| metadata.with_occurred_at(DateTime::<Utc>::MAX_UTC),
        |metadata| metadata.with_expires_at(DateTime::<Utc>::MIN_UTC),
        |metadata| metadata.with_deliver_at(DateTime::<Utc>::MIN_UTC),
    ] {
        assert!(matches!(refusal(change), FlushError::Unstorable { .. }));
    }
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .enqueue(root, "audit", &"k".repeat(256), Bytes::new())
        .unwrap();
    assert!(matches!(
        unit_of_work.flush(root, &Sharding::default()),
        Err(FlushError::Unstorable { .. })
    ));
}

#[test]
fn bytes_without_a_type_are_ordered_by_their_key() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .enqueue(root, "audit", "order-1", Bytes::from_static(b"\x00"))
        .unwrap();
    let flush = unit_of_work.flush(root, &Sharding::default()).unwrap();
    let envelope = &flush.entries[0].envelope;
    assert_eq!(
        (envelope.event_type.as_ref(), envelope.schema_version),
        ("audit", 0)
    );
    assert_eq!(envelope.aggregate_id, "order-1");
    assert!(envelope.is_ordered());
}
