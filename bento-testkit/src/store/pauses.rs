//! Paused tenants: what is theirs waits, and the relay learns of it.

use std::time::Duration;

use bento_core::outbox::OutboxEntry;
use bento_relay::RelayStore;
use bento_relay::dead_letter::{DeadLetters, Discarding};
use bento_relay::publish::Destination;
use bento_relay::store::{Advance, RelayId, StoreError};
use bento_relay::tenant::Pauses;

use super::StoreHarness;
use super::bench::{
    Bench, LONG, beat, call, died, event, event_of_tenant, failed, follows, heartbeat,
    held_numbers, numbers, open, sharding,
};

/// Held rows of a paused tenant are neither returned nor foretold, and come when it is resumed;
/// pending ones come all the time.
pub async fn held_rows_of_a_paused_tenant_wait_until_it_is_resumed<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let events = [
        event_of_tenant("acme", 1),
        event_of_tenant("acme", 2),
        event_of_tenant("other", 3),
        event("a", 4),
    ];
    let rows = bench.pending(events).await;
    let soon = Duration::ZERO;
    let settled = vec![
        failed(&rows[0], soon),
        follows(&rows[1]),
        failed(&rows[2], soon),
        failed(&rows[3], soon),
    ];
    assert_eq!(bench.settle(settled).await.held.len(), 4);
    pause(&bench.store, "acme").await;
    bench.append([event_of_tenant("acme", 5)]).await;
    let paused = bench.next().await;
    assert_eq!(
        (held_numbers(&paused.held), numbers(&paused.pending)),
        (vec![3, 4], vec![5])
    );
    assert_eq!(
        paused.streams.map(|streams| streams.len()),
        Some(3),
        "the streams are held all the same"
    );
    pause(&bench.store, "other").await;
    assert_eq!(held_numbers(&bench.next().await.held), [4]);
    assert!(
        bench
            .store
            .resume("acme")
            .await
            .expect("the store is there")
    );
    assert_eq!(held_numbers(&bench.next().await.held), [1, 2, 4]);
}

/// A relay learns of it in every shard, also in one that it knew to be quiet.
pub async fn pausing_and_resuming_change_the_revision_of_every_shard<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(3, 1)).await;
    let leases = beat(&store, heartbeat(RelayId::new(), LONG)).await.leases;
    let revisions = async || {
        let mut revisions = Vec::new();
        for lease in &leases {
            revisions.push(store.advance(call(*lease)).await.expect("held").revision);
        }
        revisions
    };
    let before = revisions().await;
    pause(&store, "acme").await;
    let paused = revisions().await;
    assert!(
        before
            .iter()
            .zip(&paused)
            .all(|(before, paused)| before != paused),
        "{before:?} {paused:?}"
    );
    assert!(
        !store
            .pause("acme", "again", None)
            .await
            .expect("the store is there")
    );
    assert_eq!(revisions().await, paused, "nothing changed");
    assert!(store.resume("acme").await.expect("the store is there"));
    let resumed = revisions().await;
    assert!(
        paused
            .iter()
            .zip(&resumed)
            .all(|(paused, resumed)| paused != resumed),
        "{paused:?} {resumed:?}"
    );
    assert!(!store.resume("acme").await.expect("the store is there"));
}

/// They are told when the known revision is not the current one.
pub async fn paused_tenants_are_told_with_the_streams<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let revision = Some(bench.next().await.revision);
    pause(&bench.store, "b").await;
    pause(&bench.store, "a").await;
    let told = bench
        .advance(Advance {
            revision,
            ..call(bench.lease)
        })
        .await;
    assert_eq!(
        (told.paused_tenants.as_slice(), told.streams),
        (&["a".to_owned(), "b".to_owned()][..], Some(vec![]))
    );
    let revision = Some(told.revision);
    let known = bench
        .advance(Advance {
            revision,
            ..call(bench.lease)
        })
        .await;
    assert_eq!((known.paused_tenants, known.streams), (vec![], None));
}

