//! A router that sends every event on the same routes, and settlements in words.

use super::*;
use crate::store::Unroutable;

/// A router that sends every event on the same routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) every: Vec<Arc<Route>>,
    pub(super) others: Vec<Arc<Route>>,
    /// True if it is that of an older release, which has no rules and not the destination `alone`.
    pub(super) refuses: bool,
}

impl Routing for Plan {
    fn route(&self, envelope: &Arc<Envelope>) -> Result<Targets, RouteError> {
        if self.refuses {
            return Err(RouteError::NoRule {
                event_type: envelope.event_type.clone().into_owned(),
            });
        }
        Ok(self
            .every
            .iter()
            .map(|route| Target::new(Arc::clone(route), Arc::clone(envelope)))
            .collect())
    }

    fn resume(&self, envelope: &Arc<Envelope>, name: &str) -> Result<Target, RouteError> {
        let unknown = || RouteError::UnknownDestination {
            name: name.to_owned(),
        };
        let route = self
            .named(name)
            .filter(|_| !self.refuses || name != "alone")
            .ok_or_else(unknown)?;
        Ok(Target::new(Arc::clone(route), Arc::clone(envelope)))
    }

    fn named(&self, name: &str) -> Option<&Arc<Route>> {
        self.every
            .iter()
            .chain(&self.others)
            .find(|route| *route.name == *name)
    }
}

pub(super) fn to(name: &str) -> Route {
    Route::to(Destination::new(name))
}

/// A route of all or nothing.
pub(super) fn all(name: &str, destinations: &[&str]) -> Route {
    let destinations = destinations
        .iter()
        .map(|name| Destination::new(*name))
        .collect();
    Route {
        name: Arc::from(name),
        destinations,
        ..to(name)
    }
}

pub(super) fn plan(every: impl IntoIterator<Item = Route>) -> Plan {
    Plan {
        every: every.into_iter().map(Arc::new).collect(),
        ..Plan::default()
    }
}

pub(super) fn along(plan: Plan) -> Machine<Plan> {
    Machine::new(plan, RetryPolicies::default(), 7)
}

pub(super) fn held_for(route: &str, position: i64, stream: u8, attempts: u32) -> HeldRow {
    HeldRow {
        route: Arc::from(route),
        ..held(position, stream, attempts)
    }
}

pub(super) fn key_for(route: &str, stream: u8) -> StreamKey {
    StreamKey {
        route: Arc::from(route),
        ..key(stream)
    }
}

/// Answers the next wave of a destination, whichever comes first.
pub(super) fn answer_of(
    machine: &mut Machine<Plan>,
    route: &str,
    answer: impl Fn() -> Result<(), PublishError>,
) {
    let mut others = Vec::new();
    loop {
        let wave = machine
            .next_wave(&mut always)
            .unwrap_or_else(|| panic!("nothing goes to {route}"));
        if **wave.destination() == *route {
            let answers = wave.deliveries().iter().map(|_| answer()).collect();
            machine.answer(wave, answers, &mut ignore);
            break;
        }
        others.push(wave);
    }
    assert!(
        others.is_empty(),
        "the test names them in the order of the routes"
    );
}

/// The settlements, in words.
pub(super) fn words(machine: &mut Machine<Plan>) -> Vec<String> {
    machine.take_settlements().iter().map(in_words).collect()
}

pub(super) fn in_words(settlement: &Settlement) -> String {
    let Settlement {
        position,
        place,
        route,
        ordered,
        outcome,
    } = settlement;
    let unroutable =
        |unroutable: &Unroutable| format!("unroutable for {}", unroutable.retry_after.as_secs());
    let dead = |dead: &NewDeadLetter| {
        let parks = if dead.parks { ", parks" } else { "" };
        format!("{}{parks}", dead.cause)
    };
    if *place == Place::Held {
        let words = match outcome {
            Outcome::Published => "published".to_owned(),
            Outcome::Retry(failure) => format!("waits: {}", failure.attempts),
            Outcome::Unroutable(obstacle) => unroutable(obstacle),
            Outcome::Moved { to } => format!("moved to {to}"),
            Outcome::Dead(letter) => format!("dead: {}", dead(letter)),
            other => panic!("a held row has no outcome {other:?}"),
        };
        return format!("{position} of {route} {words}");
    }
    let why = match outcome {
        Outcome::Published => return format!("{position} published"),
        Outcome::Dead(letter) => {
            return format!("{position} dead for {route}: {}", dead(letter));
        }
        Outcome::Retry(failure) => format!("failed {}", failure.attempts),
        Outcome::Behind => "behind".to_owned(),
        Outcome::Delayed(wait) => format!("delayed {}", wait.as_secs()),
        Outcome::Unroutable(obstacle) => unroutable(obstacle),
        other @ Outcome::Moved { .. } => panic!("a pending row has no outcome {other:?}"),
    };
    let place = if *ordered { "" } else { " without a place" };
    format!("{position} held for {route}: {why}{place}")
}
