//! Dead letters for the tests.

use bento_core::Envelope;
use bento_core::outbox::{OutboxEntry, Sharding};
use bento_relay::publish::{MemoryPublisher, PublishError};
use bento_relay::{MemoryStore, Relay};
use chrono::Utc;

/// An event of a tenant's aggregate.
pub(crate) fn event(
    tenant: &str,
    event_type: &'static str,
    version: u32,
    payload: &str,
) -> Envelope {
    let mut envelope = Envelope::new(event_type, version, Utc::now(), payload.to_owned());
    envelope.aggregate_type = "thing".into();
    envelope.aggregate_id = tenant.to_owned();
    envelope.tenant_id = Some(tenant.to_owned());
    envelope
}

/// Writes events, and gives each up for what a broker said that refuses everything.
pub(crate) async fn append_dead(store: &MemoryStore, events: impl IntoIterator<Item = Envelope>) {
    append(store, events);
    let broker = MemoryPublisher::chaining();
    broker.fail(|_| Some(PublishError::permanent("refused").because("no such topic")));
    Relay::builder(store.configured_for(Sharding::default()), broker)
        .run_until_empty()
        .await
        .unwrap();
}

/// Writes events.
pub(crate) fn append(store: &MemoryStore, events: impl IntoIterator<Item = Envelope>) {
    store.append(events.into_iter().map(|envelope| OutboxEntry {
        shard: Sharding::default().shard(&envelope),
        may_be_known: false,
        envelope,
    }));
}
