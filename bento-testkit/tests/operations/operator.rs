//! A policy is asked before anything is done, and a dry run decodes.

use bento_core::EventId;
use bento_core::domain_event;
use bento_relay::dead_letter::{
    Amendment, DeadLetterFilter, DeadLetterQuery, DeadLetters, Operator, OperatorError, Problem,
    ReplayMode,
};
use bento_relay::held::HeldFilter;
use bento_relay::publish::Destination;
use bento_relay::tenant::{Pauses, Refusal, TenantAction, TenantPolicy, TenantRequest};
use bento_relay::{MemoryStore, StoreError};

use crate::scene::{append_dead, event};

#[domain_event(schema = "parcel.lost", version = 3, oldest = 2)]
#[derive(Clone, Debug)]
pub struct ParcelLost {
    pub parcel: u32,
    #[event(since = 3, default = 7)]
    pub depot: u32,
}

/// May everything for acme, and look at everything.
fn policy(request: &TenantRequest) -> Result<(), Refusal> {
    match (request.tenant.as_deref(), request.action) {
        (Some("acme"), _) | (None, TenantAction::List) => Ok(()),
        _ => Err(Refusal::new("not hers")),
    }
}

fn alice(store: &MemoryStore) -> Operator<'_, MemoryStore, impl TenantPolicy + use<>> {
    Operator::new(store, "alice").with_policy(policy)
}

