//! All that one course of events needs.

use bento_core::Envelope;
use bento_handlers::Handlers;
use bento_seaorm::OutboxConnection;

use crate::watched::Watched;

/// All that one course of a simulation needs: handlers with their states, their database, and the
/// state that is compared at the end.
#[derive(Debug)]
pub struct Scene<R> {
    pub(super) watched: Watched,
    pub(super) events: Vec<Envelope>,
    pub(super) state: R,
}

impl<R> Scene<R> {
    /// A scene of these handlers, whose transactions run on `db`. `state` reads what is compared:
    /// rows of the database, and the notes of fakes. Leave out what differs by chance, such as
    /// times and ids that are drawn.
    ///
    /// # Panics
    /// If the set of handlers cannot be built, because a state is missing for example.
    #[track_caller]
    pub fn new<S>(handlers: Handlers<S>, db: &OutboxConnection, state: R) -> Self {
        let watched = match Watched::build(handlers, db) {
            Ok(watched) => watched,
            Err(error) => panic!("{error}"),
        };
        Self {
            watched,
            events: Vec::new(),
            state,
        }
    }

    /// Adds events that come before those in the outbox: what [`given`](crate::given) or
    /// [`raised_by`](crate::raised_by) returns.
    #[must_use]
    pub fn events(mut self, events: impl IntoIterator<Item = Envelope>) -> Self {
        self.events.extend(events);
        self
    }
}
