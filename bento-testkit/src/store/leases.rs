//! The leases of shards: claimed, renewed, lost and released.

use std::collections::BTreeSet;

use bento_relay::RelayStore;
use bento_relay::inspect::Inspect;
use bento_relay::store::{Advance, Heartbeat, Lease, RelayId, StoreError};

use super::StoreHarness;
use super::bench::{
    LONG, beat, call, event, heartbeat, is_lost, numbers, open, published, sharding, shards_of,
    surplus,
};

/// A relay that is alone claims every shard, with an epoch of its own each.
pub async fn a_relay_alone_claims_every_shard<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(8, 2)).await;
    let relay = RelayId::new();
    let holdings = beat(&store, heartbeat(relay, LONG)).await;
    assert_eq!(shards_of(&holdings.leases), (0..16).collect::<Vec<_>>());
    assert!(holdings.leases.iter().all(|lease| lease.owner == relay));
    assert_eq!((&holdings.taken_over, surplus(&holdings)), (&vec![], 0));
}

/// A lease is its owner's until it runs out.
pub async fn a_lease_is_not_claimed_while_it_lasts<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    beat(&store, heartbeat(RelayId::new(), LONG)).await;
    let other = beat(
        &harness.store(sharding(4, 1)).await,
        heartbeat(RelayId::new(), LONG),
    )
    .await;
    assert_eq!(other.leases, []);
}

/// A lease that ran out is claimed by another relay, which learns of it and gets a higher epoch.
pub async fn an_expired_lease_is_taken_over_with_a_higher_epoch<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    let first = beat(&store, heartbeat(RelayId::new(), harness.short()))
        .await
        .leases[0];
    harness.pass(harness.short() * 2).await;
    let holdings = beat(&store, heartbeat(RelayId::new(), LONG)).await;
    assert_eq!(holdings.taken_over, [0]);
    assert!(holdings.leases[0].epoch > first.epoch);
}

/// Whoever lost a lease settles nothing and gets nothing, also by the right epoch of another owner.
pub async fn a_lost_lease_settles_and_returns_nothing<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    harness.append(vec![event("a", 1)]).await;
    let first = beat(&store, heartbeat(RelayId::new(), harness.short()))
        .await
        .leases[0];
    let row = store
        .advance(Advance {
            ttl: harness.short(),
            ..call(first)
        })
        .await
        .expect("held")
        .pending
        .remove(0);
    harness.pass(harness.short() * 2).await;
    let second = beat(&store, heartbeat(RelayId::new(), LONG)).await.leases[0];
    for lost in [
        first,
        Lease {
            owner: first.owner,
            ..second
        },
        Lease {
            epoch: first.epoch,
            ..second
        },
    ] {
        assert!(
            is_lost(
                &store
                    .advance(Advance {
                        settled: vec![published(&row)],
                        ..call(lost)
                    })
                    .await
            ),
            "{lost:?}"
        );
    }
    let advanced = store.advance(call(second)).await.expect("held");
    assert_eq!(numbers(&advanced.pending), [1]);
}

/// The clock alone takes no lease away: an expired lease that no relay claimed is renewed.
pub async fn an_expired_lease_that_nobody_took_is_still_held<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(2, 1)).await;
    let relay = RelayId::new();
    let leases = beat(&store, heartbeat(relay, harness.short())).await.leases;
    harness.pass(harness.short() * 2).await;
    assert!(store.advance(call(leases[0])).await.is_ok());
    let again = beat(&store, heartbeat(relay, LONG)).await;
    assert_eq!(shards_of(&again.leases), [0, 1]);
    assert!(
        leases.iter().all(|lease| again.leases.contains(lease)),
        "the epochs are unchanged"
    );
    assert_eq!(
        again.taken_over,
        Vec::<i32>::new(),
        "nothing was taken over from oneself"
    );
}

/// A heartbeat renews all leases of its relay.
pub async fn a_heartbeat_renews_every_lease<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(2, 1)).await;
    let relay = RelayId::new();
    let leases = beat(&store, heartbeat(relay, harness.short())).await.leases;
    let renewed = beat(&store, heartbeat(relay, LONG)).await.leases;
    assert_eq!(
        BTreeSet::from_iter(shards_of(&leases)),
        BTreeSet::from_iter(shards_of(&renewed))
    );
    harness.pass(harness.short() * 2).await;
    assert_eq!(
        beat(&store, heartbeat(RelayId::new(), LONG)).await.leases,
        []
    );
}

