//! Taking a batch: rows become legs, which are sent or wait.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::leg::Leg;
use super::outlet::Outlet;
use super::{Decision, Machine, Observer, Reach, Reason, Routing};
use crate::publish::Destination;
use crate::route::{Route, Target};
use crate::store::{Failure, HeldRow, NewDeadLetter, OutboxRow, Outcome, Settlement};

impl<R: Routing> Machine<R> {
    pub(super) fn take_held(
        &mut self,
        held: HeldRow,
        now: DateTime<Utc>,
        reach: &mut impl FnMut(&Destination) -> Reach,
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
                .is_some_and(|tail| tail.is_stopped)
        {
            return;
        }
        let position = row.position;
        self.late.forget(position, &name);
        // The queue of its aggregate: the rules are asked again, and may have an answer now.
        if *name == *NewDeadLetter::UNROUTABLE {
            let leg = Leg {
                holds,
                delivered,
                ..Leg::without_route(position, None, name, row.envelope)
            };
            return self.route_anew(leg, unroutable_for, now, observer);
        }
        let target = match self.resume(&row.envelope, &name) {
            Ok(target) => target,
            Err(error) => {
                let leg = Leg {
                    attempts,
                    holds,
                    delivered,
                    ..Leg::without_route(position, None, name, row.envelope)
                };
                return self.add_unroutable(leg, &error, unroutable_for, observer);
            }
        };
        let is_suspect = self.unreached.is_suspect(position, &name);
        let leg = Leg {
            attempts,
            is_suspect,
            holds,
            delivered,
            ..Leg::new(position, None, name, &target)
        };
        if is_over(&target, now) {
            self.expire(leg, &target, observer);
        } else if let Some(wait) = still_to_wait(&target, now).filter(|_| attempts == 0) {
            self.delay_longer(leg, wait, observer);
        } else {
            self.send(leg, &target.route, unroutable_for, reach, observer);
        }
    }

    pub(super) fn take_pending(
        &mut self,
        row: OutboxRow,
        all_held_are_here: bool,
        now: DateTime<Utc>,
        reach: &mut impl FnMut(&Destination) -> Reach,
        observer: &mut impl Observer,
    ) {
        let OutboxRow { position, envelope } = row;
        let is_paused = !self.paused.is_empty()
            && envelope
                .tenant_id
                .as_ref()
                .is_some_and(|tenant| self.paused.contains(tenant));
        // The rules are not asked about an event in the queue: it stays there whatever they say.
        let routed = if self.is_queued(&envelope, all_held_are_here) {
            None
        } else {
            Some(self.places(position, &envelope))
        };
        // An event that waits in the queue of its aggregate, and one that cannot be routed, go
        // under the name of that queue: their routes are not known.
        let (targets, unknown) = match routed {
            Some(Ok(places)) => places,
            queued => {
                let error = queued.and_then(Result::err);
                let row = self.batch.begin_row(position, 1);
                let queue = Arc::clone(&self.queue);
                let leg = Leg::without_route(position, Some(row), queue, envelope);
                return self.add_unknown(leg, error.as_ref(), is_paused, observer);
            }
        };
        if targets.is_empty() && unknown.is_empty() {
            self.settled.push(Settlement::published(position));
            return observer.decided(&envelope, "", Decision::Filtered);
        }
        let row = self
            .batch
            .begin_row(position, targets.len() + unknown.len());
        for target in targets {
            let name = Arc::clone(&target.route.name);
            let leg = Leg::new(position, Some(row), name, &target);
            if is_over(&target, now) {
                self.expire(leg, &target, observer);
                continue;
            }
            let wait = still_to_wait(&target, now);
            // Delayed out of order, an event is held without a place, whatever else keeps it. In
            // order, it is delayed only when it has its turn.
            match wait.filter(|_| !target.route.keeps_order) {
                Some(wait) => self.add_delayed(
                    Leg {
                        holds: false,
                        ..leg
                    },
                    wait,
                    observer,
                ),
                None if is_paused => self.add_held(leg, Reason::Paused, observer),
                None if self.must_wait(&leg, all_held_are_here) => {
                    self.add_held(leg, Reason::Order, observer)
                }
                None => match wait {
                    Some(wait) => self.add_delayed(leg, wait, observer),
                    None => self.send(leg, &target.route, None, reach, observer),
                },
            }
        }
        for (name, error) in unknown {
            let leg = Leg::without_route(position, Some(row), name, Arc::clone(&envelope));
            let error = (!self.must_wait(&leg, all_held_are_here)).then_some(&error);
            self.add_unknown(leg, error, is_paused, observer);
        }
    }

    /// True if a pending row has to wait for the held rows of its stream.
    pub(super) fn must_wait(&self, leg: &Leg, all_held_are_here: bool) -> bool {
        if !leg.holds {
            return false;
        }
        let waits = self.blocked.contains(&leg.name, &leg.envelope);
        match self.batch.tail(&leg.name, &leg.envelope) {
            Some(tail) => tail.is_stopped || waits && !(tail.has_held && all_held_are_here),
            None => waits,
        }
    }

