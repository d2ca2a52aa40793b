//! Taking a batch: which row goes where, and which does not go now.

use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use chrono::{DateTime, Utc};
use smallvec::SmallVec;

use super::batch::{Leg, Member, Place, State};
use super::outlet::Outlet;
use super::{Machine, Observer, Outcome, Reach, Reason, Routing};
use crate::publish::Destination;
use crate::route::{HeadOfLine, Route, Target};
use crate::store::{Burial, Failure, Held, HeldRow, OutboxRow, Settlement};

/// What keeps an event from being sent for good.
pub(super) struct Obstacle {
    pub(super) cause: &'static str,
    pub(super) error: String,
}

impl<R: Routing> Machine<R> {
    pub(super) fn take_held(
        &mut self,
        held: HeldRow,
        now: DateTime<Utc>,
        reach: &mut impl Reach,
        observer: &mut impl Observer,
    ) {
        let HeldRow {
            route: name,
            attempts,
            ordered,
            delivered,
            unroutable_for,
            row,
        } = held;
        let holds = ordered && row.envelope.is_ordered();
        if holds
            && self
                .batch
                .tail(&name, &row.envelope)
                .is_some_and(|tail| tail.is_shut)
        {
            return;
        }
        let place = Place::Held {
            position: row.position,
        };
        self.late.forget(row.position, &name);
        if *name == *Burial::UNROUTABLE {
            let leg = Leg {
                holds,
                delivered,
                ..nowhere(place, name, row.envelope)
            };
            return self.route_anew(leg, row.position, unroutable_for, now, observer);
        }
        let target = match self.router.resume(&row.envelope, &name) {
            Ok(target) => target,
            Err(error) => {
                let leg = Leg {
                    attempts,
                    holds,
                    delivered,
                    ..nowhere(place, name, row.envelope)
                };
                return self.hold_unroutable(leg, &error, unroutable_for, observer);
            }
        };
        let is_suspect = self.unreached.is_suspect(row.position, &name);
        let leg = Leg {
            attempts,
            is_suspect,
            holds,
            delivered,
            ..leg(place, name, &target)
        };
        if is_over(&target, now) {
            self.bury_unsent(leg, Obstacle::expired(&target), observer);
        } else if let Some(wait) = still_to_wait(&target, now).filter(|_| attempts == 0) {
            self.wait_longer(leg, wait, observer);
        } else {
            self.send(leg, &target.route, unroutable_for, reach, observer);
        }
    }

    pub(super) fn take_pending(
        &mut self,
        row: OutboxRow,
        all_held_are_here: bool,
        now: DateTime<Utc>,
        reach: &mut impl Reach,
        observer: &mut impl Observer,
    ) {
        let OutboxRow { position, envelope } = row;
        let is_paused = !self.paused.is_empty()
            && envelope
                .tenant_id
                .as_ref()
                .is_some_and(|tenant| self.paused.contains(tenant));
        let routed = if self.is_queued(&envelope, all_held_are_here) {
            None
        } else {
            Some(self.places(&envelope))
        };
        let (targets, unknown) = match routed {
            Some(Ok(places)) => places,
            queued => {
                let error = queued.and_then(Result::err);
                let row = self.batch.begin_row(position, 1);
                let leg = nowhere(
                    Place::Pending { row },
                    Arc::clone(&self.unroutable.queue),
                    envelope,
                );
                return self.take_unroutable(leg, error.as_ref(), is_paused, observer);
            }
        };
        if targets.is_empty() && unknown.is_empty() {
            self.settled.push(Settlement::Published { position });
            return observer.outcome(&envelope, "", Outcome::Filtered);
        }
        let row = self
            .batch
            .begin_row(position, targets.len() + unknown.len());
        for target in targets {
            let leg = leg(
                Place::Pending { row },
                Arc::clone(&target.route.name),
                &target,
            );
            if is_over(&target, now) {
                self.bury_unsent(leg, Obstacle::expired(&target), observer);
                continue;
            }
            let wait = still_to_wait(&target, now);
            match wait.filter(|_| !target.route.keeps_order) {
                Some(wait) => self.delay(
                    Leg {
                        holds: false,
                        ..leg
                    },
                    wait,
                    observer,
                ),
                None if is_paused => self.hold_unsent(leg, Reason::Paused, observer),
                None if self.must_wait(&leg, all_held_are_here) => {
                    self.hold_unsent(leg, Reason::Order, observer)
                }
                None => match wait {
                    Some(wait) => self.delay(leg, wait, observer),
                    None => self.send(leg, &target.route, None, reach, observer),
                },
            }
        }
        for (name, error) in unknown {
            let leg = nowhere(Place::Pending { row }, name, Arc::clone(&envelope));
            let error = (!self.must_wait(&leg, all_held_are_here)).then_some(&error);
            self.take_unroutable(leg, error, is_paused, observer);
        }
    }