/// A call that advances a shard renews its lease.
pub async fn an_advance_renews_its_lease<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    let relay = RelayId::new();
    let lease = beat(&store, heartbeat(relay, harness.short())).await.leases[0];
    store
        .advance(Advance {
            ttl: LONG,
            ..call(lease)
        })
        .await
        .expect("held");
    harness.pass(harness.short() * 2).await;
    assert_eq!(
        beat(&store, heartbeat(RelayId::new(), LONG)).await.leases,
        []
    );
    assert!(store.advance(call(lease)).await.is_ok());
}

/// Releasing makes every shard of a relay free at once, and nothing of it counts as taken over.
pub async fn a_released_shard_is_free_at_once<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    let first = RelayId::new();
    let leases = beat(&store, heartbeat(first, LONG)).await.leases;
    store.release(first).await.expect("the store is there");
    assert!(
        is_lost(&store.advance(call(leases[0])).await),
        "a released lease is lost"
    );
    let holdings = beat(&store, heartbeat(RelayId::new(), LONG)).await;
    assert_eq!(
        (
            holdings.leases.len(),
            holdings.taken_over.clone(),
            surplus(&holdings)
        ),
        (4, vec![], 0)
    );
    store
        .release(first)
        .await
        .expect("releasing twice is not an error");
    assert!(
        store.advance(call(holdings.leases[0])).await.is_ok(),
        "and releases nothing of the next owner"
    );
}

/// The division of the outbox is recorded at its first use; a store with another one is refused
/// with both numbers.
pub async fn the_division_is_recorded_and_another_one_refused<H: StoreHarness>(harness: &H) {
    open(harness, sharding(4, 2)).await;
    open(harness, sharding(4, 2)).await;
    let refused = harness.store(sharding(8, 1)).await.open().await;
    match refused {
        Err(StoreError::Mismatch {
            recorded,
            configured,
        }) => {
            assert_eq!((recorded, configured), (sharding(4, 2), sharding(8, 1)));
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Without tables, every call says which one is missing and how to make it.
pub async fn a_missing_table_is_named<H: StoreHarness>(harness: &H) {
    let Some(store) = harness.unmigrated().await else {
        return;
    };
    let lease = Lease {
        shard: 0,
        owner: RelayId::new(),
        epoch: 1,
    };
    let errors = [
        store.open().await.err(),
        store.heartbeat(heartbeat(lease.owner, LONG)).await.err(),
        store.advance(call(lease)).await.err(),
        store.poll(&[0], &[]).await.err(),
        store.release(lease.owner).await.err(),
    ];
    for error in errors {
        let error = error.expect("nothing works without tables");
        assert!(matches!(error, StoreError::NotMigrated { .. }), "{error:?}");
        assert!(
            error.to_string().contains("migrate"),
            "the way out is named: {error}"
        );
    }
}

/// A heartbeat says what the store's clock says, by which waits run.
pub async fn a_heartbeat_tells_the_time_of_the_store<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    let relay = RelayId::new();
    let first = beat(&store, heartbeat(relay, LONG))
        .await
        .now
        .expect("it has a clock");
    harness.pass(harness.short()).await;
    let second = beat(&store, heartbeat(relay, LONG))
        .await
        .now
        .expect("it has a clock");
    let passed = (second - first).to_std().expect("time goes on");
    assert!(passed >= harness.short() && passed < LONG, "{passed:?}");
}

/// The relays that gave a sign of life are listed, and those that gave none for too long are not.
pub async fn relays_that_are_alive_are_listed_with_their_lanes<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 3)).await;
    assert_eq!(store.relays().await.expect("the store is there"), []);
    let (all, some, dead) = (RelayId::new(), RelayId::new(), RelayId::new());
    beat(&store, heartbeat(all, LONG)).await;
    beat(
        &store,
        Heartbeat {
            lanes: Some(vec![0, 2]),
            ..heartbeat(some, LONG)
        },
    )
    .await;
    beat(&store, heartbeat(dead, harness.short())).await;
    harness.pass(harness.short() * 2).await;
    let relays = store.relays().await.expect("the store is there");
    let listed: Vec<_> = relays
        .iter()
        .map(|state| (state.relay, state.lanes.clone()))
        .collect();
    assert_eq!(listed, [(all, None), (some, Some(vec![0, 2]))]);
    assert!(
        relays
            .iter()
            .all(|state| state.expires_in <= LONG && state.expires_in > LONG / 2)
    );
    store.release(all).await.expect("the store is there");
    assert_eq!(store.relays().await.expect("the store is there").len(), 1);
}
