//! From the outbox to the broker.
//!
//! A relay owns shards of the outbox by lease. For each shard that has events it asks the store for
//! a batch, publishes it wave by wave, and settles with the call that returns the next batch:
//!
//! ```text
//! supervisor ── heartbeat, poll ──► store
//!     │ starts up to `workers`
//!     ▼
//!   worker ──── advance ───────────► store      settle what was done, renew the lease, next batch
//!     │    ◄─── rows ───────────────
//!   machine ─── waves ─────────────► publisher  one for each destination, at most one event of an aggregate at a time
//!          ◄─── answers ────────────
//! ```
//!
//! What holds, each a test:
//!
//! 1. Every committed event is published at least once, or is a dead letter.
//! 2. The first publications of one aggregate's events are in position order.
//! 3. After the local deadline of a lease nothing more is sent in its name, and a lost lease
//!    settles nothing.
//! 4. A failing event holds back its own aggregate only, and that for its own destination only.
//! 5. A store that is away is waited for; a call whose outcome is unknown is repeated. Missing
//!    tables are waited for in the same way, with an error line that names the migration: a relay
//!    may start before it.
//! 6. A publisher that panics, hangs or answers too little has failed for the moment, no more; an
//!    event that makes it do so, while others are answered, ends as the only dead letter.
//! 7. A destination that is away is left alone but for a trial now and then; its outage makes no
//!    dead letters of the backlog, and stops no other destination. One that is slow or hangs stops
//!    no other either: after a quarter of a second with nothing else left, a batch ends without its
//!    answer, which a later batch takes.
//! 8. Stopping finishes what is in flight and releases the leases; what takes too long is left to
//!    be published again.
//!
//! 9. Several relays try a failing event no more often than one: the time when it is due is in the
//!    store. A circuit is a relay's own.
//!
//! What is not promised: exactly one publication. When an event can be published twice is listed in
//! the guarantees page of the repository.

mod breaker;
mod builder;
mod clock;
mod deadline;
mod degradation;
mod error;
mod handle;
mod health;
mod journal;
mod late;
mod pass;
mod send;
mod settings;
mod shared;
mod span;
mod supervisor;
mod wake;
mod watched;
mod worker;

pub use self::builder::{Relay, RelayBuilder, StartError};
pub use self::degradation::Degradation;
pub use self::error::{RelayError, RouteNameError, UnknownDestination};
pub use self::handle::{RelayHandle, RelayProbe};
pub use self::health::Health;
pub use self::journal::Tally;
pub use self::pass::PassReport;
pub use self::settings::{CircuitSettings, RelaySettings, SettingsError};
pub use self::wake::{Wake, WakeSubscription};
