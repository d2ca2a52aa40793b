//! Taking a batch: which row goes where, and which does not go now.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use smallvec::SmallVec;

use super::batch::{Leg, Member, Place, State};
use super::outlet::Outlet;
use super::{Machine, Observer, Outcome, Reach, Reason, Routing};
use crate::envelope::Envelope;
use crate::publish::Destination;
use crate::relay::store::{Burial, Failure, Held, HeldRow, OutboxRow, Settlement};
use crate::route::{HeadOfLine, Route, RouteError, Target};

/// A target, and what each of its destinations gets if not all get the same.
type Resumed = (Target, Vec<Arc<Envelope>>);

/// What keeps an event from being sent for good.
struct Obstacle {
    cause: &'static str,
    error: String,
}

impl<R: Routing> Machine<R> {
    pub(super) fn take_held(
        &mut self,
        held: HeldRow,
        now: DateTime<Utc>,
        reach: &mut impl Reach,
        observer: &mut impl Observer,
    ) {
        let HeldRow { destination: name, attempts, ordered, delivered, row } = held;
        let holds = ordered && row.envelope.is_ordered();
        if holds && self.batch.tail(&name, &row.envelope).is_some_and(|tail| tail.is_shut) {
            return;
        }
        let place = Place::Held { position: row.position };
        self.late.forget(row.position, &name);
        let (target, own) = match self.resume(&row.envelope, &name) {
            Ok(resumed) => resumed,
            Err(error) => {
                let leg = Leg { attempts, holds, delivered, ..nowhere(place, name, row.envelope) };
                return self.bury_unsent(leg, Obstacle::unroutable(&error), observer);
            }
        };
        let is_suspect = self.unreached.is_suspect(row.position, &name);
        let leg = Leg { attempts, is_suspect, holds, delivered, ..leg(place, name, &target) };
        if is_over(&target, now) {
            self.bury_unsent(leg, Obstacle::expired(&target), observer);
        } else if let Some(wait) = still_to_wait(&target, now).filter(|_| attempts == 0) {
            self.wait_longer(leg, wait, observer);
        } else {
            self.send(leg, &target.route, own, reach, observer);
        }
    }

    pub(super) fn take_fresh(
        &mut self,
        row: OutboxRow,
        all_held_are_here: bool,
        now: DateTime<Utc>,
        reach: &mut impl Reach,
        observer: &mut impl Observer,
    ) {
        let OutboxRow { position, envelope } = row;
        let targets = match self.router.route(&envelope) {
            Ok(targets) => targets,
            Err(error) => return self.take_unroutable(position, envelope, &error, all_held_are_here, observer),
        };
        if targets.is_empty() {
            self.settled.push(Settlement::Published { position });
            return observer.outcome(&envelope, "", Outcome::Filtered);
        }
        let is_paused =
            !self.paused.is_empty() && envelope.tenant_id.as_ref().is_some_and(|tenant| self.paused.contains(tenant));
        let row = self.batch.begin_row(position, targets.len());
        for target in targets {
            let leg = leg(Place::Fresh { row }, Arc::clone(&target.route.name), &target);
            if is_over(&target, now) {
                self.bury_unsent(leg, Obstacle::expired(&target), observer);
                continue;
            }
            let wait = still_to_wait(&target, now);
            match wait.filter(|_| !target.route.keeps_order) {
                Some(wait) => self.delay(Leg { holds: false, ..leg }, wait, observer),
                None if is_paused => self.hold_unsent(leg, Reason::Paused, observer),
                None if self.must_wait(&leg, all_held_are_here) => self.hold_unsent(leg, Reason::Order, observer),
                None => match wait {
                    Some(wait) => self.delay(leg, wait, observer),
                    None => self.send(leg, &target.route, Vec::new(), reach, observer),
                },
            }
        }
    }

