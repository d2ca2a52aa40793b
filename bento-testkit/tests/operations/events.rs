//! Stored events are shown as they are stored, to whom the policy lets see them.

use bento_core::Envelope;
use bento_relay::MemoryEvents;
use bento_relay::dead_letter::{Operator, OperatorError};
use bento_relay::event_store::Cursor;
use bento_relay::tenant::{Refusal, TenantAction, TenantPolicy, TenantRequest};

use crate::scene::event;

/// May read what acme has.
fn policy(request: &TenantRequest) -> Result<(), Refusal> {
    match (request.tenant.as_deref(), request.action) {
        (Some("acme"), TenantAction::ReadEvents) => Ok(()),
        _ => Err(Refusal::new("not hers")),
    }
}

fn alice(events: &MemoryEvents) -> Operator<'_, MemoryEvents, impl TenantPolicy + use<>> {
    Operator::new(events, "alice").with_policy(policy)
}

/// An event of the aggregate `thing` with this id, whose type no program declares.
fn stored(id: &str, sequence: i64, tenant: &str) -> Envelope {
    let mut event = event(tenant, "thing.of.the.future", 9, r#"{"what": 1}"#);
    event.aggregate_id = id.to_owned();
    event.sequence = Some(sequence);
    event
}

fn refused<T>(answer: Result<T, OperatorError>) -> TenantRequest {
    match answer {
        Err(OperatorError::Refused(refused)) => refused.request,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was not refused"),
    }
}

fn to_read(tenant: Option<&str>) -> TenantRequest {
    TenantRequest::new(Some("alice"), tenant, TenantAction::ReadEvents)
}

#[tokio::test]
async fn events_are_shown_in_pages_as_they_are_stored() {
    let events = MemoryEvents::default();
    let history: Vec<_> = (1..=5).map(|nth| stored("A", nth, "acme")).collect();
    events.restore(history.clone());
    events.restore([stored("B", 1, "acme")]);
    let alice = alice(&events);
    let (mut shown, mut place) = (Vec::new(), Cursor::START);
    loop {
        let page = alice.events_of("thing", "A", &place, 2).await.unwrap();
        assert!(page.events.len() <= 2);
        shown.extend(page.events.into_iter().map(|event| event.envelope));
        place = page.next;
        if page.is_last {
            break;
        }
    }
    assert_eq!(shown, history);
    let behind = alice.events_of("thing", "A", &place, 2).await.unwrap();
    assert!(behind.events.is_empty() && behind.is_last);
}

#[tokio::test]
async fn the_policy_is_asked_for_the_tenant_of_each_event() {
    let events = MemoryEvents::default();
    events.restore([stored("A", 1, "evil"), stored("B", 1, "acme")]);
    events.restore([stored("B", 2, "evil"), stored("B", 3, "acme")]);
    let alice = alice(&events);
    let of = async |id, place: &Cursor, limit| alice.events_of("thing", id, place, limit).await;
    let evil = to_read(Some("evil"));
    assert_eq!(refused(of("A", &Cursor::START, 5).await), evil);
    assert_eq!(refused(of("B", &Cursor::START, 5).await), evil);
    let first = of("B", &Cursor::START, 1).await.unwrap();
    assert_eq!(refused(of("B", &first.next, 1).await), evil);
}

#[tokio::test]
async fn an_empty_page_tells_nothing_to_whom_may_not_read() {
    let events = MemoryEvents::default();
    events.restore([stored("A", 1, "evil"), stored("B", 1, "acme")]);
    let anyone = Operator::new(&events, "bob");
    let page = anyone.events_of("thing", "A", &Cursor::START, 1).await;
    let end = page.unwrap().next;
    let alice = alice(&events);
    let behind = alice.events_of("thing", "A", &end, 1).await;
    assert_eq!(refused(behind), to_read(Some("evil")));
    let missing = alice.events_of("thing", "C", &Cursor::START, 1).await;
    assert_eq!(refused(missing), to_read(None), "it may be anyone's");
    let missing = anyone.events_of("thing", "C", &Cursor::START, 1).await;
    assert!(missing.unwrap().events.is_empty());
}
