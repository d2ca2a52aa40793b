//! The health of a relay: what its tasks note, and the answer to a probe.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bento_core::outbox::ShardId;
use tokio::time::Instant;

use super::breaker::Breakers;
use super::degradation::Degradation;
use super::roster::Roster;
use crate::machine::Missing;

/// The health of a relay, for a health endpoint: [`alive`](Self::alive) for a liveness probe
/// (restart the relay if false), [`ready`](Self::ready) for a readiness probe,
/// [`degraded`](Self::degraded) for a person.
///
/// A relay waits by itself for a store or a destination that is unavailable: restart it only when
/// it is not alive.
///
/// ```
/// # use bento_relay::publish::MemoryPublisher;
/// # use bento_relay::{MemoryStore, Relay};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
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
    /// True while the relay runs. A relay that has ended does not come back;
    /// [`join`](super::RelayHandle::join) says why it ended.
    pub alive: bool,
    /// True while the relay runs, has found the store and its tables, and reaches them.
    pub ready: bool,
    /// The faults that are known now; empty for a healthy relay.
    pub degraded: Vec<Degradation>,
}

/// The time for which a missing rule or destination is reported: longer than the wait until its
/// events are looked at again.
const MISSING_FOR: Duration = Duration::from_secs(15);

/// The time for which an event of a newer version is reported: longer than the longest wait before
/// it is tried again.
const NEWER_FOR: Duration = Duration::from_secs(45);

fn is_recent(missing: &Missing, seen: Instant) -> bool {
    let shown_for = match missing {
        Missing::Version { .. } => NEWER_FOR,
        Missing::Rule(_) | Missing::Destination(_) | Missing::Form(_) => MISSING_FOR,
    };
    seen.elapsed() < shown_for
}

/// The notes of a relay's tasks about themselves, taken seldom and briefly.
#[derive(Debug)]
pub(super) struct Vitals {
    breakers: Arc<Breakers>,
    roster: Arc<Roster>,
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

impl Signs {
    fn missing(&self) -> impl Iterator<Item = Degradation> {
        let recent = self
            .missing
            .iter()
            .filter(|(missing, seen)| is_recent(missing, **seen));
        let (mut event_types, mut destinations) = (Vec::new(), Vec::new());
        let (mut handlers, mut newer) = (Vec::new(), Vec::new());
        for (missing, _) in recent {
            match missing.clone() {
                Missing::Rule(event_type) | Missing::Form(event_type) => {
                    event_types.push(event_type)
                }
                Missing::Destination(name) => destinations.push(name),
                Missing::Version {
                    handler,
                    event_type,
                } => {
                    handlers.push(handler);
                    newer.push(event_type);
                }
            }
        }
        for names in [&mut event_types, &mut handlers, &mut newer] {
            names.sort();
            names.dedup();
        }
        let is_some = !(event_types.is_empty() && destinations.is_empty());
        let unroutable = is_some.then_some(Degradation::Unroutable {
            event_types,
            destinations,
        });
        let newer = (!handlers.is_empty()).then_some(Degradation::NewerVersions {
            handlers,
            event_types: newer,
        });
        unroutable.into_iter().chain(newer)
    }
}

impl Vitals {
    pub(super) fn new(breakers: Arc<Breakers>, roster: Arc<Roster>) -> Self {
        Self {
            breakers,
            roster,
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

    /// Notes the shards outside of the sharding that hold events. True if they differ from the last
    /// ones.
    pub(super) fn stray(&self, shards: &[ShardId]) -> bool {
        let mut signs = self.signs();
        let is_news = signs.stray != shards;
        if is_news {
            signs.stray = shards.to_vec();
        }
        is_news
    }

    /// Notes an answer of the store, and the number of shards that are held now.
    pub(super) fn holds(&self, shards: usize) {
        let mut signs = self.signs();
        signs.store_down = None;
        signs.shards = Some(shards);
    }

    /// Notes the shards that cannot be worked on, each with its error.
    pub(super) fn failing(&self, shards: BTreeMap<ShardId, String>) {
        self.signs().failing = shards;
    }

    /// Notes the longest time for which the last call of a destination's publisher blocked its
    /// thread; `None` if it did not.
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

    /// Notes the rules and destinations that events need and this relay does not have.
    pub(super) fn misses(&self, missing: impl IntoIterator<Item = Missing>) {
        let now = Instant::now();
        let mut signs = self.signs();
        signs
            .missing
            .retain(|missing, seen| is_recent(missing, *seen));
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
        degraded.extend(signs.missing());
        let ready = alive && signs.is_open && signs.store_down.is_none();
        drop(signs);
        let handlers = self.roster.absent();
        if !handlers.is_empty() {
            degraded.push(Degradation::HandlersAway { handlers });
        }
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