async fn two_tenants() -> MemoryStore {
    let store = MemoryStore::default();
    append_dead(
        &store,
        [
            event("acme", "parcel.lost", 2, r#"{"parcel":1}"#),
            event("evil", "parcel.lost", 2, "{}"),
        ],
    )
    .await;
    store
}

fn of(tenant: &str) -> DeadLetterFilter {
    DeadLetterFilter::default().tenant(tenant)
}

fn refused<T>(answer: Result<T, OperatorError>) -> TenantRequest {
    match answer {
        Err(OperatorError::Refused(refused)) => refused.request,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test]
async fn what_the_policy_refuses_is_not_done() {
    let store = two_tenants().await;
    let alice = alice(&store);
    let letters = alice.list(&DeadLetterQuery::default()).await.unwrap();
    let evil = letters
        .iter()
        .find(|letter| letter.envelope.tenant_id.as_deref() == Some("evil"))
        .unwrap();
    let (id, to) = (evil.envelope.event_id, Destination::DEFAULT);
    let ask = |tenant, action| TenantRequest::new(Some("alice"), tenant, action);
    assert_eq!(
        refused(alice.list(&DeadLetterQuery::of(of("evil"))).await),
        ask(Some("evil"), TenantAction::List)
    );
    assert_eq!(
        refused(alice.amend(id, to, &amendment()).await),
        ask(Some("evil"), TenantAction::Amend)
    );
    assert_eq!(
        refused(alice.replay(id, to).await),
        ask(Some("evil"), TenantAction::Replay)
    );
    assert_eq!(
        refused(alice.discard(id, to, "why not").await),
        ask(Some("evil"), TenantAction::Discard)
    );
    let all = DeadLetterFilter::default();
    assert_eq!(
        refused(alice.replay_all(&all, ReplayMode::Replay).await),
        ask(None, TenantAction::Replay)
    );
    assert_eq!(
        refused(alice.discard_all(&all, "why not").await),
        ask(None, TenantAction::Discard)
    );
    assert_eq!(
        refused(alice.pause("evil", "why not").await),
        ask(Some("evil"), TenantAction::Pause)
    );
    assert_eq!(
        refused(alice.resume("evil").await),
        ask(Some("evil"), TenantAction::Resume)
    );
    assert_eq!(
        refused(alice.retry_now(&HeldFilter::default()).await),
        ask(None, TenantAction::RetryNow)
    );
    let evil = HeldFilter::default().tenant("evil");
    assert_eq!(
        refused(alice.retry_now(&evil).await),
        ask(Some("evil"), TenantAction::RetryNow)
    );
    assert_eq!(
        store.list(&DeadLetterQuery::default()).await.unwrap(),
        letters
    );
    assert_eq!(store.paused().await.unwrap(), []);
}

fn amendment() -> Amendment {
    Amendment::default().with_header("x-a", "1")
}

#[tokio::test]
async fn a_letter_that_is_not_there_is_asked_for_as_one_of_all_tenants() {
    let store = two_tenants().await;
    let (alice, anybody) = (alice(&store), Operator::new(&store, "bob"));
    let (id, to) = (EventId::new(), Destination::DEFAULT);
    let ask = |action| TenantRequest::new(Some("alice"), None, action);
    assert_eq!(
        refused(alice.amend(id, to, &amendment()).await),
        ask(TenantAction::Amend)
    );
    assert_eq!(
        refused(alice.replay(id, to).await),
        ask(TenantAction::Replay)
    );
    assert_eq!(
        refused(alice.discard(id, to, "why not").await),
        ask(TenantAction::Discard)
    );
    let gone = anybody.amend(id, to, &amendment()).await;
    assert!(
        matches!(
            gone,
            Err(OperatorError::Store(StoreError::NoDeadLetter { .. }))
        ),
        "{gone:?}"
    );
    assert!(!anybody.replay(id, to).await.unwrap().replayed);
    assert!(!anybody.discard(id, to, "why not").await.unwrap());
}

#[tokio::test]
async fn what_the_policy_allows_is_done_in_the_name_of_the_operator() {
    let store = two_tenants().await;
    let alice = alice(&store);
    assert!(matches!(
        alice.discard_all(&of("acme"), " ").await,
        Err(OperatorError::BlankReason(_))
    ));
    assert!(matches!(
        alice.pause("acme", "").await,
        Err(OperatorError::BlankReason(_))
    ));
    assert_eq!(
        alice
            .replay_all(&of("acme"), ReplayMode::DryRun)
            .await
            .unwrap()
            .matched,
        1
    );
    let letter = alice
        .list(&DeadLetterQuery::of(of("acme")))
        .await
        .unwrap()
        .remove(0);
    alice
        .amend(letter.envelope.event_id, &letter.route, &amendment())
        .await
        .unwrap();
    let amended = alice
        .list(&DeadLetterQuery::of(of("acme")))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(amended.envelope.headers, r#"{"x-a":"1"}"#);
    assert_eq!(
        alice.discard_all(&of("acme"), "test data").await.unwrap(),
        1
    );
    let kept = alice
        .discarded(&DeadLetterQuery::of(of("acme")))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (kept.reason.as_str(), kept.actor.as_deref()),
        ("test data", Some("alice"))
    );
    assert!(alice.pause("acme", "their endpoint moves").await.unwrap());
    let paused = alice.paused().await.unwrap().remove(0);
    assert_eq!(
        (paused.tenant_id.as_str(), paused.actor.as_deref()),
        ("acme", Some("alice"))
    );
    assert!(alice.resume("acme").await.unwrap());
}

#[tokio::test]
async fn a_dry_run_says_what_this_binary_cannot_read() {
    let store = MemoryStore::default();
    let events = [
        event("a", "parcel.lost", 2, r#"{"parcel":1}"#),
        event("b", "parcel.lost", 1, r#"{"parcel":1}"#),
        event("c", "parcel.lost", 9, r#"{"parcel":1}"#),
        event("d", "parcel.lost", 3, r#"{"parcel":"one","depot":2}"#),
        event("e", "parcel.found", 1, "{}"),
        event("f", "parcel.found", 0, "bytes without a type"),
    ];
    append_dead(&store, events).await;
    let report = store
        .replay_all(&DeadLetterFilter::default(), ReplayMode::DryRun)
        .await
        .unwrap();
    assert_eq!(
        (report.matched, report.replayed, report.problems.len()),
        (6, 0, 4)
    );
    for problem in [
        Problem::Retired,
        Problem::NewerVersion,
        Problem::Malformed,
        Problem::UnknownEventType,
    ] {
        assert_eq!(report.count(problem), 1, "{problem:?}");
    }
    let malformed = report
        .problems
        .iter()
        .find(|found| found.problem == Problem::Malformed)
        .unwrap();
    assert!(
        malformed
            .to_string()
            .contains("invalid type: string \"one\""),
        "{malformed}"
    );
}
