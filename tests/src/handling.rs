//! The names and events that the process with handlers shares with the test that starts it.

use std::time::Duration;

use bento_core::{PendingEvents, aggregate, domain_event};

/// The duration of a lease.
pub const LEASE: Duration = Duration::from_millis(500);

/// A counter is to be raised by one.
#[domain_event(schema = "counter.raised", version = 1)]
#[derive(Clone, Debug)]
pub struct CounterRaised {
    /// The counter.
    pub counter: i64,
}

/// A counter, whose events keep their order.
#[aggregate(events(CounterRaised))]
#[derive(Debug)]
pub struct Counter {
    /// The key.
    pub id: i64,
    /// The events that were raised.
    pub events: PendingEvents,
}

impl Counter {
    /// The counter with this key.
    pub fn new(id: i64) -> Self {
        Self {
            id,
            events: PendingEvents::default(),
        }
    }
}

/// The points at which a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The event is recorded, and the handler begins.
    BeforeEffect,
    /// The handler has written its effect.
    BeforeCommit,
    /// The effect is committed, and the relay has not recorded it.
    BeforeAdvance,
    /// Nowhere.
    Never,
}

impl Point {
    /// Those at which a process is killed.
    pub const DEADLY: [Self; 3] = [Self::BeforeEffect, Self::BeforeCommit, Self::BeforeAdvance];

    /// The name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeEffect => "before-effect",
            Self::BeforeCommit => "before-commit",
            Self::BeforeAdvance => "before-advance",
            Self::Never => "never",
        }
    }

    /// The point of this name; [`Never`](Self::Never) for another.
    pub fn from_name(name: &str) -> Self {
        let mut deadly = Self::DEADLY.into_iter();
        deadly
            .find(|point| point.name() == name)
            .unwrap_or(Self::Never)
    }
}
