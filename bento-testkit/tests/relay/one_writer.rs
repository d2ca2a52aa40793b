//! A database with one writer at a time, which handlers and the relay share.

use std::sync::Arc;
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};
use bento_relay::publish::{
    Answering, Delivery, Destination, HandlerRoute, PublishError, Publisher,
};
use bento_relay::store::{
    Advance, Advanced, Heartbeat, Holdings, Prune, RelayId, RelayStore, StoreError,
};
use bento_relay::{MemoryStore, Relay};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep};

use crate::scene::{Scene, event, settle};

/// The right to write, which is handed out in the order of asking.
type Writer = Arc<Mutex<()>>;

/// A store whose `advance` needs the writer.
#[derive(Clone, Debug)]
struct OneWriter {
    inner: MemoryStore,
    writer: Writer,
}

impl RelayStore for OneWriter {
    async fn open(&self) -> Result<Sharding, StoreError> {
        self.inner.open().await
    }

    async fn is_published(&self) -> Result<bool, StoreError> {
        self.inner.is_published().await
    }

    async fn record_handlers(&self, handlers: &[HandlerRoute]) -> Result<(), StoreError> {
        self.inner.record_handlers(handlers).await
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Holdings, StoreError> {
        self.inner.heartbeat(heartbeat).await
    }

    async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        let _writing = self.writer.lock().await;
        self.inner.advance(advance).await
    }

    async fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
    ) -> Result<Vec<ShardId>, StoreError> {
        self.inner.poll(shards, without).await
    }

    async fn release(&self, relay: RelayId) -> Result<(), StoreError> {
        self.inner.release(relay).await
    }

    async fn prune(&self, prune: Prune) -> Result<Option<u64>, StoreError> {
        self.inner.prune(prune).await
    }
}

/// A handler that writes when it is told to.
#[derive(Clone, Debug)]
struct Writing {
    writer: Writer,
    begun: Arc<Notify>,
    go: Arc<Notify>,
}

impl Publisher for Writing {
    async fn publish(&self, _: &[Delivery]) -> Vec<Result<(), PublishError>> {
        self.begun.notify_one();
        self.go.notified().await;
        let _writing = self.writer.lock().await;
        vec![Ok(())]
    }

    fn answering(&self, _: &Destination) -> Answering {
        Answering::one_by_one(1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_while_its_worker_records_outcomes_and_ends() {
    let scene = Scene::divided(1);
    let writer = Writer::default();
    let store = OneWriter {
        inner: scene.store.clone(),
        writer: Arc::clone(&writer),
    };
    let handler = Writing {
        writer: Arc::clone(&writer),
        begun: Arc::default(),
        go: Arc::default(),
    };
    let relay = Relay::builder(store, handler.clone())
        .wake(&scene.wake)
        .start()
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    scene.commit_event(event("1"));
    handler.begun.notified().await;
    // The call has the next turn to write, and the worker that ends the one behind it.
    let writing = writer.lock().await;
    handler.go.notify_one();
    settle().await;
    let begun = Instant::now();
    let stopping = tokio::spawn(relay.stop());
    sleep(Duration::from_millis(100)).await;
    drop(writing);
    stopping.await.unwrap().unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    scene.wait_for_counts(0, 0, 0).await;
}