    fn take_unroutable(
        &mut self,
        position: i64,
        envelope: Arc<Envelope>,
        error: &RouteError,
        all_held_are_here: bool,
        observer: &mut impl Observer,
    ) {
        // Whatever name the event asks for: a replay routes it anew, to all that it names.
        let name = Arc::from(Burial::UNROUTABLE);
        let row = self.batch.begin_row(position, 1);
        let holds = envelope.is_ordered();
        let leg = Leg { holds, ..nowhere(Place::Fresh { row }, name, envelope) };
        if self.must_wait(&leg, all_held_are_here) {
            self.hold_unsent(leg, Reason::Order, observer);
        } else {
            self.bury_unsent(leg, Obstacle::unroutable(error), observer);
        }
    }

    /// The route that a held row is on. One that was unroutable, and was replayed, is routed anew; its targets then share one progress.
    fn resume(&self, envelope: &Arc<Envelope>, name: &str) -> Result<Resumed, RouteError> {
        if name != Burial::UNROUTABLE {
            return self.router.resume(envelope, name).map(|target| (target, Vec::new()));
        }
        let mut targets = self.router.route(envelope)?;
        if targets.len() == 1 {
            return Ok((targets.remove(0), Vec::new()));
        }
        let mut all = Route::to(Destination::new(name));
        all.destinations.clear();
        let mut own = Vec::new();
        for Target { route, envelope, .. } in targets {
            own.extend(route.destinations.iter().map(|_| Arc::clone(&envelope)));
            all.destinations.extend(route.destinations.iter().cloned());
        }
        Ok((Target::new(Arc::new(all), Arc::clone(envelope)), own))
    }

    /// Whether a fresh row has to wait for what is held of its stream.
    fn must_wait(&self, leg: &Leg, all_held_are_here: bool) -> bool {
        if !leg.holds {
            return false;
        }
        let waits = self.blocked.contains(&leg.name, &leg.envelope);
        match self.batch.tail(&leg.name, &leg.envelope) {
            Some(tail) => tail.is_shut || waits && !(tail.has_held && all_held_are_here),
            None => waits,
        }
    }

    /// Puts a leg in the queue of each of its destinations.
    fn send(
        &mut self,
        mut leg: Leg,
        route: &Arc<Route>,
        mut own: Vec<Arc<Envelope>>,
        reach: &mut impl Reach,
        observer: &mut impl Observer,
    ) {
        let is_alone = route.destinations.len() == 1;
        for (index, destination) in route.destinations.iter().enumerate() {
            if leg.delivered.contains(&destination.name) {
                continue;
            }
            let outlet = self.outlet(&leg.name, destination, reach);
            if !self.batch.outlets[outlet].is_served {
                return self.bury_unsent(leg, Obstacle::unserved(destination), observer);
            }
            leg.is_chained = is_alone && leg.holds && self.batch.outlets[outlet].chains;
            let envelope = own.get_mut(index).map(|own| Arc::clone(own));
            leg.members.push(Member { outlet, destination: index, envelope, is_out: false });
        }
        leg.open = leg.members.len();
        if leg.open > 0 {
            self.batch.append(leg);
        } else {
            let index = self.batch.add(leg);
            self.confirm(index, observer);
        }
    }

    fn outlet(&mut self, name: &Arc<str>, destination: &Destination, reach: &mut impl Reach) -> usize {
        let same = |ours: &Arc<str>, theirs: &Arc<str>| Arc::ptr_eq(ours, theirs) || ours == theirs;
        let outlets = &mut self.batch.outlets;
        let known = |outlet: &Outlet| same(&outlet.destination, &destination.name) && same(&outlet.route, name);
        if let Some(index) = outlets.iter().position(known) {
            return index;
        }
        let mut outlet = Outlet::new(Arc::clone(name), Arc::clone(&destination.name));
        outlet.is_served = reach.serves(destination);
        if outlet.is_served {
            outlet.chains = reach.chains(destination);
            outlet.admission = reach.admit(destination);
        }
        outlets.push(outlet);
        outlets.len() - 1
    }

