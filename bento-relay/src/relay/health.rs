//! How a relay is doing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bento_core::outbox::ShardId;
use tokio::time::Instant;

use super::breaker::Breakers;
use crate::machine::Missing;

/// How a relay is doing, for a health endpoint: [`alive`](Self::alive) for a liveness poll (restart
/// it if not), [`ready`](Self::ready) for a readiness poll, [`degraded`](Self::degraded) for a
/// person.
///
/// A relay waits for what is away by itself: restart it for nothing but a death.
///
/// ```
/// # use bento_relay::publish::MemoryPublisher;
/// # use bento_relay::{MemoryStore, Relay};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let relay = Relay::builder(MemoryStore::default(), MemoryPublisher::default()).start()?;
/// let health = relay.health();
/// let status = if health.alive { 200 } else { 503 };
/// # assert_eq!(status, 200);
/// for reason in &health.degraded {
///     println!("{reason}");
/// }
/// # relay.stop().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether it runs. One that has ended does not come back; [`join`](super::RelayHandle::join)
    /// says why it ended.
    pub alive: bool,
    /// Whether it runs, has found the store and its tables, and reaches them.
    pub ready: bool,
    /// What is wrong, if something is.
    pub degraded: Vec<Degradation>,
}

/// Something that keeps a relay from its work, or from part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Degradation {
    /// It has not found the store, or its tables, since it started.
    #[error("the outbox store was not found yet")]
    NotStarted,
    /// The store does not answer.
    #[error("the outbox store has been unavailable for {} s: {error}", .elapsed.as_secs())]
    StoreUnavailable {
        /// For how long.
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
    /// A destination could not be asked when that was last tried: what is to go there waits. After
    /// some more failures its circuit opens.
    #[error("destination `{destination}` is unavailable: {error}")]
    Unavailable {
        /// The name of the destination.
        destination: Arc<str>,
        /// The last error of its publisher, with the causes.
        error: String,
    },
    /// A destination is away: what is to go there waits.
    #[error("the circuit of destination `{destination}` is open: {error}")]
    CircuitOpen {
        /// The name of the destination.
        destination: Arc<str>,
        /// The last error of its publisher, with the causes.
        error: String,
    },
    /// The publisher of a destination blocks its thread, so that leases cannot be renewed: other
    /// relays may take the shards over, and publish again what is on its way.
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
    /// It holds no shard: others hold them all, or there are more relays than shards.
    #[error("no shard is leased")]
    NoShard,
    /// A shard cannot be read, or what was done cannot be recorded in it. Its events wait, and
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
    /// Published rows that were kept are not removed.
    #[error("published rows could not be pruned: {error}")]
    PruneFailing {
        /// What the store said last.
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

/// How long something that was missing counts, longer than until its events are looked at again.
const MISSING_FOR: Duration = Duration::from_secs(15);

/// The names of what is missing, for a message.
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

impl Signs {
    fn unroutable(&self) -> Option<Degradation> {
        let recent = self
            .missing
            .iter()
            .filter(|(_, seen)| seen.elapsed() < MISSING_FOR);
        let (mut event_types, mut destinations) = (Vec::new(), Vec::new());
        for (missing, _) in recent {
            match missing.clone() {
                Missing::Rule(event_type) | Missing::Form(event_type) => {
                    event_types.push(event_type)
                }
                Missing::Destination(name) => destinations.push(name),
            }
        }
        event_types.sort();
        event_types.dedup();
        let is_some = !(event_types.is_empty() && destinations.is_empty());
        is_some.then_some(Degradation::Unroutable {
            event_types,
            destinations,
        })
    }
}

/// What the tasks of a relay note about themselves, seldom and briefly.
#[derive(Debug)]
pub(super) struct Vitals {
    breakers: Arc<Breakers>,
    signs: Mutex<Signs>,
}

#[derive(Debug, Default)]
struct Signs {
    is_open: bool,
    store_down: Option<(Instant, String)>,
    stray: Vec<ShardId>,
    shards: Option<usize>,
    prune_error: Option<String>,
    failing: BTreeMap<ShardId, String>,
    blocking: BTreeMap<Arc<str>, Duration>,
    missing: BTreeMap<Missing, Instant>,
}

impl Vitals {
    pub(super) fn new(breakers: Arc<Breakers>) -> Self {
        Self {
            breakers,
            signs: Mutex::default(),
        }
    }

    pub(super) fn opened(&self) {
        self.signs().is_open = true;
    }

    pub(super) fn store_failed(&self, error: String) {
        let mut signs = self.signs();
        let since = signs
            .store_down
            .take()
            .map_or_else(Instant::now, |(since, _)| since);
        signs.store_down = Some((since, error));
    }

    /// Notes which shards outside of the sharding hold events; true if that is news.
    pub(super) fn stray(&self, shards: &[ShardId]) -> bool {
        let mut signs = self.signs();
        let is_news = signs.stray != shards;
        if is_news {
            signs.stray = shards.to_vec();
        }
        is_news
    }

    /// Notes that the store answered, and how many shards are held now.
    pub(super) fn holds(&self, shards: usize) {
        let mut signs = self.signs();
        signs.store_down = None;
        signs.shards = Some(shards);
    }

    /// Notes which shards cannot be worked on, and why.
    pub(super) fn failing(&self, shards: BTreeMap<ShardId, String>) {
        self.signs().failing = shards;
    }

    /// Notes whether the last call of a destination's publisher blocked its thread, and for how
    /// long.
    pub(super) fn publisher_blocked(&self, destination: &Arc<str>, longest: Option<Duration>) {
        let mut signs = self.signs();
        match longest {
            Some(longest) => drop(signs.blocking.insert(Arc::clone(destination), longest)),
            None if signs.blocking.is_empty() => {}
            None => drop(signs.blocking.remove(destination)),
        }
    }

    pub(super) fn pruned(&self, error: Option<String>) {
        self.signs().prune_error = error;
    }

    /// Notes what events need and this relay does not have.
    pub(super) fn misses(&self, missing: impl IntoIterator<Item = Missing>) {
        let now = Instant::now();
        let mut signs = self.signs();
        signs
            .missing
            .retain(|_, seen| now.duration_since(*seen) < MISSING_FOR);
        signs
            .missing
            .extend(missing.into_iter().map(|missing| (missing, now)));
    }

    pub(super) fn health(&self, alive: bool) -> Health {
        let signs = self.signs();
        let mut degraded = Vec::new();
        if !signs.is_open {
            degraded.push(Degradation::NotStarted);
        }
        let outage = signs.store_down.clone();
        degraded.extend(outage.map(|(since, error)| Degradation::StoreUnavailable {
            elapsed: since.elapsed(),
            error,
        }));
        if !signs.stray.is_empty() {
            degraded.push(Degradation::StrayShards {
                shards: signs.stray.clone(),
            });
        }
        if signs.shards == Some(0) {
            degraded.push(Degradation::NoShard);
        }
        let failing = signs.failing.iter();
        degraded.extend(failing.map(|(&shard, error)| Degradation::ShardFailing {
            shard,
            error: error.clone(),
        }));
        let blocking = signs.blocking.iter();
        degraded.extend(
            blocking.map(|(destination, &longest)| Degradation::PublisherBlocks {
                destination: Arc::clone(destination),
                longest,
            }),
        );
        degraded.extend(
            signs
                .prune_error
                .clone()
                .map(|error| Degradation::PruneFailing { error }),
        );
        degraded.extend(signs.unroutable());
        let ready = alive && signs.is_open && signs.store_down.is_none();
        drop(signs);
        degraded.extend(self.breakers.degraded());
        Health {
            alive,
            ready,
            degraded,
        }
    }

    fn signs(&self) -> MutexGuard<'_, Signs> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
