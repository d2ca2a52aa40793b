//! The faults that a relay reports of itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bento_core::outbox::ShardId;

/// Something that keeps a relay from its work, or from part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Degradation {
    /// The relay has not found the store, or its tables, since it started.
    #[error("the outbox store was not found yet")]
    NotStarted,
    /// The store does not answer.
    #[error("the outbox store has been unavailable for {} s: {error}", .elapsed.as_secs())]
    StoreUnavailable {
        /// The time since its last answer.
        elapsed: Duration,
        /// The last error of the store, with its causes. It names a table that is missing.
        error: String,
    },
    /// A process writes events by another sharding than the database records. They are published,
    /// but an aggregate whose events are written by two shardings has no order.
    #[error("events are written into shards outside of the recorded sharding: {}; restart the \
             process that writes them", list(.shards))]
    StrayShards {
        /// The numbers of the shards.
        shards: Vec<ShardId>,
    },
    /// A destination was unavailable at the last attempt: its events wait. After more failures its
    /// circuit opens.
    #[error("destination `{destination}` is unavailable: {error}")]
    Unavailable {
        /// The name of the destination.
        destination: Arc<str>,
        /// The last error of its publisher, with the causes.
        error: String,
    },
    /// The circuit of a destination is open: its events wait.
    #[error("the circuit of destination `{destination}` is open: {error}")]
    CircuitOpen {
        /// The name of the destination.
        destination: Arc<str>,
        /// The last error of its publisher, with the causes.
        error: String,
    },
    /// The publisher of a destination blocks its thread, so that leases cannot be renewed: other
    /// relays may take the shards over, and publish events again that are in flight.
    #[error(
        "the publisher of destination `{destination}` blocked its thread for {} ms; a publisher \
         must not block: call what blocks in `tokio::task::spawn_blocking`", .longest.as_millis()
    )]
    PublisherBlocks {
        /// The name of the destination.
        destination: Arc<str>,
        /// The longest time for which its last call blocked.
        longest: Duration,
    },
    /// The relay holds no shard: others hold them all, or there are more relays than shards.
    #[error("no shard is leased")]
    NoShard,
    /// A shard cannot be read, or outcomes cannot be recorded in it. Its events wait, and
    /// those of other shards do not.
    #[error("shard {shard} cannot be worked on, and is tried again: {error}")]
    ShardFailing {
        /// The number of the shard.
        shard: ShardId,
        /// The last error of the store, with its causes.
        error: String,
    },
    /// Events wait because this relay has no rule or destination for them. A newer relay may: the
    /// events are looked at every 5 s, and become dead letters after
    /// [`unroutable_after`](super::RelaySettings::unroutable_after). At most 20 of each are named.
    #[error("events wait for {}", missing(event_types, destinations))]
    Unroutable {
        /// The event types that no rule takes, and those of events whose routing a later release
        /// wrote.
        event_types: Vec<String>,
        /// The names of destinations or all-or-nothing rules that are not known, or that no
        /// publisher serves.
        destinations: Vec<String>,
    },
    /// Events of a version that only a newer release knows wait for handlers, without an attempt:
    /// they are handled when a relay of that release takes their shards.
    #[error(
        "events of a newer version wait for a release that knows it: event type {}, handler {}",
        names(.event_types), names(.handlers)
    )]
    NewerVersions {
        /// The names of the handlers.
        handlers: Vec<String>,
        /// The event types.
        event_types: Vec<String>,
    },
    /// Handlers are recorded that this relay does not have: it holds their events until a relay
    /// that has them takes its shards, or an operator
    /// [retires](crate::handler_control::HandlerControl::retire_handler) them.
    #[error("events are held for handlers that this relay does not have: {}", names(.handlers))]
    HandlersAway {
        /// The names of the handlers.
        handlers: Vec<Arc<str>>,
    },
    /// Published rows that were kept are not removed.
    #[error("published rows could not be pruned: {error}")]
    PruneFailing {
        /// The last error of the store.
        error: String,
    },
}

fn list(shards: &[ShardId]) -> String {
    shards
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn names(names: &[impl fmt::Display]) -> String {
    let quoted = names.iter().map(|name| format!("`{name}`"));
    quoted.collect::<Vec<_>>().join(", ")
}

/// The missing rules and destinations, for a message.
fn missing(event_types: &[String], destinations: &[String]) -> String {
    let listed = |names: &[String]| {
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let rules =
        (!event_types.is_empty()).then(|| format!("a rule for event type {}", listed(event_types)));
    let places =
        (!destinations.is_empty()).then(|| format!("destination {}", listed(destinations)));
    let wanted: Vec<_> = rules.into_iter().chain(places).collect();
    format!("{}, which this relay does not have", wanted.join(" and "))
}
