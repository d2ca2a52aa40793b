//! Writers at once.

use std::collections::BTreeMap;

use bento_core::DomainEvent;
use bento_core::report::with_causes;
use bento_relay::event_store::{EventStore, EventStoreError, Selection};
use tokio::task::JoinSet;

use super::bench::{all, assert_in_order, loaded, numbers};
use super::{Credited, EventStoreBench, Purse};

const WRITERS: i64 = 8;
const APPENDS: i64 = 50;
const PURSES: i64 = 5;

/// Writers who repeat a change after a conflict lose nothing, and leave no hole.
pub async fn writers_at_once_lose_nothing<B: EventStoreBench>(bench: &B) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = bench.store();
        writers.spawn(async move {
            for append in 0..APPENDS {
                let id = format!("p{}", (writer + append) % PURSES);
                append_until_stored(&store, &id, writer * APPENDS + append).await;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("no writer panics");
    }

    let store = bench.store();
    let events = all(&store, &Selection::All).await;
    assert_in_order(&events);
    for (aggregate, numbers) in numbers(&events) {
        let dense: Vec<_> = (1..=numbers.len() as i64).collect();
        assert_eq!(numbers, dense, "{aggregate:?}");
    }
    let mut credits: BTreeMap<i64, usize> = BTreeMap::new();
    for event in &events {
        if event.envelope.event_type == Credited::SCHEMA {
            let credited: Credited = event.envelope.decode().expect("it can be read");
            *credits.entry(credited.cents).or_default() += 1;
        }
    }
    let once: BTreeMap<_, _> = (0..WRITERS * APPENDS).map(|cents| (cents, 1)).collect();
    assert_eq!(credits, once, "each append is stored once");
    assert_eq!(events.len() as i64, WRITERS * APPENDS + PURSES);
    for purse in 0..PURSES {
        let id = format!("p{purse}");
        let stored = all(&store, &Selection::of::<Purse>(id.as_str())).await;
        assert_eq!(loaded(&store, &id).await.version, stored.len() as i64);
    }
}

/// Credits a purse, and makes it if need be, as often as it takes.
async fn append_until_stored(store: &impl EventStore, id: &str, cents: i64) {
    loop {
        let found = store.load::<Purse>(id).await;
        let found = found.unwrap_or_else(|error| panic!("not loaded: {}", with_causes(&error)));
        let mut purse = found.unwrap_or_else(|| Purse::open(id));
        purse.credit(cents);
        // Another writer may come first, also on one thread.
        tokio::task::yield_now().await;
        match store.save(&mut purse).await {
            Ok(()) => return,
            Err(EventStoreError::Conflict { .. }) => purse.discard(),
            Err(error) => panic!("not saved: {}", with_causes(&error)),
        }
    }
}

/// One of many who make one aggregate at once succeeds, and the others have a conflict.
pub async fn of_many_writers_of_a_new_id_one_succeeds<B: EventStoreBench>(bench: &B) {
    for round in 0..10 {
        let id = format!("new-{round}");
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (store, id) = (bench.store(), id.clone());
            writers.spawn(async move {
                let mut purse = Purse::open(id);
                purse.credit(writer);
                let saved = store.save(&mut purse).await;
                purse.discard();
                saved.map(|()| writer)
            });
        }
        let mut winners = Vec::new();
        while let Some(ended) = writers.join_next().await {
            match ended.expect("no writer panics") {
                Ok(writer) => winners.push(writer),
                Err(EventStoreError::Conflict { .. }) => {}
                Err(error) => panic!("not a conflict: {}", with_causes(&error)),
            }
        }
        let purse = loaded(&bench.store(), &id).await;
        assert_eq!(winners, [purse.cents]);
        assert_eq!(purse.version, 2);
    }
}