    fn bury_unsent(&mut self, leg: Leg, obstacle: Obstacle, observer: &mut impl Observer) {
        let Obstacle { cause, error } = obstacle;
        let parks = leg.holds && cause != Burial::EXPIRED;
        if parks {
            self.batch.shut(&leg.name, &leg.envelope);
        }
        let attempts = leg.attempts;
        let index = self.batch.add(leg);
        self.bury(index, attempts, cause, error, parks, observer);
    }

    fn hold_unsent(&mut self, leg: Leg, reason: Reason, observer: &mut impl Observer) {
        if leg.holds {
            self.batch.shut(&leg.name, &leg.envelope);
        }
        let index = self.batch.add(leg);
        self.hold_back(index, reason, observer);
    }

    fn delay(&mut self, leg: Leg, wait: Duration, observer: &mut impl Observer) {
        if leg.holds {
            self.batch.shut(&leg.name, &leg.envelope);
        }
        observer.outcome(&leg.envelope, &leg.name, Outcome::Delayed { wait });
        let index = self.batch.add(leg);
        self.hold(index, Held::Delayed(wait));
    }

    /// A held row that heads its stream before its time waits on; one that follows another is looked at again when it heads it.
    fn wait_longer(&mut self, leg: Leg, wait: Duration, observer: &mut impl Observer) {
        let follows = leg.holds && self.batch.tail(&leg.name, &leg.envelope).is_some();
        if leg.holds {
            self.batch.shut(&leg.name, &leg.envelope);
        }
        if follows {
            return;
        }
        observer.outcome(&leg.envelope, &leg.name, Outcome::Delayed { wait });
        let error = "not to be delivered yet".to_owned();
        let failure = Failure { attempts: 0, retry_after: wait, error, delivered: leg.delivered.clone() };
        let index = self.batch.add(leg);
        self.held_failed(index, failure);
    }
}

impl Obstacle {
    fn unroutable(error: &RouteError) -> Self {
        Self { cause: Burial::UNROUTABLE, error: error.to_string() }
    }

    fn unserved(destination: &Destination) -> Self {
        let (name, publisher) = (&destination.name, destination.publisher());
        Self { cause: Burial::UNROUTABLE, error: format!("no publisher serves destination `{name}` (`{publisher}`)") }
    }

    fn expired(target: &Target) -> Self {
        let deadline = target.expires_at.map(|at| at.to_rfc3339()).unwrap_or_default();
        Self { cause: Burial::EXPIRED, error: format!("not delivered before {deadline}") }
    }
}

fn leg(place: Place, name: Arc<str>, target: &Target) -> Leg {
    let (route, envelope) = (Arc::clone(&target.route), Arc::clone(&target.envelope));
    let holds = envelope.is_ordered() && route.head_of_line == HeadOfLine::Hold;
    Leg {
        place,
        name,
        route,
        envelope,
        attempts: 0,
        is_suspect: false,
        holds,
        is_chained: false,
        members: SmallVec::new(),
        open: 0,
        delivered: Vec::new(),
        is_partial: false,
        faults: Vec::new(),
        next: None,
        state: State::Waiting,
    }
}

/// A leg that leads nowhere.
fn nowhere(place: Place, name: Arc<str>, envelope: Arc<Envelope>) -> Leg {
    let route = Arc::new(Route::to(Destination::new(Arc::clone(&name))));
    leg(place, name, &Target::new(route, envelope))
}

fn is_over(target: &Target, now: DateTime<Utc>) -> bool {
    target.expires_at.is_some_and(|at| at <= now)
}

fn still_to_wait(target: &Target, now: DateTime<Utc>) -> Option<Duration> {
    let wait = (target.not_before? - now).to_std().ok()?;
    (!wait.is_zero()).then_some(wait)
}