    /// Puts a leg in the queue of each of its destinations.
    fn send(
        &mut self,
        mut leg: Leg,
        route: &Arc<Route>,
        unroutable_for: Option<Duration>,
        reach: &mut impl FnMut(&Destination) -> Reach,
        observer: &mut impl Observer,
    ) {
        if let Some(paused) = self.handlers.paused(route).cloned() {
            return self.wait_for_resumption(leg, &paused, observer);
        }
        if self.handlers.are_away(route, &leg.envelope.event_type) {
            return self.wait_for_handler(leg, unroutable_for, observer);
        }
        let is_alone = route.destinations.len() == 1;
        for destination in &route.destinations {
            if leg.delivered.contains(&destination.name) {
                continue;
            }
            let outlet = self.outlet(&leg.name, destination, reach);
            if !self.batch.outlets[outlet].reach.is_served {
                return self.add_unserved(leg, destination, unroutable_for, observer);
            }
            leg.is_chained = is_alone && leg.holds && self.batch.outlets[outlet].reach.chains;
            leg.outlets.push(outlet);
        }
        leg.open = leg.outlets.len();
        if leg.open > 0 {
            self.batch.append(leg);
        } else {
            let index = self.batch.add(leg);
            self.settle_published(index, observer);
        }
    }

    fn outlet(
        &mut self,
        name: &Arc<str>,
        destination: &Destination,
        reach: &mut impl FnMut(&Destination) -> Reach,
    ) -> usize {
        let same = |ours: &Arc<str>, theirs: &Arc<str>| Arc::ptr_eq(ours, theirs) || ours == theirs;
        let outlets = &mut self.batch.outlets;
        let known = |outlet: &Outlet| {
            same(&outlet.destination.name, &destination.name) && same(&outlet.route, name)
        };
        if let Some(index) = outlets.iter().position(known) {
            return index;
        }
        let (route, reach) = (Arc::clone(name), reach(destination));
        outlets.push(Outlet::new(route, destination.clone(), reach));
        outlets.len() - 1
    }

    /// Makes an event whose time is over a dead letter.
    fn expire(&mut self, leg: Leg, target: &Target, observer: &mut impl Observer) {
        let deadline = target
            .expires_at
            .map(|at| at.to_rfc3339())
            .unwrap_or_default();
        let error = format!("not delivered before {deadline}");
        self.add_dead(leg, NewDeadLetter::EXPIRED, error, observer);
    }

    /// Makes an event a dead letter that is not sent in this batch.
    pub(super) fn add_dead(
        &mut self,
        leg: Leg,
        cause: &'static str,
        error: String,
        observer: &mut impl Observer,
    ) {
        let parks = leg.holds && cause != NewDeadLetter::EXPIRED;
        if parks {
            self.batch.stop(&leg.name, &leg.envelope);
        }
        let attempts = leg.attempts;
        let index = self.batch.add(leg);
        self.settle_dead(index, attempts, cause, error, parks, observer);
    }

    /// Holds an event that is not sent in this batch, and what follows it in its stream.
    pub(super) fn add_held(&mut self, leg: Leg, reason: Reason, observer: &mut impl Observer) {
        if leg.holds {
            self.batch.stop(&leg.name, &leg.envelope);
        }
        let index = self.batch.add(leg);
        self.hold_behind(index, reason, observer);
    }

    /// Holds a pending event until its delay is over.
    fn add_delayed(&mut self, leg: Leg, wait: Duration, observer: &mut impl Observer) {
        if leg.holds {
            self.batch.stop(&leg.name, &leg.envelope);
        }
        observer.decided(&leg.envelope, &leg.name, Decision::Delayed { wait });
        let index = self.batch.add(leg);
        self.hold(index, Outcome::Delayed(wait));
    }

    /// Lets a held row wait whose delay is not over.
    fn delay_longer(&mut self, leg: Leg, wait: Duration, observer: &mut impl Observer) {
        if !self.follows(&leg) {
            observer.decided(&leg.envelope, &leg.name, Decision::Delayed { wait });
        }
        self.wait_longer(leg, wait, "not to be delivered yet".to_owned());
    }

    /// Lets a held row wait, with no attempt counted, if it heads its stream. A row that follows
    /// another is looked at again when it heads the stream.
    pub(super) fn wait_longer(&mut self, leg: Leg, wait: Duration, error: String) {
        let follows = self.follows(&leg);
        if leg.holds {
            self.batch.stop(&leg.name, &leg.envelope);
        }
        if follows {
            return;
        }
        let failure = Failure {
            attempts: leg.attempts,
            retry_after: wait,
            error,
            delivered: leg.delivered.clone(),
        };
        let index = self.batch.add(leg);
        self.hold(index, Outcome::Retry(failure));
    }

    /// True if a row follows another one of its stream in this batch.
    fn follows(&self, leg: &Leg) -> bool {
        leg.holds && self.batch.tail(&leg.name, &leg.envelope).is_some()
    }
}

fn is_over(target: &Target, now: DateTime<Utc>) -> bool {
    target.expires_at.is_some_and(|at| at <= now)
}

pub(super) fn still_to_wait(target: &Target, now: DateTime<Utc>) -> Option<Duration> {
    let wait = (target.not_before? - now).to_std().ok()?;
    (!wait.is_zero()).then_some(wait)
}
