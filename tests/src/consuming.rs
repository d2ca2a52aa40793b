//! The names, events and source that the process with a consumer shares with the test that starts
//! it.

use std::time::Duration;

use bento_core::{PendingEvents, aggregate, domain_event};

pub mod doom;
pub mod source;

/// The duration of the leases: a subscription has to be made within it, on a busy machine too.
pub const LEASE: Duration = Duration::from_secs(3);

/// The duration of the lease of a process in the mode `patient`: longer than a busy machine stands
/// still, so that it reads until it stops.
pub const PATIENT_LEASE: Duration = Duration::from_secs(30);

/// The most messages that are stored together.
pub const BATCH: usize = 25;

/// The name of the source, in every process.
pub const SOURCE: &str = "counters";

/// The topic of the events.
pub const TOPIC: &str = "events";

/// The topic of the copies.
pub const COPIES: &str = "copies";

/// The event type of the copies.
pub const COPY: &str = "public.counter";

/// The handler that takes one event a transaction.
pub const ONE: &str = "counters.one";

/// The handler that takes several events a transaction.
pub const MANY: &str = "counters.many";

/// The handler of an event type that only the newer release knows.
pub const NOTES: &str = "counters.notes";

/// The handler of the copies.
pub const OF_COPIES: &str = "counters.copies";

/// A counter is to be raised.
#[domain_event(schema = "consumed.raised", version = 1)]
#[derive(Clone, Debug)]
pub struct Raised {
    /// The counter.
    pub counter: i64,
    /// The number of the event among those of its counter, from 1 on.
    pub number: i64,
}

/// A note about a counter.
#[domain_event(schema = "consumed.noted", version = 1)]
#[derive(Clone, Debug)]
pub struct Noted {
    /// The counter.
    pub counter: i64,
    /// The number of the event among those of its counter, from 1 on.
    pub number: i64,
}

/// The aggregate of a counter, whose events keep their order.
#[aggregate(events(Raised, Noted))]
#[derive(Debug)]
pub struct Register {
    /// The key.
    pub id: i64,
    /// The events that were raised.
    pub events: PendingEvents,
}

impl Register {
    /// The counter with this key.
    pub fn new(id: i64) -> Self {
        Self {
            id,
            events: PendingEvents::default(),
        }
    }
}

/// The points at which a process is killed or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Messages were received, and are not stored.
    BeforeStore,
    /// The events are stored, and their messages are not acknowledged.
    BeforeAcknowledge,
    /// The messages are acknowledged.
    AfterAcknowledge,
    /// The event is recorded, and the handler begins.
    BeforeEffect,
    /// The handler has written its effect.
    BeforeCommit,
    /// The effect is committed, and the relay has not recorded it.
    BeforeAdvance,
    /// As `BeforeStore`, but the process stops itself.
    Stop,
    /// Nowhere.
    Never,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 8] = [
        Self::BeforeStore,
        Self::BeforeAcknowledge,
        Self::AfterAcknowledge,
        Self::BeforeEffect,
        Self::BeforeCommit,
        Self::BeforeAdvance,
        Self::Stop,
        Self::Never,
    ];

    /// The name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeStore => "before-store",
            Self::BeforeAcknowledge => "before-acknowledge",
            Self::AfterAcknowledge => "after-acknowledge",
            Self::BeforeEffect => "before-effect",
            Self::BeforeCommit => "before-commit",
            Self::BeforeAdvance => "before-advance",
            Self::Stop => "stop",
            Self::Never => "never",
        }
    }

    /// The point of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn from_name(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|point| point.name() == name)
            .expect("the name of a point")
    }

    /// True for a point that only the process reaches which reads the source.
    pub fn is_of_source(self) -> bool {
        matches!(
            self,
            Self::BeforeStore | Self::BeforeAcknowledge | Self::AfterAcknowledge | Self::Stop
        )
    }
}
