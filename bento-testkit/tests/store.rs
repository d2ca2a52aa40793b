//! The conformance suite of the relay's seam, on the store in memory.

use std::time::Duration;

use bento_core::outbox::{OutboxEntry, Sharding};
use bento_relay::{ManualClock, MemoryStore, Staged};
use bento_testkit::store::StoreHarness;

struct Memory {
    store: MemoryStore,
    clock: ManualClock,
}

impl StoreHarness for Memory {
    type Store = MemoryStore;
    type Staged = Staged;

    async fn store(&self, sharding: Sharding) -> MemoryStore {
        self.store.configured_for(sharding)
    }

    async fn append(&self, entries: Vec<OutboxEntry>) {
        self.store.append(entries);
    }

    async fn stage(&self, entries: Vec<OutboxEntry>) -> Option<Staged> {
        Some(self.store.stage(entries))
    }

    async fn commit(&self, staged: Staged) {
        staged.commit();
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

async fn harness() -> Option<Memory> {
    let (store, clock) = MemoryStore::with_manual_clock(Sharding::default());
    Some(Memory { store, clock })
}

bento_testkit::relay_store_conformance!(memory, harness());
