//! Stored events that an aggregate cannot be made of.

use bento_core::codec::DecodeError;
use bento_core::event_sourced::StreamFault;
use bento_core::report::with_causes;
use bento_core::{Aggregate, DomainEvent, Envelope};
use bento_relay::event_store::{EventStore, EventStoreError, Moment, Selection};
use chrono::{SubsecRound, Utc};

use super::bench::{all, expect, loaded, save};
use super::{Counted, Credited, Credits, EventStoreBench, Opened, Purse, skipped};

/// An event of purse `a` as a row has it.
fn event(sequence: i64, event_type: &str, version: u32, payload: &'static str) -> Envelope {
    let at = Utc::now().trunc_subsecs(6);
    let mut event = Envelope::new(event_type.to_owned(), version, at, payload);
    event.aggregate_type = Purse::TYPE.into();
    event.aggregate_id = "a".to_owned();
    event.sequence = Some(sequence);
    event
}

fn opened(sequence: i64) -> Envelope {
    event(
        sequence,
        Opened::SCHEMA,
        2,
        r#"{"owner":"Ann","currency":"DKK"}"#,
    )
}

fn credited(sequence: i64) -> Envelope {
    event(sequence, Credited::SCHEMA, 1, r#"{"cents":5}"#)
}

/// Stores the events, if the bench can.
async fn is_restored<B: EventStoreBench>(bench: &B, rule: &str, events: Vec<Envelope>) -> bool {
    let is_restored = bench.restore(events).await;
    if !is_restored {
        skipped(rule, "the bench stores no events as they are");
    }
    is_restored
}

/// The fault of purse `a` that has these events, and its text with the causes. `None` if the bench
/// cannot store them.
async fn fault_of<B: EventStoreBench>(
    bench: &B,
    rule: &str,
    events: Vec<Envelope>,
) -> Option<(StreamFault, String)> {
    let store = bench.store();
    save(&store, &mut Purse::open("sound")).await;
    if !is_restored(bench, rule, events).await {
        return None;
    }
    let refused = store.load::<Purse>("a").await;
    let error = refused.expect_err("the aggregate cannot be made");
    let text = with_causes(&error);
    let refused = store.project::<Credits>("a").await;
    let of_view = refused.expect_err("a view of it cannot be made");
    assert_eq!(with_causes(&of_view), text, "a view has the same fault");
    assert_eq!(loaded(&store, "sound").await.version, 1, "only this one");
    match error {
        EventStoreError::Stream {
            aggregate_type,
            id,
            fault,
        } => {
            assert_eq!((aggregate_type, id.as_str()), (Purse::TYPE, "a"));
            Some((*fault, text))
        }
        _ => panic!("another error: {text}"),
    }
}

/// A missing event is told with its number.
pub async fn a_hole_is_told<B: EventStoreBench>(bench: &B) {
    let events = vec![opened(1), credited(2), credited(5)];
    let Some((fault, text)) = fault_of(bench, "a_hole_is_told", events).await else {
        return;
    };
    let is_told = matches!(
        fault,
        StreamFault::Hole {
            expected: 3,
            found: 5
        }
    );
    assert!(is_told, "{fault:?}");
    assert!(
        text.contains("restore them from a backup"),
        "the way out: {text}"
    );
}

/// The first event may be missing as well.
pub async fn a_missing_beginning_is_told<B: EventStoreBench>(bench: &B) {
    let events = vec![credited(2)];
    let Some((fault, text)) = fault_of(bench, "a_missing_beginning_is_told", events).await else {
        return;
    };
    let is_told = matches!(
        fault,
        StreamFault::Hole {
            expected: 1,
            found: 2
        }
    );
    assert!(is_told, "{text}");
}

/// An event of a type that this program does not have is told with its number.
pub async fn an_unknown_event_type_is_told<B: EventStoreBench>(bench: &B) {
    let events = vec![opened(1), event(2, "bento_testkit.purse.lost", 1, "{}")];
    let rule = "an_unknown_event_type_is_told";
    let Some((fault, text)) = fault_of(bench, rule, events).await else {
        return;
    };
    let is_told = matches!(
        &fault,
        StreamFault::Undecodable {
            sequence: 2,
            source: DecodeError::UnknownEventType { event_type, .. },
        } if event_type == "bento_testkit.purse.lost"
    );
    assert!(is_told, "{fault:?}");
    assert!(text.contains("`bento_testkit.purse.lost`"), "{text}");
}

/// An event of a newer version than this program knows is told with its number.
pub async fn a_newer_version_is_told<B: EventStoreBench>(bench: &B) {
    let newer = event(3, Credited::SCHEMA, 2, r#"{"cents":5,"rate":2}"#);
    let events = vec![opened(1), credited(2), newer];
    let Some((fault, text)) = fault_of(bench, "a_newer_version_is_told", events).await else {
        return;
    };
    let is_told = matches!(
        fault,
        StreamFault::Undecodable {
            sequence: 3,
            source: DecodeError::NewerVersion { .. },
        }
    );
    assert!(is_told, "{fault:?}");
    assert!(text.contains("upgrade it"), "the way out: {text}");
}

/// An event whose payload does not fit its fields is told with its number.
pub async fn a_malformed_payload_is_told<B: EventStoreBench>(bench: &B) {
    let malformed = event(2, Credited::SCHEMA, 1, r#"{"cents":"five"}"#);
    let events = vec![opened(1), malformed];
    let Some((fault, text)) = fault_of(bench, "a_malformed_payload_is_told", events).await else {
        return;
    };
    let is_told = matches!(
        fault,
        StreamFault::Undecodable {
            sequence: 2,
            source: DecodeError::Malformed { .. },
        }
    );
    assert!(is_told, "{fault:?}");
    assert!(text.contains("event 2") && text.contains("cents"), "{text}");
}

/// Events that this program cannot decode are read in pages as they are stored, of every selection.
pub async fn events_that_cannot_be_decoded_are_read_as_they_are<B: EventStoreBench>(bench: &B) {
    let events = vec![
        opened(1),
        event(2, "bento_testkit.purse.lost", 7, r#"{"where": "here"}"#),
        event(3, Credited::SCHEMA, 2, r#"{"cents":5,"rate":2}"#),
        event(4, Credited::SCHEMA, 1, r#"{"cents":"five""#),
    ];
    let rule = "events_that_cannot_be_decoded_are_read_as_they_are";
    if !is_restored(bench, rule, events.clone()).await {
        return;
    }
    let store = bench.store();
    let read = async |of| {
        let read = all(&store, &of).await.into_iter();
        read.map(|event| event.envelope).collect::<Vec<_>>()
    };
    assert_eq!(read(Selection::of::<Purse>("a")).await, events);
    assert_eq!(read(Selection::All).await, events);
    let lost = Selection::EventType("bento_testkit.purse.lost".to_owned());
    assert_eq!(read(lost).await, events[1..2]);
}

/// An event that another aggregate raises is told with its number.
pub async fn an_event_that_the_aggregate_does_not_list_is_told<B: EventStoreBench>(bench: &B) {
    let events = vec![opened(1), event(2, Counted::SCHEMA, 1, "{}")];
    let rule = "an_event_that_the_aggregate_does_not_list_is_told";
    let Some((fault, text)) = fault_of(bench, rule, events).await else {
        return;
    };
    let is_told = matches!(
        &fault,
        StreamFault::NotListed { sequence: 2, event_type, aggregate: "Purse" }
            if event_type == Counted::SCHEMA
    );
    assert!(is_told, "{fault:?}");
    assert!(
        text.contains("#[aggregate(events(…))]"),
        "the way out: {text}"
    );
}

/// A fault hides nothing that was before it.
pub async fn an_aggregate_is_loaded_as_it_was_before_a_fault<B: EventStoreBench>(bench: &B) {
    let events = vec![opened(1), credited(2), credited(4)];
    let rule = "an_aggregate_is_loaded_as_it_was_before_a_fault";
    if is_restored(bench, rule, events).await {
        let before = bench
            .store()
            .load_at::<Purse>("a", Moment::Sequence(2))
            .await;
        let before = expect(before).expect("it had events then");
        assert_eq!((before.version, before.cents), (2, 5));
    }
}

/// An event that an earlier release stored is read as the current version, and others follow it.
pub async fn an_event_of_an_old_version_is_upcast<B: EventStoreBench>(bench: &B) {
    let old = event(1, Opened::SCHEMA, 1, r#"{"owner":"Bob"}"#);
    let rule = "an_event_of_an_old_version_is_upcast";
    if !is_restored(bench, rule, vec![old, credited(2)]).await {
        return;
    }
    let store = bench.store();
    let mut purse = loaded(&store, "a").await;
    assert_eq!(
        (purse.owner.as_str(), purse.currency.as_str()),
        ("Bob", "EUR")
    );
    purse.credit(2);
    save(&store, &mut purse).await;
    let purse = loaded(&store, "a").await;
    assert_eq!((purse.version, purse.cents), (3, 7));
}
