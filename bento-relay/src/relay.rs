//! From the outbox to the broker.
//!
//! Decision: docs/decisions/0008-a-broker-that-is-away-is-left-alone.md
//! Decision: docs/decisions/0007-a-lease-is-lost-to-a-relay-not-to-the-clock.md
//! Decision: docs/decisions/0019-each-destination-goes-its-own-way.md
//! Decision: docs/decisions/0030-a-failure-says-whose-it-is.md
//!
//! A relay owns shards of the outbox by lease. For each shard that has events it asks the store for
//! a batch, publishes it wave by wave, and settles with the call that returns the next batch:
//!
//! ```text
//! supervisor ── heartbeat, poll ──► store
//!     │ starts up to `workers`
//!     ▼
//!   worker ──── advance ───────────► store      settle the answers, renew the lease, next batch
//!     │    ◄─── rows ───────────────
//!   machine ─── waves ─────────────► publisher  a wave for each destination, with at most one
//!          ◄─── answers ────────────            event of an aggregate
//! ```
//!
//! The guarantees of a relay, each with a test:
//!
//! 1. Every committed event is published at least once, or is a dead letter.
//! 2. The first publications of one aggregate's events are in position order.
//! 3. After the local deadline of a lease the relay sends nothing more in its name, and a lost
//!    lease settles nothing.
//! 4. A failing event holds back only its own aggregate, and only for its own destination.
//! 5. The relay waits for a store that is unavailable, and repeats a call whose outcome is unknown.
//!    It waits for missing tables in the same way, with an error line that names the migration: a
//!    relay may start before the migration.
//! 6. A publisher that panics, hangs or answers too little has failed for the moment. An event that
//!    causes this while others are answered becomes the only dead letter.
//! 7. An unavailable destination gets only a trial now and then; its outage makes no dead letters
//!    of the backlog and does not stop other destinations. A slow destination does not stop others
//!    either: a batch that waits for it alone ends after a quarter of a second, and a later batch
//!    takes its answer. A destination that answers one by one is left as soon as only its running
//!    calls are missing; each delays its own aggregate only.
//! 8. Stopping finishes the events in flight and releases the leases; events that take too long are
//!    left to be published again.
//! 9. Several relays try a failing event as often as one relay would: the time at which it is due
//!    is in the store. A circuit belongs to one relay.
//!
//! The relay does not promise exactly one publication. The guarantees page of the repository lists
//! the cases in which an event can be published twice.

mod breaker;
mod builder;
mod clock;
mod deadline;
mod degradation;
mod error;
mod handle;
mod health;
mod in_flight;
mod journal;
mod pass;
mod reply;
mod roster;
mod send;
mod settings;
mod shared;
mod slots;
mod span;
mod supervisor;
mod wake;
mod watched;
mod worker;

pub use self::builder::{Relay, RelayBuilder, StartError};
pub use self::degradation::Degradation;
pub use self::error::{MissingKind, RelayError, RouteNameError, UnknownDestination};
pub use self::handle::{RelayHandle, RelayProbe};
pub use self::health::Health;
pub use self::journal::Tally;
pub use self::pass::PassReport;
pub use self::settings::{CircuitSettings, RelaySettings, SettingsError};
pub use self::wake::{Wake, WakeSubscription};