/// The poll finds no work in what waits for a paused tenant, and finds it again.
pub async fn a_poll_passes_over_paused_tenants<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event_of_tenant("acme", 1)]).await;
    bench.settle(vec![failed(&rows[0], Duration::ZERO)]).await;
    let poll = async || {
        bench
            .store
            .poll(&[0], &[])
            .await
            .expect("the store is there")
            .len()
    };
    assert_eq!(poll().await, 1);
    pause(&bench.store, "acme").await;
    assert_eq!(poll().await, 0);
    assert_eq!((bench.next().await.next_due, poll().await), (None, 0));
    assert!(
        bench
            .store
            .resume("acme")
            .await
            .expect("the store is there")
    );
    assert_eq!(poll().await, 1);
    pause(&bench.store, "acme").await;
    harness
        .append(vec![OutboxEntry {
            shard: 0,
            ..event_of_tenant("acme", 2)
        }])
        .await;
    assert_eq!(
        poll().await,
        1,
        "the relay has to hold back a pending row itself"
    );
}

/// A paused tenant is listed with the reason that was given first, who gave it, and since when.
pub async fn a_paused_tenant_is_listed_with_the_first_reason<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    assert_eq!(store.paused().await.expect("the store is there"), []);
    for (tenant, reason, actor) in [
        ("b", "a 'move'", None),
        ("a", "audit", Some("alice")),
        ("a", "later", None),
    ] {
        store
            .pause(tenant, reason, actor)
            .await
            .expect("the store is there");
    }
    let now = beat(&store, heartbeat(RelayId::new(), LONG))
        .await
        .now
        .expect("it has a clock");
    let paused = store.paused().await.expect("the store is there");
    let told: Vec<_> = paused
        .iter()
        .map(|paused| (&*paused.tenant_id, &*paused.reason, paused.actor.as_deref()))
        .collect();
    assert_eq!(
        told,
        [("a", "audit", Some("alice")), ("b", "a 'move'", None)]
    );
    assert!(
        paused
            .iter()
            .all(|paused| (now - paused.paused_at).abs() < chrono::Duration::seconds(60))
    );
}

/// A pause or a discard whose texts not every back end stores whole is refused, and changes
/// nothing.
pub async fn texts_that_cannot_be_stored_are_refused<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let store = &bench.store;
    let (long, nul) = ("ä".repeat(4_001), "no\0such");
    for (tenant, reason, actor) in [
        (nul, "audit", None),
        (&*long, "audit", None),
        ("a", nul, None),
        ("a", &*long, None),
        ("a", "audit", Some(nul)),
        ("a", "audit", Some(&*long)),
    ] {
        let refused = store
            .pause(tenant, reason, actor)
            .await
            .expect_err("it cannot be stored");
        assert!(matches!(refused, StoreError::Unstorable(_)), "{refused:?}");
    }
    assert_eq!(store.paused().await.expect("the store is there"), []);
    let rows = bench.pending([event("1", 1)]).await;
    bench.settle(vec![died(&rows[0], true)]).await;
    let event_id = rows[0].envelope.event_id;
    let because = |reason: &str| Discarding::because(reason).expect("it says something");
    for discarding in [
        because(nul),
        because(&long),
        because("audit").by(nul),
        because("audit").by(&*long),
    ] {
        let refused = store
            .discard(event_id, Destination::DEFAULT, &discarding)
            .await
            .expect_err("it cannot be stored");
        assert!(matches!(refused, StoreError::Unstorable(_)), "{refused:?}");
    }
    let widest = because(&"🍱".repeat(4_000)).by("🍱".repeat(255));
    assert!(
        store
            .discard(event_id, Destination::DEFAULT, &widest)
            .await
            .expect("the store is there")
    );
    assert!(
        store
            .pause(&"🍱".repeat(190), widest.reason(), widest.actor())
            .await
            .expect("the store is there")
    );
}

async fn pause(store: &impl Pauses, tenant: &str) {
    assert!(
        store
            .pause(tenant, "it asked for it", Some("alice"))
            .await
            .expect("the store is there")
    );
}
