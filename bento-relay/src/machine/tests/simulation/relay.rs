//! A relay of the simulation, with its waves and the routes of every event.

use bento_core::id::EventId;

use super::super::plan::{Plan, all, plan, to};
use super::super::*;
use super::{DELAY, handlers};
use crate::route::HeadOfLine;
use crate::store::{Lease, RelayId, ServedHandler};

/// Every event to all or nothing of two, to one that holds, to one that continues, to one later,
/// and to one with a fallback.
fn everywhere() -> Plan {
    let spare = Arc::new(to("spare"));
    let delay = Some(Duration::from_secs(1_000_000) + DELAY);
    Plan {
        others: vec![Arc::clone(&spare)],
        ..plan([
            all("both", &["x", "y"]),
            to("alone"),
            Route {
                head_of_line: HeadOfLine::Continue,
                ..to("loose")
            },
            Route {
                delay,
                keeps_order: true,
                ..to("later")
            },
            Route {
                fallback: Some(spare),
                ..to("prone")
            },
        ])
    }
}

pub(super) struct Relay {
    pub(super) id: RelayId,
    pub(super) lease: Option<Lease>,
    /// The handlers that it has.
    pub(super) serves: &'static [&'static str],
    pub(super) machine: Machine<Plan>,
    pub(super) in_batch: bool,
    /// Waves that are on their way, with their answers.
    pub(super) out: Vec<Out>,
    /// Waves that no batch waits for.
    pub(super) late: Vec<Out>,
}

/// A wave on its way.
pub(super) struct Out {
    pub(super) wave: Wave,
    pub(super) answers: Vec<Result<(), PublishError>>,
    /// The events that arrive when the answer does, or when time is up.
    pub(super) arrivals: Vec<(EventId, Arc<str>)>,
    /// The time at which the call ends, if the wave is late.
    pub(super) latest: Option<Duration>,
}

impl Relay {
    pub(super) fn new(serves: &'static [&'static str]) -> Self {
        Self {
            id: RelayId::new(),
            lease: None,
            serves,
            machine: Self::machine(serves),
            in_batch: false,
            out: Vec::new(),
            late: Vec::new(),
        }
    }

    /// The handlers that it has, as a heartbeat says it.
    pub(super) fn served(&self) -> Vec<ServedHandler> {
        let routes = self.serves.iter().map(|name| handlers::route(name));
        routes.map(|route| ServedHandler::from(&route)).collect()
    }

    fn machine(serves: &[&str]) -> Machine<Plan> {
        let retry = RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::default()
        };
        let routes: Vec<_> = serves.iter().map(|name| handlers::route(name)).collect();
        Machine::new(everywhere(), retry.into(), 7).serving(Arc::new(OwnHandlers::new(&routes)))
    }
}