    /// Whether a pending row has to wait for what is held of its stream.
    pub(super) fn must_wait(&self, leg: &Leg, all_held_are_here: bool) -> bool {
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
        unroutable_for: Option<Duration>,
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
                return self.hold_unserved(leg, destination, unroutable_for, observer);
            }
            leg.is_chained = is_alone && leg.holds && self.batch.outlets[outlet].chains;
            leg.members.push(Member {
                outlet,
                destination: index,
                is_out: false,
            });
        }
        leg.open = leg.members.len();
        if leg.open > 0 {
            self.batch.append(leg);
        } else {
            let index = self.batch.add(leg);
            self.confirm(index, observer);
        }
    }

    fn outlet(
        &mut self,
        name: &Arc<str>,
        destination: &Destination,
        reach: &mut impl Reach,
    ) -> usize {
        let same = |ours: &Arc<str>, theirs: &Arc<str>| Arc::ptr_eq(ours, theirs) || ours == theirs;
        let outlets = &mut self.batch.outlets;
        let known = |outlet: &Outlet| {
            same(&outlet.destination, &destination.name) && same(&outlet.route, name)
        };
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

    pub(super) fn bury_unsent(
        &mut self,
        leg: Leg,
        obstacle: Obstacle,
        observer: &mut impl Observer,
    ) {
        let Obstacle { cause, error } = obstacle;
        let parks = leg.holds && cause != Burial::EXPIRED;
        if parks {
            self.batch.shut(&leg.name, &leg.envelope);
        }
        let attempts = leg.attempts;
        let index = self.batch.add(leg);
        self.bury(index, attempts, cause, error, parks, observer);
    }

    pub(super) fn hold_unsent(&mut self, leg: Leg, reason: Reason, observer: &mut impl Observer) {
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

    /// A held row that heads its stream before its time waits on; one that follows another is
    /// looked at again when it heads it.
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
        let failure = Failure {
            attempts: 0,
            retry_after: wait,
            error,
            delivered: leg.delivered.clone(),
        };
        let index = self.batch.add(leg);
        self.held_failed(index, failure);
    }
}

impl Obstacle {
    fn expired(target: &Target) -> Self {
        let deadline = target
            .expires_at
            .map(|at| at.to_rfc3339())
            .unwrap_or_default();
        Self {
            cause: Burial::EXPIRED,
            error: format!("not delivered before {deadline}"),
        }
    }
}

pub(super) fn leg(place: Place, name: Arc<str>, target: &Target) -> Leg {
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
pub(super) fn nowhere(place: Place, name: Arc<str>, envelope: Arc<Envelope>) -> Leg {
    let route = Arc::new(Route::to(Destination::new(Arc::clone(&name))));
    leg(place, name, &Target::new(route, envelope))
}

pub(super) fn is_over(target: &Target, now: DateTime<Utc>) -> bool {
    target.expires_at.is_some_and(|at| at <= now)
}

pub(super) fn still_to_wait(target: &Target, now: DateTime<Utc>) -> Option<Duration> {
    let wait = (target.not_before? - now).to_std().ok()?;
    (!wait.is_zero()).then_some(wait)
}
